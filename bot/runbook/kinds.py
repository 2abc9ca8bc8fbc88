"""The kinds of step a runbook may use: what each may cost and which `with` keys it takes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from bot.incident.run import Risk

EXPECT = re.compile(r"empty|nonempty|(?:==|!=|<=|>=|<|>) ?-?[0-9]{1,15}(?:\.[0-9]{1,15})?")


class Arg(StrEnum):
    """What a `with` value is, and so how values are put into it. ENDPOINT and EXPECT are literal."""

    TEXT = "text"
    PROMQL = "promql"
    EXPECT = "expect"
    ENDPOINT = "endpoint"


@dataclass(frozen=True, slots=True)
class KindRule:
    """One kind of step.

    `args` are the keys it must be given; `more` is what any further key holds, or None when there may be none.
    `asks` marks a step that only asks people. `timeout` holds where the step states none.
    """

    risk: Risk
    args: Mapping[str, Arg] = field(default_factory=dict)
    optional: Mapping[str, Arg] = field(default_factory=dict)
    more: Arg | None = None
    asks: bool = False
    timeout: timedelta = timedelta(seconds=60)

    def arg(self, name: str) -> Arg | None:
        """What the key `name` holds; None when this kind does not know it."""
        return self.args.get(name) or self.optional.get(name) or self.more


MANUAL = "manual"

KINDS: Mapping[str, KindRule] = {
    "promql.assert": KindRule(Risk.READ, {"query": Arg.PROMQL, "expect": Arg.EXPECT}),
    # Destructive unless its endpoint says that it can be taken back.
    "http.request": KindRule(Risk.DESTRUCTIVE, {"endpoint": Arg.ENDPOINT}, more=Arg.TEXT),
    "ask.approve": KindRule(Risk.READ, {"text": Arg.TEXT}, asks=True, timeout=timedelta(minutes=15)),
    MANUAL: KindRule(Risk.READ, asks=True, timeout=timedelta(hours=1)),
}


class EndpointFacts(Protocol):
    """What lint must know about a configured endpoint; `needs` are the values its URL and bodies ask for."""

    @property
    def risk(self) -> Risk: ...
    @property
    def undoable(self) -> bool: ...
    @property
    def needs(self) -> frozenset[str]: ...


Endpoints = Mapping[str, EndpointFacts]

_ORDER = (Risk.READ, Risk.REVERSIBLE, Risk.DESTRUCTIVE)


def endpoint_of(rule: KindRule, args: Mapping[str, object], endpoints: Endpoints) -> EndpointFacts | None:
    """The configured endpoint that a step names, where its kind takes one and it is known."""
    named = (str(args.get(name)) for name, what in rule.args.items() if what is Arg.ENDPOINT)
    return next((endpoints[name] for name in named if name in endpoints), None)


def least_risk(rule: KindRule, args: Mapping[str, object], endpoints: Endpoints) -> Risk:
    """What a step costs at least: its endpoint's risk where it has a known one, else its kind's."""
    endpoint = endpoint_of(rule, args, endpoints)
    return endpoint.risk if endpoint else rule.risk


def costlier(left: Risk, right: Risk) -> Risk:
    """The one of the two that costs more."""
    return max(left, right, key=_ORDER.index)
