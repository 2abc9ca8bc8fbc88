"""What Bolt does when left alone, and that ours does not: commands lost for want of threads, errors for garbage, and a
request that was caught on its way and sent once more."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from slack_bolt import Ack, App, BoltRequest
from slack_bolt.authorization import AuthorizeResult

from bot.incident.policy import Policy
from bot.slack.cards import Context
from bot.slack.client import connect
from bot.slack.door import SlackDoor
from bot.slack.listeners import Listeners
from bot.slack.verbs import Verbs
from tests.slack.wire.office import PAGES, REPORT, SIGNING_SECRET, Office, Shelf, open_office
from tests.slack.wire.test_door import command, signed

AT_ONCE = 12
GARBAGE = {
    "a word as time stamp": {"X-Slack-Request-Timestamp": "yesterday"},
    "a signature that is not ASCII": {"X-Slack-Signature": "v0=\xe9"},
}


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with open_office(tmp_path) as office:
        office.learn()
        yield office


def bolt(work: Callable[[], None]) -> App:
    """An app as Bolt's own introduction makes it, whose command is acknowledged first and then worked on."""
    us = AuthorizeResult(enterprise_id=None, team_id="T0FIXFIRST", bot_token="xoxb-1")
    app = App(signing_secret=SIGNING_SECRET, authorize=lambda: us)

    @app.command("/incident")
    def incident(ack: Ack) -> None:
        ack()
        work()

    return app


def dispatched(app: App, body: bytes, **changed: str) -> int:
    """What Bolt answers to this, signed by the clock of the machine, by which it goes."""
    headers: dict[str, str | Sequence[str]] = {**signed(body, int(time.time())), **changed}
    return int(app.dispatch(BoltRequest(body=body.decode(), headers=headers)).status)


def waits(done: threading.Event) -> None:
    done.wait(30)


def all_at_once(send: Callable[[int], int]) -> list[int]:
    with ThreadPoolExecutor(AT_ONCE) as people:
        return list(people.map(send, range(AT_ONCE)))


def test_of_twelve_commands_that_take_their_time_bolt_answers_seven_404_after_three_seconds() -> None:
    done = threading.Event()
    app = bolt(lambda: waits(done))

    began = time.monotonic()
    statuses = all_at_once(lambda nth: dispatched(app, command("list", f"{nth}.0.0")))
    took = time.monotonic() - began
    done.set()
    assert sorted(statuses) == [200] * 5 + [404] * 7
    assert took > 3.0, "when Slack has already told the person that the app did not respond"


def test_ours_acknowledges_all_twelve_at_once_however_long_the_rest_takes(office: Office) -> None:
    done = threading.Event()

    def survey(_: str) -> Any:
        waits(done)
        return REPORT

    verbs = Verbs(office.desk, Shelf(), survey, Context(Policy(), PAGES, Shelf().titles()))
    listeners = Listeners(connect(office.settings), office.settings, office.desk, office.directory, verbs)
    door = SlackDoor(listeners.app, office.settings.signing_secret, office.clock)

    def send(nth: int) -> int:
        body = command("health", f"{nth}.0.0")
        return door.handle(body, signed(body))[0]

    began = time.monotonic()
    statuses = all_at_once(send)
    took = time.monotonic() - began
    done.set()
    listeners.close()
    assert statuses == [200] * AT_ONCE
    assert took < 15.0, "it takes thirty"


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_in_a_header_is_an_error_inside_bolt_and_a_401_at_our_door(office: Office, name: str) -> None:
    body = command("declare the gateway is down")
    assert dispatched(bolt(lambda: None), body, **GARBAGE[name]) == 500
    assert office.door.handle(body, {**signed(body), **GARBAGE[name]})[0] == 401
    assert office.journal.recent(1) == ()


def test_a_caught_request_works_again_in_bolt_and_not_at_our_door(office: Office) -> None:
    worked: list[int] = []
    app = bolt(lambda: worked.append(1))
    body = command("declare the gateway is down")
    caught = signed(body, int(time.time()))
    for _ in range(2):
        assert dispatched(app, body, **caught) == 200
        assert office.door.handle(body, signed(body))[0] == 200
    app.listener_runner.listener_executor.shutdown()
    assert len(worked) == 2
    assert len(office.journal.recent()) == 1
