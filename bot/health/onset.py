"""Since when a check is bad: the question about the past, and how its answer is read. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bot.health.checks import Check
from bot.health.observation import Observation, entry, uuid_of
from bot.health.promql import quote
from bot.health.queries import gpus

Points = Sequence[tuple[float, float]]
"""Unix seconds and value, in order."""

BREAK = 2
"""A good sample or two between bad ones do not end a trouble: rates are noisy, and a scrape may fail."""


@dataclass(frozen=True, slots=True)
class Past:
    """A range query that gives one series, and when in it the trouble began: Unix seconds, None when it never did."""

    query: str
    began: Callable[[Points], float | None]


def question(check: Check, seen: Observation, union: str) -> Past | None:
    """What to ask about `seen`, which is bad; `union` is its query without a limit on the number of series."""
    worst = seen.series[0]
    if check.id == "E4":
        return None  # its value is an age already
    label = "UUID" if worst.labels.get("UUID") else "uuid"
    gpu = f"{{{label}={quote(uuid_of(worst.labels))}}}"
    if check.rule == "xid":
        number = float(entry(worst).number)
        counted = " or ".join(f'{name}{gpu[:-1]},xid="{worst.labels["xid"]}"}} > 0' for name in gpus.XID_COUNTS)
        query = f"max({gpus.XID_GAUGE}{gpu} == {number:g} or {counted})"
        return Past(query, lambda points: points[0][0] if points else None)
    if check.id == "H1" and not uuid_of(worst.labels):
        return None  # longer ago than we remember
    if check.id == "H1":
        # An instant value outlives its last sample by five minutes; the sample's own time does not.
        return Past(f"max(timestamp({gpus.TEMP}{gpu}))", lambda points: points[-1][1] if points else None)
    worst_of = "min" if check.rule == "below" else "max"
    return Past(f"{worst_of}({union})", lambda points: _run(points, _limit(check, seen)))


def _limit(check: Check, seen: Observation) -> Callable[[float], bool]:
    """Past the limit that it is past now: what was a warning for days and is critical since a minute began then."""
    sign = -1 if check.rule == "below" else 1
    if seen.status == "crit" and check.crit is not None:
        limit = sign * check.crit
        return lambda value: sign * value >= limit
    warn = sign * (check.warn if check.warn is not None else 0.0)
    return lambda value: sign * value > warn


def _run(points: Points, bad: Callable[[float], bool]) -> float | None:
    """The beginning of the run of bad points that reaches to the end."""
    began: float | None = None
    good = 0
    for at, value in reversed(points):
        if bad(value):
            began, good = at, 0
            continue
        good += 1
        if good > BREAK:
            break
    return began
