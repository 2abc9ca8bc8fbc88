"""A real journal on disk, with a clock moved by hand."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from bot.desk import Desk
from bot.incident.due import next_due_at
from bot.incident.events import Severity
from bot.incident.people import Actor, ActorKind, Right
from bot.incident.policy import Policy
from bot.intake.alerts import Delivery, Message
from bot.intake.reading import Reading
from bot.journal import Journal
from bot.journal.database import migrate, open_engine, sqlite_url
from bot.journal.tables import metadata
from tests.hands import HandClock

MAYA = Actor(ActorKind.MEMBER, "U0MAYA", "Maya", frozenset({Right.RESPOND}))


@dataclass
class House:
    """Journal and desk over one database file; `reopen` is what a restart does."""

    folder: Path
    url: str = ""
    clock: HandClock = field(default_factory=HandClock)
    policy: Policy = field(default_factory=Policy)
    reading: Reading = field(default_factory=Reading)
    journal: Journal = field(init=False)
    desk: Desk = field(init=False)

    def __post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.url = self.url or sqlite_url(self.folder)
        engine = open_engine(self.url)
        migrate(engine)
        self.journal = Journal(engine, "test", self.clock, lambda incident: next_due_at(incident, self.policy))
        self.desk = Desk(self.journal, self.policy, self.reading, lambda: None)

    def reopen(self) -> None:
        self.journal.close()
        self.open()

    def behind_its_back(self, sabotage: str) -> None:
        """Changes the database as somebody with its password could."""
        engine = create_engine(self.url)
        with engine.begin() as connection:
            connection.execute(text(sabotage))
        engine.dispose()

    def stored(self) -> str:
        """All that every table holds."""
        engine = create_engine(self.url)
        with engine.connect() as connection:
            rows = [str(row) for table in metadata.sorted_tables for row in connection.execute(table.select())]
        engine.dispose()
        return "\n".join(rows)

    def alert(self, fingerprint: str, *, firing: bool = True, **changes: object) -> Delivery:
        values: dict[str, object] = {
            "fingerprint": fingerprint,
            "firing": firing,
            "name": "LLMErrorRatioHigh",
            "title": "llama-70b fails",
            "severity": Severity.SEV1,
            "service": "chat",
            "model": "llama-70b",
            "runbook": "rollback-model-deploy",
            "labels": {"service": "chat", "model": "llama-70b"},
            "starts_at": self.clock.now,
            "ends_at": None if firing else self.clock.now,
        }
        return Delivery(**{**values, **changes})  # type: ignore[arg-type]

    def receive(self, *deliveries: Delivery, truncated: int = 0) -> int:
        return self.desk.receive([Message("alertmanager", deliveries, truncated)]).result()[0]

    def drain(self) -> None:
        for group_key in self.journal.waiting_groups():
            self.desk.drain(group_key).result()


@pytest.fixture(params=["sqlite", "postgresql"])
def house(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    """On both databases: what holds on one has been wrong on the other before."""
    url = request.getfixturevalue("postgres").new() if request.param == "postgresql" else ""
    house = House(tmp_path, url)
    yield house
    house.journal.close()


@pytest.fixture
def house_on_file(tmp_path: Path) -> Iterator[House]:
    """On SQLite, for what is said of its file alone."""
    house = House(tmp_path)
    yield house
    house.journal.close()
