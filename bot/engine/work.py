"""What there is to do and by whose hands: the same for every engine, however it came to hear of it."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import structlog

from bot.desk import Desk
from bot.incident.effects import Effect, Page, PageEffect, pager_named
from bot.journal import Busy, Job, Txn, Unreadable
from bot.outbox import LONGEST_REST, Outbox

log = structlog.get_logger()

WORKERS: Final = {
    "pager": 2,
    "slack": 4,
    "runbook": 2,
    "proof": 2,
    "recovery": 1,
    "health": 1,
    "changes": 1,
    "postmortem": 1,
}
"""Threads per courier: a dead chat can fill only its own. So can a dead pager: whoever stands in for it has as many of
its own, and whoever stands in for that one too. Each has as many again for all that is no page, so that a page waits
for no call for a second person: PagerDuty takes these by another API, which may hang by itself."""
GROUP_PAUSE: Final = timedelta(seconds=1)
"""A group's news are worked in at most this often once it has an incident: a storm edits one card, not a thousand."""
AGAIN_EVERY: Final = timedelta(seconds=0.25)
"""Between two groups worked in before, over all groups: each such work edits a card, and Slack takes about one edit a
second for long (chat.update is Tier 3, 50 a minute and more), so a storm over many groups edits each more seldom."""
AGAIN_AT_ONCE: Final = timedelta(seconds=1)
"""So much of it may be saved up: after a quiet moment four groups need not wait for each other."""
DRAINS_AT_ONCE: Final = 50
"""Groups worked in between two looks at deadlines and pages: some tenths of a second. After a storm that came while
nobody was there, thousands may wait."""
KEEP_DELIVERED: Final = timedelta(days=7)
NOTHING: Final = timedelta(0)

Run = Callable[[Callable[[], object]], object]
"""Carries one piece of work out."""


def plainly(work: Callable[[], object]) -> None:
    """Trouble is the caller's, save that of an incident that cannot be read: what it is about waits."""
    with suppress(Unreadable):
        work()


def safely(work: Callable[[], object]) -> bool:
    """One group's or one incident's trouble must not stop the work for all others: it is logged, and they go on.

    Gives whether all went well.
    """
    try:
        work()
    except Busy as busy:
        log.warning("journal_busy", reason=str(busy))
    except Unreadable:
        pass  # the audit names it; what it is about waits, and is tried again
    except Exception as bug:
        log.error("engine_bug", exc_info=bug)
    else:
        return True
    return False


