"""One conversation with Prometheus: what it answers, or one of two failures, whose words hold no password."""

import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from bot.health.observation import Sample

T = TypeVar("T")
Points = list[tuple[float, float]]
"""Unix seconds and value, in order."""


class Unreachable(Exception):
    """Nobody there: true for every question of the survey."""


class Useless(Exception):
    """Somebody there, but no answer to this question."""


class Conversation:
    """Queries within one survey. Once Prometheus could not be reached, no other question waits for it too."""

    def __init__(self, url: str, name: str, *, timeout: float, headers: dict[str, str] | None) -> None:
        # The client imports requests, which a bot that only takes alerts should not pay for at its start.
        from prometheus_api_client import PrometheusConnect

        from bot.health.session import Forms

        self._client = PrometheusConnect(url=url, headers=headers, timeout=timeout, session=Forms())
        self._name = name
        self._timeout = timeout
        self._lock = threading.Lock()
        self.reason = ""

    def close(self) -> None:
        """Lets the connections go."""
        self._client.close()

    def give_up(self, reason: str) -> str:
        """Remember the first reason, so that all unknowns say the same."""
        with self._lock:
            self.reason = self.reason or reason
            return self.reason

    def query(self, query: str) -> list[Sample]:
        """The answer of this moment."""
        params = {"timeout": f"{self._timeout:g}"}
        result = self._told(lambda: self._client.custom_query(query, params=params))
        return self._read(lambda: [_sample(series) for series in result])

    def past(self, query: str, seconds: int, step: int) -> Points:
        """The only series of `query` over the last `seconds`; empty without one."""
        end = datetime.now(UTC)
        start = end - timedelta(seconds=seconds)
        params = {"timeout": f"{self._timeout:g}"}
        result = self._told(lambda: self._client.custom_query_range(query, start, end, f"{step}", params=params))
        return self._read(lambda: [(float(at), float(value)) for at, value in result[0]["values"]] if result else [])

    def ranges(self, query: str, start: datetime, end: datetime, step: int) -> list[tuple[dict[str, str], Points]]:
        """Every series of `query` from `start` to `end`, with its labels."""
        params = {"timeout": f"{self._timeout:g}"}
        result = self._told(lambda: self._client.custom_query_range(query, start, end, f"{step}", params=params))
        return self._read(lambda: [_line(series) for series in result])

    def names(self, match: str, seconds: int) -> frozenset[str]:
        """The metrics by these names that had a sample in the last `seconds`."""
        end = datetime.now(UTC)
        params = {
            "match[]": f'{{__name__=~"{match}"}}',
            "start": f"{(end - timedelta(seconds=seconds)).timestamp():.0f}",
            "end": f"{end.timestamp():.0f}",
        }
        result = self._told(lambda: self._client.get_label_values("__name__", params=params))
        return self._read(lambda: _texts(result))

    def _told(self, ask: Callable[[], Any]) -> Any:
        from prometheus_api_client.exceptions import PrometheusApiClientException
        from requests import exceptions

        # What requests and the client say holds the address, hence perhaps a password: never pass their words on.
        try:
            return ask()
        except exceptions.Timeout:
            raise Unreachable(f"Prometheus at {self._name} did not answer within {self._timeout:g} s") from None
        except exceptions.SSLError:
            raise Unreachable(f"Prometheus at {self._name} shows a certificate we do not trust") from None
        except exceptions.ConnectionError:
            raise Unreachable(f"Prometheus at {self._name} cannot be reached") from None
        except PrometheusApiClientException as error:
            status = re.match(r"HTTP Status Code (\d{3})", str(error))
            code = f"HTTP {status[1]}" if status else "an error"
            raise Useless(f"Prometheus at {self._name} refused the query with {code}") from None
        except (exceptions.RequestException, LookupError, TypeError, ValueError, AttributeError):
            raise Useless(f"what answers at {self._name} does not speak Prometheus' API") from None

    def _read(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except (LookupError, TypeError, ValueError, AttributeError):
            raise Useless(f"what answers at {self._name} does not speak Prometheus' API") from None


def _sample(series: dict[str, Any]) -> Sample:
    labels = {str(name): str(value) for name, value in series["metric"].items()}
    return Sample(labels, float(series["value"][1]))


def _line(series: dict[str, Any]) -> tuple[dict[str, str], Points]:
    labels = {str(name): str(value) for name, value in series["metric"].items()}
    return labels, [(float(at), float(value)) for at, value in series["values"]]


def _texts(result: Any) -> frozenset[str]:
    if not isinstance(result, list) or not all(isinstance(name, str) for name in result):
        raise TypeError("not a list of names")
    return frozenset(result)
