"""Several servers on one PostgreSQL: whatever reaches which of them, and in whatever order, happens once."""

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from bot.incident import commands as cmd
from bot.incident.alert import Alert
from bot.incident.events import Severity
from bot.incident.people import Refused
from bot.incident.state import Incident, Status
from tests.databases import PostgreSQL
from tests.journal.conftest import MAYA, House

REPLICAS = 3


@pytest.fixture
def replicas(tmp_path: Path, postgres: PostgreSQL) -> Iterator[list[House]]:
    url = postgres.new()
    houses = [House(tmp_path, url) for _ in range(REPLICAS)]
    yield houses
    for house in houses:
        house.journal.close()


def all_at_once(*work: Callable[[], object]) -> list[object]:
    """What each gives, or the Refused it ended with."""

    def done(one: Callable[[], object]) -> object:
        try:
            return one()
        except Refused as refused:
            return refused

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(done, work))


def opened(house: House) -> Incident:
    house.receive(house.alert("first"))
    house.drain()
    (incident,) = house.journal.live()
    return incident


def test_one_incident_whichever_replica_hears_of_it(replicas: list[House]) -> None:
    one = replicas[0]
    alerts = [one.alert(f"f{n}") for n in range(12)]
    all_at_once(*(partial(house.receive, alert) for alert in alerts for house in replicas))
    all_at_once(*(house.drain for house in replicas))
    one.drain()
    (incident,) = one.journal.live()
    assert incident.firing == 12
    assert one.journal.verify(incident.id) is None
    assert one.journal.waiting_groups() == []


def test_groups_that_begin_together_have_numbers_of_their_own(replicas: list[House]) -> None:
    for n in range(9):
        service = f"svc-{n}"
        replicas[n % REPLICAS].receive(
            replicas[0].alert(service, labels={"service": service}, service=service, model="")
        )
    all_at_once(*(house.drain for house in replicas))
    assert sorted(incident.number for incident in replicas[0].journal.live()) == list(range(1, 10))


def test_an_end_is_not_lost_to_a_repeat_that_another_replica_takes_in(replicas: list[House]) -> None:
    ends_at, repeats_at, _ = replicas
    alerts = [ends_at.alert(f"f{n}") for n in range(60)]
    ends_at.receive(*alerts)
    ends_at.drain()
    ends_at.clock.after(minutes=1)
    for lot in (alerts[:20], alerts[20:40], alerts[40:]):
        ends = [replace(alert, firing=False, ends_at=ends_at.clock.now) for alert in lot]
        repeats = [replace(alert, title="llama-70b fails still") for alert in lot]
        all_at_once(partial(ends_at.receive, *ends), partial(repeats_at.receive, *repeats))
    ends_at.drain()
    (incident,) = ends_at.journal.live()
    assert (incident.firing, incident.recovered) == (0, 60)


def test_the_same_click_twice_counts_once(replicas: list[House]) -> None:
    incident = opened(replicas[0])
    click = cmd.Acknowledge(incident=incident.id, by=MAYA, at=replicas[0].clock(), key="slack:act:1", source="slack")
    outcomes = all_at_once(*(partial(house.desk.handle, click) for house in replicas))
    assert sorted(len(outcome.entries) for outcome in outcomes) == [0, 0, 1]  # type: ignore[attr-defined]
    kinds = [type(entry.event).__name__ for entry in replicas[0].journal.entries(incident.id)]
    assert kinds.count("Acknowledged") == 1


def test_everybody_writes_and_no_entry_is_lost_or_out_of_order(replicas: list[House]) -> None:
    incident = opened(replicas[0])
    before = incident.seq

    def note(number: int) -> object:
        house = replicas[number % REPLICAS]
        text = f"note {number}"
        return house.desk.handle(
            cmd.AddNote(incident=incident.id, by=MAYA, at=house.clock(), key=text, source="slack", text=text), 30
        )

    all_at_once(*(partial(note, number) for number in range(30)))
    after = replicas[1].journal.incident(incident.id)
    assert after is not None
    assert after.seq == before + 30
    assert replicas[2].journal.verify(incident.id) is None


def test_work_on_two_incidents_crosswise_ends(replicas: list[House]) -> None:
    one = replicas[0]
    for service in ("a", "b"):
        one.receive(one.alert(service, labels={"service": service}, service=service, model=""))
    one.drain()
    first, second = one.journal.live()

    def both(house: House, number: int, order: tuple[Incident, Incident]) -> object:
        for incident in order:
            key = f"{number}:{incident.id}"
            text = f"note {number}"
            house.desk.handle(
                cmd.AddNote(incident=incident.id, by=MAYA, at=house.clock(), key=key, source="slack", text=text), 30
            )
        return None

    orders = [(house, order) for house in replicas for order in ((first, second), (second, first))]
    work = [partial(both, house, number, order) for number, (house, order) in enumerate(orders)]
    all_at_once(*work)
    assert {
        incident.seq - before.seq for incident, before in zip(one.journal.live(), (first, second), strict=True)
    } == {6}


def test_a_job_is_only_ever_in_one_pair_of_hands(replicas: list[House]) -> None:
    opened(replicas[0])
    (job, *_) = replicas[0].journal.ready_jobs(replicas[0].clock())
    until = replicas[0].clock.now.replace(hour=4)

    def claim(house: House) -> object:
        return house.journal.write(lambda txn: txn.claim(job.id, until)).result()

    claimed = all_at_once(*(partial(claim, house) for house in replicas))
    assert len([job for job in claimed if job is not None]) == 1


@pytest.mark.parametrize("seed", range(12))
def test_three_end_where_one_would(tmp_path: Path, postgres: PostgreSQL, seed: int) -> None:
    """The same history, once told to one server in order, and once repeated and spread over three."""
    dice = random.Random(seed)
    alone = House(tmp_path / "alone", postgres.new())
    url = postgres.new()
    three = [House(tmp_path / "three", url) for _ in range(REPLICAS)]
    try:
        for _ in range(10):
            firing = dice.random() < 0.7
            name = f"f{dice.randrange(4)}"
            severity = dice.choice(list(Severity))
            alert = alone.alert(name, firing=firing, severity=severity)
            known = ledger(alone)
            if not firing and name in known:
                alert = replace(alert, starts_at=known[name].starts_at)
            alone.receive(alert)
            all_at_once(*(partial(house.receive, alert) for house in dice.choices(three, k=2)))
            if dice.random() < 0.5:
                alone.drain()
                all_at_once(*(house.drain for house in dice.choices(three, k=2)))
            for house in (alone, *three):
                house.clock.after(seconds=20)
        alone.drain()
        three[0].drain()
        assert [shown(one) for one in three[1].journal.recent()] == [shown(one) for one in alone.journal.recent()]
    finally:
        for house in (alone, *three):
            house.journal.close()


def ledger(house: House) -> dict[str, Alert]:
    names = [f"f{n}" for n in range(4)]
    return house.journal.write(lambda txn: txn.known_alerts("alertmanager", names)).result()


def shown(incident: Incident) -> tuple[int, Status, Severity, int, int, str]:
    return (
        incident.number,
        incident.status,
        incident.severity,
        incident.firing,
        incident.recovered,
        incident.title,
    )
