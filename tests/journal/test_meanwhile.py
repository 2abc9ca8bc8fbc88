"""What another server commits in the middle of a transaction, between one statement of it and the next."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.incident import commands as cmd
from bot.incident.state import Incident, Status
from bot.intake.alerts import Delivery
from bot.journal import Txn
from bot.journal.direct import Direct, Statement
from bot.journal.reader import Memory
from bot.journal.redaction import clear_text
from tests.databases import PostgreSQL
from tests.journal.conftest import MAYA, House


@pytest.fixture
def two(tmp_path: Path, postgres: PostgreSQL) -> Iterator[tuple[House, House]]:
    url = postgres.new()
    houses = House(tmp_path, url), House(tmp_path, url)
    yield houses
    for house in houses:
        house.journal.close()


@pytest.fixture
def another(house: House) -> Iterator[House]:
    """Another process on the same database."""
    other = House(house.folder, house.url, house.clock)
    yield other
    other.journal.close()


@pytest.fixture
def before_marking(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Has something happen once, after a drain has read its news and before it marks them as drained."""

    def happens(something: Callable[[], object]) -> None:
        run, left = Direct.run, [something]

        def slow(direct: Direct, statement: Statement, given: Mapping[str, Any] = {}) -> int:
            if "drained_at" in given and left:
                left.pop()()
            return run(direct, statement, given)

        monkeypatch.setattr(Direct, "run", slow)

    return happens


def the_one(house: House) -> Incident:
    (incident,) = house.journal.live()
    return incident


def the_end_waits(house: House, first: Delivery) -> None:
    """It has stopped burning, and that is still to be worked in."""
    house.receive(replace(first, firing=False, ends_at=house.clock.now))


def test_what_begins_while_an_end_is_worked_in_is_not_taken_for_worked_in(
    two: tuple[House, House], before_marking: Callable[[Callable[[], object]], None]
) -> None:
    here, there = two
    first = here.alert("f1")
    here.receive(first)
    here.drain()
    here.clock.after(minutes=1)
    the_end_waits(here, first)
    before_marking(lambda: there.receive(there.alert("f2")))
    here.drain()
    there.drain()
    assert (the_one(here).firing, the_one(here).recovered) == (1, 1)


def test_an_alert_that_comes_while_a_late_end_is_worked_in_opens_its_incident(
    two: tuple[House, House], before_marking: Callable[[Callable[[], object]], None]
) -> None:
    here, there = two
    first = here.alert("f1")
    here.receive(first)
    here.drain()
    over = the_one(here)
    here.desk.handle(
        cmd.Resolve(
            incident=over.id, by=MAYA, at=here.clock(), key="k", source="slack", reason="done", despite_firing=True
        )
    )
    for house in two:
        house.clock.after(hours=2)
    the_end_waits(here, first)
    before_marking(lambda: there.receive(there.alert("f2")))
    here.drain()
    there.drain()
    assert the_one(there).id != over.id


def test_what_is_said_again_while_its_incident_opens_stays_that_incidents(
    two: tuple[House, House], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = two
    first, second = here.alert("f1"), here.alert("f2")
    here.receive(first, second)
    store, left = Txn.store_alerts, [here.drain]

    def slow(txn: Txn, alerts: Any) -> None:
        if left:
            left.pop()()
        store(txn, alerts)

    monkeypatch.setattr(Txn, "store_alerts", slow)
    there.receive(replace(first, title="llama-70b fails: 31 %"))
    here.clock.after(minutes=1)
    here.receive(replace(second, firing=False, ends_at=here.clock.now))
    here.drain()
    assert (the_one(here).firing, the_one(here).recovered) == (1, 1)


def lost_at_the_end(house: House, command: cmd.Command) -> None:
    """Carries a command out, reads all that is on, and then nothing of it is kept."""

    def work(txn: Txn) -> None:
        house.desk.execute(txn, command)
        txn.live()
        raise OSError("the disk is full")

    assert isinstance(house.journal.write(work).exception(10), OSError)


def test_what_was_never_committed_is_not_remembered(house: House, another: House) -> None:
    house.receive(house.alert("f1"))
    house.drain()
    incident = the_one(house)

    def said(text: str) -> cmd.AddNote:
        return cmd.AddNote(incident=incident.id, by=MAYA, at=house.clock(), key=text, source="cli", text=text)

    taken = cmd.Acknowledge(incident=incident.id, by=MAYA, at=house.clock(), key="slack:act:1", source="slack")
    lost_at_the_end(house, taken)
    another.desk.handle(said("from another server, and as the entry that the lost one would have been"))
    assert the_one(house) == the_one(another)
    house.desk.handle(said("the next one rests on what is true"))
    assert the_one(house).status is the_one(another).status is Status.OPEN
    assert house.journal.verify(incident.id) is None


def test_what_another_server_added_is_read_alone(house: House, another: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.receive(house.alert("f1"))
    house.drain()
    incident = the_one(house)
    note = cmd.AddNote(incident=incident.id, by=MAYA, at=house.clock(), key="n", source="cli", text="look here")
    another.desk.handle(note)
    read = reads(monkeypatch)
    assert the_one(house).seq == incident.seq + 1
    assert read == [1]


def test_all_that_is_on_is_remembered_however_much_is_over(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(6):
        house.receive(house.alert(f"f{n}", service=f"svc-{n}", model="", labels={"service": f"svc-{n}"}))
    house.drain()
    for incident in house.journal.live()[:3]:
        by = {"incident": incident.id, "by": MAYA, "at": house.clock(), "key": incident.id, "source": "cli"}
        house.desk.handle(cmd.Resolve(**by, reason="done", despite_firing=True))  # type: ignore[arg-type]
    house.journal.memory = Memory(live=3, over=1)
    house.journal.recent()
    read = reads(monkeypatch)
    house.journal.live()
    assert read == []
    house.journal.recent()
    assert read, "not all three that are over are still known"


def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many entries each reading of an incident brings from now on."""
    read: list[int] = []
    named = Direct.named

    def counted(direct: Direct, statement: Statement, given: Mapping[str, Any] = {}) -> list[dict[str, Any]]:
        rows = named(direct, statement, given)
        read.append(len(rows))
        return rows

    monkeypatch.setattr(Direct, "named", counted)
    return read


def test_where_a_text_was_taken_out_the_whole_is_read_anew(house: House, another: House) -> None:
    title = "llama-70b fails for customer 4711"
    house.receive(house.alert("f1", title=title))
    house.drain()
    incident = the_one(house)
    assert incident.title == title

    def take_out(txn: Txn) -> None:
        (cleared,) = clear_text(txn, incident.id, 1)
        by = {"incident": incident.id, "by": MAYA, "at": txn.now, "key": "r", "source": "cli"}
        another.desk.execute(txn, cmd.RedactText(**by, entry=cleared.entry, number=1, reason="a name"))  # type: ignore[arg-type]

    another.journal.write(take_out).result()
    assert the_one(house).title == "[redacted]"
