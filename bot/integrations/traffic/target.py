"""The proxies that `fixfirst.toml` names for `traffic.shed` and `traffic.shift`, and every fault in their tables.

[traffic.edge]
proxy = "envoy"
address = "http://127.0.0.1:9901"          # the admin interface
[traffic.edge.routes.batch-tier]
shed = "gateway.batch.shed"                # a runtime key: percent of requests answered with an error
[traffic.edge.routes.answers]
primary = "gateway.answers.gpu"            # runtime keys: weights of two clusters
fallback = "gateway.answers.cache"

[traffic.lb]
proxy = "haproxy"
address = "unix:/run/haproxy/admin.sock"   # or tcp:127.0.0.1:9999
[traffic.lb.routes.batch-tier]
shed = "/etc/haproxy/shed.map batch"       # a map and its key: percent of requests turned away
[traffic.lb.routes.answers]
primary = "answers/gpu"                    # BACKEND/SERVER
fallback = "answers/cache"
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from bot.contracts import Reversible
from bot.settings import Table, call_timeout, shown

PROXIES: Final = ("envoy", "haproxy")
WORD: Final = re.compile(r"[A-Za-z0-9_./:-]{1,200}")
"""What may stand in a command: neither blank, line break, semicolon nor anything else that could begin another."""
_SHED: Final = {"envoy": WORD, "haproxy": re.compile(rf"{WORD.pattern} {WORD.pattern}")}
_SERVER: Final = {"envoy": WORD, "haproxy": re.compile(r"[A-Za-z0-9_.:-]{1,100}/[A-Za-z0-9_.:-]{1,100}")}
_TCP: Final = re.compile(r"tcp:([A-Za-z0-9.-]+):([0-9]{1,5})")
_UNIX: Final = re.compile(r"unix:(/[\x21-\x7e]{1,100})")


@dataclass(frozen=True, slots=True)
class Route:
    """What of a proxy's requests is turned away (`shed`), or shared between `primary` and `fallback`; empty: never."""

    shed: str = ""
    primary: str = ""
    fallback: str = ""


@dataclass(frozen=True, slots=True)
class Target(Reversible):
    """One table `[traffic.NAME]`. `timeout` is in seconds and covers a whole preview, act, look or undo.

    `layer` is the name of Envoy's runtime layer that its admin interface writes.
    """

    name: str
    proxy: str
    address: str
    routes: Mapping[str, Route]
    layer: str = "admin"
    timeout: float = 5.0

    @property
    def place(self) -> Mapping[str, str]:
        return {"address": self.address}

    @property
    def where(self) -> str:
        """How people are told which proxy it is."""
        return f"{self.name} ({self.address})"

    @property
    def host(self) -> tuple[str, int]:
        """Of a HAProxy on TCP."""
        found = _TCP.fullmatch(self.address)
        assert found is not None
        return found[1], int(found[2])

    def wrong(self, args: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        """A route that is written out must be a known one; one that a value fills in is looked at in the preview."""
        route = str(args.get("route", ""))
        if "{" not in route and route not in self.routes:
            yield "route", f"'{self.name}' has no route '{route}'; known: {', '.join(sorted(self.routes))}"

    @classmethod
    def from_toml(
        cls, name: str, table: Mapping[str, Any], _secret: Callable[[str], str | None]
    ) -> "tuple[Target | None, list[str]]":
        """The target, or every fault as "key: what is wrong; what to do". Neither proxy takes a secret."""
        faults: list[str] = []
        top = Table("", table, faults)
        proxy = top.choice("proxy", PROXIES[0], PROXIES) if "proxy" in table else top.text("proxy", required=True)
        address = top.text("address", required=True)
        if address and (wrong := _wrong_address(proxy, address)):
            top.fault("address", wrong)
        routes = {
            route: _route(proxy, Table(f"routes.{route}", inner if isinstance(inner, dict) else {}, faults))
            for route, inner in top.mapping("routes").items()
        }
        if not routes:
            top.fault("routes", "is missing; add a table [traffic.NAME.routes.ROUTE]")
        target = cls(name, proxy, address, routes, top.text("admin_layer", "admin"), call_timeout(top))
        top.done()
        return (None if faults else target), faults


def _route(proxy: str, table: Table) -> Route:
    route = Route(table.text("shed"), table.text("primary"), table.text("fallback"))
    for key, value, shape in (
        ("shed", route.shed, _SHED.get(proxy)),
        ("primary", route.primary, _SERVER.get(proxy)),
        ("fallback", route.fallback, _SERVER.get(proxy)),
    ):
        if value and shape and not shape.fullmatch(value):
            table.fault(key, f"is {shown(value)}, which is not how {proxy} names it; see docs/configuration.md")
    if bool(route.primary) != bool(route.fallback) or (route.primary and route.primary == route.fallback):
        table.fault("fallback", "and primary belong together: name both, two different ones")
    if not route.shed and not route.primary:
        table.fault("shed", "is missing, and so is primary; name what this route can do")
    table.done()
    return route


def _wrong_address(proxy: str, address: str) -> str:
    if proxy == "haproxy":
        tcp = _TCP.fullmatch(address)
        if (tcp and 0 < int(tcp[2]) < 65_536) or _UNIX.fullmatch(address):
            return ""
        return "must be unix:/path/of/socket or tcp:HOST:PORT"
    try:
        parts = urlsplit(address)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and parts.username is None:
            return "" if parts.path in ("", "/") and not parts.query else "must end after the port"
    except ValueError:
        pass
    return "must be the address of the admin interface, such as http://127.0.0.1:9901"
