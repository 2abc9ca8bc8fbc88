"""A server that is gone, or stands still, while it holds something: another takes it over soon, and only then."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.contracts import Attempt, Delivered, Transient
from bot.engine.local import LocalEngine
from bot.engine.work import Work
from bot.incident import commands as cmd
from bot.incident.effects import AcknowledgePage, CallSecond, Effect, Page, StopPaging
from bot.incident.events import Severity
from bot.incident.state import Incident
from bot.journal import Job, Txn
from bot.journal.servers import BEAT_EVERY, DEAD_AFTER, LEASE, beat
from bot.outbox import SURE_FOR_S, Outbox
from tests.databases import PostgreSQL
from tests.engine.replica import until
from tests.hands import HandClock, suspended
from tests.journal.conftest import MAYA, House


@contextmanager
def servers_of(folder: Path, url: str) -> Iterator[tuple[House, House]]:
    """Two servers on one database, with one clock."""
    clock = HandClock()
    first = House(folder, url, clock)
    second = House(folder, first.url, clock)
    yield first, second
    for house in (first, second):
        house.journal.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[House, House]]:
    """On both databases: the rule is the same."""
    url = request.getfixturevalue("postgres").new() if request.param == "postgresql" else ""
    with servers_of(tmp_path, url) as pair:
        yield pair


def live_on(clock: HandClock, span: timedelta, *alive: House) -> None:
    """Time passes, and who is alive says so."""
    end = clock.now + span
    while clock.now < end:
        clock.now = min(end, clock.now + BEAT_EVERY)
        for house in alive:
            house.journal.beat()


def paged(house: House) -> Job:
    """An incident whose page waits."""
    house.receive(house.alert("first"))
    house.drain()
    return next(job for job in house.journal.ready_jobs(house.clock()) if isinstance(job.effect, Page))


def takes(house: House, job: Job) -> Job | None:
    return house.journal.write(lambda txn: txn.claim(job.id, txn.now + LEASE)).result()


def both_known(first: House, second: House) -> None:
    live_on(first.clock, 2 * DEAD_AFTER, first, second)


def test_what_a_dead_server_held_is_free_before_ten_seconds_have_passed(pair: tuple[House, House]) -> None:
    dies, lives = pair
    page = paged(dies)
    both_known(dies, lives)
    held = takes(dies, page)
    assert held is not None
    live_on(lives.clock, DEAD_AFTER - BEAT_EVERY, lives)
    assert takes(lives, page) is None
    live_on(lives.clock, 2 * BEAT_EVERY, lives)
    assert page.id in [job.id for job in lives.journal.ready_jobs(lives.clock())]
    taken = takes(lives, page)
    assert taken is not None
    assert taken.attempts == 2
    assert not dies.journal.write(lambda txn: txn.finish(held)).result(), "it counts no more"
    assert lives.journal.write(lambda txn: txn.finish(taken)).result()


def test_what_a_living_server_holds_is_its_own_until_the_lease_is_over(pair: tuple[House, House]) -> None:
    holds, other = pair
    page = paged(holds)
    both_known(holds, other)
    assert takes(holds, page) is not None
    live_on(other.clock, LEASE - BEAT_EVERY, holds, other)
    assert takes(other, page) is None
    live_on(other.clock, 2 * BEAT_EVERY, holds, other)
    assert takes(other, page) is not None


def test_after_the_database_was_away_nobody_is_dead_for_having_been_silent(pair: tuple[House, House]) -> None:
    holds, other = pair
    page = paged(holds)
    both_known(holds, other)
    assert takes(holds, page) is not None
    other.clock.after(seconds=20)
    other.journal.beat()
    assert takes(other, page) is None, "the other has only just come back itself"
    live_on(other.clock, DEAD_AFTER - BEAT_EVERY, holds, other)
    assert takes(other, page) is None


def test_who_was_cut_off_and_claims_before_it_beats_has_what_it_claims(pair: tuple[House, House]) -> None:
    silent, lives = pair
    page = paged(silent)
    both_known(silent, lives)
    live_on(lives.clock, timedelta(seconds=10), lives)
    ours = takes(silent, page)
    assert ours is not None
    assert takes(lives, page) is None
    assert page.id not in [job.id for job in lives.journal.ready_jobs(lives.clock())]
    lives.clock.after(seconds=SURE_FOR_S)
    assert takes(lives, page) is None, "for so long it asks nobody"
    assert silent.journal.write(lambda txn: txn.finish(ours)).result()


def test_who_was_cut_off_and_dies_with_what_it_claimed_is_replaced_all_the_same(pair: tuple[House, House]) -> None:
    silent, lives = pair
    page = paged(silent)
    both_known(silent, lives)
    live_on(lives.clock, timedelta(seconds=10), lives)
    assert takes(silent, page) is not None
    live_on(lives.clock, DEAD_AFTER, lives)
    assert takes(lives, page) is not None


def test_who_waits_for_the_row_that_a_silent_server_claims_does_not_get_it_after_that(
    tmp_path: Path, postgres: PostgreSQL
) -> None:
    """What a statement that waits for a row sees of other rows, beats too, is from before it waited."""
    with servers_of(tmp_path, postgres.new()) as (silent, lives):
        page = paged(silent)
        both_known(silent, lives)
        live_on(lives.clock, timedelta(seconds=10), lives)
        silent.journal.write(lambda txn: txn.standing()).result()  # the database is known, and nobody waits for that
        theirs: list[Future[Job | None]] = []

        def claims(txn: Txn) -> Job | None:
            taken = txn.claim(page.id, txn.now + LEASE)
            theirs.append(lives.journal.write(lambda other: other.claim(page.id, other.now + LEASE)))
            until(lambda: txn.direct.raw("SELECT count(*) FROM pg_locks WHERE NOT granted", {}), within_s=1.5)
            beat(txn.direct, txn.workspace, silent.journal.server, txn.now)
            return taken

        assert silent.journal.write(claims).result() is not None
        assert theirs[0].result() is None


@pytest.mark.parametrize("pair", ["postgresql"], indirect=True)
def test_when_the_databases_clock_was_set_back_an_hour_what_a_dead_server_held_is_free_as_soon_as_ever(
    pair: tuple[House, House],
) -> None:
    dies, lives = pair
    page = paged(dies)
    both_known(dies, lives)
    takes(dies, page)
    lives.clock.now -= timedelta(hours=1)
    lives.journal.beat()
    assert lives.journal.pulse.was_set_back
    Work(lives.desk, Outbox(lives.desk, {})).take_over()
    live_on(lives.clock, DEAD_AFTER - BEAT_EVERY, lives)
    assert takes(lives, page) is None, "it was not silent for long enough by anybody's clock"
    live_on(lives.clock, 2 * BEAT_EVERY, lives)
    assert takes(lives, page) is not None


@pytest.mark.parametrize("pair", ["postgresql"], indirect=True)
def test_when_the_databases_clock_was_set_back_an_hour_a_page_that_waits_goes_out_at_once(
    pair: tuple[House, House],
) -> None:
    house, _ = pair
    page = paged(house)

    class Slow(Recorder):
        def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:
            super().deliver(effect, incident, attempt)
            if len(self.acted) == 1:
                raise Transient("come back in ten minutes", retry_after=600)
            return []

    pager = Slow()
    engine = LocalEngine(house.desk, Outbox(house.desk, {"pager": pager}))
    engine.start()
    try:
        until(lambda: pager.acted == [page.effect])
        until(lambda: not waiting_pages(house))
        house.clock.now -= timedelta(hours=1)
        until(lambda: pager.acted == [page.effect, page.effect])
    finally:
        engine.stop()


def test_a_server_that_has_just_begun_judges_nobody(pair: tuple[House, House]) -> None:
    dies, begins = pair
    page = paged(dies)
    dies.journal.beat()
    assert takes(dies, page) is not None
    begins.clock.after(seconds=20)
    begins.journal.beat()
    assert takes(begins, page) is None
    live_on(begins.clock, DEAD_AFTER, begins)
    assert takes(begins, page) is not None


def test_servers_are_known_while_they_live_and_gone_when_they_sign_off(pair: tuple[House, House]) -> None:
    first, second = pair
    both_known(first, second)
    assert set(second.journal.servers()) == {first.journal.server, second.journal.server}
    first.journal.sign_off()
    assert second.journal.servers() == [second.journal.server]


class Recorder:
    """A courier that notes what it was asked; `before` happens when it is about to look whether it may."""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self.before = before
        self.acted: list[Effect] = []

    def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:
        self.before()
        attempt.still_ours()
        self.acted.append(effect)
        return []


class Standstill:
    """A counter of seconds that jumps when told to, as a stopped process sees it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


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


