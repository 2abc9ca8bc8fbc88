"""A copy of the journal that is whole, taken while the bot works; and the way back to one. SQLite only."""

import os
import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import create_engine, make_url

from bot.journal.chains import Examined, examine
from bot.journal.database import NewerSchema, migrate, open_engine
from bot.journal.direct import Direct
from bot.journal.epoch import put_restore_on_record

BESIDE: Final = ("-wal", "-shm")
"""What SQLite keeps beside a database in WAL mode."""


class NoBackup(Exception):
    """It was not done; the message is a sentence, and nothing was changed."""


def file_of(url: str) -> Path | None:
    """The file of a database of SQLite; None for any other."""
    address = make_url(url)
    return Path(address.database or "") if address.get_backend_name() == "sqlite" else None


def back_up(source: Path, target: Path, workspace: str) -> Examined:
    """Copies a database in use, and proves the copy before it gets its name. Raises NoBackup.

    SQLite's online backup in one step reads one moment's state; in WAL mode that keeps nobody from writing.
    """
    if target.exists():
        raise NoBackup(f"{target} exists already; a backup never overwrites anything")
    if not source.exists():
        raise NoBackup(f"there is no journal at {source}")
    unproved = target.with_name(f"{target.name}.unproved")
    unproved.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(source)) as journal, closing(sqlite3.connect(unproved)) as copy:
            journal.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
        examined = prove(unproved, workspace)
        _to_disk(unproved)
        os.link(unproved, target)  # unlike a rename, takes no name that somebody else took meanwhile
    except FileExistsError as error:
        raise NoBackup(f"{target} exists already; a backup never overwrites anything") from error
    except (OSError, sqlite3.Error) as error:
        raise NoBackup(f"{target} could not be written: {error}") from error
    finally:
        unproved.unlink(missing_ok=True)
    _to_disk(target.parent)
    return examined


def prove(file: Path, workspace: str) -> Examined:
    """Opens a copy, has SQLite look through it, and examines every chain. Raises NoBackup when it is not whole."""
    _look_through(file)
    return _examined(file, workspace)


def _look_through(file: Path) -> None:
    if not file.is_file():
        raise NoBackup(f"there is no file {file}")
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as copy:
            said = [str(row[0]) for row in copy.execute("PRAGMA integrity_check(5)")]
            tables = {str(row[0]) for row in copy.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        raise NoBackup(f"{file} is no database of SQLite: {error}") from error
    if said != ["ok"]:
        raise NoBackup(f"{file} is damaged: {'; '.join(said)}")
    if not {"event", "incident", "alembic_version"} <= tables:
        raise NoBackup(f"{file} is a database, but no journal of ours")


def _examined(file: Path, workspace: str) -> Examined:
    engine = create_engine(f"sqlite:///{file}")
    try:
        with engine.connect() as connection:
            return examine(Direct(connection), workspace)
    finally:
        engine.dispose()


def restore(backup: Path, database: Path, workspace: str, now: datetime) -> tuple[Examined, Path | None]:
    """Puts a backup in the place of the database, which stays beside it under a dated name; nobody may be using it.

    What came after the backup has happened all the same: automation is frozen until a person confirms.

    Gives what was found in it and where the old one is. Raises NoBackup.
    """
    _look_through(backup)
    database.parent.mkdir(parents=True, exist_ok=True)
    fresh = database.with_name(f"{database.name}.restoring")
    _copy(backup, fresh)
    _bring_up_to_date(fresh)
    _put_on_record(fresh, workspace, backup.name, now)
    examined = prove(fresh, workspace)
    kept = _set_aside(database, f"{now:%Y%m%dT%H%M%SZ}") if database.exists() else None
    fresh.rename(database)
    _to_disk(database.parent)
    return examined, kept


def _copy(backup: Path, fresh: Path) -> None:
    for beside in ("", *BESIDE):
        fresh.with_name(fresh.name + beside).unlink(missing_ok=True)
    with closing(sqlite3.connect(backup)) as source, closing(sqlite3.connect(fresh)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")


def _bring_up_to_date(fresh: Path) -> None:
    engine = open_engine(f"sqlite:///{fresh}")
    try:
        migrate(engine)
    except NewerSchema as error:
        raise NoBackup(f"the backup comes from a newer version than this one: {error}") from error
    finally:
        engine.dispose()


def _put_on_record(fresh: Path, workspace: str, backup: str, now: datetime) -> None:
    engine = open_engine(f"sqlite:///{fresh}")
    try:
        with engine.begin() as connection:
            put_restore_on_record(Direct(connection), workspace, backup, now)
    finally:
        engine.dispose()
    with closing(sqlite3.connect(fresh)) as copy:
        copy.execute("PRAGMA journal_mode=DELETE")
    _to_disk(fresh)


def _set_aside(database: Path, date: str) -> Path:
    """The old database under another name, with what is beside it: the last commits may stand only there."""
    kept = database.with_name(f"{database.name}.{date}")
    if kept.exists():
        raise NoBackup(f"{kept} exists already; wait a second")
    for beside in BESIDE:
        part = database.with_name(database.name + beside)
        if part.exists():
            part.rename(kept.with_name(kept.name + beside))
    return database.rename(kept)


def _to_disk(path: Path) -> None:
    """A file's content, or a folder's names, are on disk when this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
