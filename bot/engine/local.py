"""The engine without a queue: threads that wake on every commit, and APScheduler as the sweeper behind them."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor as SchedulerPool
from apscheduler.schedulers.background import BackgroundScheduler

from bot.desk import Desk
from bot.engine.work import Work, safely
from bot.journal import Busy
from bot.journal.clock import Steps
from bot.journal.servers import BEAT_EVERY
from bot.outbox import Outbox

log = structlog.get_logger()

SWEEP_EVERY_S: Final = 1.0
LOOK_AT_LEAST_EVERY_S: Final = 2 * SWEEP_EVERY_S
"""For when the sweeper itself stands still."""
TURN_PAUSE_S: Final = 0.05
"""Between two turns: what was committed meanwhile is looked at together, and nobody notices the delay."""
GRACE_S: Final = 0.01
"""From a commit to the look at what follows from it: whoever waits for its answer in chat gets that first."""


@dataclass(frozen=True, slots=True)
class Chore:
    """Something to do again and again that no incident waits for."""

    work: Callable[[], None]
    every_s: float


class LocalEngine:
    """Looks at what there is to do after every commit of this process, and once a second."""

    def __init__(self, desk: Desk, outbox: Outbox, chores: Sequence[Chore] = ()) -> None:
        self.work = Work(desk, outbox)
        self._desk = desk
        self._journal = desk.journal
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._steps = Steps()
        self._wait: timedelta | None = None
        self._owes = False
        self.last_turn: datetime | None = None
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self._scheduler = BackgroundScheduler(
            executors={"default": SchedulerPool(3 + len(chores))},  # a chore that hangs must not hold up the sweep
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone="UTC",
        )
        self._scheduler.add_job(self._sweep, "interval", seconds=SWEEP_EVERY_S)
        self._scheduler.add_job(self.work.tidy, "interval", hours=1)
        if not self._journal.is_ours_alone:
            self._scheduler.add_job(self._beat, "interval", seconds=BEAT_EVERY.total_seconds())
        for chore in chores:
            self._scheduler.add_job(partial(safely, chore.work), "interval", seconds=chore.every_s)

    def start(self) -> None:
        """Takes over what an earlier process left behind, and begins; where the journal is busy, that is done later."""
        try:
            self.take_over()
        except Busy as busy:
            log.warning("journal_busy", reason=str(busy))
            self._owes = True
        if not self._journal.is_ours_alone:
            self._beat()
        self._thread.start()
        self._scheduler.start()
        self.wake()

    def take_over(self) -> None:
        """Gives back what an earlier process had claimed, and reckons deadlines by the settings of today."""
        self.work.take_over()

    def stop(self) -> None:
        """Finishes what is in hand; what is waiting stays in the journal for the next start."""
        self._scheduler.shutdown(wait=False)
        self._stopping.set()
        self._news.set()
        self._thread.join()
        self.work.stop()
        safely(self._desk.count_repeats)
        safely(self._journal.sign_off)

    def wake(self) -> None:
        """Something may have changed: look."""
        self._news.set()

    def turn(self) -> int:
        """Looks once, on the caller's thread, for a process without threads: how many things were done."""
        done = self.work.turn()
        self.last_turn = self._journal.clock()
        return done

    def _sweep(self) -> None:
        safely(self._desk.count_repeats)
        self.wake()

    def _beat(self) -> None:
        if safely(self._journal.beat) and self._journal.pulse.was_set_back:
            safely(self.take_over)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            self._news.wait(self._wait.total_seconds() if self._wait else LOOK_AT_LEAST_EVERY_S)
            if self._steps.was_set():
                safely(self._begin_chores_anew)
            self._stopping.wait(GRACE_S)
            self._news.clear()
            if self._stopping.is_set():
                return
            if safely(self._look):
                self.last_turn = self._journal.clock()
            self._stopping.wait(TURN_PAUSE_S)

    def _begin_chores_anew(self) -> None:
        """The scheduler plans by the wall clock: set back by an hour, it would do nothing for an hour."""
        now = datetime.now(UTC)
        for job in self._scheduler.get_jobs():
            job.modify(next_run_time=now)

    def _look(self) -> None:
        """Does what there is to do, deadlines first. Raises Busy when a part was not looked at; the others were."""
        self._wait = None
        if self._owes:
            self.take_over()
            self._owes = False
        if not self._journal.work_waits(self._journal.clock()):
            return
        parts = (
            lambda: self.work.fire(safely),
            self._drain,
            self.work.outbox.give_back,
            lambda: self.work.dispatch(self.wake),
        )
        went_well = [safely(part) for part in parts]
        if not all(went_well):
            raise Busy("a part of the turn went wrong")

    def _drain(self) -> None:
        _, self._wait = self.work.drain_all(safely)
