"""GPU-inference health: what Prometheus knows of users, engines, changes and GPUs, judged for someone in a hurry."""

from datetime import datetime

from bot.health.checks import Check, catalogue
from bot.health.observation import Observation, Sample
from bot.health.promql import Settings
from bot.health.report import lines
from bot.health.telemetry import Telemetry
from bot.health.verdict import Report, Verdict, judge

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


def survey(telemetry: Telemetry, model: str | None, now: datetime) -> Report:
    """Ask everything and judge it: the health of `model`, or of the fleet when it is None or empty.

    Takes at most the telemetry's budget. What Prometheus does, or fails to do, is in the report and never an exception.
    """
    return judge(telemetry.survey(model), now, model or None)
