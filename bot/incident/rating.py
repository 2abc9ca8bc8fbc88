"""How right the telemetry's verdicts were, by those who know: the hits per cause, and the misses."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bot.incident.events import VerdictRated
from bot.incident.people import Actor

CAUSES: Final = {
    "recent-change": "a recent change",
    "hardware": "hardware",
    "stall": "a hanging engine",
    "gpu-oom": "too little GPU memory",
    "host-oom": "too little host memory",
    "crash": "a crashing engine",
    "restarts": "restarting containers",
    "saturation": "saturation",
    "no-capacity": "no GPU to be had",
    "capacity": "lost replicas",
    "demand": "more demand",
    "throttle": "slowed GPUs",
    "token-spike": "a token spike",
    "drift": "drift",
    "outside": "something outside the fleet",
    "false-alarm": "nothing at all",
}
"""What a person can say that it really was: the ids of the verdict's own causes, and what it cannot see."""


@dataclass(frozen=True, slots=True)
class Rating:
    """What one person said of one verdict; `ref` is INC-42."""

    ref: str
    at: datetime
    by: Actor
    said: VerdictRated


@dataclass(frozen=True, slots=True)
class HitRate:
    """How often a named cause was right, of the verdicts that were rated."""

    cause: str
    right: int
    rated: int

    @property
    def share(self) -> float:
        """Between 0 and 1."""
        return self.right / self.rated


def hit_rates(ratings: Iterable[Rating]) -> list[HitRate]:
    """Per cause that was named, the most rated first."""
    rated: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for one in ratings:
        rated[one.said.cause] += 1
        right[one.said.cause] += one.said.right
    return [HitRate(cause, right[cause], number) for cause, number in rated.most_common()]


def misses(ratings: Iterable[Rating]) -> list[Rating]:
    """Those that were called wrong, in the order given."""
    return [one for one in ratings if not one.said.right]


def lines(ratings: Sequence[Rating]) -> list[str]:
    """All of it as text, for a terminal."""
    if not ratings:
        return ["No verdict has been rated yet; the buttons are under each report in an incident's channel."]
    rates = hit_rates(ratings)
    right, rated = sum(rate.right for rate in rates), len(ratings)
    out = [f"{right} of {rated} rated verdicts were right ({right / rated:.0%})"]
    width = max(len(rate.cause or "none") for rate in rates)
    out += [f"  {rate.cause or 'none':<{width}}  {rate.right} of {rate.rated}  {rate.share:>4.0%}" for rate in rates]
    wrong = misses(ratings)
    out += ["", "Misses:"] if wrong else []
    for one in wrong:
        actual = one.said.actual or "nobody knows yet"
        words = f": {one.said.text}" if one.said.text else ""
        named = one.said.cause or "no cause"
        out.append(f"  {one.at:%Y-%m-%d} {one.ref} {one.said.evidence}  said {named}, was {actual}{words}")
    return out
