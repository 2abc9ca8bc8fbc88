"""The connection to the database: SQLite made safe, PostgreSQL as it is, and the way to the newest schema."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import structlog
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError

from bot.journal.clock import FOLLOWED, elapsed
from bot.journal.direct import Direct
from bot.journal.trouble import in_trouble

log = structlog.get_logger()

BUSY_TIMEOUT_MS: Final = 15_000
CONNECT_TIMEOUT_S: Final = 5
STATEMENT_TIMEOUT_MS: Final = 8_000
"""Below the 10 s after which a door gives up on a commit."""
LOCK_TIMEOUT_MS: Final = 5_000
IDLE_TIMEOUT_MS: Final = 2_000
"""A server that is frozen in the middle of a transaction holds what it has locked no longer than this. A click waits
2.5 s for it (desk.py), and a deadline may be 10 s late though several are frozen one after the other with the same row.
Who is only slow loses the transaction, and tries again."""
VANISHED_AFTER_S: Final = 12
"""Longer than any statement may take."""
RESTED_AFTER_S: Final = 1.0
"""A connection that was used so lately stands, or its first statement fails as any other may in the middle; what is
written is begun anew then, on another."""
ASK_EVERY_S: Final = 5.0
MIGRATING: Final = 0x4F495846495253
"""The advisory lock of PostgreSQL that one replica holds while it changes the schema."""


def open_engine(url: str) -> Engine:
    """An engine whose write transactions begin IMMEDIATE on SQLite and whose commits are on disk when they return.

    Python's own transaction handling loses updates there under WAL, hence `isolation_level=None` and our own BEGIN.
    Connections with the execution option `reading` begin DEFERRED and never block the writer.
    """
    if not url.startswith("sqlite"):
        engine = create_engine(url, pool_size=16, pool_use_lifo=True, connect_args=_postgresql(url))
        event.listen(engine, "checkin", _on_checkin)
        event.listen(engine, "checkout", partial(_on_checkout, engine))
        return engine
    engine = create_engine(url, connect_args={"check_same_thread": False}, pool_size=16)
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def file_of(url: str) -> Path | None:
    """The file of a database of SQLite; None for any other."""
    address = make_url(url)
    return Path(address.database or "") if address.get_backend_name() == "sqlite" else None


def folder_of(url: str) -> Path | None:
    """Where the database's files lie; None where a server keeps them."""
    file = file_of(url)
    return file.parent if file else None


def is_there(url: str) -> bool:
    """Whether there may be a database to read: a file that nobody has made yet holds nothing."""
    file = file_of(url)
    return file is None or file.is_file()


def _postgresql(url: str) -> dict[str, Any]:
    """No statement, lock or forgotten transaction may hold the bot up for long."""
    limits = {
        "statement_timeout": STATEMENT_TIMEOUT_MS,
        "lock_timeout": LOCK_TIMEOUT_MS,
        "idle_in_transaction_session_timeout": IDLE_TIMEOUT_MS,
    }
    own = make_url(url).query.get("options", "")
    options = " ".join([*([own] if isinstance(own, str) else own), *(f"-c {name}={ms}" for name, ms in limits.items())])
    return {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "options": options.strip(),
        "application_name": "fixfirst",
        # A server that vanishes without a word, as a machine does that fails, would be waited for a quarter of an hour.
        "tcp_user_timeout": VANISHED_AFTER_S * 1000,
        "keepalives_idle": VANISHED_AFTER_S // 2,
        "keepalives_interval": VANISHED_AFTER_S // 4,
        "keepalives_count": 2,
    }


def conninfo(url: str) -> str:
    """How libpq reaches the same PostgreSQL, under the same limits, for who must bring connections of his own."""
    from psycopg.conninfo import make_conninfo  # a twentieth of a cold start, and on SQLite nobody asks

    address = make_url(url)
    _, arguments = address.get_dialect()().create_connect_args(address)
    return make_conninfo(**{**arguments, **_postgresql(url)})


