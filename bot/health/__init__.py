"""GPU-inference health: what Prometheus knows of users, engines, changes and GPUs, judged for someone in a hurry."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

from bot.health.checks import Check, catalogue
from bot.health.observation import Observation, Sample
from bot.health.promql import Settings
from bot.health.report import lines
from bot.health.slo import STANDARD, Answer, Objective, Standing, questions, stand
from bot.health.telemetry import Telemetry
from bot.health.verdict import Report, Verdict, judge

__all__ = [
    "Check",
    "Objective",
    "Observation",
    "Report",
    "Sample",
    "Settings",
    "Standing",
    "Telemetry",
    "Verdict",
    "catalogue",
    "judge",
    "lines",
    "standings",
    "survey",
]


def survey(telemetry: Telemetry, model: str | None, now: datetime, objectives: Sequence[Objective] = ()) -> Report:
    """Ask everything and judge it: the health of `model`, or of the fleet when it is None or empty.

    The objectives are asked beside the checks, so that all of it takes at most the telemetry's budget. What Prometheus
    does, or fails to do, is in the report and never an exception.
    """
    model = model or None
    with ThreadPoolExecutor(1, thread_name_prefix="slo") as beside:
        standing = beside.submit(standings, telemetry, objectives, model or "")
        report = judge(telemetry.survey(model), now, model)
        # Nobody promised the standard objective: that it cannot be told is no news.
        told = tuple(one for one in standing.result() if one.left is not None or tuple(objectives) != (STANDARD,))
        return replace(report, slos=told)


def standings(telemetry: Telemetry, objectives: Sequence[Objective], model: str = "") -> tuple[Standing, ...]:
    """How these objectives stand, of one model or of all. Takes at most the telemetry's budget; what fails is
    unknown."""
    wanted = [objective for objective in objectives if objective.concerns("", model)]
    if not wanted:
        return ()
    seen = telemetry.survey(None, questions(wanted))
    answers = {one.check: Answer(one.series, one.text if one.status == "unknown" else "") for one in seen}
    return tuple(one for one in stand(wanted, answers) if not model or one.model in ("", model))
