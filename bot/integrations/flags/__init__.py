"""Feature flags: in named files or an Unleash, and the step kind that switches one."""

from bot.integrations.flags.act import Set
from bot.integrations.flags.target import Target

__all__ = ["Set", "Target"]
