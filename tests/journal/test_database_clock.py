"""The time of the database, as a server counts it between two questions that may be answered slowly."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine, event
from structlog.testing import capture_logs

from bot.journal import database
from bot.journal.database import ASK_EVERY_S, DatabaseClock, open_engine
from tests.databases import PostgreSQL
from tests.hands import suspended

STALL_S = 40.0
QUICK = timedelta(seconds=10)
"""What a busy machine may take from one line of a test to the next; less than what these tests are about."""
"""More than a question takes here."""


@dataclass
class Counted:
    """Seconds that pass when told to, for a question on its way there or an answer on its way back too."""

    engine: Engine
    now: float = 0.0
    there: float = 0.0
    back: float = 0.0
    questions: int = 0

    def __post_init__(self) -> None:
        event.listen(self.engine, "before_cursor_execute", self._asks)
        event.listen(self.engine, "after_cursor_execute", self._answers)

    def __call__(self) -> float:
        return self.now

    def _asks(self, *_: object) -> None:
        self.questions += 1
        self.now += self.there

    def _answers(self, *_: object) -> None:
        self.now += self.back

    def database_says(self) -> datetime:
        with self.engine.connect() as connection:
            told: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
            return told


@pytest.fixture
def counted(postgres: PostgreSQL) -> Iterator[Counted]:
    engine = open_engine(postgres.new())
    yield Counted(engine)
    engine.dispose()


def test_a_question_that_came_late_to_the_database_makes_no_clock_fast(counted: Counted) -> None:
    counted.there = STALL_S
    clock = DatabaseClock(counted.engine, counted)
    told = clock()
    counted.there = 0
    assert told <= counted.database_says()


@pytest.fixture
def asked_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds that are counted do not pass in the database, so there are to be none between two questions."""
    monkeypatch.setattr(database, "ASK_EVERY_S", float("-inf"))


@pytest.mark.usefixtures("asked_each_time")
@pytest.mark.parametrize("way", ["there", "back"])
def test_a_slow_answer_moves_nothing_that_is_counted_already(counted: Counted, way: str) -> None:
    clock = DatabaseClock(counted.engine, counted)
    began = clock()
    setattr(counted, way, STALL_S)
    assert abs(clock() - began - timedelta(seconds=STALL_S)) < QUICK
    assert counted.questions == 2


@pytest.mark.usefixtures("asked_each_time")
@pytest.mark.parametrize("apart", [3600.0, -3600.0], ids=["behind", "ahead"])
def test_the_clock_of_another_database_that_took_over_is_followed(counted: Counted, apart: float) -> None:
    clock = DatabaseClock(counted.engine, counted)
    clock()
    counted.now += apart
    assert abs(clock() - counted.database_says()) < QUICK


def test_a_machine_that_was_suspended_knows_how_late_it_is(
    postgres: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(postgres.new())
    clock = DatabaseClock(engine)
    before = clock()
    suspended(monkeypatch, ASK_EVERY_S - 1)
    assert clock() - before >= timedelta(seconds=ASK_EVERY_S - 1)
    engine.dispose()


def test_a_database_whose_clock_was_set_is_followed_and_it_is_said(counted: Counted) -> None:
    clock = DatabaseClock(counted.engine, counted)
    clock()
    counted.now += 3_600
    with capture_logs() as lines:
        told = clock()
    assert abs(told - counted.database_says()) < QUICK
    assert [(line["event"], round(line["seconds"], -1)) for line in lines] == [("clock_was_set", -3_600)]
