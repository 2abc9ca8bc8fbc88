"""Threads that write. Each commits what has queued up meanwhile in one go, each of several jobs behind a savepoint.

On SQLite there is one thread: that makes a commit on disk affordable for every webhook, and decides the order of
commands. PostgreSQL orders commands by its row locks, so there are several, with one job a transaction: jobs that wait
for each other's rows must not hold others' meanwhile.
"""

import contextlib
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from bot.journal.direct import Direct
from bot.journal.trouble import in_trouble

log = structlog.get_logger()

T = TypeVar("T")
Task = tuple[Callable[[Any], Any], "Future[Any]"]

SERIALIZATION, DEADLOCK, LOCK_NOT_TO_BE_HAD, STOOD_STILL = "40001", "40P01", "55P03", "25P03"
"""PostgreSQL's words for: try the whole transaction again, since somebody else was faster, or we were too slow and it
was ended for us before its commit (its manual, appendix A)."""
NOT_SAID: Final = "the journal does not say whether this was recorded; look before you do it again"
TRIES: Final = 8
PAUSE_S: Final = 0.02


class Busy(Exception):
    """The journal cannot take more right now, or cannot be written at all; the sender should try again."""


class Unsure(Busy):
    """Nobody can tell yet whether it was written; a person should look before doing it again.

    `written` is the job that is under way still; None when its answer was lost.
    """

    def __init__(self, message: str, written: "Future[Any] | None" = None) -> None:
        super().__init__(message)
        self.written = written


def in_time(written: Future[T], seconds: float) -> T:
    """What a job gave, waited for so long at most. Raises what the job raised.

    Raises Busy when its turn did not come: it was taken back, and will never be written. Raises Unsure when it is under
    way by then.
    """
    try:
        return written.result(seconds)
    except TimeoutError as late:
        if written.cancel():
            raise Busy("the journal did not answer in time; nothing was recorded") from late
        if not written.done():
            raise Unsure(NOT_SAID, written) from late
    return written.result()


@dataclass(frozen=True, slots=True)
class Way:
    """How a database is written best. `together` jobs at most share a commit; `keeps` says the connection is kept."""

    threads: int
    together: int
    keeps: bool


WAYS: Final = {
    # 64 share the fsync, and a person's click still waits milliseconds only. To take a connection from the pool costs
    # as much as a commit.
    "sqlite": Way(threads=1, together=64, keeps=True),
    # The pool asks each connection whether it still lives, so a restart of the database is noticed in time.
    "postgresql": Way(threads=6, together=1, keeps=False),
}


class Batch(Protocol):
    """What one commit is about."""

    def run(self, direct: Direct, job: Callable[[Any], Any]) -> Any:
        """Carries out one job inside its savepoint."""

    def keep(self) -> None:
        """The job's savepoint was released."""

    def drop(self) -> None:
        """The job's savepoint was rolled back."""

    def committed(self) -> None:
        """Everything kept is on disk; called before anybody hears of it."""


