"""Who stood still comes back late: it does nothing that another has, and ends what it should not have begun."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.contracts import Attempt, Delivered, Transient
from bot.incident import commands as cmd
from bot.incident.effects import CallSecond, Effect, StopPaging
from bot.incident.events import Severity
from bot.incident.state import Incident
from bot.journal.servers import LEASE
from bot.outbox import Outbox
from tests.engine.pair import Recorder, both_known, everything_is_carried_out, live_on, paged, takes, waiting_pages
from tests.hands import suspended
from tests.journal.conftest import MAYA, House


class Standstill:
    """A counter of seconds that jumps when told to, as a stopped process sees it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def says(house: House, kind: type[cmd.Command], **fields: Any) -> None:
    """Somebody does something to the newest incident."""
    (newest,) = house.journal.recent(1)
    common: dict[str, Any] = {"incident": newest.id, "at": house.clock(), "source": "slack", "by": MAYA}
    house.desk.handle(kind(**common, **fields, key=f"{kind.__name__}:{house.clock()}"))


QUIET: dict[str, Any] = {
    "group_key": "g",
    "firing": 0,
    "resolved": 1,
    "new": 0,
    "title": "llama-70b fails",
    "severity": Severity.SEV1,
}
"""What alerts say when they have stopped."""


class Wakes(Recorder):
    """Sends the page, and then stands still while another does its work and the round comes to its end."""

    def __init__(self, other: House, counter: Standstill, ends: str, answer: Exception | None = None) -> None:
        super().__init__()
        self.other, self.counter, self.ends, self.answer = other, counter, ends, answer
        self.theirs = Recorder()

    def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:
        house = self.other
        self.counter.now += 60
        live_on(house.clock, timedelta(seconds=10), house)
        Outbox(house.desk, {"pager": self.theirs}).deliver(attempt.key)
        says(house, cmd.Acknowledge)
        if self.ends in ("over", "back again"):
            says(house, cmd.ReportAlerts, **QUIET)
            says(house, cmd.Resolve, reason="it is over")
        if self.ends == "back again":
            house.clock.after(seconds=1)
            says(house, cmd.ReportAlerts, **{**QUIET, "firing": 1, "resolved": 0, "new": 1})
        everything_is_carried_out(house, self.theirs)
        if self.answer is not None:
            raise self.answer
        return []


def test_who_stood_still_with_a_job_in_hand_does_nothing_once_another_has_it(pair: tuple[House, House]) -> None:
    stops, other = pair
    page = paged(stops)
    both_known(stops, other)
    counter, theirs = Standstill(), Recorder()

    def stands_still() -> None:
        counter.now += 60
        live_on(other.clock, timedelta(seconds=10), other)
        Outbox(other.desk, {"pager": theirs}).deliver(page.id)

    ours = Recorder(stands_still)
    with capture_logs() as lines:
        Outbox(stops.desk, {"pager": ours}, counter).deliver(page.id)
    assert (ours.acted, theirs.acted) == ([], [page.effect])
    assert [line["event"] for line in lines if line["log_level"] != "debug"] == ["taken_over"]


def test_who_was_suspended_with_its_machine_does_nothing_once_another_has_it(
    pair: tuple[House, House], monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeps, other = pair
    page = paged(sleeps)
    both_known(sleeps, other)
    theirs = Recorder()

    def sleeps_on() -> None:
        suspended(monkeypatch, 60)
        live_on(other.clock, timedelta(seconds=10), other)
        Outbox(other.desk, {"pager": theirs}).deliver(page.id)

    ours = Recorder(sleeps_on)
    Outbox(sleeps.desk, {"pager": ours}).deliver(page.id)
    assert (ours.acted, theirs.acted) == ([], [page.effect])


def test_who_stood_still_and_was_not_replaced_goes_on_and_holds_the_job_for_longer(pair: tuple[House, House]) -> None:
    stops, other = pair
    page = paged(stops)
    both_known(stops, other)
    counter = Standstill()
    until: list[datetime] = []

    def stands_still() -> None:
        counter.now += 10
        stops.clock.after(seconds=10)

    class Looks(Recorder):
        def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:
            events = super().deliver(effect, incident, attempt)
            stops.journal.beat()
            live_on(other.clock, LEASE - timedelta(seconds=5), stops, other)
            until.extend(job.created_at for job in [takes(other, page)] if job)
            return events

    ours = Looks(stands_still)
    Outbox(stops.desk, {"pager": ours}, counter).deliver(page.id)
    assert ours.acted == [page.effect]
    assert until == [], "45 s are counted from when it last looked"


@pytest.mark.parametrize(
    ("ends", "answer", "then"),
    [
        ("over", None, ["StopPaging"]),
        ("back again", None, ["StopPaging"]),
        ("over", Transient("no answer", ambiguous=True), ["StopPaging"]),
        ("back again", Transient("no answer", ambiguous=True), ["StopPaging"]),
        ("over", Transient("429"), []),
        ("taken", None, []),
    ],
)
def test_a_page_that_got_out_when_its_round_was_over_is_ended_once_more(
    pair: tuple[House, House], ends: str, answer: Exception | None, then: list[str]
) -> None:
    """Nobody can ask between the last byte and the standstill; who wakes then knows that it came too late."""
    stops, other = pair
    page = paged(stops)
    both_known(stops, other)
    counter = Standstill()
    wakes = Wakes(other, counter, ends, answer)
    Outbox(stops.desk, {"pager": wakes}, counter).deliver(page.id)
    acted = [(type(effect).__name__, getattr(effect, "generation", 0)) for effect in wakes.theirs.acted]
    ended = [("StopPaging", 1)] if ends != "taken" else []
    again = [("Page", 2)] if ends == "back again" else []
    assert acted == [("Page", 1), ("AcknowledgePage", 1), *ended, *again]
    left = waiting_pages(stops)
    assert [(type(job.effect).__name__, getattr(job.effect, "generation", 0)) for job in left] == [
        (name, 1) for name in then
    ]


def test_a_call_for_a_second_person_that_the_end_overtook_is_ended_too(pair: tuple[House, House]) -> None:
    """It has a lane of its own, so that no page waits for it, and neither does the end."""
    house, _ = pair
    paged(house)
    theirs = Recorder()
    everything_is_carried_out(house, theirs)
    (live,) = house.journal.live()
    house.journal.write(lambda txn: txn.enqueue(live.id, [CallSecond(1, 1)])).result()
    (call,) = waiting_pages(house)

    def ends() -> None:
        says(house, cmd.Resolve, reason="it is over", despite_firing=True)
        everything_is_carried_out(house, theirs)

    Outbox(house.desk, {"pager": Recorder(ends)}).deliver(call.id)
    assert [type(effect).__name__ for effect in theirs.acted] == ["Page", "StopPaging"]
    assert [job.effect for job in waiting_pages(house)] == [StopPaging(1)]
