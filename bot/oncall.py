"""Who is on call, from a rota written down in `fixfirst.toml`: it works when everything else burns."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.settings import Table


@dataclass(frozen=True, slots=True)
class Rota:
    """People who take turns: the first is on from `handover`, each for `every`, and so on round and round."""

    name: str
    users: tuple[str, ...]
    handover: datetime
    every: timedelta

    def order(self, now: datetime) -> tuple[str, ...]:
        """Who is on at `now`, then who comes after, everybody once."""
        turn = (now - self.handover) // self.every
        first = turn % len(self.users)
        return self.users[first:] + self.users[:first]


@dataclass(frozen=True, slots=True)
class StaticOnCall:
    """The `[oncall]` table: rotas in the order in which they are called."""

    rotas: tuple[Rota, ...]

    def on_call(self, now: datetime) -> tuple[str, ...]:
        """Slack user ids, first the one on call in each rota, then everybody's successors; nobody twice."""
        orders = [rota.order(now) for rota in self.rotas]
        first = [order[0] for order in orders]
        return tuple(dict.fromkeys([*first, *(user for order in orders for user in order[1:])]))

    @classmethod
    def from_toml(cls, values: Mapping[str, Any]) -> tuple["StaticOnCall", list[str]]:
        """The rotas, with every fault as a sentence."""
        faults: list[str] = []
        table = Table("oncall", values, faults)
        rotas = table.tables("rota")
        table.done()
        read = [_rota(f"oncall.rota[{number}]", rota, faults) for number, rota in enumerate(rotas, 1)]
        return cls(tuple(rota for rota in read if rota is not None)), faults


def _rota(name: str, values: Mapping[str, Any], faults: list[str]) -> Rota | None:
    table = Table(name, values, faults)
    users = table.texts("users")
    every = table.span("every", timedelta(days=7))
    handover = table.time("handover")
    rota_name = table.text("name", "primary")
    table.done()
    if not users:
        table.fault("users", 'is empty; name at least one Slack user id, such as ["U0123ABCD"]')
    if every <= timedelta(0):
        table.fault("every", "must be longer than nothing")
    if handover is None or not users or every <= timedelta(0):
        return None
    return Rota(rota_name, users, handover, every)
