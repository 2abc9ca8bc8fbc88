"""What the telemetry showed, what was kept of it, and what was changed before."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from bot.incident.events.event import Document, Event, Precision, Text


@dataclass(frozen=True, slots=True)
class HealthProven(Event):
    """The telemetry says that it is over: `text` holds the numbers with their limits, `report` all that was measured.

    `ask` is the id of the entry that asked for it, empty when nobody did.
    """

    ask: str
    text: Text
    report: Document


@dataclass(frozen=True, slots=True)
class HealthDoubted(Event):
    """The telemetry does not say that it is over: `text` tells what is not well, or was not seen.

    `ask` and `report` are as in HealthProven; a telemetry that gave no answer leaves the report empty. `closed` says
    that the incident was over before it was asked about, by a pager's word or a person's.
    """

    ask: str
    text: Text
    report: Document
    closed: bool = False


@dataclass(frozen=True, slots=True)
class EvidenceCollected(Event):
    """What the telemetry said, as the health report's own JSON. `verdict`, `impact`, `cause` are its headline.

    `evidence` is the id under which it is cited and its series are kept, empty before there were any.
    """

    verdict: str
    impact: Text
    cause: Text
    runbook: str
    report: Document
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class EvidenceFrozen(Event):
    """What was kept of the telemetry before its own memory ends: `parts` are the kept pieces with their sha256.

    `points` counts the samples of all series. `since` is when users began to feel it, as the series show it; None when
    they do not. `missing` says what could not be kept and why.
    """

    evidence: str
    parts: Mapping[str, str]
    points: int = 0
    since: datetime | None = None
    missing: Text = ""


@dataclass(frozen=True, slots=True)
class VerdictRated(Event):
    """A person says whether the telemetry's verdict was right; `cause` is what it named.

    When it was wrong, `actual` is the cause as the person knows it, empty while unknown, and `text` their words.
    """

    evidence: str
    right: bool
    verdict: str
    cause: str
    actual: str = ""
    text: Text = ""


@dataclass(frozen=True, slots=True)
class EvidenceFailed(Event):
    """The telemetry could not be read."""

    reason: Text


@dataclass(frozen=True, slots=True)
class ChangeFound(Event):
    """Something was changed at `at`, known to `precision`; its entry has that time, whenever we learned of it.

    `id` is its name at its source, `change` the rest of it (`bot.incident.change`) as JSON. `live`: it came up while
    the incident was on, not when it opened.
    """

    id: str
    at: datetime
    precision: Precision
    change: Document
    live: bool = False
