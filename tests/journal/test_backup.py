"""A backup is taken while the bot works and proved before it has a name; a restore loses nothing that was there."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bot.cli import main
from bot.incident import commands as cmd
from bot.journal.backup import NoBackup, back_up, prove, restore
from bot.journal.chains import Examined
from bot.journal.database import sqlite_url
from bot.journal.epoch import put_restore_on_record, standing_on_record
from bot.opening import AlreadyRunning, alone
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


@pytest.mark.parametrize(
    ("sabotage", "told"),
    [
        ("UPDATE event SET body = 'null' WHERE seq = 2", "INC-1: entry 2 was changed"),
        ("UPDATE event SET body = 'x' WHERE seq = 2", "INC-1: entry 2 cannot be read: its body is none"),
        ("UPDATE event SET kind = 'evidence.frozen' WHERE seq = 2", "INC-1: entry 2 was changed"),
        ("UPDATE event SET at = 'x' WHERE seq = 2", "INC-1: entry 2 cannot be read: its at is none"),
        ("UPDATE event SET seq = 'x' WHERE seq = 2", "INC-1: an entry cannot be read: its seq is none"),
        ("UPDATE incident SET number = 3000000", "INC-1 to INC-2999999: 2999999 whole incidents are missing"),
        ("UPDATE logbook SET body = 'null'", "logbook: entry 1 was changed, or one before it is missing"),
        ("UPDATE logbook SET body = 'x'", "logbook: entry 1 cannot be read: its body is none"),
        ("UPDATE logbook SET seq = 'x'", "logbook: a record cannot be read: its seq is none"),
        (
            "INSERT INTO head (workspace, at, entries, hash) VALUES ('test', 'x', 1, 'y')",
            "head of x: cannot be read: its at is none",
        ),
    ],
)
def test_whatever_was_done_to_the_journal_there_is_a_copy_and_a_way_back_and_the_damage_is_said(
    house: House, tmp_path: Path, types: "Type", sabotage: str, told: str
) -> None:
    note(house, "looking")
    house.journal.write(lambda txn: put_restore_on_record(txn.direct, "test", "before", NOW)).result()
    house.journal.close()
    house.behind_its_back(sabotage)
    copy = str(tmp_path / "one.db")
    for words in (("backup", copy), ("restore", copy)):
        said = types(*words)
        assert told in said.stderr.splitlines()
        assert said.stderr.splitlines()[-1] == "The copy is as the journal was: it was damaged before."
        assert "holds 1 incident with " in said.stdout
        assert said.exit_code == 1


def test_a_journal_behind_a_link_is_restored_where_the_link_leads(house: House, tmp_path: Path) -> None:
    back_up(database(house), tmp_path / "one.db", "test")
    house.journal.close()
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "journal.db").write_bytes(database(house).read_bytes())
    database(house).unlink()
    database(house).symlink_to(volume / "journal.db")
    _, kept = restore(tmp_path / "one.db", database(house), "test", NOW)
    assert database(house).readlink() == volume / "journal.db"
    assert kept == volume / "journal.db.20261121T040506Z"
    assert prove(volume / "journal.db", "test") == Examined(1, 2, ())


def test_a_restore_freezes_every_workspace_of_the_file(house: House, tmp_path: Path) -> None:
    house.behind_its_back(
        "INSERT INTO incident SELECT 'other', 'other', 1, status, 0, '', generation, 0, '', '', detected_at,"
        " NULL, NULL, NULL, NULL, NULL FROM incident"
    )
    back_up(database(house), tmp_path / "one.db", "test")
    house.journal.close()
    restore(tmp_path / "one.db", database(house), "test", NOW)
    house.open()
    for workspace in ("test", "other"):
        of = partial(lambda direct, _, whose: standing_on_record(direct, whose), whose=workspace)
        assert house.journal.ask(of).frozen


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
    assert prove(kept, "test").entries == 3
    assert not database(house).with_name("fixfirst.db-wal").exists(), "or it would be played into the backup"


def left_by_a_crash(house: House) -> bytes:
    """Notes that moved the database's pages about, the last of them in the WAL alone; gives the WAL."""
    for nth in range(20):
        note(house, f"after {nth} {'x' * 9000}")
    with closing(sqlite3.connect(database(house))) as connection:
        connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()
    for nth in range(3):
        note(house, f"later {nth}")
    wal = database(house).with_name("fixfirst.db-wal").read_bytes()
    house.journal.close()
    return wal


