"""Unleash: a flag is on or off in one environment of one project, by the admin API.

https://docs.getunleash.io/api/toggle-feature-environment-on - a flag that is switched on without a strategy is given
Unleash's default one, which stays when it is switched off again.
"""

from typing import Final
from urllib.parse import quote

from bot.contracts import Permanent, after_the_act
from bot.integrations.flags.store import Flag
from bot.integrations.flags.target import Unleash
from bot.integrations.wire import Call

ON, OFF = "on", "off"
VARIANTS: Final = (OFF, ON)


class UnleashStore:
    """`Store` over the admin API. All its requests share one deadline."""

    def __init__(self, target: Unleash) -> None:
        self._target = target
        self._call = Call(target, scheme="")

    def look(self, flag: str) -> Flag:
        """On or off, and for whom on would hold."""
        found = self._call.look(self._url(flag))
        enabled, strategies = found.get("enabled"), found.get("strategies")
        if not isinstance(enabled, bool) or not isinstance(strategies, list):
            raise Permanent(f"{self._target.where} does not answer like Unleash's admin API")
        return Flag(ON if enabled else OFF, VARIANTS, warnings=tuple(_warnings(strategies, enabled=enabled)))

    def switch(self, flag: str, variant: str) -> None:
        """Switches it, and reads back."""
        self._call.act({"method": "POST", "url": f"{self._url(flag)}/{variant}", "json": None}, f"{flag}:{variant}")
        with after_the_act():
            if (now := self.look(flag).now) != variant:
                raise Permanent(f"{self._target.where} was told to switch {flag} {variant}, but it is {now}")

    def _url(self, flag: str) -> str:
        target = self._target
        names = (quote(name, safe="") for name in (target.project, flag, target.environment))
        project, feature, environment = names
        base = target.url.rstrip("/")
        return f"{base}/api/admin/projects/{project}/features/{feature}/environments/{environment}"


def _warnings(strategies: list[object], *, enabled: bool) -> list[str]:
    if strategies:
        return ["it has strategies: on holds for whom they match"]
    return [] if enabled else ["it has no strategy here: switched on it gets Unleash's default one, for good"]
