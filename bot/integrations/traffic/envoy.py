"""Envoy: percentages are runtime keys, set at its admin interface.

https://www.envoyproxy.io/docs/envoy/latest/operations/admin#post--runtime_modify
"""

import json
import socket
import time
from collections.abc import Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Final, cast
from urllib.parse import urlencode, urlsplit

from bot.contracts import Permanent, Transient, after_the_act
from bot.incident.redact import redact
from bot.integrations.traffic.target import Route, Target
from bot.until import Until

MAX_ANSWER: Final = 4 * 1024 * 1024
"""All runtime keys of a large proxy."""


class Envoy:
    """`Proxy` of `act.py`. All writes go in one request, so there is no order in which nobody answers."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._deadline = time.monotonic() + target.timeout

    def shed(self, route: Route, percent: int) -> dict[str, str]:
        """The percentage under its key."""
        return {route.shed: str(percent)}

    def shift(self, route: Route, percent: int) -> dict[str, str]:
        """Two weights that are 100 together."""
        return {route.fallback: str(percent), route.primary: str(100 - percent)}

    def read(self, names: Sequence[str]) -> dict[str, str]:
        """What the admin layer says; empty where it says nothing and the layers below hold."""
        said, _ = self._runtime()
        return {name: said.get(name, "") for name in names}

    def write(self, now: dict[str, str], wanted: dict[str, str]) -> None:
        """Sets all at once (empty takes a key out of the admin layer) and reads back what holds."""
        changes = {name: value for name, value in wanted.items() if now[name] != value}
        self._exchange("POST", f"/runtime_modify?{urlencode(changes)}")
        with after_the_act():
            said, holds = self._runtime()
            for name, value in changes.items():
                if said.get(name, "") != value or (value and holds.get(name) != value):
                    raise Permanent(
                        f"{self._target.where} was told {name}={value}, but {holds.get(name) or 'nothing'} holds: "
                        "is there a runtime layer above the admin layer?"
                    )

    def _runtime(self) -> tuple[dict[str, str], dict[str, str]]:
        """By key, what the admin layer says and what holds in the end."""
        answer = self._exchange("GET", "/runtime")
        try:
            told = json.loads(answer)
            layer = list(told["layers"]).index(self._target.layer)
            entries = told["entries"].items()
            said = {str(key): str(entry["layer_values"][layer]) for key, entry in entries}
            return said, {str(key): str(entry["final_value"]) for key, entry in entries}
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Permanent(f"{self._target.where} does not answer like Envoy's admin interface") from error
        except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
            raise Permanent(
                f"{self._target.where} has no runtime layer '{self._target.layer}'; add an admin_layer of that name"
            ) from error

    def _exchange(self, method: str, path: str) -> bytes:
        where, acts = urlsplit(self._target.address), method == "POST"
        left = max(0.001, self._deadline - time.monotonic())
        kind = HTTPSConnection if where.scheme == "https" else HTTPConnection
        connection = kind(where.hostname or "", where.port, timeout=left)
        try:
            connection.connect()
        except OSError as error:
            raise Transient(f"{self._target.where} cannot be reached: {self._why(error)}") from error
        try:
            connection.request(method, path, headers={"Connection": "close", "User-Agent": "FixFirst"})
            response = HTTPResponse(cast(socket.socket, Until(connection.sock, self._deadline)), method=method)
            with closing(response):
                response.begin()
                answer = response.read(MAX_ANSWER + 1)
        except (OSError, HTTPException) as error:
            raise Transient(f"{self._target.where}: {self._why(error)}", ambiguous=acts) from error
        finally:
            connection.close()
        if len(answer) > MAX_ANSWER:
            largest = f"{MAX_ANSWER // 2**20} MiB"
            raise Permanent(f"{self._target.where} answered with more than {largest}", ambiguous=acts)
        if response.status != 200:
            line = " ".join(answer[:300].decode("utf-8", "replace").split())
            said = f"{self._target.where} answered {response.status}: {redact(line)[:200]}"
            if response.status == 429 or (response.status >= 500 and "admin layer" not in line):
                raise Transient(said, ambiguous=acts)
            raise Permanent(said, ambiguous=acts and response.status < 400)
        return answer

    def _why(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer in {self._target.timeout:g} s"
        return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
