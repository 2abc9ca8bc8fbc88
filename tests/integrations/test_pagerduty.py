"""PagerDuty's clients against a server that never answers, and against what stands in between and answers for it."""

import socket
import time
from collections.abc import Iterator

import pytest

from bot.contracts import Attempt, Permanent, TakenOver, Transient
from bot.incident import effects as ef
from bot.integrations.pagerduty import Courier, Settings
from tests.clocked import by_the_clock
from tests.core.case import START, Case
from tests.integrations.bridge import Bridge

SECRETS = {"FIXFIRST_PAGERDUTY_ROUTING_KEY": "f" * 32, "FIXFIRST_PAGERDUTY_API_TOKEN": "token"}


@pytest.fixture
def silent() -> Iterator[Courier]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        values = {"api_url": url, "events_url": url, "from": "oncall@example.com"}
        settings, faults = Settings.from_toml(values, SECRETS.get)
        assert settings is not None, faults
        courier = Courier(settings, lambda _: "")
        yield courier
        courier.close()


@by_the_clock
def test_a_later_try_that_looks_first_still_leaves_its_lane_within_four_seconds(silent: Courier) -> None:
    incident = Case().alerts(firing=1, new=1).inc
    began = time.monotonic()
    with pytest.raises(Transient, match="does not answer"):
        silent.deliver(ef.Page(1), incident, Attempt("job", 2, START))
    assert 3.5 < time.monotonic() - began < 4.5


def test_a_page_that_is_not_ours_any_more_when_the_line_is_open_is_not_sent() -> None:
    """A server may stand still between its last look and the call, and wake when all is over."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        settings, faults = Settings.from_toml({"events_url": url}, SECRETS.get)
        assert settings is not None, faults
        courier, heard = Courier(settings, lambda _: ""), []

        def connected_and_taken_over() -> None:
            line, _ = listener.accept()
            heard.append(line)
            raise TakenOver

        attempt = Attempt("job", 1, START, still_ours=connected_and_taken_over)
        with pytest.raises(TakenOver):
            courier.deliver(ef.Page(1), Case().alerts(firing=1, new=1).inc, attempt)
        courier.close()
        (line,) = heard
        with line:
            line.settimeout(5)
            assert line.recv(1) == b"", "the line was closed without a byte"


def page(bridge: Bridge) -> None:
    """Sends one where PagerDuty should be."""
    settings, faults = Settings.from_toml({"events_url": f"http://127.0.0.1:{bridge.port}"}, SECRETS.get)
    assert settings is not None, faults
    courier = Courier(settings, lambda _: "")
    try:
        courier.deliver(ef.Page(1), Case().alerts(firing=1, new=1).inc, Attempt("job", 1, START))
    finally:
        courier.close()


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>please sign in</html>"),
        (200, b""),
        (202, b"[]"),
        (302, b""),
        (403, b"<html>blocked by policy</html>"),
        (407, b"{}"),
        (408, b"{}"),
    ],
    ids=str,
)
def test_what_a_proxy_answers_for_pagerduty_neither_counts_as_a_page_nor_ends_the_trying(
    bridge: Bridge, answer: tuple[int, bytes]
) -> None:
    bridge.answer = answer
    with pytest.raises(Transient, match="is a proxy or a login page in between"):
        page(bridge)


def test_what_pagerduty_itself_refuses_is_refused_for_good(bridge: Bridge) -> None:
    bridge.answer = 400, b'{"status": "invalid event", "errors": ["Invalid routing key"]}'
    with pytest.raises(Permanent, match="Invalid routing key"):
        page(bridge)
