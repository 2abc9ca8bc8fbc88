"""A backup is taken while the bot works and proved before it has a name; a restore loses nothing that was there."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.app import alone
from bot.cli import main
from bot.incident import commands as cmd
from bot.journal.backup import NoBackup, back_up, prove, restore
from bot.journal.chains import Examined
from tests.journal.conftest import MAYA, House

NOW = datetime(2026, 11, 21, 4, 5, 6, tzinfo=UTC)


@pytest.fixture
def house(house_on_file: House) -> House:
    """A journal with one incident of two entries."""
    house_on_file.receive(house_on_file.alert("f1"))
    house_on_file.drain()
    return house_on_file


def database(house: House) -> Path:
    return house.folder / "fixfirst.db"


def note(house: House, text: str) -> None:
    (incident,) = house.journal.live()
    house.desk.handle(cmd.AddNote(incident=incident.id, by=MAYA, at=house.clock(), key=text, source="slack", text=text))


def test_a_backup_while_the_bot_works_holds_what_was_committed_and_stands_alone(house: House, tmp_path: Path) -> None:
    note(house, "before")
    target = tmp_path / "backups" / "one.db"
    target.parent.mkdir()
    assert back_up(database(house), target, "test") == Examined(1, 3, ())
    note(house, "after")
    assert [path.name for path in target.parent.iterdir()] == ["one.db"]
    assert prove(target, "test").entries == 3
    assert b"before" in target.read_bytes()
    assert b"after" not in target.read_bytes()


def test_while_a_backup_is_read_the_bot_goes_on_writing(house: House, tmp_path: Path) -> None:
    with closing(sqlite3.connect(database(house))) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM event").fetchone()
        note(house, "written meanwhile")
    assert back_up(database(house), tmp_path / "one.db", "test").entries == 3


def test_a_backup_overwrites_nothing(house: House, tmp_path: Path) -> None:
    (tmp_path / "one.db").write_text("somebody else's")
    with pytest.raises(NoBackup, match="exists already; a backup never overwrites anything"):
        back_up(database(house), tmp_path / "one.db", "test")
    assert (tmp_path / "one.db").read_text() == "somebody else's"


def test_without_a_journal_or_a_folder_there_is_no_backup(house: House, tmp_path: Path) -> None:
    with pytest.raises(NoBackup, match="there is no journal at"):
        back_up(tmp_path / "nothing.db", tmp_path / "one.db", "test")
    with pytest.raises(NoBackup, match="could not be written"):
        back_up(database(house), tmp_path / "nowhere" / "one.db", "test")
    assert not (tmp_path / "nothing.db").exists()


def test_a_journal_that_is_damaged_is_copied_and_the_damage_said(house: House, tmp_path: Path) -> None:
    house.behind_its_back("UPDATE event SET source = 'cli' WHERE seq = 2")
    examined = back_up(database(house), tmp_path / "one.db", "test")
    assert [str(damage) for damage in examined.damage] == ["INC-1: entry 2 was changed"]


def test_a_restore_brings_back_that_moment_and_keeps_what_was_there(house: House, tmp_path: Path) -> None:
    back_up(database(house), tmp_path / "one.db", "test")
    note(house, "after")
    house.journal.close()
    examined, kept = restore(tmp_path / "one.db", database(house), "test", NOW)
    assert kept is not None
    assert kept.name == "fixfirst.db.20261121T040506Z"
    assert examined == Examined(1, 2, ())
    house.open()
    assert len(house.journal.entries(house.journal.live()[0].id)) == 2
    note(house, "and on it goes")
    assert prove(kept, "test").entries == 3, "what was not in the backup is not lost"


def test_commits_that_stand_only_beside_the_old_database_are_kept_with_it(house: House, tmp_path: Path) -> None:
    back_up(database(house), tmp_path / "one.db", "test")
    note(house, "after")
    beside = database(house).with_name("fixfirst.db-wal").read_bytes()
    assert b"after" in beside, "a server that was killed leaves it there"
    _, kept = restore(tmp_path / "one.db", database(house), "test", NOW)
    assert kept is not None
    assert kept.with_name(f"{kept.name}-wal").exists()
    assert not database(house).with_name("fixfirst.db-wal").exists(), "or it would be played into the backup"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no journal of ours"),
        (b"not a database at all, but long enough to be read as one" * 100, "is no database of SQLite"),
    ],
)
def test_what_is_no_backup_is_not_restored(house: House, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "one.db").write_bytes(content)
    before = database(house).read_bytes()
    with pytest.raises(NoBackup, match=words):
        restore(tmp_path / "one.db", database(house), "test", NOW)
    assert database(house).read_bytes() == before


def test_a_torn_backup_is_found_before_anything_is_moved(house: House, tmp_path: Path) -> None:
    back_up(database(house), tmp_path / "one.db", "test")
    whole = bytearray((tmp_path / "one.db").read_bytes())
    for page in range(2 * 4096, len(whole), 3 * 4096):
        whole[page : page + 200] = b"\xff" * 200
    (tmp_path / "one.db").write_bytes(bytes(whole))
    with pytest.raises(NoBackup):
        restore(tmp_path / "one.db", database(house), "test", NOW)
    assert [path.name for path in house.folder.glob("fixfirst.db.*")] == []


Type = Callable[..., Result]


@pytest.fixture
def types(house: House) -> Type:
    """Types a command beside a server's folder."""
    config = house.folder / "fixfirst.toml"
    config.write_text('workspace = "test"\ndata_dir = "."\n', encoding="utf-8")

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, [words[0], "--config", str(config), *words[1:]])

    return run


def test_from_the_terminal_a_backup_is_taken_while_a_server_runs_and_restored_when_it_has_stopped(
    house: House, types: Type, tmp_path: Path
) -> None:
    copy = str(tmp_path / "one.db")
    with alone(house.folder):
        assert types("backup", copy).stdout == f"{copy} holds 1 incident with 2 entries.\n"
        again = types("backup", copy)
        assert again.exit_code == 1
        assert "exists already" in again.stderr
        refused = types("restore", copy)
        assert refused.exit_code == 1
        assert "another fixfirst serve already works" in refused.stderr
    restored = types("restore", copy)
    assert restored.exit_code == 0, restored.output
    assert "The journal that was there is " in restored.stdout
    assert types("verify").stdout == "1 chains checked, 0 broken.\n"
