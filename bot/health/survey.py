"""One look at everything: the checks, the objectives and the versions beside each other, and what it all means."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from typing import Final

from bot.health.findings import Report
from bot.health.logs import Logs
from bot.health.recent import with_changes
from bot.health.scope import Scope
from bot.health.slo import STANDARD, Answer, Objective, Standing, questions, stand
from bot.health.telemetry import Telemetry
from bot.health.verdict import judge
from bot.health.versions import versions_of
from bot.incident.change import Change

WHOLE_S: Final = 9.5
"""Seconds for numbers and logs together: below the 10 s that a courier's call may last."""


def survey(
    telemetry: Telemetry,
    scope: Scope,
    now: datetime,
    *,
    changes: Sequence[Change] = (),
    objectives: Sequence[Objective] = (),
    logs: Logs | None = None,
) -> Report:
    """Ask everything and judge it: the health of the fleet, or of one model, node or GPU.

    `changes` are those that pipelines told of; `logs` are read where containers restart. Takes at most the telemetry's
    budget. What the outside does, or fails to do, is in the report and never an exception.
    """
    began = time.monotonic()
    of_models = scope.whole or bool(scope.model)
    with ThreadPoolExecutor(1, thread_name_prefix="slo") as beside:
        standing = beside.submit(standings, telemetry, objectives if of_models else (), scope.model)
        situation = telemetry.look(scope, now)
        left = telemetry.budget - (time.monotonic() - began)
        answers = any(one.status != "unknown" for one in situation.observations)
        versions = versions_of(telemetry, scope.model or None, left) if of_models and answers and left > 0 else ()
        read = logs.look(situation.observations, now, WHOLE_S - (time.monotonic() - began)) if logs else ()
        told = with_changes((*situation.observations, *read), changes, now, telemetry.settings)
        report = judge(replace(situation, observations=told), now, scope)
        # Nobody promised the standard objective: that it cannot be told is no news.
        slos = tuple(one for one in standing.result() if one.left is not None or tuple(objectives) != (STANDARD,))
    return replace(report, versions=versions, slos=slos)


def standings(telemetry: Telemetry, objectives: Sequence[Objective], model: str = "") -> tuple[Standing, ...]:
    """How these objectives stand, of one model or of all. Takes at most the telemetry's budget; what fails is
    unknown."""
    wanted = [objective for objective in objectives if objective.concerns("", model)]
    if not wanted:
        return ()
    # Of every model: a check keeps its worst ten, and the ten of one question are not those of the next.
    told = telemetry.ask(questions(wanted))
    answers = {key: Answer((), one) if isinstance(one, str) else Answer(one) for key, one in told.items()}
    return tuple(one for one in stand(wanted, answers) if not model or one.model in ("", model))
