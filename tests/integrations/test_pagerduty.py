"""PagerDuty's clients against a server that takes every connection and never answers."""

import socket
import time
from collections.abc import Iterator

import pytest

from bot.contracts import Attempt, Transient
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
