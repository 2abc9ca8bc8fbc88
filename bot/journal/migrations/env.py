"""Alembic's entry point. It runs inside the bot, on the engine it is handed, and changes all or nothing."""

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
        context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
        context.run_migrations()
        _prove(connection)


def _prove(connection: Connection) -> None:
    """What the switched-off check would have kept: no row that points nowhere."""
    if connection.dialect.name == "sqlite":
        lost = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        if lost:
            raise RuntimeError(f"the migration left rows that point nowhere, first of all in {lost[0][0]}")


with engine.connect() as connection:
    try:
        _prepare(connection)
        _change(connection)
    finally:
        connection.invalidate()  # nobody else shall work on it without foreign keys
