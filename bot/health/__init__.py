"""GPU-inference health: what Prometheus knows of users, engines, changes and GPUs, judged for someone in a hurry."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bot.health.checks import Check, catalogue
from bot.health.observation import Observation, Sample
from bot.health.promql import Settings
from bot.health.recent import with_changes
from bot.health.report import lines
from bot.health.telemetry import Telemetry
from bot.health.verdict import Report, Verdict, judge
from bot.health.versions import compare
from bot.incident.change import Change

__all__ = [
    "Check",
    "Observation",
    "Report",
    "Sample",
    "Settings",
    "Telemetry",
    "Verdict",
    "catalogue",
    "judge",
    "lines",
    "survey",
]


def survey(telemetry: Telemetry, model: str | None, now: datetime, changes: Sequence[Change] = ()) -> Report:
    """Ask everything and judge it: the health of `model`, or of the fleet when it is None or empty.

    `changes` are those that pipelines told of. Takes at most the telemetry's budget. What Prometheus does, or fails to
    do, is in the report and never an exception.
    """
    began = time.monotonic()
    observations = with_changes(telemetry.survey(model), changes, now, telemetry.settings)
    left = telemetry.budget - (time.monotonic() - began)
    answers = any(seen.status != "unknown" for seen in observations)
    versions = compare(telemetry, model or None, left) if answers and left > 0 else ()
    return replace(judge(observations, now, model or None), versions=versions)
