"""A delivery that the journal's own trouble cut off: the job is soon tried again, though its server lives."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, text

from bot.contracts import Attempt, Delivered
from bot.incident.effects import Effect, Page
from bot.incident.events import PageAccepted
from bot.incident.state import Incident
from bot.journal import Busy, Job
from bot.journal.servers import LEASE
from bot.outbox import LONGEST_PAUSE_OF_A_PAGE_S, Outbox
from tests.engine.replica import Cluster, until
from tests.journal.conftest import House


@dataclass
class Pager:
    """Notes the number of each attempt that it is asked for; `meanwhile` happens during each."""

    meanwhile: Callable[[], object] = lambda: None
    tries: list[int] = field(default_factory=list)

    def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:
        self.tries.append(attempt.number)
        self.meanwhile()
        return [PageAccepted("a pager", 1)]


@dataclass
class Server:
    """One that lives, with a page to carry out."""

    house: House
    pager: Pager = field(default_factory=Pager)
    outbox: Outbox = field(init=False)
    page: Job = field(init=False)

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.house.desk, {"pager": self.pager})
        self.house.receive(self.house.alert("first"))
        self.house.drain()
        (self.page,) = (job for job in self.outbox.ready() if isinstance(job.effect, Page))

    def is_ready(self) -> bool:
        return self.page.id in [job.id for job in self.outbox.ready()]

    def is_cut_off(self) -> None:
        with pytest.raises(Busy):
            self.outbox.deliver(self.page.id)
        assert not self.is_ready(), "by the journal it is in our hands"

    @contextmanager
    def unreadable(self) -> Iterator[None]:
        """The journal can still be claimed from, but no incident be read."""
        engine = create_engine(self.house.url)
        with engine.connect() as connection:
            if self.house.journal.is_ours_alone:
                connection.execute(text("ALTER TABLE incident RENAME TO hidden"))
                yield
                connection.execute(text("ALTER TABLE hidden RENAME TO incident"))
            else:
                connection.execute(text("LOCK TABLE incident IN ACCESS EXCLUSIVE MODE"))
                yield
        engine.dispose()

    def loses_an_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The next commit is carried out, and its answer lost."""
        dialect = self.house.journal._engine.dialect
        error = sqlite3.OperationalError if self.house.journal.is_ours_alone else psycopg.OperationalError
        commit = dialect.do_commit

        def unanswered(connection: object) -> None:
            monkeypatch.setattr(dialect, "do_commit", commit)
            commit(connection)  # type: ignore[arg-type]
            raise error("the connection was closed")

        monkeypatch.setattr(dialect, "do_commit", unanswered)


@pytest.fixture(params=["sqlite", "postgresql"])
def server(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("bot.journal.database.LOCK_TIMEOUT_MS", 100)
    url = request.getfixturevalue("postgres").new() if request.param == "postgresql" else ""
    house = House(tmp_path, url)
    yield Server(house)
    house.journal.close()


def test_a_claim_whose_incident_cannot_be_read_is_given_back_and_was_no_attempt(server: Server) -> None:
    with server.unreadable():
        server.is_cut_off()
    server.outbox.give_back()
    server.house.clock.after(seconds=1)
    server.outbox.deliver(server.page.id)
    assert server.pager.tries == [1]
    assert not server.is_ready()


def test_a_claim_of_which_nobody_heard_is_given_back_and_was_no_attempt(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.loses_an_answer(monkeypatch)
    server.is_cut_off()
    server.outbox.give_back()
    server.house.clock.after(seconds=1)
    server.outbox.deliver(server.page.id)
    assert server.pager.tries == [1]


def test_what_a_courier_may_have_done_is_looked_at_soon_as_a_second_attempt(server: Server) -> None:
    hidden = server.unreadable()
    server.pager.meanwhile = hidden.__enter__
    server.is_cut_off()
    hidden.__exit__(None, None, None)
    server.pager.meanwhile = lambda: None
    server.outbox.give_back()
    assert not server.is_ready(), "each time that goes wrong is waited for longer"
    server.house.clock.after(seconds=LONGEST_PAUSE_OF_A_PAGE_S)
    server.outbox.deliver(server.page.id)
    assert server.pager.tries == [1, 2]


def test_an_end_of_which_nobody_heard_is_an_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.pager.meanwhile = lambda: server.loses_an_answer(monkeypatch)
    server.is_cut_off()
    server.outbox.give_back()
    server.house.clock.after(seconds=2 * LEASE.total_seconds())
    assert not server.is_ready()


def test_nothing_is_given_back_that_somebody_is_at_again(server: Server) -> None:
    with server.unreadable():
        server.is_cut_off()
    server.house.clock.after(seconds=LEASE.total_seconds())
    kept: list[Job | None] = []

    def looks() -> None:
        server.outbox.give_back()
        kept.append(server.house.journal.in_hand(server.page.id))

    server.pager.meanwhile = looks
    server.outbox.deliver(server.page.id)
    assert [job is not None for job in kept] == [True]
    assert server.pager.tries == [2]


def test_what_cannot_be_given_back_yet_is_given_back_later(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with server.unreadable():
        server.is_cut_off()
    server.loses_an_answer(monkeypatch)
    with pytest.raises(Busy):
        server.outbox.give_back()
    server.outbox.give_back()
    server.house.clock.after(seconds=1)
    assert server.is_ready()


def test_the_engine_does_so_by_itself(servers: Cluster) -> None:
    cut_off: list[str] = []

    def act(server: str, effect: Effect, _incident: Incident) -> None:
        if isinstance(effect, Page) and not cut_off:
            cut_off.append(server)
            raise Busy("the database restarts")

    servers.world.act = act
    servers.joins().start().fires("chat")
    until(lambda: "Page" in servers.world.kinds(), within_s=LONGEST_PAUSE_OF_A_PAGE_S)
    assert cut_off
