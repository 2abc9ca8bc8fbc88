"""A database in trouble is said to be busy, whatever its driver calls that; and it is asked again, not given up."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.errors import lookup
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from bot.incident import commands as cmd
from bot.incident.events import NoteAdded
from bot.journal import Busy, Txn, Unsure, in_time
from bot.journal.audit import try_out
from bot.journal.trouble import in_trouble
from bot.journal.writer import WAYS
from tests.databases import only_to_be_read
from tests.journal.conftest import MAYA, House


def note(house: House, text: str) -> None:
    (incident,) = house.journal.live()
    house.desk.handle(cmd.AddNote(incident=incident.id, by=MAYA, at=house.clock(), key=text, source="slack", text=text))


def notes(house: House) -> list[str]:
    (incident,) = house.journal.live()
    return [entry.event.text for entry in house.journal.entries(incident.id) if isinstance(entry.event, NoteAdded)]


@contextmanager
def cut_off_at_the_commit(house: House) -> Iterator[None]:
    """Each connection ends when its commit goes out. For whoever asked, that might as well be just after it."""
    engine = house.journal._engine

    def cut(connection: Any) -> None:
        pid = connection.connection.dbapi_connection.info.backend_pid
        house.behind_its_back(f"SELECT pg_terminate_backend({pid}, 5000)")

    event.listen(engine, "commit", cut)
    try:
        yield
    finally:
        event.remove(engine, "commit", cut)


WRITES: dict[str, Callable[[House], object]] = {
    "an alert": lambda house: house.receive(house.alert("f2")),
    "a click": lambda house: note(house, "we look"),
    "a try": lambda house: try_out(house.journal, 2.0),
    "a server's beat": lambda house: house.journal.beat(),
    "a server's leave": lambda house: house.journal.sign_off(),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_journal_that_may_only_be_read_is_busy_for_who_writes_and_goes_on_when_it_may_be_written(
    house: House, name: str
) -> None:
    write = WRITES[name]
    house.receive(house.alert("f1"))
    house.drain()
    with only_to_be_read(house.journal):
        assert house.journal.live(), "reading goes well"
        for _ in range(2):
            with pytest.raises(Busy, match="could not be written"):
                write(house)
    write(house)


@pytest.mark.parametrize("house", ["postgresql"], indirect=True)
def test_no_connection_from_before_is_kept_when_the_server_took_no_write(house: House) -> None:
    """With one that was only read by, the next write would fail as well, and the one after it."""
    with only_to_be_read(house.journal):
        with house.journal._reading(), house.journal._reading(), house.journal._reading():
            """three connections that nobody writes by"""
        with pytest.raises(Busy):
            try_out(house.journal, 2.0)
    for _ in range(4):
        try_out(house.journal, 2.0)


def told(error: Exception) -> DBAPIError:
    """As SQLAlchemy tells a driver's error."""
    base = sqlite3.Error if isinstance(error, sqlite3.Error) else psycopg.Error
    return DBAPIError.instance("SELECT 1", None, error, base)  # type: ignore[return-value]


IS_TROUBLE = {
    "a full disk": lookup("53100"),
    "too many connections": lookup("53300"),
    "a server that shuts down": lookup("57P01"),
    "read-only": lookup("25006"),
    "a damaged page": lookup("XX001"),
    "a connection that is closed": psycopg.InterfaceError,
    "a locked file": sqlite3.OperationalError,
    "a damaged file": sqlite3.DatabaseError,
}
IS_OURS = {
    "a broken key": lookup("23505"),
    "a column that is not there": lookup("42703"),
    "a transaction that is over": lookup("25P02"),
    "a number out of range": lookup("22003"),
    "a broken rule of the file": sqlite3.IntegrityError,
    "a wrong use": sqlite3.ProgrammingError,
}


@pytest.mark.parametrize("name", IS_TROUBLE)
def test_what_may_go_well_later_is_trouble(name: str) -> None:
    assert in_trouble(told(IS_TROUBLE[name]()))


def test_a_pool_without_a_free_connection_is_trouble() -> None:
    assert in_trouble(NoConnectionFree("QueuePool limit reached"))


@pytest.mark.parametrize("name", IS_OURS)
def test_what_we_asked_wrongly_stays_a_bug(name: str) -> None:
    assert not in_trouble(told(IS_OURS[name]()))
    assert not in_trouble(ValueError("no database's"))


@pytest.mark.parametrize("house", ["postgresql"], indirect=True)
def test_what_is_written_a_moment_after_all_connections_were_cut_is_written_on_another(house: House) -> None:
    house.receive(house.alert("f1"))
    house.behind_its_back(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    house.receive(house.alert("f2"))
    house.drain()
    (incident,) = house.journal.live()
    assert incident.firing == 2


@pytest.mark.parametrize("house", ["postgresql"], indirect=True)
def test_a_commit_whose_answer_never_came_is_not_said_to_have_failed(house: House) -> None:
    house.receive(house.alert("f1"))
    house.drain()
    with cut_off_at_the_commit(house), pytest.raises(Unsure, match="look before you do it again"):
        note(house, "we look")
    note(house, "we look")
    assert notes(house) == ["we look"]


def test_what_did_not_get_its_turn_in_time_is_never_written_and_what_did_is_not_said_to_have_failed(
    house: House,
) -> None:
    house.receive(house.alert("f1"))
    house.drain()
    go_on, begun = threading.Semaphore(0), threading.Semaphore(0)

    def held(_: Txn) -> str:
        begun.release()
        go_on.acquire(timeout=20)
        return "done"

    threads = WAYS[house.journal._engine.dialect.name].threads
    under_way = [house.journal.write(held) for _ in range(threads)]
    for _ in under_way:
        assert begun.acquire(timeout=10)
    (incident,) = house.journal.live()
    said = cmd.AddNote(incident=incident.id, by=MAYA, at=house.clock(), key="late", source="slack", text="too late")
    with pytest.raises(Busy, match="nothing was recorded") as refused:
        house.desk.handle(said, 0.05)
    assert not isinstance(refused.value, Unsure)
    with pytest.raises(Unsure):
        in_time(under_way[0], 0.05)
    go_on.release(threads)
    assert [in_time(one, 10) for one in under_way] == ["done"] * threads
    note(house, "in time")
    assert notes(house) == ["in time"]
