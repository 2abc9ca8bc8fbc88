"""Servers of one database inside the test's process: real journals, engines and threads, and couriers that tell."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import create_engine, text

from bot.contracts import Attempt, Courier, Delivered
from bot.desk import Desk
from bot.engine import Engine
from bot.engine.leaving import Leaving
from bot.engine.local import LocalEngine
from bot.engine.postgres import PostgresEngine
from bot.incident.due import next_due_at
from bot.incident.effects import Effect, pager_named
from bot.incident.events import Severity
from bot.incident.policy import Policy
from bot.incident.state import Incident
from bot.intake.alerts import Delivery, Message
from bot.intake.reading import Reading
from bot.journal import Journal
from bot.journal.database import DatabaseClock, conninfo, migrate, open_engine
from bot.outbox import Outbox

PATIENCE_S: Final = 30.0
WORKSPACE: Final = "test"
COURIERS: Final = ("pager", "slack", "runbook", "health", "postmortem")


def until(happened: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Waits for what other threads do."""
    pause, deadline = threading.Event(), time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        pause.wait(0.01)


@dataclass
class World:
    """What the couriers of all servers did, in order; `act` is what they do on top."""

    done: list[tuple[str, Effect, Incident]] = field(default_factory=list)
    act: Callable[[str, Effect, Incident], None] = lambda _server, _effect, _incident: None

    def courier(self, server: str) -> Courier:
        return _Told(self, server)

    def kinds(self, number: int | None = None) -> list[str]:
        """The kinds of effects that were carried out, of one incident or of all."""
        told = [(effect, incident) for _, effect, incident in self.done]
        return [type(effect).__name__ for effect, incident in told if number in (None, incident.number)]


@dataclass(frozen=True)
class _Told:
    world: World
    server: str

    def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:
        self.world.act(self.server, effect, incident)
        self.world.done.append((self.server, effect, incident))
        return []


class Replica:
    """One server."""

    def __init__(self, name: str, url: str, world: World, policy: Policy, *, queue: bool) -> None:
        engine = open_engine(url)
        migrate(engine)
        clock = DatabaseClock(engine) if url.startswith("postgresql") else lambda: datetime.now(UTC)
        leaving = Leaving(WORKSPACE) if queue else None
        self.name = name
        self.journal = Journal(engine, WORKSPACE, clock, lambda incident: next_due_at(incident, policy), leaving)
        self.desk = Desk(self.journal, policy, Reading(), lambda: self.engine.wake())  # noqa: PLW0108 - there is none yet
        couriers = [*COURIERS, *map(pager_named, policy.pagers[1:])]
        self.outbox = Outbox(self.desk, {courier: world.courier(name) for courier in couriers})
        self.engine: Engine = (
            PostgresEngine(self.desk, self.outbox, conninfo(url)) if queue else LocalEngine(self.desk, self.outbox)
        )
        self.running = False

    def start(self) -> Replica:
        self.engine.start()
        self.running = True
        if isinstance(self.engine, PostgresEngine):
            until(self.engine.fetching)
        return self

    def stop(self) -> None:
        if self.running:
            self.engine.stop()
        self.running = False
        self.journal.close()

    def fires(self, *names: str) -> list[int]:
        """An alert in a group of its own for each name; gives how many groups have news, after the commit."""
        return self.desk.receive(
            [Message("alertmanager", (alert(name, self.journal.clock()),), 0) for name in names]
        ).result()


def alert(name: str, at: datetime) -> Delivery:
    return Delivery(
        fingerprint=name,
        firing=True,
        name="LLMErrorRatioHigh",
        title=f"{name} fails",
        severity=Severity.SEV1,
        service=name,
        model="",
        runbook="",
        labels={"service": name},
        starts_at=at,
        ends_at=None,
    )


@dataclass
class Cluster:
    """Some servers on one database."""

    url: str
    queue: bool
    policy: Policy = field(default_factory=Policy)
    world: World = field(default_factory=World)
    replicas: list[Replica] = field(default_factory=list)

    def joins(self, name: str = "") -> Replica:
        """One more server, not yet started."""
        name = name or f"server-{len(self.replicas) + 1}"
        replica = Replica(name, self.url, self.world, self.policy, queue=self.queue)
        self.replicas.append(replica)
        return replica

    def sql(self, statement: str) -> list[tuple[object, ...]]:
        """What somebody with the database's password asks or does."""
        engine = create_engine(self.url)
        with engine.begin() as connection:
            result = connection.execute(text(statement))
            rows: list[tuple[object, ...]] = [tuple(row) for row in result] if result.returns_rows else []
        engine.dispose()
        return rows

    def jobs(self, columns: str = "task_name, args") -> Sequence[tuple[object, ...]]:
        return self.sql(f"SELECT {columns} FROM procrastinate_jobs ORDER BY id")


@contextmanager
def cluster(url: str, *, queue: bool) -> Iterator[Cluster]:
    """Every server of it is stopped in the end."""
    servers = Cluster(url, queue)
    try:
        yield servers
    finally:
        for replica in servers.replicas:
            replica.stop()
