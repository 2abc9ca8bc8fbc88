"""Service level objectives: what was promised, how much of the error budget is left, and how fast it burns. Pure.

The figures come from recording rules that `fixfirst rules generate` writes. Over a month of raw series a query would
take as long as a whole report may; without the rules an objective is therefore unknown, and says so.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from bot.health.checks import Check
from bot.health.observation import Sample

Sli = Literal["availability", "ttft", "e2e", "non-stalled", "own"]
SLIS: Final[tuple[Sli, ...]] = ("availability", "ttft", "e2e", "non-stalled", "own")
State = Literal["ok", "warn", "crit", "unknown"]
BURN_WINDOWS: Final = ("5m", "1h", "6h", "3d")
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
FAST: Final = 14.4
"""The burn rate that spends a fiftieth of a month's budget in an hour (Google's SRE workbook, table 5-8)."""
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

    def concerns(self, service: str, model: str) -> bool:
        """Whether it is about this service and model; what is not named is about anything."""
        return self.service in ("", service or self.service) and self.model in ("", model or self.model)


STANDARD: Final = Objective("availability")
"""What is kept for every model where the configuration promises nothing."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one objective stands for one model.

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

    @property
    def title(self) -> str:
        """`llama-70b availability`."""
        return " ".join(part for part in (self.model or self.service, self.name) if part)

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
            "title": self.title,
            "line": self.line,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Standing":
        """What `to_dict` wrote."""
        return cls(**{key: value for key, value in data.items() if key not in ("title", "line")})


def questions(objectives: Sequence[Objective]) -> tuple[Check, ...]:
    """What to ask Prometheus for these, as checks of the telemetry: for each the budget, the burns and the traffic."""
    return tuple(check for objective in objectives for check in _questions(objective))


def _questions(objective: Objective) -> Iterable[Check]:
    only = f'slo="{objective.name}"'
    days = f"{objective.days}d"
    spent = f"sum_over_time(slo:bad:rate5m{{{only}}}[{days}]) / (sum_over_time(slo:total:rate5m{{{only}}}[{days}]) > 0)"
    yield _check(objective, "spent", spent)
    yield _check(objective, "requests", f"avg_over_time(slo:total:rate5m{{{only}}}[1h]) * 3600")
    for window in BURN_WINDOWS:
        yield _check(objective, window, f"slo:error_ratio:{window}{{{only}}}")


def _check(objective: Objective, what: str, query: str) -> Check:
    # Every series is wanted, not only those past a limit, so the limit lies below any share.
    return Check(
        id=f"S:{objective.name}:{what}",
        title=f"Objective {objective.name}",
        group="users",
        sources=(query,),
        phrase="{value}",
        unit="share",
        explain="",
        warn=-1,
        missing=NOT_RECORDED,
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What Prometheus said to one question: its series, or why there are none."""

    series: Sequence[Sample]
    reason: str = ""


def stand(objectives: Sequence[Objective], answers: Mapping[str, Answer]) -> tuple[Standing, ...]:
    """Each objective, for each model it has figures of; one that has none is unknown. `answers` by the check's id."""
    return tuple(standing for objective in objectives for standing in _stand(objective, answers))


def _stand(objective: Objective, answers: Mapping[str, Answer]) -> list[Standing]:
    def by_model(what: str) -> dict[tuple[str, str], float]:
        answer = answers.get(f"S:{objective.name}:{what}", Answer(()))
        return {
            (sample.labels.get("service", ""), sample.labels.get("model_name", "")): sample.value
            for sample in answer.series
            if math.isfinite(sample.value)
        }

    spent, requests = by_model("spent"), by_model("requests")
    burns = {window: by_model(window) for window in BURN_WINDOWS}
    if not spent:
        asked = answers.get(f"S:{objective.name}:spent", Answer((), NOT_RECORDED))
        who = (objective.service, objective.model)
        reason = asked.reason or "no traffic"
        return [
            Standing(objective.name, *who, objective.target, objective.days, "unknown", None, {}, None, False, reason)
        ]
    return [
        _judged(
            objective,
            who,
            share,
            {window: found[who] / objective.allowed for window, found in burns.items() if who in found},
            requests.get(who),
        )
        for who, share in sorted(spent.items())
    ]


def _judged(
    objective: Objective, who: tuple[str, str], share: float, burn: Mapping[str, float], requests: float | None
) -> Standing:
    left = 1 - share / objective.allowed
    low = requests is None or requests < objective.minimum
    state: State = "ok"
    if left <= 0 or (not low and min(burn.get("1h", 0), burn.get("5m", 0)) > FAST):
        state = "crit"
    elif not low and min(burn.get("3d", 0), burn.get("6h", 0)) > 1:
        state = "warn"
    return Standing(objective.name, *who, objective.target, objective.days, state, left, burn, requests, low)


def worst(standings: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The one to show where there is room for one, of standings as a report keeps them; None without any that is
    known."""
    rank = {"crit": 0, "warn": 1, "ok": 2}
    known = [one for one in standings if one["left"] is not None]
    return min(known, key=lambda one: (rank[one["state"]], one["left"]), default=None)


def _times(rate: float) -> str:
    return f"{rate:.1f}x" if rate < 100 else f"{rate:.0f}x"
