"""A copy of the journal that is whole, taken while the bot works; and the way back to one. SQLite only."""

import os
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import create_engine, inspect, select

from bot.journal.chains import Examined, examine
from bot.journal.database import NewerSchema, migrate, open_engine
from bot.journal.direct import Direct
from bot.journal.epoch import put_restore_on_record
from bot.journal.heads import examine_heads
from bot.journal.logbook import examine_logbook
from bot.journal.tables import incident

BESIDE: Final = ("-wal", "-shm")
"""What SQLite keeps beside a database in WAL mode."""
_LOOKS: Final = ((frozenset({"head", "archive"}), examine_heads), (frozenset({"logbook"}), examine_logbook))
"""What is examined beside the chains, and the tables that takes."""
_WORKSPACES: Final = select(incident.c.workspace).distinct()
ONLY_OURS: Final = 0o600
"""A copy holds all that people wrote, also for whoever may read the folder that it is put in."""


class NoBackup(Exception):
    """It was not done; the message is a sentence, and nothing was changed."""


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
        _fill(unproved, source)
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
            direct = Direct(connection)
            found = examine(direct, workspace)
            # An early version had neither of the two, and a head is read from the archives too.
            there = set(inspect(connection).get_table_names())
            looks = (look for tables, look in _LOOKS if tables <= there)
            misfits = tuple(damage for look in looks for damage in look(direct, workspace))
            return replace(found, damage=(*found.damage, *misfits))
    finally:
        engine.dispose()


def restore(backup: Path, database: Path, workspace: str, now: datetime) -> tuple[Examined, Path | None]:
    """Puts a backup in the place of the database, which stays beside it under a dated name; nobody may be using it.

    What came after the backup has happened all the same: automation is frozen until a person confirms.

    Gives what was found in it and where the old one is. Raises NoBackup.
    """
    _look_through(backup)
    database = database.resolve()  # where it is a link, the journal stays on the volume that the link leads to
    database.parent.mkdir(parents=True, exist_ok=True)
    fresh = database.with_name(f"{database.name}.restoring")
    _copy(backup, fresh)
    _bring_up_to_date(fresh)
    _put_on_record(fresh, backup.name, now, workspace)
    examined = prove(fresh, workspace)
    if database.exists():
        fresh.chmod(stat.S_IMODE(database.stat().st_mode))
    kept = _take_its_place(fresh, database, f"{now:%Y%m%dT%H%M%SZ}")
    if prove(database, workspace) != examined:
        raise NoBackup(f"{database} is not what was proved before it got this name; what was there is kept beside it")
    return examined, kept


def _fill(copy: Path, source: Path) -> None:
    """A new file with what the database holds now, and with nothing beside it. Raises OSError, sqlite3.Error."""
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, ONLY_OURS))
    with closing(sqlite3.connect(source)) as journal, closing(sqlite3.connect(copy)) as target:
        journal.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")


def _copy(backup: Path, fresh: Path) -> None:
    for beside in ("", *BESIDE):
        fresh.with_name(fresh.name + beside).unlink(missing_ok=True)
    _fill(fresh, backup)


def _bring_up_to_date(fresh: Path) -> None:
    engine = open_engine(f"sqlite:///{fresh}")
    try:
        migrate(engine)
    except NewerSchema as error:
        raise NoBackup(f"the backup comes from a newer version than this one: {error}") from error
    finally:
        engine.dispose()


def _put_on_record(fresh: Path, backup: str, now: datetime, workspace: str) -> None:
    """For every workspace of the file: each of them lacks what came after the backup."""
    engine = open_engine(f"sqlite:///{fresh}")
    try:
        with engine.begin() as connection:
            direct = Direct(connection)
            for whose in sorted({workspace, *map(str, direct.scalars(_WORKSPACES))}):
                put_restore_on_record(direct, whose, backup, now)
    finally:
        engine.dispose()
    with closing(sqlite3.connect(fresh)) as copy:
        copy.execute("PRAGMA journal_mode=DELETE")
    _to_disk(fresh)


def _take_its_place(fresh: Path, database: Path, date: str) -> Path | None:
    """Gives the fresh file the database's name, and the old one, with what is beside it, another; None without one.

    Everything old has its new name before it loses the first one, so whoever is stopped in between has lost nothing.
    Raises NoBackup.
    """
    kept = database.with_name(f"{database.name}.{date}")
    if kept.exists():
        raise NoBackup(f"{kept} exists already; wait a second")
    _empty_wal(database)
    # Left behind without its database, a WAL would be played into the fresh one.
    beside = [ending for ending in BESIDE if database.with_name(database.name + ending).exists()]
    old = [ending for ending in ("", *beside) if database.with_name(database.name + ending).exists()]
    for ending in old:
        os.link(database.with_name(database.name + ending), kept.with_name(kept.name + ending))
    _to_disk(database.parent)
    if beside:
        database.unlink(missing_ok=True)  # it must not be opened without them
    for ending in beside:
        database.with_name(database.name + ending).unlink()
    fresh.rename(database)
    _to_disk(database.parent)
    return kept.with_name(kept.name + old[0]) if old else None


def _empty_wal(database: Path) -> None:
    """Brings the last commits, which may stand only beside the database, into it. Raises NoBackup when it is in use."""
    if not database.exists() or not database.stat().st_size:
        return  # SQLite throws away what stands beside an empty file
    try:
        with closing(sqlite3.connect(database)) as old:
            busy, *_ = old.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error:
        return  # it is damaged, so both are kept as they are
    if busy:
        raise NoBackup(f"somebody still works with {database}; stop that first")


def _to_disk(path: Path) -> None:
    """A file's content, or a folder's names, are on disk when this returns."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
