"""GPU-inference health: what Prometheus knows of users, engines, changes and GPUs, judged for someone in a hurry."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

from bot.health.capacity import Drain, Replica
from bot.health.catalogue import catalogue, limited
from bot.health.checks import Check
from bot.health.findings import Report, Verdict
from bot.health.observation import Observation, Sample
from bot.health.promql import Limits, Settings
from bot.health.report import lines
from bot.health.scope import Gpu, Inventory, Scope
from bot.health.situation import Situation
from bot.health.slo import STANDARD, Answer, Objective, Standing, questions, stand
from bot.health.telemetry import Telemetry
from bot.health.verdict import judge

__all__ = [
    "Check",
    "Drain",
    "Gpu",
    "Inventory",
    "Limits",
    "Objective",
    "Observation",
    "Replica",
    "Report",
    "Sample",
    "Scope",
    "Settings",
    "Situation",
    "Standing",
    "Telemetry",
    "Verdict",
    "catalogue",
    "judge",
    "limited",
    "lines",
    "standings",
    "survey",
]


def survey(telemetry: Telemetry, scope: Scope, now: datetime, objectives: Sequence[Objective] = ()) -> Report:
    """Ask everything and judge it: the health of the fleet, or of one model, node or GPU.

    The objectives are asked beside the checks, so that all of it takes at most the telemetry's budget. What Prometheus
    does, or fails to do, is in the report and never an exception.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="slo") as beside:
        standing = beside.submit(standings, telemetry, objectives, scope.model)
        report = judge(telemetry.look(scope, now), now, scope)
        # Nobody promised the standard objective: that it cannot be told is no news.
        told = tuple(one for one in standing.result() if one.left is not None or tuple(objectives) != (STANDARD,))
        return replace(report, slos=told)


def standings(telemetry: Telemetry, objectives: Sequence[Objective], model: str = "") -> tuple[Standing, ...]:
    """How these objectives stand, of one model or of all; at most the telemetry's budget, and what fails is unknown."""
    wanted = [objective for objective in objectives if objective.concerns("", model)]
    if not wanted:
        return ()
    seen = telemetry.survey(None, questions(wanted))
    answers = {one.check: Answer(one.series, one.text if one.status == "unknown" else "") for one in seen}
    return tuple(one for one in stand(wanted, answers) if not model or one.model in ("", model))
