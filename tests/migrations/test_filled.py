"""A database that a released version filled comes up to date, on both databases, with everything that was in it."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from bot.journal.backup import back_up, restore
from bot.journal.chains import examine
from bot.journal.database import MIGRATIONS, newest_schema, sqlite_url
from bot.journal.heads import examine_heads
from bot.journal.tables import metadata
from tests.journal.conftest import House
from tests.migrations.conftest import filled, leave_behind, up_to_date
from tests.migrations.fill import FILLED, is_ours, pour_out

GIVEN_UP = {"inbox": {"key"}}
"""Columns that a later version has no use for."""
REVISIONS = sorted(script.revision for script in ScriptDirectory(MIGRATIONS).walk_revisions())


def test_every_schema_that_was_released_has_a_filled_database() -> None:
    assert sorted(file.stem for file in FILLED.glob("*.json")) == REVISIONS, "run: python -m tests.migrations.fill"
    for revision in REVISIONS:
        assert all(filled(revision).values()), f"a table of {revision} is empty, so nothing of it is tried"


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_row_is_there_afterwards_as_it_was(left_behind: Callable[[str], str], revision: str) -> None:
    url = left_behind(revision)
    before = pour_out(url)
    assert before == filled(revision)
    up_to_date(url)
    after = pour_out(url)
    for table, rows in before.items():
        given_up = GIVEN_UP.get(table, set()) - after[table][0].keys()
        kept = [{name: value for name, value in row.items() if name in rows[0]} for row in after[table]]
        expected = [{name: value for name, value in row.items() if name not in given_up} for row in rows]
        assert kept == expected, f"{table} is not what it was"


@pytest.mark.parametrize("revision", REVISIONS)
def test_no_row_points_nowhere_and_every_chain_and_head_holds(
    left_behind: Callable[[str], str], tmp_path: Path, revision: str
) -> None:
    url = left_behind(revision)
    up_to_date(url)
    if url.startswith("sqlite"):
        engine = create_engine(url)
        with engine.connect() as connection:
            assert connection.execute(text("PRAGMA foreign_key_check")).all() == []
        engine.dispose()
    house = House(tmp_path, url)
    found = house.journal.ask(examine)
    assert found.damage == ()
    archived = sum(len(row["hashes"]) for row in filled(revision).get("archive", []))
    assert found.entries == len(filled(revision)["event"]) + archived
    assert house.journal.ask(lambda *of: list(examine_heads(*of))) == []
    house.journal.close()


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_bot_goes_on_where_the_older_version_stopped(
    left_behind: Callable[[str], str], tmp_path: Path, revision: str
) -> None:
    url = left_behind(revision)
    up_to_date(url)
    house = House(tmp_path, url)
    house.clock.now = max(
        entry.recorded_at for one in house.journal.recent() for entry in house.journal.entries(one.id)
    )
    there = {row["number"] for row in filled(revision)["incident"] if not row.get("archived_at")}
    assert {incident.number for incident in house.journal.recent()} == there
    house.drain()
    night = house.journal.find("INC-1")
    assert night is not None
    assert (night.firing, night.generation) == (1, 2), "the end that the older version heard of is worked in now"
    house.receive(house.alert("new", model="mixtral-8x22b", labels={"model": "mixtral-8x22b"}))
    house.drain()
    assert house.journal.find("INC-4") is not None
    assert house.journal.ready_jobs(house.clock.now)
    assert house.journal.ask(examine).damage == ()
    house.journal.close()


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_backup_can_be_made_of_it_and_put_back(tmp_path: Path, revision: str) -> None:
    url = leave_behind(sqlite_url(tmp_path), revision)
    before, file = pour_out(url), tmp_path / "fixfirst.db"
    assert back_up(file, tmp_path / "backup.db", "test").damage == ()
    examined, _ = restore(tmp_path / "backup.db", file, "test", datetime(2030, 1, 1, tzinfo=UTC))
    assert examined.damage == ()
    assert pour_out(url)["event"] == before["event"]


def test_the_newest_schema_is_what_the_tables_say(empty: str) -> None:
    up_to_date(empty)
    engine = create_engine(empty)
    with engine.connect() as connection:
        queue_apart = {"include_name": lambda name, kind, _: kind != "table" or is_ours(name)}
        context = MigrationContext.configure(connection, opts=queue_apart)
        assert context.get_current_revision() == newest_schema() == REVISIONS[-1]
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_a_journal_from_which_somebody_took_an_incident_comes_up_to_date_all_the_same(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    leave_behind(url, "0012")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM incident"))
    engine.dispose()
    up_to_date(url)
    house = House(tmp_path, url)
    assert any("the incident's own row is missing" in str(damage) for damage in house.journal.ask(examine).damage)
    house.journal.close()
