"""Parts of the world fail for a while: the page still goes out, nothing is doubled on return, and the card says so."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bot.contracts import Attempt, Delivered
from bot.engine.local import Chore, LocalEngine
from bot.incident.effects import Effect
from bot.incident.state import Incident, Status
from bot.journal import Busy
from bot.outbox import Outbox, pause
from bot.workbench.slack.faults import Fault
from bot.workbench.slack.model import Message
from tests.doors.house import NOW, open_house
from tests.doors.house import alert as house_alert
from tests.doors.house import webhook as house_webhook
from tests.story.night import INTAKE, MAYA, Night, alert, open_night, told


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    with open_night(tmp_path) as night:
        night.foretold |= {"service_unavailable", "ratelimited", "fatal_error", "internal_error", "name_taken"}
        yield night


def cards(night: Night, channel: str, surface: str) -> list[Message]:
    """The cards of this kind, by the mark that every message of the bot's carries."""
    marks = [(m, (m.metadata or {}).get("event_payload", {})) for m in night.messages(channel)]
    return [message for message, mark in marks if mark.get("surface") == surface]


def test_while_slack_is_down_the_page_goes_out_and_on_return_there_is_one_of_everything(night: Night) -> None:
    night.bench.workspace.faults.down = True
    night.alerts(alert())
    assert night.pages() == [("1", "triggered")]
    for _ in range(10):
        night.after(seconds=30)
    assert cards(night, INTAKE, "intake") == []
    night.bench.workspace.faults.clear()
    night.after(minutes=2)
    assert len(cards(night, INTAKE, "intake")) == 1
    assert len(cards(night, night.incident.channel, "incident")) == 1
    assert [c.name for c in night.bench.workspace.state.channels.values() if c.name.startswith("inc-1-")] != []
    assert night.pages() == [("1", "triggered")]
    assert night.incident.troubles == ()


@pytest.mark.parametrize(
    ("fault", "method"),
    [
        (Fault.LOST_ANSWER, "chat.postMessage"),
        (Fault.DONE_DROP, "chat.postMessage"),
        (Fault.DROP, "chat.postMessage"),
        (Fault.LOST_ANSWER, "conversations.create"),
        (Fault.DONE_DROP, "conversations.create"),
        (Fault.LOST_ANSWER, "chat.update"),
        (Fault.RATELIMITED, "*"),
        (Fault.SERVER_ERROR, "*"),
    ],
)
def test_after_an_answer_that_never_came_there_is_one_of_everything(night: Night, fault: Fault, method: str) -> None:
    night.bench.workspace.faults.plan(fault, method, times=2)
    night.alerts(alert())
    for _ in range(4):
        night.after(seconds=10)
    night.types(MAYA, "/incident note the queue is long", night.incident.channel)
    night.after(seconds=10)
    assert len(cards(night, INTAKE, "intake")) == 1
    assert len(cards(night, night.incident.channel, "incident")) == 1
    assert len([c for c in night.bench.workspace.state.channels.values() if c.name.startswith("inc-")]) == 1
    told_about = [(m.metadata or {}).get("event_payload", {}).get("entry") for m in night.messages()]
    entries = [entry for entry in told_about if entry]
    assert len(entries) == len(set(entries))
    assert night.app.journal.numbers()["outbox"]["states"].get("waiting", 0) == 0


def test_a_channel_that_is_slowed_down_slows_no_other(night: Night) -> None:
    night.alerts(alert())
    first = night.incident
    night.alerts(alert("f2", model_name="qwen-32b"))
    second = night.incident
    night.after(seconds=5)
    night.bench.workspace.faults.plan(Fault.RATELIMITED, "chat.postMessage", retry_after=30)
    night.types(MAYA, "/incident update we are looking at llama", first.channel)
    night.types(MAYA, "/incident update we are looking at qwen", second.channel)
    assert night.said("we are looking at qwen", second.channel)
    said = [m for m in night.said("we are looking at llama", first.channel) if "surface" not in mark(m)]
    assert said == []
    night.after(seconds=32)
    said = [m for m in night.said("we are looking at llama", first.channel) if "surface" not in mark(m)]
    assert len(said) == 1


def mark(message: Message) -> dict[str, str]:
    return dict((message.metadata or {}).get("event_payload", {}))


def test_a_page_that_is_not_accepted_for_a_minute_is_on_the_card_until_it_is(night: Night) -> None:
    night.bench.pagerduty.outage = "500"
    night.alerts(alert())
    night.after(seconds=50)
    assert "still trying" not in told(night.card)
    for _ in range(4):
        night.after(seconds=15)
    assert "Could not deliver page by pager" in told(night.card)
    assert "still trying" in told(night.card)
    night.bench.pagerduty.outage = "none"
    night.after(seconds=90)
    assert night.pages() == [("1", "triggered")]
    assert "accepted the page" in told(night.card)
    assert "still trying" not in told(night.card)


