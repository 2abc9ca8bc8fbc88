"""Alembic's entry point. It runs inside the bot, on the engine it is handed."""

from alembic import context
from sqlalchemy import Engine

from bot.journal.tables import metadata

engine: Engine = context.config.attributes["engine"]


def _foreign_keys(driver: object, state: str) -> None:
    """SQLite would empty child tables when a parent is rebuilt; the switch only works outside a transaction."""
    driver.execute(f"PRAGMA foreign_keys={state}")  # type: ignore[attr-defined]


with engine.connect() as connection:
    on_sqlite = connection.dialect.name == "sqlite"
    driver = connection.connection.driver_connection
    if on_sqlite:
        _foreign_keys(driver, "OFF")
    else:
        connection.exec_driver_sql("SET statement_timeout = 0")
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    context.run_migrations()
    connection.commit()
    if on_sqlite:
        _foreign_keys(driver, "ON")
    else:
        connection.invalidate()
