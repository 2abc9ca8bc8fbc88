"""Opens the journal that a configuration names, and keeps other servers from it."""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from bot.config import DATABASE, Config
from bot.engine.leaving import Leaving
from bot.incident.due import next_due_at
from bot.journal import Journal
from bot.journal.clock import AGREED, Note, SteadyClock
from bot.journal.database import (
    DatabaseClock,
    called,
    file_of,
    is_there,
    migrate,
    open_engine,
    reaching,
    schema_of,
)


class AlreadyRunning(Exception):
    """Another process serves this data folder, or this database."""


@contextlib.contextmanager
def alone(folder: Path, database: str) -> Iterator[None]:
    """Holds the data folder and the database's file, so that no second server works on either.

    On PostgreSQL any number of servers may work together, and nothing is held. Raises AlreadyRunning.
    """
    file = file_of(database)
    with contextlib.ExitStack() as held:
        if file is not None:
            held.enter_context(_held(folder / "lock", folder))
            # By the name that it has without links: two servers may know it by different ones.
            file = file.resolve()
            held.enter_context(_held(file.with_name(f"{file.name}.lock"), file))
        yield


@contextlib.contextmanager
def _held(lock: Path, what: Path) -> Iterator[None]:
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(f"another fixfirst serve already works on {what}") from error
        yield


class NoJournal(Exception):
    """No server has made a journal where the configuration says; the message says where that is."""

    def __init__(self, config: Config) -> None:
        where = called(config.database)
        super().__init__(f"there is no journal at {where}; is {DATABASE} set here as it is for the server?")


def open_journal(config: Config, clock: Callable[[], datetime] | None = None, *, make: bool = True) -> Journal:
    """The journal with its schema up to date. Its clock, unless one is given, is the machine's, or PostgreSQL's.

    Where a server goes by another time than its machine, because somebody has set the clock, all others go by that too.

    Only who serves may `make` one: where a setting is missing, an empty journal would say that nothing burns.

    Raises NewerSchema, Unreachable; NoJournal when there is none and none may be made.
    """
    if make:
        config.data_dir.mkdir(parents=True, exist_ok=True)
    elif not is_there(config.database):
        raise NoJournal(config)
    engine = open_engine(config.database)
    with reaching(config.database):
        if not make and schema_of(engine) is None:
            engine.dispose()
            raise NoJournal(config)
        migrate(engine)
    if clock is None:
        file = file_of(config.database)
        clock = DatabaseClock(engine) if file is None else _steady_clock(Note(file.resolve()), serves=make)
    leaving = Leaving(config.workspace) if config.queue else None
    due_at = partial(next_due_at, policy=config.policy)
    return Journal(engine, config.workspace, clock, due_at, leaving, epoch=config.database_epoch)


def _steady_clock(note: Note, *, serves: bool) -> SteadyClock:
    if not serves:
        return SteadyClock(apart=note.read())
    note.write(AGREED)  # of a server that ended while they did not agree
    return SteadyClock(tell=note.write)
