"""Step kinds `traffic.shed` and `traffic.shift`: percentages in a proxy, pinned at the preview and read back."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from bot.contracts import Observed, Permanent, Plan
from bot.integrations.targets import Targets, pin
from bot.integrations.traffic.envoy import Envoy
from bot.integrations.traffic.haproxy import HAProxy
from bot.integrations.traffic.target import Route, Target

KNOWN: Final = re.compile(r"|[0-9]{1,9}|ready|drain|maint")
"""What a setting can hold that can be put back as it was, and holds no secret."""
Settings = dict[str, str]
"""What a proxy calls each setting, and its value as text; empty is not set."""


class Proxy(Protocol):
    """A proxy during one preview, act, look or undo: over when the target's time is."""

    def shed(self, route: Route, percent: int) -> Settings:
        """The settings that turn so much away."""

    def shift(self, route: Route, percent: int) -> Settings:
        """The settings that send so much to the fallback."""

    def read(self, names: Sequence[str]) -> Settings:
        """What these settings are."""

    def write(self, now: Settings, wanted: Settings) -> None:
        """Brings the settings from `now` to `wanted`, in an order in which somebody always answers."""


_PROXIES: Final[Mapping[str, Callable[[Target], Proxy]]] = {"envoy": Envoy, "haproxy": HAProxy}


class _Turn(ABC):
    """What both kinds share: `bot.contracts.Act` over the named proxies.

    A proxy has no room for our key of idempotency; with the wanted settings in it nothing is sent.
    """

    word: str

    def __init__(self, targets: Mapping[str, Target]) -> None:
        self._targets = Targets("traffic", targets)

    @abstractmethod
    def _wanted(self, proxy: Proxy, route: Route, percent: int) -> Settings:
        """The settings that turn so much. Raises Permanent for a route that is not set up for it."""

    def plan(self, args: Mapping[str, Any]) -> Plan:
        """Reads what is set now and pins it in `before`."""
        target = self._targets.named(args.get("target"))
        name, percent = str(args["route"]), args["percent"]
        route = target.routes.get(name)
        if route is None:
            raise Permanent(f"'{target.name}' has no route {name[:60]!r}; known: {', '.join(sorted(target.routes))}")
        if not isinstance(percent, int) or isinstance(percent, bool) or not 0 <= percent <= 100:
            raise Permanent(f"the percentage must be a whole number from 0 to 100, not {str(percent)[:20]!r}")
        proxy = _proxy(target)
        wanted = self._wanted(proxy, route, percent)
        before = proxy.read(list(wanted))
        odd = next((setting for setting in wanted if not KNOWN.fullmatch(before[setting])), None)
        if odd is not None:
            raise Permanent(f"what is set for {odd} is no number and no state, so it could not be put back; left alone")
        changes = [f"{setting}: {_shown(before[setting])} → {_shown(wanted[setting])}" for setting in wanted]
        return Plan(
            lines=(f"{self.word} {percent} % of {name}", *changes, f"on {target.where}"),
            request=pin(target) | {"settings": wanted},
            before=before,
            risk=target.risk,
            undo=", ".join(f"{setting} back to {_shown(before[setting])}" for setting in wanted),
            warnings=("it is so already: nothing will be sent",) if before == wanted else (),
        )

    def apply(self, plan: Plan, key: str) -> None:  # noqa: ARG002 - see the class
        """Writes the settings and reads them back, unless they are so already; Permanent when they have moved."""
        proxy, wanted, before = self._planned(plan)
        now = proxy.read(list(wanted))
        if now == wanted:
            return
        apart = [name for name in wanted if now[name] != before[name]]
        moved = [f"{name} was {_shown(before[name])}, is {_shown(now[name])}" for name in apart]
        if moved:
            raise Permanent(f"changed since the preview: {', '.join(moved)}; preview again")
        proxy.write(now, wanted)

    def observe(self, plan: Plan) -> Observed:
        """DONE when all is set as wanted, NOT_DONE while all is as before, else UNKNOWN: a write may be half done."""
        proxy, wanted, before = self._planned(plan)
        now = proxy.read(list(wanted))
        if now == wanted:
            return Observed.DONE
        return Observed.NOT_DONE if now == before else Observed.UNKNOWN

    def undo(self, plan: Plan, key: str) -> None:  # noqa: ARG002 - see the class
        """Puts the pinned settings back; Permanent when somebody else has changed one meanwhile."""
        proxy, wanted, before = self._planned(plan)
        now = proxy.read(list(wanted))
        for name, value in now.items():
            if value not in (wanted[name], before[name]):
                raise Permanent(f"{name} is {_shown(value)} now, which this step did not set; look before undoing")
        if now != before:
            proxy.write(now, before)

    def _planned(self, plan: Plan) -> tuple[Proxy, Settings, Settings]:
        target = self._targets.planned(plan.request)
        return _proxy(target), dict(plan.request["settings"]), dict(plan.before)


class Shed(_Turn):
    """Turns a share of a route's requests away."""

    word = "turn away"

    def _wanted(self, proxy: Proxy, route: Route, percent: int) -> Settings:
        if not route.shed:
            raise Permanent("this route is not set up to turn requests away; add shed to its table")
        return proxy.shed(route, percent)


class Shift(_Turn):
    """Sends a share of a route's requests to its fallback."""

    word = "send to the fallback"

    def _wanted(self, proxy: Proxy, route: Route, percent: int) -> Settings:
        if not route.fallback:
            raise Permanent("this route has no fallback; add primary and fallback to its table")
        return proxy.shift(route, percent)


def _proxy(target: Target) -> Proxy:
    return _PROXIES[target.proxy](target)


def _shown(value: str) -> str:
    return value or "not set"
