"""A server that is gone while it holds something: another takes it over soon, and only then."""

from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path

import pytest

from bot.contracts import Attempt, Delivered, Transient
from bot.engine.local import LocalEngine
from bot.engine.work import Work
from bot.incident.effects import Effect
from bot.incident.state import Incident
from bot.journal import Job, Txn
from bot.journal.servers import BEAT_EVERY, DEAD_AFTER, LEASE, beat
from bot.outbox import SURE_FOR_S, Outbox
from tests.databases import PostgreSQL
from tests.engine.pair import Recorder, both_known, live_on, paged, servers_of, takes, waiting_pages
from tests.engine.replica import until
from tests.journal.conftest import House


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
    tmp_path: Path, postgres: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a statement that waits for a row sees of other rows, beats too, is from before it waited."""
    for limit in ("IDLE_TIMEOUT_MS", "LOCK_TIMEOUT_MS", "STATEMENT_TIMEOUT_MS"):
        monkeypatch.setattr(f"bot.journal.database.{limit}", 60_000)
    with servers_of(tmp_path, postgres.new()) as (silent, lives):
        page = paged(silent)
        both_known(silent, lives)
        live_on(lives.clock, timedelta(seconds=10), lives)
        silent.journal.write(lambda txn: txn.standing()).result()  # the database is known, and nobody waits for that
        theirs: list[Future[Job | None]] = []

        def claims(txn: Txn) -> Job | None:
            taken = txn.claim(page.id, txn.now + LEASE)
            theirs.append(lives.journal.write(lambda other: other.claim(page.id, other.now + LEASE)))
            until(lambda: txn.direct.raw("SELECT count(*) FROM pg_locks WHERE NOT granted", {}))
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
