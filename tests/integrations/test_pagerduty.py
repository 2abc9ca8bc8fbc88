"""PagerDuty's clients against a server that takes every connection and never answers."""

import socket
import time
from collections.abc import Iterator

import pytest

from bot.contracts import Attempt, TakenOver, Transient
from bot.incident import effects as ef
from bot.integrations.pagerduty import Courier, Settings
from tests.core.case import START, Case

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