class Writer:
    """Runs jobs in write transactions. `urgent` jobs (people) go before the rest (alerts); at most `capacity` wait.

    A job's result, or the exception it raised, arrives in its future, and only after the commit.
    """

    def __init__(self, engine: Engine, begin: Callable[[], Batch], capacity: int = 4_000) -> None:
        self._engine = engine
        self._begin = begin
        self._capacity = capacity
        self._way = WAYS[engine.dialect.name]
        self._urgent: deque[Task] = deque()
        self._rest: deque[Task] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._loop, name=f"journal-writer-{number}", daemon=True)
            for number in range(self._way.threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Callable[[Any], T], *, urgent: bool) -> Future[T]:
        """Queues a job. Raises Busy when too much is waiting or the writer is closed."""
        future: Future[T] = Future()
        with self._wake:
            if self._closing:
                raise Busy("the journal is closed")
            if len(self._rest) >= self._capacity or len(self._urgent) >= self._capacity:
                raise Busy("too much is waiting to be written")
            (self._urgent if urgent else self._rest).append((job, future))
            self._wake.notify()
        return future

    def close(self) -> None:
        """Writes what is waiting, then ends."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()

    def _take(self) -> list[Task]:
        with self._wake:
            while not (self._urgent or self._rest or self._closing):
                self._wake.wait()
            jobs: list[Task] = []
            for waiting in (self._urgent, self._rest):
                while waiting and len(jobs) < self._way.together:
                    jobs.append(waiting.popleft())
            return jobs

    def _loop(self) -> None:
        hand = _Hand(self._engine, keeps=self._way.keeps)
        while taken := self._take():
            # A job whose caller has given up is left out; the rest can be cancelled no more, so every answer arrives.
            jobs = [(job, future) for job, future in taken if future.set_running_or_notify_cancel()]
            self._write(hand, jobs)
        hand.let_go()

    def _write(self, hand: "_Hand", jobs: list[Task]) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                answers = self._commit(hand, jobs)
            except Exception as error:  # noqa: BLE001 - handed to every caller, who answers 503 or shows it
                hand.let_go()
                if isinstance(error, _CutOff):
                    if attempt == 1:
                        continue
                    error = error.why
                if attempt < TRIES and isinstance(error, DBAPIError) and _again(error):
                    time.sleep(PAUSE_S * attempt * random.random())  # noqa: S311 - spreads retries, guards nothing
                    continue
                for _, future in jobs:
                    future.set_exception(_as_busy(error))
                return
            for answer in answers:
                answer()
            return

    def _commit(self, hand: "_Hand", jobs: list[Task]) -> list[Callable[[], None]]:
        if len(jobs) == 1:
            return [self._commit_one(hand, *jobs[0])]
        batch = self._begin()
        answers: list[Callable[[], None]] = []
        with hand.connection() as connection, connection.begin():
            direct = Direct(connection)
            for job, future in jobs:
                answers.append(_run(direct, batch, job, future))
        batch.committed()
        return answers

    def _commit_one(self, hand: "_Hand", job: Callable[[Any], Any], future: "Future[Any]") -> Callable[[], None]:
        """A job by itself needs no savepoint: it is kept or dropped with its transaction."""
        batch = self._begin()
        with hand.connection() as connection, connection.begin() as transaction:
            try:
                result = batch.run(Direct(connection), job)
            except Exception as error:
                if isinstance(error, DBAPIError) and error.connection_invalidated:
                    raise _CutOff(error) from error
                if _has_lost_all(error) or in_trouble(error):
                    raise  # and the connection is given up with it
                transaction.rollback()
                return partial(future.set_exception, error)
            try:
                transaction.commit()
            except DBAPIError as error:
                if error.connection_invalidated and not _again(error):
                    raise Unsure(f"{NOT_SAID} ({error})") from error
                raise
        batch.keep()
        batch.committed()
        return partial(future.set_result, result)


class _CutOff(Exception):
    """The connection was lost while nothing was to be committed yet: on a new one, all can be done as if for the first
    time. A commit that gets no answer leaves us Unsure."""

    def __init__(self, why: DBAPIError) -> None:
        super().__init__(str(why))
        self.why = why


class _Hand:
    """One thread's way to the database."""

    def __init__(self, engine: Engine, *, keeps: bool) -> None:
        self._engine = engine
        self._keeps = keeps
        self._connection: Connection | None = None

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        if not self._keeps:
            with self._engine.connect() as connection:
                yield connection
            return
        if self._connection is None:
            self._connection = self._engine.connect()
        yield self._connection

    def let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                connection.close()


def _run(direct: Direct, batch: Batch, job: Callable[[Any], Any], future: Future[Any]) -> Callable[[], None]:
    """One job behind its savepoint: what it wrote is kept whole or not at all, and its neighbours' either way."""
    direct.say("SAVEPOINT job")
    try:
        result = batch.run(direct, job)
    except Exception as error:
        if _has_lost_all(error):
            raise
        direct.say("ROLLBACK TO SAVEPOINT job")
        batch.drop()
        return partial(future.set_exception, _as_told(error))
    direct.say("RELEASE SAVEPOINT job")
    batch.keep()
    return partial(future.set_result, result)


def _has_lost_all(error: Exception) -> bool:
    """Whether the transaction as a whole is lost, and not just what this job wrote."""
    return isinstance(error, DBAPIError) and (_again(error) or error.connection_invalidated)


def _as_told(error: Exception) -> Exception:
    """What the job's caller hears of it."""
    return _as_busy(error) if in_trouble(error) else error


def _again(error: DBAPIError) -> bool:
    """Whether another process was faster, so that the same transaction will now see what it did.

    A broken unique key is such a case on PostgreSQL only: on SQLite nobody else writes, so there it is a bug.
    """
    state = getattr(error.orig, "sqlstate", None)
    return state in (SERIALIZATION, DEADLOCK, LOCK_NOT_TO_BE_HAD, STOOD_STILL) or (
        state is not None and isinstance(error, IntegrityError)
    )


def _as_busy(error: Exception) -> Busy:
    if isinstance(error, Busy):
        return error
    busy = Busy(f"the journal could not be written: {error}")
    busy.__cause__ = error
    return busy
