"""The connection to the database: SQLite made safe, PostgreSQL as it is, and the way to the newest schema."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event

BUSY_TIMEOUT_MS = 15_000


def open_engine(url: str) -> Engine:
    """An engine whose write transactions begin IMMEDIATE on SQLite and whose commits are on disk when they return.

    Python's own transaction handling loses updates there under WAL, hence `isolation_level=None` and our own BEGIN.
    Connections with the execution option `reading` begin DEFERRED and never block the writer.
    """
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"check_same_thread": False}, pool_size=16)
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


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
    connection.connection.cursor().execute("BEGIN" if reading else "BEGIN IMMEDIATE")


def sqlite_url(folder: Path) -> str:
    """The default database: one file in the data folder."""
    return f"sqlite:///{folder / 'fixfirst.db'}"


def _alembic(engine: Engine) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("bot.journal") / "migrations"))
    config.attributes["engine"] = engine
    return config


def migrate(engine: Engine) -> None:
    """Brings the schema up to date; does nothing, and reads next to nothing, when it is."""
    config = _alembic(engine)
    newest = ScriptDirectory.from_config(config).get_current_head()
    with engine.connect().execution_options(reading=True) as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current != newest:
        command.upgrade(config, "head")
