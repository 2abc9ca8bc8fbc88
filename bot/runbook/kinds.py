"""The kinds of step a runbook may use: what each may cost and which `with` keys it takes."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from bot.incident.run import Risk

FIELD = re.compile(r"[A-Za-z0-9_-]{1,60}(?:\.[A-Za-z0-9_-]{1,60}){0,9}")


class Arg(StrEnum):
    """What a `with` value is, and so how values are put into it. TARGET, EXPECT, WANTED, FIELD and SPAN are literal.

    TARGET is the name of a configured target; PERCENT a whole number from 0 to 100, or a parameter that is one; SPAN a
    duration such as `30m`; REPLICAS a whole number, or how many more or fewer as in `"+2"`, where the number may be a
    parameter; WANTED an EXPECT that may also be about text; FIELD a dotted path into an answer.
    """

    TEXT = "text"
    PROMQL = "promql"
    EXPECT = "expect"
    FIELD = "field"
    TARGET = "target"
    PERCENT = "percent"
    SPAN = "span"
    REPLICAS = "replicas"
    WANTED = "wanted"


@dataclass(frozen=True, slots=True)
class KindRule:
    """One kind of step.

    `args` are the keys it must be given; `more` is what any further key holds, or None when there may be none.
    `asks` marks a step that only asks people, `may_read` a kind that only reads where its target says so. `timeout`
    holds where the step states none. `table` is the table of fixfirst.toml that holds the targets among which the step
    chooses one by name; empty where it has none. `undoable` says whether `undo: auto` has a way back on any target.
    """

    risk: Risk
    args: Mapping[str, Arg] = field(default_factory=dict)
    optional: Mapping[str, Arg] = field(default_factory=dict)
    more: Arg | None = None
    asks: bool = False
    may_read: bool = False
    timeout: timedelta = timedelta(seconds=60)
    table: str = ""
    undoable: bool = True

    def arg(self, name: str) -> Arg | None:
        """What the key `name` holds; None when this kind does not know it."""
        return self.args.get(name) or self.optional.get(name) or self.more


MANUAL = "manual"
_PART_OF_A_ROUTE: Mapping[str, Arg] = {"target": Arg.TARGET, "route": Arg.TEXT, "percent": Arg.PERCENT}
_A_DEPLOYMENT: Mapping[str, Arg] = {"target": Arg.TARGET, "namespace": Arg.TEXT, "deployment": Arg.TEXT}
_A_ROLLOUT: Mapping[str, Arg] = {"target": Arg.TARGET, "namespace": Arg.TEXT, "rollout": Arg.TEXT}
_A_NODE: Mapping[str, Arg] = {"target": Arg.TARGET, "node": Arg.TEXT}

KINDS: Mapping[str, KindRule] = {
    "promql.assert": KindRule(Risk.READ, {"query": Arg.PROMQL, "expect": Arg.EXPECT}),
    "promql.wait": KindRule(Risk.READ, {"query": Arg.PROMQL, "expect": Arg.EXPECT}, timeout=timedelta(minutes=5)),
    "http.get": KindRule(
        Risk.READ,
        {"endpoint": Arg.TARGET},
        optional={"path": Arg.FIELD, "expect": Arg.WANTED},
        more=Arg.TEXT,
        table="endpoints",
    ),
    # Destructive unless its endpoint says that it can be taken back.
    "http.request": KindRule(Risk.DESTRUCTIVE, {"endpoint": Arg.TARGET}, more=Arg.TEXT, table="endpoints"),
    "flag.set": KindRule(Risk.REVERSIBLE, {"target": Arg.TARGET, "flag": Arg.TEXT, "variant": Arg.TEXT}, table="flags"),
    "redis.set": KindRule(
        Risk.REVERSIBLE,
        {"target": Arg.TARGET, "key": Arg.TEXT, "value": Arg.TEXT},
        optional={"ttl": Arg.SPAN},
        table="redis",
    ),
    "traffic.shed": KindRule(Risk.REVERSIBLE, _PART_OF_A_ROUTE, table="traffic"),
    "traffic.shift": KindRule(Risk.REVERSIBLE, _PART_OF_A_ROUTE, table="traffic"),
    "k8s.rollout_undo": KindRule(
        Risk.REVERSIBLE,
        _A_DEPLOYMENT,
        optional={"revision": Arg.TEXT},
        timeout=timedelta(minutes=15),
        table="kubernetes",
    ),
    # Destructive where there are fewer replicas then, which only the preview can tell.
    "k8s.scale": KindRule(
        Risk.REVERSIBLE,
        {**_A_DEPLOYMENT, "replicas": Arg.REPLICAS},
        timeout=timedelta(minutes=15),
        table="kubernetes",
    ),
    "k8s.restart": KindRule(
        Risk.DESTRUCTIVE,
        {"target": Arg.TARGET, "namespace": Arg.TEXT},
        optional={"deployment": Arg.TEXT, "pod": Arg.TEXT},
        timeout=timedelta(minutes=15),
        table="kubernetes",
        undoable=False,
    ),
    "k8s.cordon": KindRule(Risk.REVERSIBLE, _A_NODE, table="kubernetes"),
    "k8s.drain": KindRule(
        Risk.DESTRUCTIVE,
        _A_NODE,
        optional={"max_pods": Arg.TEXT},
        timeout=timedelta(minutes=20),
        table="kubernetes",
        undoable=False,
    ),
    "k8s.get": KindRule(
        Risk.READ,
        {"target": Arg.TARGET, "resource": Arg.TEXT, "name": Arg.TEXT},
        optional={"namespace": Arg.TEXT, "path": Arg.TEXT, "expect": Arg.WANTED},
        table="kubernetes",
    ),
    "argo.abort": KindRule(Risk.REVERSIBLE, _A_ROLLOUT, table="kubernetes"),
    "argo.undo": KindRule(Risk.REVERSIBLE, _A_ROLLOUT, timeout=timedelta(minutes=15), table="kubernetes"),
    "notify.post": KindRule(Risk.READ, {"text": Arg.TEXT}),
    "page.oncall": KindRule(Risk.READ, {"text": Arg.TEXT}),
    # What its command says; until that is known, the worst.
    "shell.run": KindRule(Risk.DESTRUCTIVE, {"command": Arg.TARGET}, more=Arg.TEXT, may_read=True, table="commands"),
    "ask.approve": KindRule(Risk.READ, {"text": Arg.TEXT}, asks=True, timeout=timedelta(minutes=15)),
    MANUAL: KindRule(Risk.READ, asks=True, timeout=timedelta(hours=1)),
}


class TargetFacts(Protocol):
    """What lint must know about a configured target: something outside that steps name and never choose by a value."""

    @property
    def risk(self) -> Risk | None:
        """What a step on it costs at least; None where its kind decides."""

    @property
    def undoable(self) -> bool: ...
    @property
    def needs(self) -> frozenset[str]:
        """The values that a step must give where its kind takes any further keys."""

    def wrong(self, args: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        """What of a step's `with`, its placeholders still open, this target does not take: (key, sentence)."""


Targets = Mapping[str, Mapping[str, TargetFacts]]
"""The table of fixfirst.toml, then the name."""

_ORDER = (Risk.READ, Risk.REVERSIBLE, Risk.DESTRUCTIVE)


def target_of(rule: KindRule, args: Mapping[str, object], targets: Targets) -> TargetFacts | None:
    """The configured target that a step names, where its kind takes one and it is known."""
    known = targets.get(rule.table, {})
    named = (str(args.get(name)) for name, what in rule.args.items() if what is Arg.TARGET)
    return next((known[name] for name in named if name in known), None)


def least_risk(rule: KindRule, args: Mapping[str, object], targets: Targets) -> Risk:
    """What a step costs at least: its target's risk where it has a known one, else its kind's."""
    target = target_of(rule, args, targets)
    return rule.risk if target is None else target.risk or rule.risk


def costlier(left: Risk, right: Risk) -> Risk:
    """The one of the two that costs more."""
    return max(left, right, key=_ORDER.index)
