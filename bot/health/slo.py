"""Service level objectives: what was promised, how much of the error budget is left, and how fast it burns. Pure.

The figures come from recording rules that `fixfirst rules generate` writes. Over a month of raw series a query would
take as long as a whole report may; without the rules an objective is therefore unknown, and says so.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from bot.health.observation import Sample

Sli = Literal["availability", "ttft", "e2e", "non-stalled", "own"]
SLIS: Final[tuple[Sli, ...]] = ("availability", "ttft", "e2e", "non-stalled", "own")
State = Literal["ok", "warn", "crit", "unknown"]
WINDOWS: Final = {"5m": 1 / 12, "30m": 0.5, "1h": 1, "2h": 2, "6h": 6, "1d": 24, "3d": 72}
"""Hours in each."""
Pairs = tuple[tuple[str, str, float], ...]
PAGES: Final[Pairs] = (("1h", "5m", 0.02), ("6h", "30m", 0.05))
TICKETS: Final[Pairs] = (("1d", "2h", 0.10), ("3d", "6h", 0.10))
"""Long window, short window, and the share of the budget that is gone when it fires (Google's SRE workbook, table
5-8)."""
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
NOT_RECORDED: Final = "nothing recorded: load the rules that `fixfirst rules generate` writes"


@dataclass(frozen=True, slots=True)
class Objective:
    """One promise: of what `sli` counts, the share `target` is good over `days`.

    service and model narrow it; empty means each of them by itself. within: seconds, for ttft and e2e. For `own`,
    PromQL that gives a rate per second over five minutes: `total`, and `errors` or `good`. minimum: requests that
    a window must hold before its burn means anything.
    """

    name: str
    sli: Sli = "availability"
    target: float = 0.99
    days: int = 30
    service: str = ""
    model: str = ""
    within: float = 0.0
    errors: str = ""
    good: str = ""
    total: str = ""
    minimum: int = 100

    @property
    def allowed(self) -> float:
        """The share that may be bad."""
        return 1 - self.target

    def pace(self, window: str, share: float) -> float:
        """The burn rate that spends this share of the budget within the window; never less than the affordable one."""
        return max(1.0, share * self.days * 24 / WINDOWS[window])

    def concerns(self, service: str, model: str) -> bool:
        """Whether it is about this service and model; what is not named is about anything."""
        return self.service in ("", service or self.service) and self.model in ("", model or self.model)


STANDARD: Final = Objective("availability")
"""What is kept for every model where the configuration promises nothing."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one objective stands for one model in one namespace.

    left: share of the budget, negative when overspent; None when unknown. burn: window -> how many times faster than
    affordable. requests: answers of the last hour. reason: why it is unknown.
    """

    name: str
    service: str
    model: str
    target: float
    days: int
    state: State
    left: float | None
    burn: Mapping[str, float]
    requests: float | None
    low_traffic: bool
    reason: str = ""
    namespace: str = ""

    @property
    def title(self) -> str:
        """`llama-70b availability in prod`: the same model may stand otherwise in another namespace."""
        where = f"in {self.namespace}" if self.namespace else ""
        return " ".join(part for part in (self.model or self.service, self.name, where) if part)

    @property
    def line(self) -> str:
        """One sentence, without a full stop: `Budget of llama-70b availability: 63 % left, burning 14.4x`."""
        if self.left is None:
            return f"Budget of {self.title}: unknown, {self.reason}"
        left = f"{self.left:.0%} left" if self.left >= 0 else f"overspent by {-self.left:.0%}"
        # Too few requests make any burn rate: it is said, and no number that frightens.
        pace = "too few requests to tell how fast it burns" if self.low_traffic else f"burning {_times(self.pace)}"
        return f"Budget of {self.title}: {left}, {pace}"

    @property
    def pace(self) -> float:
        """The burn of the last hour; of the last five minutes where nothing is known of the hour."""
        return self.burn.get("1h", self.burn.get("5m", 0.0))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, as the health report keeps it; `title` and `line` for whoever only shows it."""
        return {
            "name": self.name,
            "service": self.service,
            "model": self.model,
            "target": self.target,
            "days": self.days,
            "state": self.state,
            "left": self.left,
            "burn": dict(self.burn),
            "requests": self.requests,
            "low_traffic": self.low_traffic,
            "reason": self.reason,
            "namespace": self.namespace,
            "title": self.title,
            "line": self.line,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Standing":
        """What `to_dict` wrote."""
        return cls(**{key: value for key, value in data.items() if key not in ("title", "line")})


def questions(objectives: Sequence[Objective]) -> dict[str, str]:
    """What to ask Prometheus for these: for each the budget, the burns and the traffic, by the keys of the answers."""
    return {_key(objective, what): query for objective in objectives for what, query in _queries(objective)}


def _queries(objective: Objective) -> Iterable[tuple[str, str]]:
    only = f'slo="{objective.name}"'
    days = f"{objective.days}d"
    yield (
        "spent",
        f"sum_over_time(slo:bad:rate5m{{{only}}}[{days}]) / (sum_over_time(slo:total:rate5m{{{only}}}[{days}]) > 0)",
    )
    for long, _, _ in (*PAGES, *TICKETS):
        yield _requests(long), f"avg_over_time(slo:total:rate5m{{{only}}}[{long}]) * {WINDOWS[long] * 3600:g}"
    for window in WINDOWS:
        yield window, f"slo:error_ratio:{window}{{{only}}}"


def _key(objective: Objective, what: str) -> str:
    return f"{objective.name}:{what}"


def _requests(window: str) -> str:
    return f"requests of {window}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What Prometheus said to one question: its series, or why there are none."""

    series: Sequence[Sample]
    reason: str = ""


def stand(objectives: Sequence[Objective], answers: Mapping[str, Answer]) -> tuple[Standing, ...]:
    """Each objective, for each model it has figures of; one that has none is unknown. `answers` by the question's
    key."""
    return tuple(standing for objective in objectives for standing in _stand(objective, answers))


_Who = tuple[str, str, str]
"""Service, model, namespace: what the recorded series are kept by."""


def _stand(objective: Objective, answers: Mapping[str, Answer]) -> list[Standing]:
    def by_model(what: str) -> dict[_Who, float]:
        answer = answers.get(_key(objective, what), Answer(()))
        return {
            (labels.get("service", ""), labels.get("model_name", ""), labels.get("namespace", "")): sample.value
            for sample in answer.series
            if math.isfinite(sample.value)
            for labels in (sample.labels,)
        }

    def of(who: _Who, found: Mapping[str, Mapping[_Who, float]]) -> dict[str, float]:
        return {window: values[who] for window, values in found.items() if who in values}

    spent = by_model("spent")
    if not spent:
        asked = answers.get(_key(objective, "spent"), Answer((), NOT_RECORDED))
        reason = asked.reason or ("no traffic" if asked.series else NOT_RECORDED)
        who = (objective.service, objective.model)
        return [
            Standing(objective.name, *who, objective.target, objective.days, "unknown", None, {}, None, False, reason)
        ]
    ratios = {window: by_model(window) for window in WINDOWS}
    requests = {long: by_model(_requests(long)) for long, _, _ in (*PAGES, *TICKETS)}
    return [_judged(objective, who, share, of(who, ratios), of(who, requests)) for who, share in sorted(spent.items())]


def _judged(
    objective: Objective, who: _Who, share: float, ratios: Mapping[str, float], requests: Mapping[str, float]
) -> Standing:
    """By the very conditions of the alerts, so that nobody is paged for what is `ok` here."""
    left = 1 - share / objective.allowed
    burn = {window: ratio / objective.allowed for window, ratio in ratios.items()}

    def burns(pairs: Pairs) -> bool:
        return any(
            requests.get(long, 0) >= objective.minimum
            and min(burn.get(long, 0), burn.get(short, 0)) > objective.pace(long, gone)
            for long, short, gone in pairs
        )

    state: State = "ok"
    if left <= 0 or burns(PAGES):
        state = "crit"
    elif burns(TICKETS):
        state = "warn"
    service, model, namespace = who
    return Standing(
        name=objective.name,
        service=service,
        model=model,
        namespace=namespace,
        target=objective.target,
        days=objective.days,
        state=state,
        left=left,
        burn=burn,
        requests=requests.get("1h"),
        low_traffic=requests.get("1h", 0) < objective.minimum,
    )


def worst(standings: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The one to show where there is room for one, of standings as a report keeps them; None without any that is
    known."""
    rank = {"crit": 0, "warn": 1, "ok": 2}
    known = [one for one in standings if one["left"] is not None]
    return min(known, key=lambda one: (rank[one["state"]], one["left"]), default=None)


def _times(rate: float) -> str:
    return f"{rate:.1f}x" if rate < 100 else f"{rate:.0f}x"
