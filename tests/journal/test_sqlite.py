"""What SQLite must be told so that two who share a file lose nothing: its defaults do, and then ours do not."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

from bot.journal.database import BUSY_TIMEOUT_MS, open_engine, sqlite_url

ROUNDS = 50
TOGETHER_S = 10.0
WRITERS = 2

Room = Callable[[str], Engine]


def by_default(url: str) -> Engine:
    """An engine as the libraries make it."""
    return create_engine(url)


def counted(url: str, room: Room) -> tuple[int, int]:
    """Two writers, each with an engine of its own as two processes have them, read a number and write the next one.

    Gives the number in the end, and how many of the writes failed. Both have read before either writes where the
    transaction lets them; with a lock from the beginning the second waits for the first.
    """
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file, file:
        file.execute("CREATE TABLE counter (n INTEGER)")
        file.execute("INSERT INTO counter VALUES (0)")
    both_read = threading.Barrier(WRITERS)
    failed: list[OperationalError] = []

    def count_up(engine: Engine) -> None:
        for _ in range(ROUNDS):
            try:
                with engine.begin() as connection:
                    n = connection.execute(text("SELECT n FROM counter")).scalar_one()
                    meet(both_read)
                    connection.execute(text("UPDATE counter SET n = :n"), {"n": n + 1})
            except OperationalError as error:
                failed.append(error)

    engines = [room(url) for _ in range(WRITERS)]
    writers = [threading.Thread(target=count_up, args=(engine,)) for engine in engines]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(TOGETHER_S)
        assert not writer.is_alive(), "they wait for each other"
    for engine in engines:
        engine.dispose()
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
        return int(file.execute("SELECT n FROM counter").fetchone()[0]), len(failed)


def meet(both: threading.Barrier) -> None:
    """Waits a moment for the other to have read too; who has the lock to itself waits in vain, and goes on."""
    try:
        both.wait(0.005)
    except threading.BrokenBarrierError:
        both.reset()


def test_by_default_two_who_read_and_then_write_lose_updates(tmp_path: Path) -> None:
    reached, _ = counted(sqlite_url(tmp_path), by_default)
    assert reached < WRITERS * ROUNDS, "written over, or refused in the middle"


def test_two_who_read_and_then_write_lose_nothing_and_neither_is_turned_away(tmp_path: Path) -> None:
    assert counted(sqlite_url(tmp_path), open_engine) == (WRITERS * ROUNDS, 0)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("busy_timeout", BUSY_TIMEOUT_MS), ("foreign_keys", 1)],
)
def test_every_connection_is_made_safe(tmp_path: Path, setting: str, value: object) -> None:
    engine = open_engine(sqlite_url(tmp_path))
    with engine.connect() as first, engine.connect().execution_options(reading=True) as second:
        for connection in (second, first):
            assert connection.exec_driver_sql(f"PRAGMA {setting}").scalar_one() == value
    engine.dispose()


def test_who_only_reads_waits_for_no_writer_and_sees_nothing_half_done(tmp_path: Path) -> None:
    engine = open_engine(sqlite_url(tmp_path))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE counter (n INTEGER)"))
    with engine.begin() as writer:
        writer.execute(text("INSERT INTO counter VALUES (1)"))
        with engine.connect().execution_options(reading=True) as reader:
            assert reader.execute(text("SELECT count(*) FROM counter")).scalar_one() == 0
    engine.dispose()
