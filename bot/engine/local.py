"""The engine for one machine: threads that wake on every commit, and APScheduler as the sweeper behind them."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor as SchedulerPool
from apscheduler.schedulers.background import BackgroundScheduler

from bot.desk import Desk
from bot.journal import Busy, Txn
from bot.outbox import Outbox

log = structlog.get_logger()

STAND_INS: Final = "stand-ins"
WORKERS: Final = {"pager": 2, STAND_INS: 2, "slack": 4, "runbook": 2, "health": 1, "postmortem": 1}
"""Threads per courier: a dead chat can fill only its own, and a dead pager not those of who stands in for it."""
SWEEP_EVERY_S: Final = 1.0
TURN_PAUSE_S: Final = 0.05
"""Between two turns: what was committed meanwhile is looked at together, and nobody notices the delay."""
GRACE_S: Final = 0.01
"""From a commit to the look at what follows from it: whoever waits for its answer in chat gets that first."""
GROUP_PAUSE: Final = timedelta(seconds=1)
"""A group's news are worked in at most this often once it has an incident: a storm edits one card, not a thousand."""
AGAIN_EVERY: Final = timedelta(seconds=0.25)
"""Between two groups worked in before, over all groups: each such work edits a card, and Slack takes about one edit a
second for long (chat.update is Tier 3, 50 a minute and more), so a storm over many groups edits each more seldom."""
AGAIN_AT_ONCE: Final = timedelta(seconds=1)
"""So much of it may be saved up: after a quiet moment four groups need not wait for each other."""
KEEP_DELIVERED: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to do again and again that no incident waits for."""

    work: Callable[[], None]
    every_s: float


Run = Callable[[Callable[[], object]], object]
"""Carries one piece of work out."""


def _plainly(work: Callable[[], object]) -> None:
    work()


def _safely(work: Callable[[], object]) -> bool:
    """One group's or one incident's trouble must not stop the work for all others: the loop goes on, and pages.

    Gives whether all went well.
    """
    try:
        work()
    except Busy as busy:
        log.warning("journal_busy", reason=str(busy))
    except Exception as bug:
        log.error("engine_bug", exc_info=bug)
    else:
        return True
    return False


class LocalEngine:
    """Drains the inbox, delivers the outbox and fires timers. `wake()` may be called from anywhere, however often."""

    def __init__(self, desk: Desk, outbox: Outbox, chores: Sequence[Chore] = ()) -> None:
        self._desk = desk
        self._outbox = outbox
        self._clock: Callable[[], datetime] = desk.journal.clock
        self._pools = {name: ThreadPoolExecutor(size, f"courier-{name}") for name, size in WORKERS.items()}
        self._flying: set[str] = set()
        self._guard = threading.Lock()
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._drained: dict[str, datetime] = {}
        self._again_from = datetime.min.replace(tzinfo=UTC)
        self.last_turn: datetime | None = None
        """When everything there was to do had last been looked at without trouble."""
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self._scheduler = BackgroundScheduler(
            executors={"default": SchedulerPool(2 + len(chores))},  # a chore that hangs must not hold up the sweep
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone="UTC",
        )
        self._scheduler.add_job(self._sweep, "interval", seconds=SWEEP_EVERY_S)
        self._scheduler.add_job(self._tidy, "interval", hours=1)
        for chore in chores:
            self._scheduler.add_job(chore.work, "interval", seconds=chore.every_s)

    def start(self) -> None:
        """Takes over what an earlier process left behind, and begins."""
        self.take_over()
        self._thread.start()
        self._scheduler.start()
        self.wake()

    def take_over(self) -> None:
        """Gives back what an earlier process had claimed, and reckons deadlines by the settings of today.

        Where others may be at work, what somebody has claimed is theirs until the lease is over.
        """
        journal = self._desk.journal

        def take_over(txn: Txn) -> None:
            if journal.is_ours_alone:
                txn.release_all()
            txn.refresh_due()

        journal.write(take_over).result()

    def stop(self) -> None:
        """Finishes what is in hand; what is waiting stays in the journal for the next start."""
        self._scheduler.shutdown(wait=False)
        self._stopping.set()
        self._news.set()
        self._thread.join()
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)
        _safely(self._desk.count_repeats)

    def _sweep(self) -> None:
        _safely(self._desk.count_repeats)
        self.wake()

    def wake(self) -> None:
        """Something may have changed: look."""
        self._news.set()

    def turn(self) -> int:
        """One turn by hand, on the caller's thread, for a process without threads: how many things it did."""
        done = self._drain(_plainly) + self._fire(_plainly)
        for job in self._outbox.ready():
            self._outbox.deliver(job.id)
            done += 1
        self.last_turn = self._clock()
        return done

    def _loop(self) -> None:
        while not self._stopping.is_set():
            self._news.wait()
            self._stopping.wait(GRACE_S)
            self._news.clear()
            if self._stopping.is_set():
                return
            if _safely(self._look):
                self.last_turn = self._clock()
            self._stopping.wait(TURN_PAUSE_S)

    def _look(self) -> None:
        """Does what there is to do. Raises Busy when a part of it could not be looked at; the others are done."""
        if not self._desk.journal.work_waits(self._clock()):
            return
        parts = (lambda: self._drain(_safely), lambda: self._fire(_safely), self._dispatch)
        went_well = [_safely(part) for part in parts]
        if not all(went_well):
            raise Busy("a part of the turn went wrong")

    def _drain(self, run: Run) -> int:
        now, drained = self._clock(), 0
        for group_key in self._desk.journal.waiting_groups():
            last = self._drained.get(group_key)
            if last is not None:
                if now - last < GROUP_PAUSE:
                    continue
                if self._again_from > now:
                    self.wake()
                    continue
                self._again_from = max(self._again_from, now - AGAIN_AT_ONCE) + AGAIN_EVERY
            self._drained[group_key] = now
            run(self._desk.drain(group_key).result)
            drained += 1
        if len(self._drained) > 10_000:
            self._drained = {key: at for key, at in self._drained.items() if now - at < GROUP_PAUSE}
        return drained

    def _fire(self, run: Run) -> int:
        due = self._desk.journal.due(self._clock())
        for incident_id in due:
            run(self._desk.check_timers(incident_id).result)
        return len(due)

    def _dispatch(self) -> None:
        for job in self._outbox.ready():
            with self._guard:
                if job.id in self._flying:
                    continue
                self._flying.add(job.id)
            stands_in = job.effect.carrier() != job.effect.courier
            pool = self._pools[STAND_INS if stands_in else job.effect.courier]
            future = pool.submit(self._outbox.deliver, job.id)
            future.add_done_callback(partial(self._landed, job.id))

    def _landed(self, job_id: str, done: Future[None]) -> None:
        with self._guard:
            self._flying.discard(job_id)
        error = None if done.cancelled() else done.exception()
        if isinstance(error, Busy):
            log.warning("journal_busy", job=job_id, reason=str(error))  # its lease brings it back
        elif error is not None:
            log.error("courier_bug", job=job_id, exc_info=error)
        self.wake()

    def _tidy(self) -> None:
        self._desk.journal.write(lambda txn: txn.tidy(txn.now - KEEP_DELIVERED), urgent=False).result()
