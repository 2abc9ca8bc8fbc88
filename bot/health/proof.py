"""Whether it is over: what users feel and what GPUs report, against the limits and against the hour before the alert.

The questions are the health report's own, asked of the last `quiet` seconds: rates over all of them, gauges by their
worst moment. What they are compared with is the middle value of the hour before the incident was detected, so that
the first minutes of trouble, which come before any alert, do not pass for normal. A model of which nothing was asked
in most of that hour may be asked nothing now; traffic that ended with the incident is a doubt.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from bot.contracts import Again, Attempt, Delivered
from bot.health.catalogue import catalogue
from bot.health.checks import Check
from bot.health.observation import NO_TRAFFIC, Observation, duration, number
from bot.health.promql import Settings as HealthSettings
from bot.health.scope import Scope
from bot.health.telemetry import Telemetry
from bot.incident.effects import Effect, ProveHealth
from bot.incident.events import Event, HealthDoubted, HealthProven
from bot.incident.state import Incident

HOUR: Final = 3600
EVERY: Final = 120
"""Seconds between two looks at the hour before: 30 of them give a steady middle value."""
LOOKS: Final = 10
"""Looks at a gauge over the quiet span."""
UNFELT: Final = 0.25
"""Below this share of its limit nothing counts as worse than before: 0.2 % of errors are no relapse after 0.1 %."""
BEFORE: Final = "before:"
LOOK_AGAIN: Final = timedelta(seconds=60)
PATIENCE: Final = timedelta(minutes=30)
"""How long recovery is waited for without being asked; after that whoever resolves asks."""


@dataclass(frozen=True, slots=True)
class Settings:
    """required: whether a resolve waits for it. quiet: seconds that must have been well. worse: how many times the hour
    before the alert a level may be, within its limit."""

    required: bool = True
    quiet: int = 300
    worse: float = 1.5


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of the proof, by the check it is taken from.

    needed: where it is not seen there is no proof. gauge: a level, of which the worst moment counts.
    """

    check: str
    name: str
    needed: bool = False
    gauge: bool = False


MEASURES: Final = (
    Measure("U1", "errors", needed=True),
    Measure("U1b", "broken-off answers"),
    Measure("U2", "p99", needed=True),
    Measure("U3", "queue", gauge=True),
    Measure("H2", "Xid"),
)
"""Only what users feel has to be seen. Newer GPU exporters have no Xid series until the first one comes."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One measure as it came out. `value`, `before` and `allowed` are in the check's unit, None where not known."""

    name: str
    text: str
    doubt: str = ""
    unseen: str = ""
    value: float | None = None
    limit: float | None = None
    before: float | None = None
    allowed: float | None = None
    query: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """The judgement. `text` has the numbers: those that are in the way first."""

    at: datetime
    quiet: int
    model: str
    readings: tuple[Reading, ...]

    @property
    def holds(self) -> bool:
        return not any(reading.doubt for reading in self.readings)

    @property
    def text(self) -> str:
        doubts = [reading.doubt for reading in self.readings if reading.doubt]
        fine = [reading.text for reading in self.readings if reading.text and not reading.doubt]
        unseen = [reading.name for reading in self.readings if reading.unseen and not reading.doubt]
        parts = [f"{', '.join(doubts or fine)} over the last {duration(self.quiet)}"]
        parts += [f"fine: {', '.join(fine)}"] if doubts and fine else []
        parts += [f"not seen: {', '.join(unseen)}"] if unseen else []
        return "; ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, for the incident's journal."""
        fields = ("name", "text", "doubt", "unseen", "value", "limit", "before", "allowed", "query")
        return {
            "at": self.at.isoformat(),
            "quiet": self.quiet,
            "model": self.model,
            "holds": self.holds,
            "readings": [{name: getattr(reading, name) for name in fields} for reading in self.readings],
        }

    def as_event(self, ask: str, *, closed: bool = False) -> Event:
        """The word of the telemetry for whoever asked, by the id of the entry that did."""
        if self.holds:
            return HealthProven(ask, self.text, self.to_dict())
        return HealthDoubted(ask, self.text, self.to_dict(), closed)


def questions(health: HealthSettings, quiet: int, before: datetime) -> tuple[Check, ...]:
    """The checks of the proof, then each measure of a level once more, as it was in the hour before `before`.

    They are to be asked with a window of `quiet` seconds.
    """
    known = {check.id: check for check in catalogue(health)}
    taken = [(measure, known[measure.check]) for measure in MEASURES]
    now = [_over_quiet(check, measure, quiet) for measure, check in taken]
    return (*now, *(_in_hour_before(check, before) for _, check in taken if check.rule == "above"))


