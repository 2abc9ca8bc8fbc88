"""GPU-inference health: what Prometheus knows of users, engines, changes and GPUs, judged for someone in a hurry."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from bot.health.capacity import Drain, Replica
from bot.health.checks import Check, catalogue
from bot.health.findings import Report, Verdict
from bot.health.logs import Logs
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
    "Logs",
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


WHOLE_S: Final = 9.5
"""Seconds for numbers and logs together: below the 10 s that a courier's call may last."""


def survey(
    telemetry: Telemetry, scope: Scope, now: datetime, changes: Sequence[Change] = (), logs: Logs | None = None
) -> Report:
    """Ask everything and judge it: the health of the fleet, or of one model, node or GPU.

    `changes` are those that pipelines told of; `logs` are read where containers restart. Takes at most the telemetry's
    budget. What the outside does, or fails to do, is in the report and never an exception.
    """
    began = time.monotonic()
    seen = telemetry.survey(scope)
    read = logs.look(seen, now, WHOLE_S - (time.monotonic() - began)) if logs else ()
    observations = with_changes((*seen, *read), changes, now, telemetry.settings)
    return judge(observations, now, scope)
