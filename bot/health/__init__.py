"""GPU-inference health: what Prometheus knows of users, engines, changes and GPUs, judged for someone in a hurry."""

from collections.abc import Sequence
from datetime import datetime

from bot.health.capacity import Drain, Replica
from bot.health.checks import Check, catalogue
from bot.health.findings import Report, Verdict
from bot.health.observation import Observation, Sample
from bot.health.promql import Settings
from bot.health.recent import with_changes
from bot.health.report import lines
from bot.health.scope import Gpu, Inventory, Scope
from bot.health.telemetry import Telemetry
from bot.health.verdict import judge
from bot.incident.change import Change

__all__ = [
    "Check",
    "Drain",
    "Gpu",
    "Inventory",
    "Observation",
    "Replica",
    "Report",
    "Sample",
    "Scope",
    "Settings",
    "Telemetry",
    "Verdict",
    "catalogue",
    "judge",
    "lines",
    "survey",
]


def survey(telemetry: Telemetry, scope: Scope, now: datetime, changes: Sequence[Change] = ()) -> Report:
    """Ask everything and judge it: the health of the fleet, or of one model, node or GPU.

    `changes` are those that pipelines told of. Takes at most the telemetry's budget. What Prometheus does, or fails to
    do, is in the report and never an exception.
    """
    observations = with_changes(telemetry.survey(scope), changes, now, telemetry.settings)
    return judge(observations, now, scope)
