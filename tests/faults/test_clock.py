"""Somebody sets the clock in the middle of an incident, or the hour changes: nobody is called early, late or twice."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine
from structlog.testing import capture_logs

from bot.engine.local import Chore, LocalEngine
from bot.incident import events as ev
from bot.journal.clock import FOLLOWED, Note, SteadyClock, Steps
from tests.databases import PostgreSQL
from tests.doors.house import alert, open_house, webhook
from tests.faults.process import eventually, started
from tests.hands import START, HandClock
from tests.story.night import MAYA, STEP, Night, open_night, told

HOUR = timedelta(hours=1)
SETTINGS = {"an hour ahead": HOUR, "an hour back": -HOUR, "five minutes back": timedelta(minutes=-5)}


@dataclass
class Machine:
    """A machine whose wall clock can be set; `truth` passes all the same."""

    truth: HandClock = field(default_factory=HandClock)
    set_by: timedelta = timedelta()

    def wall(self) -> datetime:
        return self.truth.now + self.set_by

    def steady(self) -> SteadyClock:
        return SteadyClock(self.wall, self.truth.seconds)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_clock_that_is_set_changes_nothing_until_it_is_followed(name: str) -> None:
    machine = Machine()
    clock = machine.steady()
    with capture_logs() as lines:
        for moved in (timedelta(), SETTINGS[name]):
            machine.set_by = moved
            for _ in range(3):
                machine.truth.now += timedelta(seconds=10)
                assert clock() == machine.truth.now
        assert clock.apart == SETTINGS[name]
        clock.follow()
        assert clock() == machine.wall()
        assert not clock.apart
    seconds = SETTINGS[name].total_seconds()
    assert [(line["event"], line["seconds"]) for line in lines] == [
        ("clock_was_set", seconds),
        ("clock_followed", seconds),
    ]


def test_a_clock_that_is_set_and_set_right_again_was_never_wrong_for_us() -> None:
    machine = Machine()
    clock = machine.steady()
    machine.set_by = HOUR
    assert clock() == machine.truth.now
    machine.set_by = timedelta()
    assert clock() == machine.truth.now
    assert not clock.apart


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(-FOLLOWED.total_seconds(), FOLLOWED.total_seconds()))))
def test_small_corrections_are_followed_and_time_never_goes_back(steps: list[tuple[float, float]]) -> None:
    machine = Machine()
    clock = machine.steady()
    before = clock()
    for passed, corrected in steps:
        machine.truth.now += timedelta(seconds=passed)
        machine.set_by += timedelta(seconds=corrected)
        now = clock()
        assert now >= before
        if not clock.apart:
            assert now == max(machine.wall(), before)
        before = now


def test_the_engine_notices_each_setting_once() -> None:
    machine = Machine()
    steps = Steps(lambda: machine.wall().timestamp(), machine.truth.seconds)
    seen = []
    for moved in (timedelta(), timedelta(seconds=3), HOUR, HOUR, timedelta(), timedelta()):
        machine.truth.now += timedelta(minutes=1)
        machine.set_by = moved
        seen.append(steps.was_set())
    assert seen == [False, False, True, False, True, False]


class SetOnce:
    """Says once that the clock was set."""

    def __init__(self) -> None:
        self.left = 1

    def was_set(self) -> bool:
        self.left -= 1
        return self.left == 0


def test_what_is_planned_by_the_wall_clock_is_planned_anew_when_that_is_set(tmp_path: Path) -> None:
    done = threading.Event()
    with open_house(tmp_path) as house:
        engine = LocalEngine(house.app.desk, house.app.outbox, [Chore(done.set, 7200.0)])
        engine._steps = cast("Steps", SetOnce())
        engine.start()
        try:
            assert done.wait(10), "it would have come in two hours"
        finally:
            engine.stop()


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    with open_night(tmp_path) as night:
        yield night


def runs_by(night: Night, clock: object) -> None:
    """The bot is begun anew with a clock of its own; everybody else goes by the truth."""
    truth = night.clock
    night.stop_bot()
    night.clock = cast("HandClock", clock)
    night.start_bot()
    night.clock = truth


def called_at(night: Night) -> list[timedelta]:
    """When the next person was called, by the truth."""
    when: list[timedelta] = []
    began = night.clock.now
    while night.clock.now < began + timedelta(minutes=16):
        night.through(seconds=STEP.total_seconds())
        when += [night.clock.now - START] * (len(night.events(ev.AckDeadlineMissed)) - len(when))
    return when


@pytest.mark.parametrize("name", SETTINGS)
def test_the_next_person_is_called_in_time_whatever_the_wall_clock_says(night: Night, name: str) -> None:
    machine = Machine(night.clock)
    runs_by(night, machine.steady())
    night.burns()
    night.through(minutes=2)
    machine.set_by = SETTINGS[name]
    when = called_at(night)
    assert [round(at / timedelta(minutes=5)) for at in when] == [1, 2, 3]
    assert all(timedelta() <= at - (n + 1) * timedelta(minutes=5) <= 2 * STEP for n, at in enumerate(when))
    assert [event.level for event in night.events(ev.AckDeadlineMissed)] == [1, 2, 3]
    assert night.pages() == [("1", "triggered")]
    assert [line["event"] for line in night.logs if "clock" in line["event"]] == ["clock_was_set"]


def test_by_the_wall_clock_itself_people_would_be_called_at_once_or_an_hour_late(night: Night) -> None:
    machine = Machine(night.clock)
    runs_by(night, machine.wall)
    night.burns()
    machine.set_by = HOUR
    night.through(seconds=10)
    assert len(night.events(ev.AckDeadlineMissed)) == 1, "four minutes early"
    machine.set_by = -HOUR
    night.through(minutes=30)
    assert len(night.events(ev.AckDeadlineMissed)) == 1, "and the next one an hour late"


def test_when_nothing_is_running_any_more_the_wall_clock_is_followed(night: Night) -> None:
    machine = Machine(night.clock)
    clock = machine.steady()
    runs_by(night, clock)
    night.burns()
    machine.set_by = -HOUR
    night.through(minutes=1)
    night.app._mind(clock)
    assert clock.apart == -HOUR
    night.recovers()
    night.types(MAYA, "/incident ack", night.incident.channel)
    night.types(MAYA, "/incident resolve Rolled back.", night.incident.channel)
    night.through(minutes=1)
    night.app._mind(clock)
    assert not clock.apart
    night.through(hours=1, seconds=30)
    night.burns("f2", model_name="qwen-32b")
    night.through(minutes=6)
    assert len(night.events(ev.AckDeadlineMissed)) == 1


CHANGES = {
    "the hour that comes twice": datetime(2026, 10, 25, 0, 57, tzinfo=UTC),
    "the hour that is left out": datetime(2027, 3, 28, 0, 57, tzinfo=UTC),
    "the leap day": datetime(2028, 2, 28, 22, 57, tzinfo=UTC),
    "the new year": datetime(2026, 12, 31, 22, 57, tzinfo=UTC),
}


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("name", CHANGES)
def test_in_such_a_night_people_are_called_as_in_any_other(night: Night, name: str) -> None:
    night.clock.now = CHANGES[name]
    night.after(seconds=1)
    night.burns()
    night.through(minutes=4, seconds=45)
    assert night.events(ev.AckDeadlineMissed) == []
    night.through(minutes=11)
    assert [event.level for event in night.events(ev.AckDeadlineMissed)] == [1, 2, 3]
    opened = night.incident.opened_at
    assert timedelta(minutes=15) <= night.clock.now - opened < timedelta(minutes=17)


def fake_time(folder: Path) -> dict[str, str]:
    """The environment in which a process goes by the offset that `set_clock` has written."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("needs faketime")
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(folder / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def set_clock(folder: Path, offset: str) -> None:
    fresh = folder / "clock.new"
    fresh.write_text(f"{offset}\n", encoding="ascii")
    os.replace(fresh, folder / "clock")


def test_a_process_whose_clock_is_set_back_an_hour_goes_on_as_before(tmp_path: Path) -> None:
    environment = fake_time(tmp_path)
    set_clock(tmp_path, "+0")
    with started(tmp_path, environment=environment, more='\n[deadlines]\nacknowledge = "8s"\n') as bot:
        began = time.monotonic()
        assert bot.street.alerts(webhook([alert("f1")])).status == 200
        eventually(lambda: bot.bench.pagerduty.incidents)
        set_clock(tmp_path, "-1h")

        def called() -> bool:
            channels = bot.bench.workspace.state.channels.values()
            return any("Nobody has INC-1" in told(message) for one in channels for message in one.messages)

        eventually(called)
        assert time.monotonic() - began > 7, "nor early"
        (line,) = bot.logged("clock_was_set")
        assert -3_610 < line["seconds"] < -3_590
        eventually(lambda: bot.health("/health/engine")[0] == 200)
        assert bot.street.alerts(webhook([alert("f2")])).status == 200
        assert bot.child.running
        assert not bot.logged("engine_bug")


@pytest.mark.parametrize("setting", ["+1h", "-1h"])
def test_what_a_terminal_decides_after_the_clock_was_set_is_carried_out_at_once(tmp_path: Path, setting: str) -> None:
    environment = fake_time(tmp_path)
    set_clock(tmp_path, "+0")
    with started(tmp_path, environment=environment) as bot:
        assert bot.street.alerts(webhook([alert("f1")])).status == 200
        eventually(lambda: bot.bench.pagerduty.incidents)
        set_clock(tmp_path, setting)
        eventually(lambda: bot.logged("clock_was_set"))
        typed = ["ack", "INC-1", "--reason", "Slack is down", "--config", str(bot.bench.bot_config)]
        subprocess.run(
            [sys.executable, "-m", "bot.cli", *typed], env={**os.environ, **environment}, check=True, timeout=60
        )
        eventually(lambda: [page.status for page in bot.bench.pagerduty.incidents] == ["acknowledged"])


def test_a_note_of_the_clock_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    note, file = Note(tmp_path / "fixfirst.db"), tmp_path / "fixfirst.db.clock"
    assert note.read() == timedelta()
    note.write(-HOUR)
    assert note.read() == -HOUR
    for garbage in (b"", b"soon", b"nan", b"1e400", b"\xff"):
        file.write_bytes(garbage)
        assert note.read() == timedelta()
    note.write(timedelta())
    assert list(tmp_path.iterdir()) == []
    file.mkdir()
    note.write(HOUR)


def test_on_postgresql_a_server_whose_own_clock_is_wrong_goes_by_the_databases(
    tmp_path: Path, postgres: PostgreSQL
) -> None:
    set_clock(tmp_path, "+10m")
    url = postgres.new()
    with started(tmp_path, environment={**fake_time(tmp_path), "FIXFIRST_DATABASE": url}) as bot:
        assert bot.street.alerts(webhook([alert("f1")])).status == 200
        eventually(lambda: bot.bench.pagerduty.incidents)
        engine = create_engine(url)
        with engine.connect() as connection:
            told = connection.exec_driver_sql(
                "SELECT (SELECT max(recorded_at) FROM event), (SELECT max(created_at) FROM outbox),"
                " (SELECT max(beat_at) FROM server), clock_timestamp()"
            )
            *ours, theirs = told.one()
            assert all(abs(moment - theirs) < timedelta(minutes=1) for moment in ours), ours
        engine.dispose()