def _on_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _on_begin(connection: Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    Direct(connection).say("BEGIN" if reading else "BEGIN IMMEDIATE")


def _on_checkin(_connection: Any, record: Any) -> None:
    record.info["rests_since"] = elapsed()


def _on_checkout(engine: Engine, connection: Any, record: Any, _proxy: Any) -> None:
    """Asks a connection that has rested whether it still stands; the pool begins another in place of one that does not.

    The pool's own question before each use is half of what an idle server costs.
    """
    rests_since = record.info.get("rests_since")
    if rests_since is None or elapsed() - rests_since < RESTED_AFTER_S:
        return
    try:
        engine.dialect.do_ping(connection)
    except engine.dialect.loaded_dbapi.Error as error:
        raise DisconnectionError(str(error)) from error


def sqlite_url(folder: Path) -> str:
    """The default database: one file in the data folder."""
    return f"sqlite:///{folder / 'fixfirst.db'}"


MIGRATIONS: Final = str(files("bot.journal") / "migrations")


@cache
def newest_schema() -> str:
    """The revision that this version works with."""
    return str(ScriptDirectory(MIGRATIONS).get_current_head())


def _alembic(engine: Engine) -> Config:
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    config.attributes["engine"] = engine
    return config


def called(url: str) -> str:
    """What people are told of where a database is: its file, or its address without the password."""
    found = make_url(url)
    if found.get_backend_name() == "sqlite":
        return found.database or ""
    return found.set(query={}).render_as_string(hide_password=True)


class Unreachable(Exception):
    """The database does not answer; the message says which, without its password, and why."""


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Says in a sentence that the database cannot be had. Raises Unreachable."""
    try:
        yield
    except DBAPIError as error:
        if not in_trouble(error):  # a wrong statement is a bug of ours
            raise
        why = (str(error.orig).strip().splitlines() or [type(error.orig).__name__])[0]
        raise Unreachable(f"the database {called(url)} cannot be opened: {why}") from error


class NewerSchema(Exception):
    """The database was brought up to date by a version newer than this one; the message says what to do."""


def schema_of(engine: Engine) -> str | None:
    """The revision of the schema that is there; None where nobody has made one."""
    with engine.connect().execution_options(reading=True) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def migrate(engine: Engine) -> None:
    """Brings the schema up to date; does nothing, and reads next to nothing, when it is. Raises NewerSchema."""
    config = _alembic(engine)
    current = schema_of(engine)
    if current == newest_schema():
        return
    if current is not None and current not in {
        script.revision for script in ScriptDirectory(MIGRATIONS).walk_revisions()
    }:
        engine.dispose()
        raise NewerSchema(
            f"the database has schema {current}, made by a newer version of FixFirst; this one knows up to "
            f"{newest_schema()}. Start the newer version, or restore a backup from before the update"
        )
    if engine.dialect.name == "sqlite":
        command.upgrade(config, "head")
        return
    # Replicas may start in the same moment. The lock is the session's, and goes with it whatever happens.
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET lock_timeout = 0"))
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": MIGRATING})
        try:
            command.upgrade(config, "head")
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": MIGRATING})
            connection.invalidate()


class DatabaseClock:
    """The time of the database, so that replicas with clocks of their own agree on what is due.

    It is asked every few seconds, and counted on in between by a clock that nobody can set. Thread-safe. While the
    database does not answer, the count goes on.

    An answer was true at some moment between question and answer. It is taken as of the answer: so this clock may lag,
    by no more than the quickest round trip so far, and is never fast, which would wake people before their time. An
    answer that came slowly moves nothing as long as what is counted fits between its two ends: a database that stalls
    for seconds makes nobody late by as many.
    """

    def __init__(self, engine: Engine, counter: Callable[[], float] = elapsed) -> None:
        self._engine = engine
        self._counter = counter
        self._lock = threading.Lock()
        self._asked_at = float("-inf")
        self._known: tuple[datetime, float] | None = None

    def __call__(self) -> datetime:
        """Now, in UTC. Raises SQLAlchemyError only as long as the database has never answered."""
        with self._lock:
            if self._counter() - self._asked_at >= ASK_EVERY_S or self._known is None:
                self._asked_at = self._counter()
                self._ask()
            assert self._known is not None
            return self._counted(self._known, self._counter())

    @staticmethod
    def _counted(known: tuple[datetime, float], count: float) -> datetime:
        told, at = known
        return told + timedelta(seconds=count - at)

    def _ask(self) -> None:
        try:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                asked = self._counter()
                told: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one().astimezone(UTC)
                answered = self._counter()
        except SQLAlchemyError:
            if self._known is None:
                raise
            return
        if self._known is not None:
            ours = self._counted(self._known, answered)
            if abs(told - ours) > FOLLOWED + timedelta(seconds=answered - asked):
                log.warning("clock_was_set", seconds=round((told - ours).total_seconds(), 1))
            if told <= ours <= told + timedelta(seconds=answered - asked):
                told = ours
        self._known = told, answered