@pytest.mark.parametrize("outage", ["500-after", "429", "500"])
def test_a_page_of_unknown_outcome_wakes_people_once(night: Night, outage: str) -> None:
    night.bench.pagerduty.outage = outage  # type: ignore[assignment]
    night.alerts(alert())
    assert night.pager_calls("trigger") == ["trigger"], "the client must not repeat, and sleep, by itself"
    night.after(seconds=5)
    night.bench.pagerduty.outage = "none"
    night.after(seconds=90)
    assert night.pages() == [("1", "triggered")]
    assert len({incident.key for incident in night.bench.pagerduty.incidents}) == 1


def test_a_page_that_somebody_made_needless_while_it_waited_is_not_sent(night: Night) -> None:
    night.bench.pagerduty.outage = "500"
    night.alerts(alert())
    night.types(MAYA, "/incident ack", night.incident.channel)
    night.bench.pagerduty.outage = "none"
    night.after(seconds=90)
    assert night.incident.status is Status.ACKNOWLEDGED
    assert "triggered" not in [status for _, status in night.pages()]


def eventually(holds: Callable[[], object], within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"did not come true within {within} s"
        time.sleep(0.02)


def test_the_engine_outlives_a_database_that_cannot_be_read_for_a_moment(tmp_path: Path) -> None:
    with open_house(tmp_path) as house:
        house.app.engine.start()
        with closing(sqlite3.connect(tmp_path / "data" / "fixfirst.db", isolation_level=None)) as database:
            database.execute("ALTER TABLE inbox RENAME TO hidden")
            house.app.engine.wake()
            eventually(lambda: house.logged("engine_bug", "journal_busy"))
            database.execute("ALTER TABLE hidden RENAME TO inbox")
        assert house.alerts(house_webhook([house_alert()])).status == 200
        eventually(house.app.journal.live)
        house.app.engine.stop()


def test_a_chore_that_finds_the_journal_away_says_so_in_a_line_and_comes_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    times = 0

    def look() -> None:
        nonlocal times
        times += 1
        raise Busy("the journal could not be read")

    with open_house(tmp_path) as house:
        engine = LocalEngine(house.app.desk, house.app.outbox, [Chore(look, every_s=0.01)])
        engine.start()
        eventually(lambda: times >= 2)
        eventually(lambda: house.logged("journal_busy"))
        engine.stop()
    assert [record for record in caplog.records if record.name.startswith("apscheduler")] == []


class Buggy:
    """An integration with a bug: it meets an answer that its author did not foresee."""

    def __init__(self) -> None:
        self.broken = True
        self.delivered = 0

    def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:
        if self.broken:
            raise KeyError("the field that was always there")
        self.delivered += 1
        return []


def test_a_bug_in_an_integration_is_told_and_tried_again_like_any_other_trouble(tmp_path: Path) -> None:
    with open_house(tmp_path) as house:
        buggy = Buggy()
        assert house.alerts(house_webhook([house_alert()])).status == 200
        (group,) = house.app.journal.waiting_groups()
        house.app.desk.drain(group).result(5)
        outbox = Outbox(house.app.desk, {"pager": buggy})
        (page,) = (job for job in outbox.ready() if job.effect.courier == "pager")
        outbox.deliver(page.id)
        assert [line["log_level"] for line in house.logged("courier_bug")] == ["error"]
        assert house.logged("delivery_postponed")
        (waiting,) = (job for job in house.app.journal.ready_jobs(NOW.replace(hour=4)) if job.id == page.id)
        assert (waiting.attempts, waiting.claim) == (1, "")


@pytest.mark.parametrize(
    ("attempts", "asked", "longest", "seconds"),
    [
        (1, None, 60.0, 1),
        (2, None, 60.0, 2),
        (6, None, 60.0, 32),
        (7, None, 60.0, 60),
        (7, None, 10.0, 10),
        (5_000, None, 60.0, 60),
        (7, 30.0, 10.0, 30),
    ],
)
def test_pauses_grow_to_a_limit_however_many_attempts_there_were(
    attempts: int, asked: float | None, longest: float, seconds: float
) -> None:
    assert pause(attempts, asked, 0.0, longest).total_seconds() == seconds
    assert seconds < pause(attempts, asked, 1.0, longest).total_seconds() <= max(seconds * 1.25, seconds + 1)
