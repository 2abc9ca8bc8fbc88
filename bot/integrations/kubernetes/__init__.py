"""Step kinds over the clusters that `fixfirst.toml` names: deployments, nodes, and rollouts of Argo."""

from bot.integrations.kubernetes.argo import Abort as Abort
from bot.integrations.kubernetes.argo import Undo as ArgoUndo
from bot.integrations.kubernetes.drain import Drain as Drain
from bot.integrations.kubernetes.get import Get as Get
from bot.integrations.kubernetes.log import PreviousLog as PreviousLog
from bot.integrations.kubernetes.node import Cordon as Cordon
from bot.integrations.kubernetes.restart import Restart as Restart
from bot.integrations.kubernetes.rollout import RolloutUndo as RolloutUndo
from bot.integrations.kubernetes.scale import Scale as Scale
from bot.integrations.kubernetes.target import Target as Target

__all__ = ["Abort", "ArgoUndo", "Cordon", "Drain", "Get", "Restart", "RolloutUndo", "Scale", "Target"]
