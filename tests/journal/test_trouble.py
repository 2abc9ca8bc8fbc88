"""A database in trouble is said to be busy, whatever its driver calls that; and it is asked again, not given up."""

import sqlite3
from collections.abc import Callable

import psycopg
import pytest
from psycopg.errors import lookup
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from bot.incident import commands as cmd
from bot.journal import Busy
from bot.journal.audit import try_out
from bot.journal.trouble import in_trouble
from tests.databases import only_to_be_read
from tests.journal.conftest import MAYA, House


def note(house: House, text: str) -> None:
    (incident,) = house.journal.live()
    house.desk.handle(cmd.AddNote(incident=incident.id, by=MAYA, at=house.clock(), key=text, source="slack", text=text))


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
