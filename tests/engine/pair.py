"""Two servers on one database with one clock, which stands unless a test moves it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from bot.contracts import Attempt, Delivered
from bot.incident.effects import Effect, Page
from bot.incident.state import Incident
from bot.journal import Job
from bot.journal.servers import BEAT_EVERY, DEAD_AFTER, LEASE
from bot.outbox import Outbox
from tests.hands import HandClock
from tests.journal.conftest import House


@contextmanager
def servers_of(folder: Path, url: str) -> Iterator[tuple[House, House]]:
    """Two servers on one database, with one clock."""
    clock = HandClock()
    first = House(folder, url, clock)
    second = House(folder, first.url, clock)
    yield first, second
    for house in (first, second):
        house.journal.close()


def live_on(clock: HandClock, span: timedelta, *alive: House) -> None:
    """Time passes, and who is alive says so."""
    end = clock.now + span
    while clock.now < end:
        clock.now = min(end, clock.now + BEAT_EVERY)
        for house in alive:
            house.journal.beat()


def both_known(first: House, second: House) -> None:
    live_on(first.clock, 2 * DEAD_AFTER, first, second)


def paged(house: House) -> Job:
    """An incident whose page waits."""
    house.receive(house.alert("first"))
    house.drain()
    return next(job for job in house.journal.ready_jobs(house.clock()) if isinstance(job.effect, Page))


def takes(house: House, job: Job) -> Job | None:
    return house.journal.write(lambda txn: txn.claim(job.id, txn.now + LEASE)).result()


def waiting_pages(house: House) -> list[Job]:
    return [job for job in Outbox(house.desk, {}).ready() if job.effect.courier == "pager"]


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


def everything_is_carried_out(house: House, pager: Recorder) -> None:
    while waiting := waiting_pages(house):
        Outbox(house.desk, {"pager": pager}).deliver(waiting[0].id)