class Work:
    """Drains the inbox, fires timers, and hands the outbox to each courier's own threads. Thread-safe."""

    def __init__(self, desk: Desk, outbox: Outbox) -> None:
        self.desk = desk
        self.outbox = outbox
        self.journal = desk.journal
        self._clock: Callable[[], datetime] = desk.journal.clock
        pagers = [PageEffect.courier, *map(pager_named, desk.policy.pagers[1:])]
        theirs = [*pagers, *map(_calls_of, pagers)]
        self._threads = {**WORKERS, **dict.fromkeys(theirs, WORKERS[PageEffect.courier])}
        self._pools = {name: ThreadPoolExecutor(size, f"courier-{name}") for name, size in self._threads.items()}
        self._guard = threading.Lock()
        self._flying: dict[str, str] = {}
        self._pacing = threading.Lock()
        self._drained: dict[str, datetime] = {}
        self._again_from = datetime.min.replace(tzinfo=UTC)

    @property
    def threads(self) -> int:
        """How many threads all couriers have together."""
        return sum(self._threads.values())

    def stop(self) -> None:
        """Finishes what couriers have in hand and gives up the rest."""
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)

    def take_over(self) -> None:
        """Gives back what an earlier process had claimed, and reckons deadlines by the settings of today.

        Where others may be at work, what somebody has claimed is theirs while they live. The clock, the machine's or
        the database's, may have been set back since.
        """

        def take_over(txn: Txn) -> None:
            if self.journal.is_ours_alone:
                txn.release_all()
            txn.hasten(txn.now + LONGEST_REST)
            txn.refresh_due()

        self.journal.write(take_over).result()
        self.journal.pulse.was_set_back = False

    def turn(self) -> int:
        """All of it once, on the caller's thread: how many things were done."""
        done, _ = self.drain_all(plainly)
        done += self.fire(plainly)
        self.outbox.give_back()
        for job in self.outbox.ready():
            self.outbox.deliver(job.id)
            done += 1
        return done

    def pace(self, group_key: str) -> timedelta:
        """How long the group's news have to wait; nothing means now, and then they are reckoned as worked in."""
        now = self._clock()
        with self._pacing:
            last = self._drained.get(group_key)
            if self._again_from - now > AGAIN_EVERY:  # our clock was set back
                self._again_from = now
            if last is not None:
                wait = max(GROUP_PAUSE - abs(now - last), self._again_from - now)
                if wait > NOTHING:
                    return wait
                self._again_from = max(self._again_from, now - AGAIN_AT_ONCE) + AGAIN_EVERY
            self._drained[group_key] = now
            if len(self._drained) > 10_000:
                self._drained = {key: at for key, at in self._drained.items() if now - at < GROUP_PAUSE}
            return NOTHING

    def drain_all(self, run: Run) -> tuple[int, timedelta | None]:
        """Works in the news of groups that may be, the longest waiting first: of how many, and how long the next waits.

        Of no more than DRAINS_AT_ONCE; where there are more, their commits bring the caller back.
        """
        drained, waits = 0, []
        for group_key in self.journal.waiting_groups():
            if drained == DRAINS_AT_ONCE:
                break
            if wait := self.pace(group_key):
                waits.append(wait)
                continue
            run(self.desk.drain(group_key).result)
            drained += 1
        return drained, min(waits, default=None)

    def fire(self, run: Run) -> int:
        """Looks at every incident whose time has come; how many those were."""
        due = self.journal.due(self._clock())
        for incident_id in due:
            run(self.desk.check_timers(incident_id).result)
        return len(due)

    def dispatch(self, landed: Callable[[], None]) -> None:
        """Hands everything that is ready to the couriers' threads; `landed` is called after each."""
        for job in self.outbox.ready():
            self.hand_out(job, landed)

    def hand_out(self, job: Job, landed: Callable[[], None], *, at_once: bool = False) -> Future[None] | None:
        """Hands one job to its courier's threads.

        None when it is in their hands already, or when it is wanted `at_once` and none of them is free.
        """
        pool = self._pool_of(job.effect)
        with self._guard:
            busy = sum(held == pool for held in self._flying.values())
            if job.id in self._flying or (at_once and busy >= self._threads[pool]):
                return None
            self._flying[job.id] = pool
        future = self._pools[pool].submit(self.outbox.deliver, job.id)
        future.add_done_callback(partial(self._landed, job.id, landed))
        return future

    def _pool_of(self, effect: Effect) -> str:
        carrier = effect.carrier()
        name = carrier if carrier in self._pools else effect.courier  # a pager may have gone from the configuration
        return _calls_of(name) if isinstance(effect, PageEffect) and not isinstance(effect, Page) else name

    def _landed(self, job_id: str, landed: Callable[[], None], done: Future[None]) -> None:
        with self._guard:
            self._flying.pop(job_id, None)
        error = None if done.cancelled() else done.exception()
        if isinstance(error, Busy):
            log.warning("journal_busy", job=job_id, reason=str(error))  # the next look gives it back
        elif error is not None:
            log.error("courier_bug", job=job_id, exc_info=error)
        landed()

    def tidy(self) -> None:
        """Forgets what was carried out long ago, and changes that nobody asks for any more."""

        def forget(txn: Txn) -> None:
            txn.tidy(txn.now - KEEP_DELIVERED)
            txn.forget_changes(txn.now - self.desk.policy.changes_kept)

        self.journal.write(forget, urgent=False).result()


def _calls_of(pager: str) -> str:
    return f"{pager}: calls"
