"""When there is more to do than can be done at once: pages first, then what people do, then what only informs."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bot.contracts import Attempt, Delivered
from bot.desk import PATIENCE_S, Desk
from bot.engine.local import LocalEngine
from bot.incident.effects import Effect, Page
from bot.incident.events import PageAccepted
from bot.incident.state import Incident
from bot.journal import Txn
from bot.outbox import Outbox
from bot.web.doors import Doors, Limits
from bot.workbench.server import Servers, Site, bind
from tests.doors.house import Answer, House, Street, alert, open_house, webhook
from tests.faults.process import eventually
from tests.slack.wire.office import open_office
from tests.slack.wire.test_door import command, signed

BUSY_WITH = 40
SOON_S = 20.0
"""Seconds, on a busy machine; whoever hangs does so for six times as long."""


@dataclass
class Stuck:
    """A service that takes every call and does not answer before it is let go."""

    go_on: threading.Event = field(default_factory=threading.Event)
    taken: list[str] = field(default_factory=list)

    def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:
        self.taken.append(incident.ref)
        self.go_on.wait(120)
        return []


@dataclass
class Quick:
    """A pager that accepts everything at once."""

    paged: list[str] = field(default_factory=list)

    def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:
        self.paged.append(incident.title)
        return [PageAccepted("PagerDuty", effect.generation)] if isinstance(effect, Page) else []


@contextmanager
def working(house: House, pager: Quick, everybody_else: Stuck) -> Iterator[LocalEngine]:
    """The real engine, with its threads, between these."""
    journal = house.app.journal
    woken = threading.Event()
    desk = Desk(journal, house.app.config.policy, house.app.config.reading, woken.set)
    others = ("slack", "health", "postmortem", "runbook")
    engine = LocalEngine(desk, Outbox(desk, {"pager": pager, **dict.fromkeys(others, everybody_else)}))
    engine.start()
    try:
        yield engine
    finally:
        everybody_else.go_on.set()
        engine.stop()


def burns(house: House, name: str) -> float:
    """A new incident; seconds until the door answered."""
    labels = {"alertname": name, "severity": "critical", "service": name}
    began = time.monotonic()
    answer = house.alerts(webhook([alert(name, labels=labels, annotations={"summary": name})]))
    assert answer.status == 200, answer
    return time.monotonic() - began


def test_while_everybody_else_hangs_the_next_page_goes_out_and_alerts_come_in(tmp_path: Path) -> None:
    with open_house(tmp_path) as house:
        pager, others = Quick(), Stuck()
        with working(house, pager, others) as engine:
            took = [burns(house, f"storm-{number}") for number in range(BUSY_WITH)]
            engine.wake()
            eventually(lambda: len(pager.paged) == BUSY_WITH)
            eventually(lambda: len(others.taken) >= 5)  # all of Slack's threads, and that of health
            held = len(others.taken)
            began = time.monotonic()
            took.append(burns(house, "the-next"))
            engine.wake()
            eventually(lambda: "the-next" in pager.paged, within_s=SOON_S)
            assert time.monotonic() - began < SOON_S
            assert len(others.taken) == held, "nobody else got a thread meanwhile"
        assert max(took) < SOON_S


def test_what_could_be_delivered_is_listed_with_the_pages_first_however_long_the_rest_has_waited(
    tmp_path: Path,
) -> None:
    with open_house(tmp_path) as house:
        for number in range(5):
            burns(house, f"f{number}")
        for group in house.app.journal.waiting_groups():
            house.app.desk.drain(group).result(5)
        couriers = [job.effect.courier for job in house.app.outbox.ready()]
        assert couriers[:5] == ["pager"] * 5
        assert set(couriers[5:]) & {"pager"} == set()
        assert len(couriers) > 10


def test_a_click_is_committed_before_the_alerts_that_came_first(tmp_path: Path) -> None:
    order: list[str] = []
    hold, holding = threading.Event(), threading.Event()

    def held(_: Txn) -> None:
        holding.set()
        hold.wait(10)

    with open_house(tmp_path) as house:
        write = house.app.journal.write
        first = write(held)
        assert holding.wait(10)
        waiting: list[Future[None]] = [write(lambda _: order.append("alert"), urgent=False) for _ in range(200)]
        waiting.append(write(lambda _: order.append("click")))
        hold.set()
        for future in (first, *waiting):
            future.result(10)
    assert order[0] == "click"
    assert order.count("alert") == 200


PEOPLE = 32


class Patient(Doors):
    """Leaves it to the journal to say that it did not answer in time."""

    SLACK_WITHIN_S = 60.0


def test_people_who_click_while_the_journal_stands_still_wait_for_it_and_not_for_each_other(
    tmp_path: Path,
) -> None:
    hold, holding = threading.Event(), threading.Event()

    def held(_: Txn) -> None:
        holding.set()
        hold.wait(60)

    with open_office(tmp_path) as office:
        office.learn()
        front = Patient(office.desk, tokens={}, pagerduty_settings=None, slack=office.door, limits=Limits())
        listener = bind(0, "--doors-port")
        servers = Servers([Site(front.app, listener)])
        servers.start()
        street = Street(listener.getsockname()[1])

        def clicks(nth: int) -> tuple[float, Answer]:
            body = command("declare the gateway is down", f"{nth}.0.0")
            began = time.monotonic()
            answer = street.post("/slack/events", body, signed(body))
            return time.monotonic() - began, answer

        office.journal.write(held)
        assert holding.wait(10)
        with ThreadPoolExecutor(PEOPLE) as people:
            answered = list(people.map(clicks, range(PEOPLE)))
        hold.set()
        office.journal.write(lambda _: None).result(10)
        declared = office.journal.recent(PEOPLE)
        servers.stop()
        front.close()
    assert max(took for took, _ in answered) < 4 * PATIENCE_S
    assert {answer.status for _, answer in answered} == {200}
    assert all(b"nothing was recorded; please try again in a moment" in answer.body for _, answer in answered)
    assert not declared, "nothing was recorded, as they were told"
