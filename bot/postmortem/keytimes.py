"""The key times of an incident and the four spans between them, each with its formula; nothing is guessed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bot.incident.state import Incident, Status


@dataclass(frozen=True, slots=True)
class KeyTime:
    """A moment, UTC. `why_not` says why it is not known; it is empty exactly when `at` is set."""

    name: str
    at: datetime | None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """A duration with the formula it comes from, because others count the same letters differently.

    `length` may be negative: a monitor can notice before users do. It is None when an end point is missing; then
    `why_not` says which. `remark` is what a reader must know about a figure that looks odd.
    """

    name: str
    meaning: str
    formula: str
    length: timedelta | None
    why_not: str = ""
    remark: str = ""


@dataclass(frozen=True, slots=True)
class KeyTimes:
    """The five moments and the spans between them.

    After a reopening `started` and `detected` are those of the first round, the other three those of the present one.
    """

    started: KeyTime
    detected: KeyTime
    acknowledged: KeyTime
    mitigated: KeyTime
    resolved: KeyTime
    rounds: int = 1

    def __iter__(self) -> Iterator[KeyTime]:
        return iter((self.started, self.detected, self.acknowledged, self.mitigated, self.resolved))

    @property
    def spans(self) -> tuple[Span, Span, Span, Span]:
        """TTD, TTA, TTM, TTR."""
        all_rounds = f"over {self.rounds} rounds, the quiet between them included" if self.rounds > 1 else ""
        answer = _span("TTA", "time to acknowledge", self.acknowledged, self.detected)
        if self.rounds > 1 and answer.length is not None:
            reason = f"acknowledged is of round {self.rounds}, detected of round 1"
            answer = replace(answer, length=None, why_not=reason, remark="")
        return (
            _span("TTD", "time to detect", self.detected, self.started),
            answer,
            _span("TTM", "time to mitigate", self.mitigated, self.started, all_rounds),
            _span("TTR", "time to resolve", self.resolved, self.started, all_rounds),
        )


def key_times(incident: Incident) -> KeyTimes:
    """The key times as the journal has them. The opening of the incident never stands in for the start of the harm."""
    over = "still open" if incident.is_live else "nobody marked it"
    acknowledged, mitigated, resolved = incident.acknowledged, incident.mitigated, incident.resolved
    called_off = incident.status in (Status.CANCELLED, Status.MERGED)
    ended = None if called_off or resolved is None else resolved.at
    return KeyTimes(
        started=_time("started", incident.started_at, "nobody said since when users were hit"),
        detected=KeyTime("detected", incident.detected_at),
        acknowledged=_time("acknowledged", acknowledged.at if acknowledged else None, "nobody acknowledged it"),
        mitigated=_time("mitigated", mitigated.at if mitigated else None, over),
        resolved=_time("resolved", ended, "it was called off" if called_off else over),
        rounds=incident.generation,
    )


def _time(name: str, at: datetime | None, why_not: str) -> KeyTime:
    return KeyTime(name, at, "" if at else why_not)


def _span(name: str, meaning: str, end: KeyTime, start: KeyTime, remark: str = "") -> Span:
    formula = f"{end.name} - {start.name}"
    if end.at is None or start.at is None:
        missing = "; ".join(f"{time.name}: {time.why_not}" for time in (start, end) if time.at is None)
        return Span(name, meaning, formula, None, missing)
    length = end.at - start.at
    if length < timedelta():
        remark = f"{end.name} before {start.name}"
    return Span(name, meaning, formula, length, "", remark)
