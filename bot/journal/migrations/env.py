"""Alembic's entry point. It runs inside the bot, on the engine it is handed, and changes all or nothing."""

from collections import Counter

from alembic import context
from sqlalchemy import Connection, Engine

from bot.journal.tables import metadata

engine: Engine = context.config.attributes["engine"]


def _prepare(connection: Connection) -> None:
    """SQLite would empty child tables when a parent is rebuilt; the switch only works outside a transaction."""
    if connection.dialect.name == "sqlite":
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute("PRAGMA foreign_keys=OFF")


def _change(connection: Connection) -> None:
    """In one transaction, begun here: left to itself, Alembic commits after every revision on SQLite."""
    with connection.begin():
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        before = _pointing_nowhere(connection)
        context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
        context.run_migrations()
        # What somebody took away before is damage that the audit names; it keeps no journal from coming up to date.
        lost = _pointing_nowhere(connection) - before
        if lost:
            raise RuntimeError(f"the migration left rows that point nowhere, first of all in {min(lost)}")


def _pointing_nowhere(connection: Connection) -> Counter[str]:
    """What the switched-off check would have kept from being, by table."""
    if connection.dialect.name != "sqlite":
        return Counter()
    return Counter(str(row[0]) for row in connection.exec_driver_sql("PRAGMA foreign_key_check"))


with engine.connect() as connection:
    try:
        _prepare(connection)
        _change(connection)
    finally:
        connection.invalidate()  # nobody else shall work on it without foreign keys
