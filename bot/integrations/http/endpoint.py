"""The endpoints that `fixfirst.toml` names for `http.request`, and every fault in their tables.

    [endpoints.model-deploy]
    risk = "reversible"
    method = "POST"
    url = "https://deploy.internal/v1/models/{model}/deploy"
    json = { revision = "{before.previous}" }
    token = "DEPLOY_TOKEN"                     # the NAME of a secret
    observe = { url = "https://deploy.internal/v1/models/{model}", done = { revision = "{before.previous}" } }
    undo = { json = { revision = "{before.revision}" } }

`{model}` comes from the step's `with:`; `{before.x}` from the answer of `observe.url` at the preview (dots reach into
objects). A runbook can choose among endpoints and fill path segments and JSON values, never a scheme, host or port.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import isfinite
from typing import Any
from urllib.parse import urlsplit

from bot.incident.run import Risk

LONGEST_TIMEOUT = 10.0  # no courier call may last longer
PLACEHOLDER = re.compile(r"\{(before\.[A-Za-z0-9_.-]+|[a-z][a-z0-9_]*)\}")
_SECRET_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Observe:
    """How to look: GET `url` gives a JSON object. All of `done` matching means that the act has been carried out.

    `pin` names further fields that must not have moved between preview and act, for example a rollout in progress.
    """

    url: str
    done: Mapping[str, Any]
    pin: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Undo:
    """The request that restores what was before."""

    method: str
    url: str
    json: Any


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One table `[endpoints.NAME]`. `timeout` is in seconds and covers a whole preview, act, look or undo."""

    name: str
    risk: Risk
    method: str
    url: str
    json: Any = None
    observe: Observe | None = None
    undo: Undo | None = None
    token: str = field(default="", repr=False)
    timeout: float = 5.0

    @property
    def undoable(self) -> bool:
        return self.undo is not None

    @property
    def needs(self) -> frozenset[str]:
        """The values that a step must give under `with:`."""
        return frozenset(name for name in self._names() if not name.startswith("before."))

    @property
    def pinned(self) -> tuple[str, ...]:
        """The fields of the snapshot, sorted."""
        if self.observe is None:
            return ()
        before = {name.removeprefix("before.") for name in self._names() if name.startswith("before.")}
        return tuple(sorted(before | set(self.observe.done) | set(self.observe.pin)))

    def _names(self) -> Iterator[str]:
        yield from names_in([self.url, self.json])
        if self.observe:
            yield from names_in([self.observe.url, dict(self.observe.done)])
        if self.undo:
            yield from names_in([self.undo.url, self.undo.json])

    @classmethod
    def from_toml(
        cls, name: str, table: Mapping[str, Any], secret: Callable[[str], str | None]
    ) -> "tuple[Endpoint | None, list[str]]":
        """The endpoint, or every fault as "key: what is wrong; what to do". `secret` gives a secret by its name."""
        reading = _Reading(table)
        reading.only("", table, {"risk", "method", "url", "json", "observe", "undo", "token", "timeout"})
        risk, method, url = reading.risk(), reading.method("method", table, "POST"), reading.url("url", table)
        observe = reading.observe(url)
        undo = reading.undo(method, url)
        body = reading.json("json", table.get("json"))
        token, timeout = reading.token(secret), reading.timeout()
        endpoint = cls(name, risk, method, url, body, observe, undo, token, timeout)
        if "observe" not in table and any(used.startswith("before.") for used in endpoint._names()):
            reading.fault("observe", "{before.…} is used but nothing is observed; add observe = { url = …, done = … }")
        if risk is Risk.REVERSIBLE and undo is None and "undo" not in table:
            reading.fault("undo", 'a reversible endpoint needs it; add undo = { json = … } or set risk = "destructive"')
        return (None if reading.faults else endpoint), reading.faults


def names_in(value: Any) -> Iterator[str]:
    """The placeholders in a JSON value, as often as they stand there."""
    if isinstance(value, str):
        yield from PLACEHOLDER.findall(value)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from names_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from names_in(inner)


