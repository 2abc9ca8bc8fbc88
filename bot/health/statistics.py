"""How sure a difference is: intervals for shares of counts, and for a quantile that only a histogram knows. Pure.

All intervals are for 95 % unless said otherwise, and take requests as independent of each other. A burst of failures is
not, so they are somewhat narrower than the truth; that is the usual bargain, and better than none.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import NormalDist
from typing import Final

LEVEL: Final = 0.95


@cache
def _z(level: float) -> float:
    """How many standard deviations hold `level` of a normal distribution, both sides together."""
    return NormalDist().inv_cdf(0.5 + level / 2)


@dataclass(frozen=True, slots=True)
class Interval:
    """A number and between what it may lie; `high` may be infinite."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether there is a difference at all, as far as anybody can say."""
        return self.low > 0 or self.high < 0

    def apart_from(self, other: "Interval") -> bool:
        """Whether the two have nothing in common. A bucket holds its upper edge and not its lower one, so they may
        touch."""
        return self.low >= other.high or self.high <= other.low


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many; `bad` is never more than `of`."""

    bad: int
    of: int

    @classmethod
    def of_flows(cls, bad: float, of: float) -> "Share":
        """From the extrapolated increases of two counters."""
        whole = max(0, round(of))
        return cls(min(max(0, round(bad)), whole), whole)

    @property
    def value(self) -> float:
        """0..1; 0 of nothing is 0."""
        return self.bad / self.of if self.of else 0.0


def wilson(share: Share, level: float = LEVEL) -> Interval:
    """Wilson's score interval: it keeps within 0..1, and is honest about small shares and few requests."""
    if not share.of:
        return Interval(0.0, 0.0, 1.0)
    n, p, z = share.of, share.value, _z(level)
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At the ends the formula is exact and the arithmetic is not.
    low = 0.0 if share.bad == 0 else max(0.0, middle - half)
    high = 1.0 if share.bad == n else min(1.0, middle + half)
    return Interval(p, low, high)


def difference(one: Share, other: Share, level: float = LEVEL) -> Interval:
    """`one` less `other`, by Newcombe's hybrid of two Wilson intervals (Statistics in Medicine 17, 1998, method 10)."""
    a, b = wilson(one, level), wilson(other, level)
    value = a.value - b.value
    low = value - math.hypot(a.value - a.low, b.high - b.value)
    high = value + math.hypot(a.high - a.value, b.value - b.low)
    return Interval(value, low, high)


Bucket = tuple[float, float]
"""Upper edge, and how many were at or below it."""


def quantile(buckets: Sequence[Bucket], q: float, level: float = LEVEL) -> Interval | None:
    """The quantile of a histogram of cumulative counts; None when it is empty.

    Between which two of the sorted requests it lies is known by their ranks (binomial); a histogram knows of each of
    them only its bucket, so the interval reaches from the lower edge of the one to the upper edge of the other. Where
    too few requests lie beyond, or they lie in the last bucket, `high` is infinite. The value itself is interpolated
    within its bucket, as Prometheus does.
    """
    ordered = sorted(buckets)
    total = ordered[-1][1] if ordered else 0.0
    if total < 1:
        return None
    spread = _z(level) * math.sqrt(total * q * (1 - q))
    low = _bucket_of(ordered, math.floor(total * q - spread))[0]
    rank = math.ceil(total * q + spread) + 1
    high = _bucket_of(ordered, rank)[1] if rank <= total else math.inf
    return Interval(_interpolated(ordered, total * q), low, high)


def _bucket_of(ordered: Sequence[Bucket], rank: float) -> tuple[float, float]:
    """Lower and upper edge of the bucket that holds the request of this rank, counted from 1."""
    below = 0.0
    for edge, count in ordered:
        if count >= max(1.0, rank):
            return below, edge
        below = edge
    return below, ordered[-1][0]


def _interpolated(ordered: Sequence[Bucket], rank: float) -> float:
    below, counted = 0.0, 0.0
    for edge, count in ordered:
        if count >= rank:
            if math.isinf(edge):
                return below
            return below + (edge - below) * (rank - counted) / max(count - counted, 1e-9)
        below, counted = edge, count
    return below