def test_a_wal_whose_database_is_lost_is_not_played_into_the_backup(house: House, tmp_path: Path) -> None:
    back_up(database(house), tmp_path / "one.db", "test")
    wal = left_by_a_crash(house)
    database(house).unlink()
    database(house).with_name("fixfirst.db-wal").write_bytes(wal)
    examined, kept = restore(tmp_path / "one.db", database(house), "test", NOW)
    assert kept is not None
    assert kept.name == "fixfirst.db.20261121T040506Z-wal"
    assert kept.read_bytes() == wal
    assert prove(database(house), "test") == examined == Examined(1, 2, ())
    house.open()
    note(house, "and on it goes")


@pytest.mark.parametrize(("room", "act"), [(os, "link"), (Path, "rename")])
def test_whoever_dies_while_it_is_put_in_place_has_lost_no_commit(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: object, act: str
) -> None:
    back_up(database(house), tmp_path / "one.db", "test")
    note(house, "after")
    parts = {path: path.read_bytes() for path in house.folder.glob("fixfirst.db*")}
    house.journal.close()
    for path, content in parts.items():
        path.write_bytes(content)  # as a server that was killed leaves them

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as power:
        power.setattr(room, act, dies)
        with pytest.raises(KeyboardInterrupt):
            restore(tmp_path / "one.db", database(house), "test", NOW)
    house.open()
    assert len(house.journal.entries(house.journal.live()[0].id)) == 3


def test_a_journal_that_somebody_still_works_with_stays_where_it_is(house: House, tmp_path: Path) -> None:
    back_up(database(house), tmp_path / "one.db", "test")
    with closing(sqlite3.connect(database(house))) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM event").fetchone()
        note(house, "after")
        with pytest.raises(NoBackup, match="somebody still works with"):
            restore(tmp_path / "one.db", database(house), "test", NOW)
    assert prove(database(house), "test").entries == 3


def test_copies_can_be_read_by_their_owner_alone_and_a_restored_journal_by_whom_it_could_be(
    house: House, tmp_path: Path
) -> None:
    copy = tmp_path / "one.db"
    back_up(database(house), copy, "test")
    assert copy.stat().st_mode & 0o777 == 0o600
    house.journal.close()
    database(house).chmod(0o640)
    restore(copy, database(house), "test", NOW)
    assert database(house).stat().st_mode & 0o777 == 0o640
    database(house).unlink()
    restore(copy, database(house), "test", NOW.replace(hour=5))
    assert database(house).stat().st_mode & 0o777 == 0o600


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
    with alone(house.folder, sqlite_url(house.folder)):
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


def test_under_another_data_folder_a_journal_in_use_is_not_moved_away_either(house: House, tmp_path: Path) -> None:
    back_up(database(house), tmp_path / "one.db", "test")
    config = tmp_path / "other.toml"
    config.write_text(f'workspace = "test"\ndata_dir = "other"\ndatabase = "{sqlite_url(house.folder)}"\n')
    with alone(house.folder, sqlite_url(house.folder)):
        refused = CliRunner().invoke(main, ["restore", "--config", str(config), str(tmp_path / "one.db")])
    assert refused.exit_code == 1
    assert f"another fixfirst serve already works on {database(house)}" in refused.stderr


def test_two_servers_do_not_share_a_journal_whatever_their_folders_and_links(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "b" / "link.db").symlink_to(tmp_path / "a" / "one.db")
    with alone(tmp_path / "a", f"sqlite:///{tmp_path}/a/one.db"):
        for way in ("a/one.db", "b/../a/one.db", "b/link.db"):
            with pytest.raises(AlreadyRunning), alone(tmp_path / "b", f"sqlite:///{tmp_path}/{way}"):
                pass
        with alone(tmp_path / "b", f"sqlite:///{tmp_path}/a/two.db"):
            pass
    with alone(tmp_path / "b", f"sqlite:///{tmp_path}/a/one.db"):
        pass