class _Reading:
    """Reads one endpoint's table and collects every fault."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._table = table
        self.faults: list[str] = []

    def fault(self, key: str, message: str) -> None:
        self.faults.append(f"{key}: {message}")

    def only(self, key: str, table: Mapping[str, Any], known: set[str]) -> None:
        for name in table:
            if name not in known:
                near = get_close_matches(name, sorted(known), n=1)
                hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(known))}"
                self.fault(f"{key}.{name}" if key else name, f"unknown key; {hint}")

    def risk(self) -> Risk:
        value = self._table.get("risk", Risk.DESTRUCTIVE.value)
        if value not in (Risk.REVERSIBLE.value, Risk.DESTRUCTIVE.value):
            self.fault(
                "risk", 'must be "reversible" or "destructive"; a request that changes something is never "read"'
            )
            return Risk.DESTRUCTIVE
        return Risk(value)

    def method(self, key: str, table: Mapping[str, Any], default: str) -> str:
        value = table.get("method", default)
        if value not in _METHODS:
            self.fault(key, f"must be one of {', '.join(sorted(_METHODS))}")
            return default
        return str(value)

    def url(self, key: str, table: Mapping[str, Any], beside: str = "") -> str:
        """An absolute URL with placeholders only as whole path segments; on the host of `beside`, when given."""
        value = table.get("url")
        if not isinstance(value, str) or not value:
            self.fault(key, 'is missing; write url = "https://host/path"')
            return ""
        wrong = _wrong_url(value)
        if not wrong and beside and urlsplit(value)[:2] != urlsplit(beside)[:2]:
            wrong = "must have the scheme, host and port of url, because the token goes along; use two endpoints"
        if wrong:
            self.fault(key, wrong)
        return "" if wrong else value

    def observe(self, url: str) -> Observe | None:
        table = self._part("observe", {"url", "done", "pin"})
        if table is None:
            return None
        watched = self.url("observe.url", table, url)
        done, pin = table.get("done"), table.get("pin", [])
        if not isinstance(done, dict) or not done:
            self.fault("observe.done", 'is missing; name the fields that show success: done = { revision = "…" }')
            done = {}
        self.json("observe.done", done)
        if not isinstance(pin, list) or not all(isinstance(name, str) and name for name in pin):
            self.fault("observe.pin", 'must be a list of field names; write pin = ["rolling_to"]')
            pin = []
        return Observe(watched, done, tuple(pin))

    def undo(self, method: str, url: str) -> Undo | None:
        table = self._part("undo", {"method", "url", "json"})
        if table is None:
            return None
        restoring = self.url("undo.url", table, url) if "url" in table else url
        return Undo(self.method("undo.method", table, method), restoring, self.json("undo.json", table.get("json")))

    def json(self, key: str, value: Any) -> Any:
        """The value itself, after a look at everything in it."""
        if isinstance(value, dict):
            for name, inner in value.items():
                self.json(f"{key}.{name}", inner)
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                self.json(f"{key}.{index}", inner)
        elif isinstance(value, str):
            if "{" in (left := PLACEHOLDER.sub("", value)) or "}" in left:
                self.fault(key, "holds a brace that is no placeholder; write {name} or {before.field}")
        elif value is not None and not (isinstance(value, int | float) and isfinite(value)):
            self.fault(key, "is no JSON value; put a date into quotes")
        return value

    def token(self, secret: Callable[[str], str | None]) -> str:
        name = self._table.get("token")
        if name is None:
            return ""
        if not isinstance(name, str) or not _SECRET_NAME.fullmatch(name):
            self.fault("token", "must be the NAME of a secret, such as DEPLOY_TOKEN, never the secret itself")
            return ""
        value = secret(name)
        if not value:
            self.fault("token", f"the secret {name} is not set; set it in the environment")
            return ""
        if not value.isascii() or not value.isprintable() or " " in value:
            self.fault("token", f"the secret {name} holds a character that cannot be sent; look for a line break in it")
            return ""
        return value

    def timeout(self) -> float:
        value = self._table.get("timeout", 5)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_TIMEOUT:
            self.fault("timeout", f"must be seconds, over 0 and at most {LONGEST_TIMEOUT:g}")
            return LONGEST_TIMEOUT
        return float(value)

    def _part(self, key: str, known: set[str]) -> Mapping[str, Any] | None:
        table = self._table.get(key)
        if table is None:
            return None
        if not isinstance(table, dict):
            self.fault(key, f"must be a table; write {key} = {{ … }}")
            return None
        self.only(key, table, known)
        return table


def _wrong_url(url: str) -> str:
    """Why this cannot be an endpoint's address; empty when it can."""
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return "is not a URL; write https://host/path"
    if parts.scheme not in ("http", "https") or not has_host:
        return "must begin with https:// or http:// and a host"
    if parts.username is not None or parts.password is not None:
        return "must not hold a password; use token"
    if parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        return "holds a # or a character that must be percent-encoded"
    outside_path = parts.netloc + parts.query
    segments = [segment for segment in parts.path.split("/") if "{" in segment or "}" in segment]
    if "{" in outside_path or not all(re.fullmatch(r"\{[a-z][a-z0-9_]*\}", segment) for segment in segments):
        return "a {name} may only be a whole part of the path, as in /models/{model}/deploy"
    return ""
