"""Several servers on one PostgreSQL: whatever reaches which of them, and in whatever order, happens once."""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from bot.contracts import Attempt, Delivered
from bot.desk import PATIENCE_S
from bot.engine.local import LocalEngine
from bot.incident import commands as cmd
from bot.incident.alert import Alert
from bot.incident.effects import EFFECT_NAMES, Effect, OpenChannel, Page, Tell
from bot.incident.events import ChannelOpened, PageAccepted, Severity
from bot.incident.people import Refused
from bot.incident.policy import Policy
from bot.incident.state import Incident, Status
from bot.intake.alerts import Delivery
from bot.journal import Txn, database
from bot.journal.post import COURIERS
from bot.outbox import Outbox
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


class Frozen:
    """A server that is stopped in the middle of a transaction, with the incident locked, until it is let go."""

    def __init__(self, house: House, incident: Incident) -> None:
        self._let_go = threading.Event()
        locked = threading.Event()

        def work(txn: Txn) -> None:
            txn.incident(incident.id)
            locked.set()
            self._let_go.wait(30)

        self.written = house.journal.write(work)
        assert locked.wait(10)

    def let_go(self) -> BaseException | None:
        """What comes of its transaction."""
        self._let_go.set()
        return self.written.exception(10)


def test_a_server_that_is_frozen_in_a_transaction_holds_the_others_up_only_so_long(
    tmp_path: Path, postgres: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert database.IDLE_TIMEOUT_MS < PATIENCE_S * 1000, "a click waits for longer than that"
    monkeypatch.setattr(database, "IDLE_TIMEOUT_MS", 300)
    url = postgres.new()
    first, second = House(tmp_path, url), House(tmp_path, url)
    incident = opened(first)
    frozen = Frozen(first, incident)
    click = cmd.Acknowledge(incident=incident.id, by=MAYA, at=second.clock(), key="slack:act:1", source="slack")
    assert len(second.desk.handle(click, 20).entries) == 1
    assert frozen.let_go() is None, "it has lost its transaction, and begun it anew"
    for house in (first, second):
        house.journal.close()


def test_a_server_begins_while_another_is_frozen_in_the_middle_of_its_work(
    tmp_path: Path, postgres: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "IDLE_TIMEOUT_MS", 60_000)
    url = postgres.new()
    first, second = House(tmp_path, url), House(tmp_path, url)
    frozen = Frozen(first, opened(first))
    engine = LocalEngine(second.desk, Outbox(second.desk, {}))
    began = time.monotonic()
    engine.start()
    took = time.monotonic() - began
    frozen.let_go()
    engine.stop()
    for house in (first, second):
        house.journal.close()
    assert took < database.LOCK_TIMEOUT_MS / 1000, "whoever waits for a lock does so for longer"


def test_a_server_that_begins_with_other_settings_reckons_the_deadlines_anew(replicas: list[House]) -> None:
    first, second, _ = replicas
    incident = opened(first)
    assert first.journal.due(first.clock()) == []
    second.policy = Policy(ack_within=timedelta(0))
    second.journal.write(lambda txn: txn.refresh_due()).result()
    assert second.journal.due(second.clock()) == [incident.id]


class Outside:
    """Slack, the pager and the rest in one: takes whatever comes, and keeps what it was told, by model."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.told: Counter[tuple[str, str, str]] = Counter()

    def for_house(self, house: House) -> Outbox:
        """The outbox of a server whose every courier ends here."""
        return Outbox(house.desk, {courier: Door(self, house) for courier in COURIERS})

    def hear(self, incident: Incident, effect: Effect, about: str) -> None:
        with self._lock:
            self.told[incident.model, EFFECT_NAMES[type(effect)], about] += 1

    def sent(self) -> dict[tuple[str, str, str], int]:
        """What came, and how often; how often something is merely brought up to date does not matter."""
        fresh = {EFFECT_NAMES[kind] for kind in EFFECT_NAMES if kind.latest_wins}
        return {what: 1 if what[1] in fresh else times for what, times in self.told.items()}


@dataclass(frozen=True)
class Door:
    """What one server sees of the outside."""

    outside: Outside
    house: House

    def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:
        assert attempt.number == 1
        match effect:
            case Tell(entry=told):
                entry = self.house.journal.entry(told)
                assert entry is not None
                self.outside.hear(incident, effect, type(entry.event).__name__)
                return []
            case Page(generation=generation):
                self.outside.hear(incident, effect, f"round {generation}")
                return [PageAccepted("PagerDuty", generation)]
            case OpenChannel():
                self.outside.hear(incident, effect, "")
                return [ChannelOpened(f"C{incident.number}", f"inc-{incident.number}")]
            case _:
                self.outside.hear(incident, effect, f"round {getattr(effect, 'generation', '')}")
                return []


def turn(house: House, outbox: Outbox) -> None:
    """Does all there is to do by now, as the engine does."""
    house.drain()
    for incident_id in house.journal.due(house.clock()):
        house.desk.check_timers(incident_id).result()
    while jobs := outbox.ready():
        for job in jobs:
            outbox.deliver(job.id)


def some_alert(house: House, dice: random.Random) -> Delivery:
    """One of a few alerts of two groups begins, is said again, or ends."""
    name = f"f{dice.randrange(6)}"
    model = "llama-70b" if name < "f4" else "qwen-32b"
    said = house.alert(
        name,
        firing=dice.random() < 0.7,
        severity=dice.choice(list(Severity)),
        model=model,
        labels={"service": "chat", "model": model},
    )
    known = ledger(house)
    if not said.firing and name in known:
        return replace(said, starts_at=known[name].starts_at)
    return said


def some_click(house: House, dice: random.Random, number: int) -> cmd.Command | None:
    """Somebody takes or resolves an incident; None where there is none."""
    live = house.journal.live()
    if not live:
        return None
    incident = dice.choice(sorted(live, key=lambda one: one.number))
    key = f"slack:act:{number}"
    if dice.random() < 0.5:
        return cmd.Acknowledge(incident=incident.id, by=MAYA, at=house.clock(), key=key, source="slack")
    return cmd.Resolve(
        incident=incident.id,
        by=MAYA,
        at=house.clock(),
        key=key,
        source="slack",
        reason="it is over",
        despite_firing=True,
    )


@pytest.mark.parametrize("seed", range(200 if os.environ.get("CHAOS") == "all" else 12))
def test_three_end_where_one_would_and_send_the_same(tmp_path: Path, postgres: PostgreSQL, seed: int) -> None:
    """The same history, once told to one server in order, and once repeated and spread over three."""
    dice = random.Random(seed)
    alone = House(tmp_path / "alone", postgres.new())
    url = postgres.new()
    three = [House(tmp_path / "three", url) for _ in range(REPLICAS)]
    by_one, by_three = Outside(), Outside()
    outbox, outboxes = by_one.for_house(alone), [by_three.for_house(house) for house in three]
    try:
        for number in range(12):
            if dice.random() < 0.8:
                alert = some_alert(alone, dice)
                alone.receive(alert)
                all_at_once(*(partial(house.receive, alert) for house in dice.choices(three, k=2)))
            else:
                click = some_click(alone, dice, number)
                if click is not None:
                    all_at_once(partial(alone.desk.handle, click, 30))
                    same = replace(click, incident=twin(alone, three[0], click.incident))
                    all_at_once(*(partial(house.desk.handle, same, 30) for house in dice.choices(three, k=2)))
            if dice.random() < 0.5:
                turn(alone, outbox)
                all_at_once(*(partial(turn, three[n], outboxes[n]) for n in dice.sample(range(REPLICAS), k=2)))
            span = dice.choice((20, 20, 400, 2_000))
            for house in (alone, *three):
                house.clock.after(seconds=span)
        turn(alone, outbox)
        turn(three[0], outboxes[0])
        assert shown(three[1]) == shown(alone)
        assert by_three.sent() == by_one.sent()
        assert by_one.sent()
    finally:
        for house in (alone, *three):
            house.journal.close()


def twin(here: House, there: House, incident_id: str) -> str:
    """The id under which another house knows the same incident."""
    incident = here.journal.incident(incident_id)
    assert incident is not None
    found = there.journal.in_group(incident.group_key)
    assert found is not None
    return found.id


def ledger(house: House) -> dict[str, Alert]:
    names = [f"f{n}" for n in range(6)]
    return house.journal.write(lambda txn: txn.known_alerts("alertmanager", names)).result()


def shown(house: House) -> list[tuple[str, Status, int, Severity, int, int, str]]:
    """How all incidents stand. Which of two that opened together has the lower number is left to chance."""
    return sorted(
        (one.group_key, one.status, one.generation, one.severity, one.firing, one.recovered, one.title)
        for one in house.journal.recent()
    )
