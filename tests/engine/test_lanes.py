"""What waits in one lane goes out one after another, and nothing waits for another lane."""

from pathlib import Path

from bot.incident.effects import AcknowledgePage, CallSecond, Effect
from bot.journal import Job
from bot.journal.servers import LEASE
from bot.outbox import Outbox
from tests.databases import PostgreSQL
from tests.engine.pair import Recorder, everything_is_carried_out, paged, waiting_pages
from tests.journal.conftest import House


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
