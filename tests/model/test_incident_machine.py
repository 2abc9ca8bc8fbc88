"""Whatever happens to incidents, in whatever order: the bot does word for word what a very plain model of it says."""

import itertools
import logging
import os
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from bot.incident.events import Severity
from bot.journal.database import migrate, open_engine, sqlite_url
from tests.core.case import MAYA
from tests.model.rules import Rules

WHOLE: Final = os.environ.get("CHAOS") == "all"
EXAMPLES, STEPS = (2_000, 50) if WHOLE else (100, 30)
AT_LEAST: Final = {
    "incident.opened",
    "incident.alerts_reported",
    "incident.acknowledged",
    "incident.mitigated",
    "incident.resolved",
    "incident.reopened",
    "pager.page_accepted",
    "run.started",
}
"""What even a short walk comes by."""
IN_THE_END: Final = AT_LEAST | {
    "incident.change_found",
    "incident.severity_changed",
    "incident.role_assigned",
    "incident.impact_stated",
    "incident.note_added",
    "incident.update_posted",
    "incident.update_reminded",
    "incident.ack_deadline_missed",
    "incident.cancelled",
    "incident.relapsed",
    "incident.resolve_asked",
    "health.proven",
    "health.doubted",
    "pager.page_unanswered",
    "delivery.failed",
    "run.step_planned",
    "run.step_asked",
    "run.step_approved",
    "run.step_started",
    "run.step_applied",
    "run.step_progressed",
    "run.step_completed",
    "run.fallback_reminded",
    "run.step_succeeded",
    "run.step_failed",
    "run.step_interrupted",
    "run.step_retried",
    "run.step_skipped",
    "run.undo_started",
    "run.step_undone",
    "run.undo_failed",
    "run.lease_renewed",
    "run.finished",
}
HOW: Final = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    database=None,
    derandomize=not WHOLE,  # always the same in `make test`; `make chaos` explores, and prints what it found
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """What is logged of ten thousand steps would hide the few that led to a fault."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres").new())
    engine = open_engine(sqlite_url(tmp_path))
    migrate(engine)
    engine.dispose()
    return sqlite_url(tmp_path)


def test_the_bot_does_what_the_plain_model_says(url: str) -> None:
    class OnThisDatabase(Rules):
        """Each example has a workspace of its own."""

    OnThisDatabase.url = url
    OnThisDatabase.workspaces = itertools.count(1)
    OnThisDatabase.said = Counter()
    run_state_machine_as_test(OnThisDatabase, settings=HOW)
    never = (IN_THE_END if WHOLE else AT_LEAST) - set(OnThisDatabase.said)
    assert not never, f"the walk never came by {sorted(never)}"


def test_both_say_that_a_trouble_has_passed(url: str) -> None:
    """The walk hardly ever comes by it: a pager that fails twice, more than a minute apart, and then takes it."""

    class OnThisDatabase(Rules):
        """One walk that is laid out."""

    OnThisDatabase.url = url
    OnThisDatabase.workspaces = itertools.count(1)
    OnThisDatabase.said = Counter()
    walk = OnThisDatabase()
    walk.something_is_wrong(severity=Severity.SEV1, declared=True, proves=False)
    walk.a_courier_is_given_what_is_ready(courier="pager", mood="takes it")
    walk.somebody_acknowledges(which=0, who=MAYA, there=False)
    for mood in ("fails", "fails", "takes it"):
        walk.a_courier_is_given_what_is_ready(courier="pager", mood=mood)
        walk.time_passes(span=timedelta(seconds=70), strikes=False)
    walk.teardown()  # holds both stories against each other
    assert OnThisDatabase.said["delivery.failed"] == OnThisDatabase.said["delivery.settled"] == 1