def says(house: House, kind: type[cmd.Command], **fields: Any) -> None:
    """Somebody does something to the newest incident."""
    (newest,) = house.journal.recent(1)
    common: dict[str, Any] = {"incident": newest.id, "at": house.clock(), "source": "slack", "by": MAYA}
    house.desk.handle(kind(**common, **fields, key=f"{kind.__name__}:{house.clock()}"))


def waiting_pages(house: House) -> list[Job]:
    return [job for job in Outbox(house.desk, {}).ready() if job.effect.courier == "pager"]


def everything_is_carried_out(house: House, pager: Recorder) -> None:
    while waiting := waiting_pages(house):
        Outbox(house.desk, {"pager": pager}).deliver(waiting[0].id)


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


QUIET: dict[str, Any] = {
    "group_key": "g",
    "firing": 0,
    "resolved": 1,
    "new": 0,
    "title": "llama-70b fails",
    "severity": Severity.SEV1,
}
"""What alerts say when they have stopped."""


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


def test_a_call_waits_for_what_was_said_before_it_and_no_page_waits_for_a_call(pair: tuple[House, House]) -> None:
    house, _ = pair
    page = paged(house)

    def enqueue(*effects: Effect) -> list[str]:
        house.journal.write(lambda txn: txn.enqueue(page.incident, effects)).result()
        return [type(job.effect).__name__ for job in waiting_pages(house)]

    assert enqueue(CallSecond(1, 1)) == ["Page"], "its turn comes when the page is out"
    Outbox(house.desk, {"pager": Recorder()}).deliver(page.id)
    assert enqueue(AcknowledgePage(1)) == ["CallSecond", "AcknowledgePage"]
    assert enqueue(CallSecond(1, 2)) == ["CallSecond", "AcknowledgePage"], "calls go one after another"
    everything_is_carried_out(house, theirs := Recorder())
    assert theirs.acted[-1] == CallSecond(1, 2)


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


