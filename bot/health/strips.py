"""What each GPU went through, as strips of colour: ok, warn, crit, or nothing heard of it any more. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

from bot.health import xid
from bot.health.series import GPU_STEP_S, Line, Recording

State = Literal["early", "ok", "warn", "crit", "none"]
"""`early`: not heard of yet, `none`: not heard of any more."""
_RANK: Final[Mapping[State, int]] = {"crit": 4, "none": 3, "warn": 2, "ok": 1, "early": 0}
_SHORT_S: Final = 300.0
"""How long an Xid of the application's colours its strip; one of the hardware's does to the end."""


@dataclass(frozen=True, slots=True)
class Span:
    """One state from `begin` to `end`, Unix seconds."""

    begin: float
    end: float
    state: State


@dataclass(frozen=True, slots=True)
class Strip:
    """One GPU. `note` says what is wrong with it now, empty when nothing is."""

    name: str
    spans: tuple[Span, ...]
    note: str = ""

    @property
    def rank(self) -> tuple[int, int, str]:
        """The worst first: by the state it is in now, then by the worst it was in."""
        now = _RANK[self.spans[-1].state] if self.spans else 0
        return -now, -max((_RANK[span.state] for span in self.spans), default=0), self.name

    @property
    def calm(self) -> bool:
        """Nothing was ever wrong with it."""
        return all(span.state in {"early", "ok"} for span in self.spans)


@dataclass(frozen=True, slots=True)
class XidSeen:
    """An Xid that appeared at `at` (Unix seconds) on a GPU."""

    at: float
    number: int
    gpu: str


def strips(recording: Recording) -> list[Strip]:
    """One per GPU that was heard of in the time recorded, the worst first."""
    begin, end = recording.begin.timestamp(), recording.end.timestamp()
    step = recording.of("gpus").step
    times = [begin + step * nth for nth in range(int((end - begin) // step) + 1)]
    troubles: dict[str, list[tuple[float, State, str]]] = {}
    for seen in xids(recording):
        entry = xid.explain(seen.number)
        if entry.severity != "ok":
            last = end if entry.severity == "crit" else min(end, seen.at + _SHORT_S)
            troubles.setdefault(seen.gpu, []).extend(
                (at, entry.severity, f"Xid {seen.number}") for at in times if seen.at - step < at <= last
            )
    for check, note in (("h3", "memory"), ("h4", "throttled")):
        state: State = "crit" if check == "h3" else "warn"
        for line in recording.of(check).lines:
            troubles.setdefault(_name(line.labels), []).extend((at, state, note) for at, _ in line.points)
    heard: dict[str, list[Line]] = {}
    for line in recording.of("gpus").lines:
        heard.setdefault(_name(line.labels), []).append(line)
    made = [_strip(name, heard.get(name, ()), troubles.get(name, ()), times) for name in {*heard, *troubles}]
    return sorted(made, key=lambda strip: strip.rank)


def together(rows: Sequence[Strip], step: float) -> Strip:
    """Several strips of one recording as one: at every time the worst of them."""
    worst: dict[float, State] = {}
    for span in (span for strip in rows for span in strip.spans):
        at = span.begin
        while at < span.end:
            worst[at] = max(worst.get(at, "early"), span.state, key=lambda state: _RANK[state])
            at += step
    return Strip(f"{len(rows)} GPUs", _spans(sorted(worst.items()), step))


def _spans(states: Sequence[tuple[float, State]], step: float) -> tuple[Span, ...]:
    """Equal neighbours as one."""
    spans: list[Span] = []
    for state, run in groupby(states, key=lambda one: one[1]):
        ats = [at for at, _ in run]
        spans.append(Span(ats[0], ats[-1] + step, state))
    return tuple(spans)


def _strip(
    name: str, heard: Sequence[Line], troubles: Sequence[tuple[float, State, str]], times: Sequence[float]
) -> Strip:
    step = times[1] - times[0] if len(times) > 1 else float(GPU_STEP_S)
    there = {_slot(at, times) for line in heard for at, _ in line.points}
    first = min(there, default=0)
    # Where presence was not asked for, because there are too many GPUs, silence says nothing.
    states: list[State] = [
        "ok" if not heard or nth in there else "none" if nth > first else "early" for nth in range(len(times))
    ]
    note = "no data" if states and states[-1] == "none" else ""
    for at, state, what in troubles:
        nth = _slot(at, times)
        if states[nth] != "none" and _RANK[state] >= _RANK[states[nth]]:
            states[nth] = state
        if nth == len(times) - 1:
            note = what if what.startswith("Xid") or not note else note
    return Strip(name, _spans(list(zip(times, states, strict=True)), step), note)


def _slot(at: float, times: Sequence[float]) -> int:
    return max(0, min(len(times) - 1, round((at - times[0]) / (times[1] - times[0]))))


def xids(recording: Recording) -> list[XidSeen]:
    """The Xids that appeared in the time recorded, in order. What was there from the beginning is old news."""
    begin = recording.begin.timestamp()
    step = recording.of("xids").step
    seen: dict[tuple[str, int], XidSeen] = {}
    for line in recording.of("xids").lines:
        gpu = _name(line.labels)
        before: float | None = None
        for at, value in line.points:
            number = int(float(line.labels.get("xid", value)))
            if value != before and at > begin + 2 * step:
                seen.setdefault((gpu, number), XidSeen(at, number, gpu))
            before = value
    return sorted(seen.values(), key=lambda one: (one.at, one.gpu))


def _name(labels: Mapping[str, str]) -> str:
    """`node-7 gpu 3`; a slice of a GPU by its own number."""
    host, gpu = labels.get("host", ""), labels.get("gpu", "")
    return f"{host} gpu {gpu}".strip() if gpu else host or labels.get("UUID") or labels.get("uuid", "GPU")
