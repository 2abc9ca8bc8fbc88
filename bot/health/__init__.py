"""GPU-inference health: what Prometheus knows of users, engines, changes and GPUs, judged for someone in a hurry."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bot.health.capacity import Drain, Replica
from bot.health.catalogue import catalogue, limited
from bot.health.checks import Check
from bot.health.findings import Report, Verdict
from bot.health.observation import Observation, Sample
from bot.health.promql import Limits, Settings
from bot.health.recent import with_changes
from bot.health.report import lines
from bot.health.scope import Gpu, Inventory, Scope
from bot.health.situation import Situation
from bot.health.telemetry import Telemetry
from bot.health.verdict import judge
from bot.health.versions import versions_of
from bot.incident.change import Change

__all__ = [
    "Check",
    "Drain",
    "Gpu",
    "Inventory",
    "Limits",
    "Observation",
    "Replica",
    "Report",
    "Sample",
    "Scope",
    "Settings",
    "Situation",
    "Telemetry",
    "Verdict",
    "catalogue",
    "judge",
    "limited",
    "lines",
    "survey",
]


def survey(telemetry: Telemetry, scope: Scope, now: datetime, changes: Sequence[Change] = ()) -> Report:
    """Ask everything and judge it: the health of the fleet, or of one model, node or GPU.

    `changes` are those that pipelines told of. Takes at most the telemetry's budget. What Prometheus does, or fails to
    do, is in the report and never an exception.
    """
    began = time.monotonic()
    situation = telemetry.look(scope, now)
    left = telemetry.budget - (time.monotonic() - began)
    answers = any(one.status != "unknown" for one in situation.observations)
    asked = answers and left > 0 and (scope.whole or scope.model)
    versions = versions_of(telemetry, scope.model or None, left) if asked else ()
    told = with_changes(situation.observations, changes, now, telemetry.settings)
    return replace(judge(replace(situation, observations=told), now, scope), versions=versions)