def test_who_stood_still_and_looks_before_it_beats_has_what_it_holds(pair: tuple[House, House]) -> None:
    stops, other = pair
    page = paged(stops)
    both_known(stops, other)
    held = takes(stops, page)
    assert held is not None
    other.journal.sign_off()
    stops.clock.after(seconds=30)
    begins = House(stops.folder, stops.url, stops.clock)
    live_on(begins.clock, DEAD_AFTER - BEAT_EVERY, begins)
    assert stops.journal.write(lambda txn: txn.hold(held, txn.now + LEASE)).result()
    live_on(begins.clock, timedelta(seconds=SURE_FOR_S), begins)
    assert takes(begins, page) is None
    begins.journal.close()


def test_a_second_job_of_a_lane_cannot_be_taken_before_the_first_is_over(postgres: PostgreSQL, tmp_path: Path) -> None:
    house = House(tmp_path, postgres.new())
    paged(house)
    jobs = house.journal.ask(lambda direct, _: direct.raw("SELECT json_agg(o ORDER BY position) FROM outbox o", {}))
    lanes: dict[str, list[str]] = {}
    for job in jobs:
        lanes.setdefault(f"{job['courier']}:{job['lane']}", []).append(job["id"])
    first, second = next(ids for ids in lanes.values() if len(ids) > 1)[:2]

    def claim(job: str) -> Job | None:
        return house.journal.write(lambda txn: txn.claim(job, txn.now + LEASE)).result()

    assert claim(second) is None
    head = claim(first)
    assert head is not None
    house.journal.write(lambda txn: txn.postpone(head, txn.now + LEASE, "later", warned=False)).result()
    assert claim(second) is None, "not even while the first waits to be tried again"
    house.journal.close()
