"""What the libraries that call out do when left alone, and that ours do not: they sleep, repeat, and wait for ever."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from pagerduty import EventsApiV2Client
from prometheus_api_client import PrometheusConnect
from requests.exceptions import RequestException
from slack_sdk import WebClient
from urllib3.util import Retry

from bot.contracts import Attempt, Transient
from bot.health import Scope, Telemetry, Verdict, survey
from bot.incident import effects as ef
from bot.integrations import pagerduty, prometheus
from bot.integrations.fallback import Notice
from bot.integrations.pagerduty import wire
from bot.settings import Secret
from bot.slack.client import call, connect
from bot.slack.settings import Settings as SlackSettings
from bot.slack.tls import in_time
from tests.clocked import by_the_clock
from tests.core.case import START, Case
from tests.harms.sink import Sink, breaks_off, cut, drips, silent, sink, slow_down
from tests.servers import certificate_in

KEY = "f" * 32
PATIENCE = 40.0
"""Seconds after which we believe that a client would go on for ever."""
HERE = "127.0.0.1"


class FastAsleep(Exception):
    """The client has slept for longer than PATIENCE."""


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the PagerDuty client sleeps, in seconds; none of it takes any time."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if sum(slept) > PATIENCE:
            raise FastAsleep

    monkeypatch.setattr("pagerduty.api_client.time", SimpleNamespace(sleep=sleep))
    return slept


def pager(url: str) -> pagerduty.Courier:
    settings, faults = pagerduty.Settings.from_toml(
        {"api_url": url, "events_url": url}, {"FIXFIRST_PAGERDUTY_ROUTING_KEY": KEY}.get
    )
    assert settings is not None, faults
    return pagerduty.Courier(settings, lambda _: "")


def test_pagerduty_s_client_sleeps_ever_longer_on_a_429_and_never_gives_up(naps: list[float]) -> None:
    with sink(slow_down) as server:
        client = EventsApiV2Client(KEY, **wire.connection(server.url))
        with pytest.raises(FastAsleep):
            client.trigger("llama-70b is down", "fixfirst", dedup_key="k")
    assert len(server.asked) == len(naps) == 4
    assert naps == [3.0, 6.0, 12.0, 24.0], "asked for one second each time, it heard nothing of it"


def test_our_page_is_refused_at_once_and_the_outbox_knows_when_to_come_back(naps: list[float]) -> None:
    incident = Case().alerts(firing=1, new=1).inc
    with sink(slow_down) as server:
        courier = pager(server.url)
        with pytest.raises(Transient) as refused:
            courier.deliver(ef.Page(1), incident, Attempt("job", 1, START))
        courier.close()
    assert (len(server.asked), naps) == (1, [])
    assert refused.value.retry_after == 1.0


def test_slack_s_client_posts_a_message_twice_when_the_answer_to_the_first_gets_lost() -> None:
    with sink(cut) as server:
        client = WebClient("xoxb-1", base_url=f"{server.url}/api/", timeout=5)
        with suppress(OSError):
            client.chat_postMessage(channel="C1", text="llama-70b is down")
    assert server.asked == ["POST /api/chat.postMessage"] * 2


def slack(server: Sink) -> WebClient:
    """Our client, as it is configured, for that server."""
    settings, faults = SlackSettings.from_toml(
        {"team_id": "T1", "intake_channel": "C1", "api_url": f"{server.url}/api/"},
        {"FIXFIRST_SLACK_BOT_TOKEN": "xoxb-1", "FIXFIRST_SLACK_SIGNING_SECRET": "s"}.get,
    )
    assert settings is not None, faults
    return connect(settings)


def test_ours_posts_it_once_and_says_that_nobody_knows() -> None:
    with sink(cut) as server, pytest.raises(Transient) as lost:
        call(slack(server).chat_postMessage, channel="C1", text="llama-70b is down")
    assert server.asked == ["POST /api/chat.postMessage"]
    assert lost.value.ambiguous, "so that the next try looks first"


def goes_on_for_two_seconds(ask: Callable[[], object], server: Sink) -> bool:
    """Whether somebody who asks is still at it then; afterwards the server lets go."""

    def until_it_fails() -> None:
        with suppress(Exception):
            ask()

    asking = threading.Thread(target=until_it_fails)
    asking.start()
    asking.join(2.0)
    goes_on = asking.is_alive()
    server.over.set()
    asking.join(30)
    return goes_on


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a server that this machine trusts."""
    made = certificate_in(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
    return made


@by_the_clock
def test_a_time_out_of_slack_s_client_begins_anew_with_every_byte_and_ours_does_not(certificate: Path) -> None:
    with sink(drips, certificate) as server:
        client = WebClient("xoxb-1", base_url=f"{server.url}/api/", timeout=1, retry_handlers=[])
        assert goes_on_for_two_seconds(lambda: client.chat_postMessage(channel="C1", text="it burns"), server)
        assert server.asked
    with sink(drips, certificate) as server:
        ours, began = slack(server), time.monotonic()
        ours.timeout = 1
        with pytest.raises(Transient, match="TimeoutError"):
            call(ours.chat_postMessage, channel="C1", text="it burns")
        assert time.monotonic() - began < 5


@by_the_clock
def test_the_end_of_an_answer_is_no_end_of_the_socket_that_is_held_for_hours(certificate: Path) -> None:
    """Slack's client opens its WebSocket with the same context, and reads it by `recv` until it is closed."""
    with (
        sink(drips, certificate) as server,
        socket.create_connection((HERE, urlsplit(server.url).port or 0), timeout=0.3) as plain,
        in_time().wrap_socket(plain, server_hostname=HERE) as held,
    ):
        began = time.monotonic()
        held.sendall(b"GET / HTTP/1.1\r\n\r\n")
        while time.monotonic() - began < 0.9:
            assert held.recv(1)


@by_the_clock
def test_a_time_out_of_pagerduty_s_client_begins_anew_with_every_byte_and_ours_does_not(certificate: Path) -> None:
    with sink(drips, certificate) as server:
        client = wire.bounded(EventsApiV2Client(KEY, base_url=server.url), 1)
        assert goes_on_for_two_seconds(lambda: client.trigger("it burns", "fixfirst"), server)
        assert server.asked
    with sink(drips, certificate) as server:
        ours, began = pagerduty.Integration("spare", Secret(KEY), server.url, 1.0), time.monotonic()
        with pytest.raises(Transient, match="no answer in 1 s"):
            ours.tell(Notice("k", "it burns", START))
        assert time.monotonic() - began < 5


def test_an_answer_that_breaks_off_is_silence_and_no_bug_of_ours() -> None:
    with sink(breaks_off) as server:
        with pytest.raises(Transient, match="does not answer"):
            call(slack(server).chat_postMessage, channel="C1", text="it burns")
        with pytest.raises(Transient, match="does not answer"):
            pagerduty.Integration("spare", Secret(KEY), server.url, 1.0).tell(Notice("k", "it burns", START))


def test_the_prometheus_client_waits_for_ever_for_one_that_is_silent() -> None:
    with sink(silent) as server, PrometheusConnect(server.url, retry=Retry(0)) as client:
        assert goes_on_for_two_seconds(lambda: client.custom_query("up"), server), "it has no time-out of its own"


def test_ours_gives_a_silent_one_up_in_its_time() -> None:
    with sink(silent) as server:
        began = time.monotonic()
        report = survey(Telemetry(server.url, timeout=0.3), Scope(), START)
        assert report.verdict is Verdict.BLIND
        measuring = prometheus.Prometheus(prometheus.Settings(server.url, 0.3, Secret("")))
        with pytest.raises(Transient, match=r"did not answer in 0\.3 s"):
            measuring.measure("up", "== 1")
        assert time.monotonic() - began < 10, "it would be silent for a minute"


def test_the_prometheus_client_asks_four_times_for_what_was_refused_and_ours_once() -> None:
    with sink(slow_down) as server:
        client = PrometheusConnect(server.url, timeout=5)
        with pytest.raises(RequestException):
            client.custom_query("up")
        client.close()
        assert len(server.asked) == 4
        server.asked.clear()
        with pytest.raises(Transient):
            prometheus.Prometheus(prometheus.Settings(server.url, 5.0, Secret(""))).measure("up", "== 1")
        assert len(server.asked) == 1
