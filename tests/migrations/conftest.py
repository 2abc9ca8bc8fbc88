"""Databases as the versions of ours left them behind."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from bot.journal.database import MIGRATIONS, migrate, open_engine, sqlite_url
from tests.migrations.fill import FILLED, Rows, pour_in


def filled(revision: str) -> Rows:
    rows: Rows = json.loads((FILLED / f"{revision}.json").read_text(encoding="utf-8"))
    return rows


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without any tables."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres").empty())
    return sqlite_url(tmp_path)


def leave_behind(url: str, revision: str) -> str:
    """Makes an empty database what the version with that revision left; gives its URL."""
    engine, config = open_engine(url), Config()
    config.set_main_option("script_location", MIGRATIONS)
    config.attributes["engine"] = engine
    command.upgrade(config, revision)
    engine.dispose()
    pour_in(url, filled(revision))
    return url


@pytest.fixture
def left_behind(empty: str) -> Callable[[str], str]:
    """A database as the version with that revision leaves it behind, on SQLite and on PostgreSQL."""
    return lambda revision: leave_behind(empty, revision)


def up_to_date(url: str) -> None:
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
