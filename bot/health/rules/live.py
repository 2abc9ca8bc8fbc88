"""What a live Prometheus says of itself: its rules, and which metrics, labels and values it has seen in a day."""

import time
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from bot.health.rules.findings import LoadedRule

LOOK_BACK_S: Final = 86_400
"""What has not been seen for a day does not count as there; a nightly job's metrics still do."""


class Unreachable(Exception):
    """Prometheus does not answer, or not as Prometheus does. A sentence for a person."""


class Prometheus:
    """Reads only; each question has a time-out, and is asked once. To be used as a context."""

    def __init__(self, url: str, *, timeout: float = 5.0, headers: dict[str, str] | None = None) -> None:
        from bot.punctual import Punctual

        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Unreachable("the Prometheus URL must start with http:// or https:// and name a host")
        self._url = url.rstrip("/")
        self._name = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
        self._timeout = timeout
        self._session = Punctual()
        self._session.headers.update(headers or {})
        self._since = str(time.time() - LOOK_BACK_S)
        self._known: dict[tuple[str, ...], frozenset[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def rules(self) -> list[LoadedRule]:
        """Every rule it has loaded, in its order. Raises Unreachable."""
        try:
            return [
                LoadedRule(rule["name"], rule["query"], group["name"], group["file"], alert=rule["type"] == "alerting")
                for group in self._get("rules", {})["groups"]
                for rule in group["rules"]
            ]
        except (LookupError, TypeError) as error:
            raise self._nonsense() from error

    def metrics(self) -> frozenset[str]:
        """The names of all metrics. Raises Unreachable."""
        return self.values("__name__")

    def labels(self, selector: str) -> frozenset[str]:
        """The labels of the series that this selects. Raises Unreachable."""
        return self._names(("labels", selector), "labels")

    def values(self, label: str, selector: str = "") -> frozenset[str]:
        """The values of a label, of all series or of those selected. Raises Unreachable."""
        return self._names((label, selector), f"label/{label}/values")

    def _names(self, key: tuple[str, str], path: str) -> frozenset[str]:
        if key not in self._known:
            params = {"start": self._since} | ({"match[]": key[1]} if key[1] else {})
            answer = self._get(path, params)
            if not isinstance(answer, list) or not all(isinstance(name, str) for name in answer):
                raise self._nonsense()
            self._known[key] = frozenset(answer)
        return self._known[key]

    def _get(self, path: str, params: dict[str, str]) -> Any:
        from requests import exceptions

        # What requests says holds the address, hence perhaps a password: it is never passed on.
        try:
            answer = self._session.get(f"{self._url}/api/v1/{path}", params=params, timeout=self._timeout)
            if answer.status_code != 200:
                raise Unreachable(f"Prometheus at {self._name} answered HTTP {answer.status_code}")
            return answer.json()["data"]
        except exceptions.Timeout:
            raise Unreachable(f"Prometheus at {self._name} did not answer within {self._timeout:g} s") from None
        except exceptions.JSONDecodeError:
            raise self._nonsense() from None
        except exceptions.RequestException:
            raise Unreachable(f"Prometheus at {self._name} cannot be reached") from None
        except (LookupError, TypeError):
            raise self._nonsense() from None

    def _nonsense(self) -> Unreachable:
        return Unreachable(f"what answers at {self._name} does not speak Prometheus' API")
