"""The endpoints that `fixfirst.toml` names for `http.request` and `http.get`, and every fault in their tables.

    [endpoints.model-deploy]
    risk = "reversible"
    method = "POST"
    url = "https://deploy.internal/v1/models/{model}/deploy"
    json = { revision = "{before.previous}" }
    token_env = "DEPLOY_TOKEN"                 # the name of an environment variable
    timeout = "5s"
    observe = { url = "https://deploy.internal/v1/models/{model}", done = { revision = "{before.previous}" } }
    undo = { json = { revision = "{before.revision}" } }

`{model}` comes from the step's `with:`; `{before.x}` from the answer of `observe.url` at the preview (dots reach into
objects). A runbook can choose among endpoints and fill path segments, values of the query and JSON values, never a
scheme, host or port. With `method = "GET"` an endpoint only reads: it is one of `http.get` and of nothing else.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final
from urllib.parse import urlsplit

from bot.incident.run import Risk
from bot.settings import Secret, Table, call_timeout

METHODS: Final = ("POST", "PUT", "PATCH", "DELETE")
READS: Final = "GET"
STEP_KEYS: Final = frozenset({"endpoint", "path", "expect"})
"""What `with:` holds beside the values for an endpoint's placeholders."""
_PLACE: Final = re.compile(r"[^{}]*|\{[a-z][a-z0-9_]*\}")
_OF_ACTS: Final = ("risk", "json", "observe", "undo")
PLACEHOLDER: Final = re.compile(r"\{(before\.[A-Za-z0-9_.-]+|[a-z][a-z0-9_]*)\}")


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
    json: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One table `[endpoints.NAME]`. `timeout` is in seconds and covers a whole preview, act, look or undo."""

    name: str
    risk: Risk
    method: str
    url: str
    json: Mapping[str, Any] | None = None
    observe: Observe | None = None
    undo: Undo | None = None
    token: Secret = field(default_factory=lambda: Secret(""))
    timeout: float = 5.0

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.risk is Risk.READ

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

    def wrong(self, args: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        """Which keys a step must give is said by `needs`; here only what belongs together."""
        if self.reads and ("path" in args) != ("expect" in args):
            yield "path" if "path" in args else "expect", "path and expect belong together: name both, or neither"

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
        faults: list[str] = []
        top = Table("", table, faults)
        url = _address(top)
        method = top.choice("method", "POST", (READS, *METHODS))
        acts = "POST" if method == READS else method
        risk = Risk(top.choice("risk", Risk.DESTRUCTIVE.value, (Risk.REVERSIBLE.value, Risk.DESTRUCTIVE.value)))
        for key in _OF_ACTS:
            if method == READS and key in table:
                top.fault(key, "has no meaning for GET, which changes nothing; leave it out")
        endpoint = cls(
            name=name,
            risk=Risk.READ if method == READS else risk,
            method=method,
            url=url,
            json=_json(top, "json"),
            observe=_observe(Table("observe", top.mapping("observe"), faults), url) if "observe" in table else None,
            undo=_undo(Table("undo", top.mapping("undo"), faults), acts, url) if "undo" in table else None,
            token=top.secret("token_env", secret),
            timeout=call_timeout(top),
        )
        if "observe" not in table and any(used.startswith("before.") for used in endpoint._names()):
            top.fault("observe", "is missing, but {before.…} is used; add observe = { url = …, done = … }")
        if taken := sorted(STEP_KEYS & endpoint.needs):
            top.fault("url", f"must not use {{{taken[0]}}}, which is a key of the step itself; choose another name")
        if endpoint.risk is Risk.REVERSIBLE and "undo" not in table:
            top.fault("undo", 'is missing; add undo = { json = … }, or set risk = "destructive"')
        top.done()
        return (None if faults else endpoint), faults


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


def _address(table: Table, beside: str = "") -> str:
    """An absolute URL, its placeholders whole parts of path or query; on the host of `beside`, when given."""
    value = table.text("url", required=True)
    wrong = wrong_url(value) if value else ""
    if value and not wrong and beside and urlsplit(value)[:2] != urlsplit(beside)[:2]:
        wrong = "must have the scheme, host and port of url, because the token goes along; use two endpoints"
    if wrong:
        table.fault("url", wrong)
    return "" if wrong else value


def _observe(table: Table, url: str) -> Observe:
    observe = Observe(_address(table, url), _json(table, "done") or {}, table.texts("pin"))
    if not observe.done:
        table.fault("done", 'is missing; name the fields that show success: done = { revision = "…" }')
    table.done()
    return observe


def _undo(table: Table, method: str, url: str) -> Undo:
    restoring = _address(table, url) if "url" in table.values else url
    undo = Undo(table.choice("method", method, METHODS), restoring, _json(table, "json"))
    table.done()
    return undo


def _json(table: Table, key: str) -> Mapping[str, Any] | None:
    """A JSON object; None when the key is absent."""
    value = table.mapping(key)
    for path, inner in _leaves(value, key):
        if isinstance(inner, str):
            left = PLACEHOLDER.sub("", inner)
            if "{" in left or "}" in left:
                table.fault(path, "holds a brace that is no placeholder; write {name} or {before.field}")
        elif not isinstance(inner, int | float) or not isfinite(inner):
            table.fault(path, "is no JSON value; put it into quotes")
    return value if key in table.values else None


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Everything in a JSON value that holds nothing further, with its dotted path."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}.{index}")
    else:
        yield path, value


def wrong_url(url: str) -> str:
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
    places = [*parts.path.split("/"), *(value for _, _, value in map(_halves, parts.query.split("&")))]
    names = "".join([parts.netloc, *(name for name, _, _ in map(_halves, parts.query.split("&")))])
    if {"{", "}"} & set(names) or not all(_PLACE.fullmatch(place) for place in places):
        return (
            "a {name} may only be a whole part of the path, as in /models/{model}/deploy, or a whole value of the "
            "query, as in ?model={model}"
        )
    return ""


def _halves(pair: str) -> tuple[str, str, str]:
    return pair.partition("=")
