"""One thread writes. It commits whatever has queued up meanwhile in one go, each job behind a savepoint of its own.

That is what makes a commit on disk affordable for every webhook, and what decides the order of commands on SQLite.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from bot.journal.direct import Direct

T = TypeVar("T")


class Busy(Exception):
    """The journal cannot take more right now, or cannot be written at all; the sender should try again."""


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

    MAX_BATCH = 64
    """Jobs per commit: enough to share the fsync, few enough that a person's click waits milliseconds."""

    def __init__(self, engine: Engine, begin: Callable[[], Batch], capacity: int = 4_000) -> None:
        self._engine = engine
        self._begin = begin
        self._capacity = capacity
        self._urgent: deque[tuple[Callable[[Any], Any], Future[Any]]] = deque()
        self._rest: deque[tuple[Callable[[Any], Any], Future[Any]]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._loop, name="journal-writer", daemon=True)
        self._thread.start()

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
            self._wake.notify()
        self._thread.join()

    def _take(self) -> list[tuple[Callable[[Any], Any], Future[Any]]]:
        with self._wake:
            while not (self._urgent or self._rest or self._closing):
                self._wake.wait()
            jobs: list[tuple[Callable[[Any], Any], Future[Any]]] = []
            for waiting in (self._urgent, self._rest):
                while waiting and len(jobs) < self.MAX_BATCH:
                    jobs.append(waiting.popleft())
            return jobs

    def _loop(self) -> None:
        while jobs := self._take():
            self._write(jobs)
        self._disconnect()

    def _write(self, taken: list[tuple[Callable[[Any], Any], Future[Any]]]) -> None:
        """A job whose caller has given up is left out; the rest can be cancelled no more, so every answer arrives."""
        jobs = [(job, future) for job, future in taken if future.set_running_or_notify_cancel()]
        batch = self._begin()
        answers: list[Callable[[], None]] = []
        try:
            connection = self._connected()
            with connection.begin():
                direct = Direct(connection)
                for job, future in jobs:
                    answers.append(self._run(direct, batch, job, future))
            batch.committed()
        except Exception as error:  # noqa: BLE001 - handed to every caller, who answers 503 or shows it
            self._disconnect()
            for _, future in jobs:
                future.set_exception(_as_busy(error))
            return
        for answer in answers:
            answer()

    def _connected(self) -> Connection:
        """The writer's own, kept for as long as it works: to take one from the pool costs as much as a commit."""
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(SQLAlchemyError):
                connection.close()

    @staticmethod
    def _run(direct: Direct, batch: Batch, job: Callable[[Any], Any], future: Future[Any]) -> Callable[[], None]:
        """One job behind its savepoint: what it wrote is kept whole or not at all, and its neighbours' either way."""
        direct.say("SAVEPOINT job")
        try:
            result = batch.run(direct, job)
        except Exception as error:  # noqa: BLE001 - handed to the caller
            direct.say("ROLLBACK TO SAVEPOINT job")
            batch.drop()
            failure = _as_busy(error) if isinstance(error, OperationalError) else error
            return lambda: future.set_exception(failure)
        direct.say("RELEASE SAVEPOINT job")
        batch.keep()
        return lambda: future.set_result(result)


def _as_busy(error: Exception) -> Busy:
    busy = Busy(f"the journal could not be written: {error}")
    busy.__cause__ = error
    return busy