def _over_quiet(check: Check, measure: Measure, quiet: int) -> Check:
    if measure.gauge:
        step = max(1, quiet // LOOKS)
        return _wrapped(check, f"max_over_time(({{}})[<window>:{step}s])")
    # An Xid of the incident itself is remembered for an hour; whether a new one came is what is asked.
    return replace(check, sources=tuple(source.replace("<memory>", "<window>") for source in check.sources))


def _in_hour_before(check: Check, before: datetime) -> Check:
    wrap = f"quantile_over_time(0.5, ({{}})[{HOUR}s:{EVERY}s] @ {before.timestamp():.0f})"
    return replace(_wrapped(check, wrap), id=f"{BEFORE}{check.id}", warn=None, crit=None)


def _wrapped(check: Check, wrap: str) -> Check:
    head, _, tail = wrap.partition("{}")
    return replace(check, sources=tuple(f"{head}{source}{tail}" for source in check.sources))


def judge(
    observations: Sequence[Observation], checks: Sequence[Check], settings: Settings, now: datetime, model: str = ""
) -> Proof:
    """The proof from the answers to `questions`, in any order."""
    seen = {observation.check: observation for observation in observations}
    known = {check.id: check for check in checks}
    readings = tuple(
        _read(measure, known[measure.check], seen[measure.check], seen.get(f"{BEFORE}{measure.check}"), settings)
        for measure in MEASURES
    )
    return Proof(now, settings.quiet, model, readings)


def _read(measure: Measure, check: Check, seen: Observation, before: Observation | None, settings: Settings) -> Reading:
    if seen.idle and before is not None and before.idle:
        return Reading(measure.name, f"{measure.name}: {NO_TRAFFIC}, as before the alert", query=seen.query)
    if seen.status == "unknown":
        doubt = f"{measure.name} unknown ({seen.text})" if measure.needed else ""
        return Reading(measure.name, "", doubt, unseen=seen.text, query=seen.query)
    if check.rule == "xid":
        bad = f"{seen.text} ({seen.offender})" if seen.bad else ""
        text = "no Xid that needs a repair"
        return Reading(measure.name, text, bad, value=seen.value, query=seen.query)
    value, limit = seen.value or 0.0, check.warn
    usual = before.value if before is not None else None
    allowed = _allowed(limit, usual, settings.worse)
    shown = f"{measure.name} {_at_least(seen)}{number(value, check.unit)}"
    target = f"limit {number(limit, check.unit)}" if limit is not None else ""
    reading = Reading(
        measure.name, f"{shown} ({target})", value=value, limit=limit, before=usual, allowed=allowed, query=seen.query
    )
    if limit is not None and value > limit:
        return replace(reading, doubt=f"{shown} ({target})")
    if allowed is not None and usual is not None and value > allowed:
        was = f"{number(usual, check.unit)} before the alert, {number(allowed, check.unit)} would do"
        return replace(reading, doubt=f"{shown} ({was})")
    return reading


def _at_least(seen: Observation) -> str:
    """A p99 in the last bucket of its histogram says only that it is no less."""
    return ">= " if seen.series and seen.series[0].labels.get("at_least") else ""


def _allowed(limit: float | None, before: float | None, worse: float) -> float | None:
    """How bad it may be: some times what was usual, what nobody feels in any case, and never past the limit."""
    if limit is None or before is None:
        return limit
    return min(limit, max(UNFELT * limit, worse * before))


@dataclass(frozen=True, slots=True)
class Prover:
    """Asks and judges. `telemetry` looks back over `settings.quiet`, and its budget leaves a courier time to spare."""

    telemetry: Telemetry
    settings: Settings

    def prove(self, incident: Incident, now: datetime) -> Proof:
        """The proof for the incident's model, or for the fleet where it names none. What is not answered is a doubt."""
        began = min(incident.detected_at, incident.started_at or incident.detected_at)
        checks = questions(self.telemetry.settings, self.settings.quiet, began)
        answers = self.telemetry.survey(Scope(model=incident.model), checks)
        return judge(answers, checks, self.settings, now, incident.model)


@dataclass(frozen=True, slots=True)
class Courier:
    """Brings the telemetry's word on whether it is over: once for whoever asks, and by itself as soon as it is."""

    prove: Callable[[Incident, datetime], Proof]

    def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:
        """Takes at most the telemetry's budget."""
        if isinstance(effect, ProveHealth):
            return [self.prove(incident, attempt.now).as_event(effect.ask, closed=not incident.is_live)]
        if not incident.is_live or incident.firing:
            return []  # when its alerts recover again, it is asked again
        proof = self.prove(incident, attempt.now)
        if proof.holds:
            return [proof.as_event("")]
        waited = attempt.now - (attempt.since or attempt.now)
        return Again(attempt.now + LOOK_AGAIN, {}) if waited < PATIENCE else [proof.as_event("")]
