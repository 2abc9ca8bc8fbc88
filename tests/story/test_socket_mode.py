"""The same bot without an address that Slack could reach, and what it does while Slack is not there."""

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bot.incident.state import Status
from bot.slack.actions import Do
from bot.workbench.launch import Options, Workbench
from bot.workbench.slack.faults import Fault
from tests.story.night import ANY_PORTS, INTAKE, MAYA, Night, alert, open_night, webhook

OPENING = "apps.connections.open"
SOON_S = 6.0
"""Seconds, on a busy machine; the call itself may last 8."""


def eventually(holds: Callable[[], object], what: str, seconds: float = 60.0) -> None:
    limit, pause = time.monotonic() + seconds, threading.Event()
    while not holds():
        assert time.monotonic() < limit, f"within {seconds:.0f} s not {what}"
        pause.wait(0.02)


def asked(night: Night) -> int:
    """How often the bot wanted a socket."""
    return sum(call.method == OPENING for call in night.bench.workspace.calls)


def lines(night: Night, event: str) -> list[str]:
    """What was logged of this, each with its reason."""
    return [str(line.get("reason", "")) for line in night.logs if line["event"] == event]


@contextmanager
def listening(night: Night) -> Iterator[Callable[[], None]]:
    """The bot holds its socket, or tries to; gives what closes it."""
    assert night.app.slack is not None
    hang_up = night.app.slack.listen()
    assert hang_up is not None
    try:
        yield hang_up
    finally:
        hang_up()


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    with open_night(tmp_path, socket_mode=True) as night:
        night.foretold |= {"service_unavailable", "ratelimited", "internal_error", "request_timeout", "invalid_auth"}
        yield night


def test_clicks_arrive_over_the_socket_that_the_bot_opens(night: Night) -> None:
    with listening(night):
        eventually(lambda: night.bench.workspace.state.sockets.connected, "connected")
        night.alerts(alert())
        night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
        assert night.stands(Status.ACKNOWLEDGED)
        status, _ = night.post("/slack/events", b"", {})
        assert status == 404, "the HTTP door is closed"


def test_a_server_that_starts_without_slack_pages_and_hears_slack_when_it_is_back(tmp_path: Path) -> None:
    options = Options(ports=ANY_PORTS, directory=tmp_path, bot=False, monitoring=False, paced=False, socket_mode=True)
    with Workbench(options) as bench:
        bench.workspace.faults.down = True
        bench.bot.start()
        bench.bot.wait_ready(90)
        bearer = {"Authorization": f"Bearer {bench.secrets.alertmanager_token}"}
        url = f"{bench.ports.url('doors')}/hooks/alertmanager"
        burning = urllib.request.Request(url, json.dumps(webhook(alert())).encode(), bearer, method="POST")
        with urllib.request.urlopen(burning, timeout=10) as answer:
            assert answer.status == 200
        eventually(lambda: bench.pagerduty.incidents, "paged")
        assert bench.pagerduty.incidents[0].status == "triggered"
        eventually(lambda: [c for c in bench.workspace.calls if c.method == OPENING][1:], "tried again")
        assert bench.bot.running
        bench.workspace.faults.clear()
        eventually(lambda: bench.workspace.state.sockets.connected, "connected", 90)
        bench.workspace.command(MAYA, INTAKE, "/incident ack INC-1")
        eventually(lambda: bench.pagerduty.incidents[0].status == "acknowledged", "acknowledged")


def test_a_slack_that_hangs_holds_up_neither_the_start_nor_the_end(night: Night) -> None:
    night.bench.workspace.faults.plan(Fault.HANG, OPENING)
    began = time.monotonic()
    with listening(night) as hang_up:
        assert time.monotonic() - began < SOON_S
        eventually(lambda: asked(night), "asked")
        began = time.monotonic()
        hang_up()
        assert time.monotonic() - began < SOON_S
    night.bench.workspace.faults.release()


def test_a_slack_that_asks_to_slow_down_is_left_alone_and_nobody_waits_for_that(night: Night) -> None:
    night.bench.workspace.faults.plan(Fault.RATELIMITED, OPENING, retry_after=600)
    with listening(night) as hang_up:
        eventually(lambda: lines(night, "slack_socket_not_open"), "said")
        assert not threading.Event().wait(2.0), "two tries would have been made by now"
        assert asked(night) == 1
        began = time.monotonic()
        hang_up()
        assert time.monotonic() - began < SOON_S
    assert lines(night, "slack_socket_not_open") == ["Slack asks us to slow down"]


def test_each_change_is_logged_once(night: Night) -> None:
    night.bench.workspace.faults.plan(Fault.SERVER_ERROR, OPENING, times=2)
    with listening(night):
        eventually(lambda: night.bench.workspace.state.sockets.connected, "connected")
        eventually(lambda: lines(night, "slack_socket_open"), "said")
    assert asked(night) == 3
    assert lines(night, "slack_socket_not_open") == ["Slack answered internal_error"]


def test_a_wrong_token_is_named_and_the_rest_goes_on(night: Night) -> None:
    night.bench.workspace.faults.plan(Fault.ERROR, OPENING, error="invalid_auth")
    with listening(night):
        eventually(lambda: night.bench.workspace.state.sockets.connected, "connected")
    (reason,) = lines(night, "slack_socket_not_open")
    assert "invalid_auth; check FIXFIRST_SLACK_APP_TOKEN" in reason


@pytest.mark.parametrize("by", ["a word", "a cut"])
def test_a_socket_that_slack_ends_is_opened_anew_and_clicks_go_on(
    night: Night, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack.socket.PING_EVERY_S", 1.0)
    with listening(night):
        sockets = night.bench.workspace.state.sockets
        eventually(lambda: sockets.connected, "connected")
        night.bench.workspace.faults.plan(Fault.RATELIMITED, OPENING, retry_after=1)
        if by == "a word":
            sockets.disconnect()
        else:
            sockets.stop()
        eventually(lambda: asked(night) >= 3 and sockets.connected, "connected again", 90)
        night.alerts(alert())
        night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
        assert night.stands(Status.ACKNOWLEDGED)
