"""What an incident is: the fold of its journal. `status` changes here and nowhere else."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import reduce
from typing import Any, Final

from bot.incident import events as ev
from bot.incident.change import Change, merged
from bot.incident.effects import EFFECTS, PageEffect, pager_named
from bot.incident.entry import Entry
from bot.incident.events import Role, Severity
from bot.incident.people import Actor
from bot.incident.run import Run, RunStatus
from bot.incident.runs import evolve_run, run_from_event


class Status(StrEnum):
    """Where an incident stands. Triage and communication are marks beside it, not states."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"
    CANCELLED = "cancelled"
    MERGED = "merged"

    @property
    def is_live(self) -> bool:
        return self in LIVE


LIVE: Final = frozenset({Status.OPEN, Status.ACKNOWLEDGED, Status.MITIGATED})
TRANSITIONS: Final[Mapping[Status, frozenset[Status]]] = {
    Status.OPEN: frozenset({Status.ACKNOWLEDGED, Status.MITIGATED, Status.RESOLVED, Status.CANCELLED, Status.MERGED}),
    Status.ACKNOWLEDGED: frozenset({Status.MITIGATED, Status.RESOLVED, Status.CANCELLED, Status.MERGED}),
    Status.MITIGATED: frozenset({Status.ACKNOWLEDGED, Status.RESOLVED, Status.CANCELLED, Status.MERGED}),
    Status.RESOLVED: frozenset({Status.OPEN}),
    Status.CANCELLED: frozenset({Status.OPEN}),
    Status.MERGED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """Something was done: when, by whom, in a few words."""

    at: datetime
    by: Actor
    what: str = ""


@dataclass(frozen=True, slots=True)
class Handover:
    """A page that went on to `pager` (empty when there was no other) because `silent` had not accepted it in `seconds`.

    `accepted` is the pager as people know it once it has taken the page, empty until then.
    """

    generation: int
    at: datetime
    silent: str
    pager: str
    seconds: int
    accepted: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """Somebody wants it resolved, and the telemetry is, or was, asked first. `id` is that of the entry."""

    id: str
    at: datetime
    by: Actor
    reason: str
    despite_firing: bool
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Tested:
    """What the telemetry said last to the question whether it is over; `text` has the numbers."""

    at: datetime
    holds: bool
    text: str


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the telemetry: the journal entry about it, and what it said. `cause` is the cause's id, `firing` how
    many alerts were firing then."""

    entry: str
    at: datetime
    verdict: str
    cause: str
    firing: int = 0


_WORST: Final = ("OUTAGE", "DEGRADED", "BLIND", "OK")


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident as of `seq`. Times are UTC.

    The five key times are kept apart: `started_at` (users first hit, None while unknown), `detected_at`, and the
    marks `acknowledged`, `mitigated`, `resolved` of the present generation. `opened_at` is when this generation
    opened; it is what the deadline to acknowledge counts from. `severities` are those of the present generation with
    the time of each, `opened_there` says that the first pager opened it. `pages` are those that the first pager took,
    by generation, and `handovers` where else they went. `ask` is the latest wish to have it resolved that the
    telemetry was to prove, `tested` its latest word, `doubts` how often it doubted when asked, all in the present
    generation; `askers` are all who ever wished so, by id, `asked_again` the entries in which the bot did after a
    doubt. `changes` are what was changed shortly before and since, the newest first, each roll-out once. `drill` is the
    id of the drill it is part of, empty when it is no practice. `evidence` is the latest, and `worst` the one of the
    present generation that was worst for users, the first of equals; both without the queries of their reports. What is
    known of each evidence lies in `looks`, `frozen`, `pictures` and (with who said it) `ratings`, by its id. `redacted`
    counts the texts that were taken out of it.
    """

    id: str
    workspace: str
    seq: int
    number: int
    title: str
    severity: Severity
    status: Status
    detected_at: datetime
    opened_at: datetime
    declared_by: Actor
    source: str
    started_at: datetime | None = None
    service: str = ""
    model: str = ""
    group_key: str = ""
    runbook: str = ""
    recurs: str = ""
    announced_with: str = ""
    drill: str = ""
    generation: int = 1
    firing: int = 0
    recovered: int = 0
    alerts_changed_at: datetime | None = None
    samples: tuple[Mapping[str, Any], ...] = ()
    truncated: int = 0
    roles: Mapping[Role, str] = field(default_factory=dict)
    impact: str = ""
    acknowledged: Mark | None = None
    triaged: Mark | None = None
    mitigated: Mark | None = None
    communicated: Mark | None = None
    update_reminded_at: datetime | None = None
    resolved: Mark | None = None
    snoozed_until: datetime | None = None
    escalations: int = 0
    escalated_at: datetime | None = None
    evidence: ev.EvidenceCollected | None = None
    evidence_missing: str = ""
    changes: tuple[Change, ...] = ()
    worst: ev.EvidenceCollected | None = None
    looks: Mapping[str, Look] = field(default_factory=dict)
    frozen: Mapping[str, ev.EvidenceFrozen] = field(default_factory=dict)
    pictures: Mapping[str, ev.PictureShown] = field(default_factory=dict)
    ratings: Mapping[tuple[str, str], ev.VerdictRated] = field(default_factory=dict)
    channel: str = ""
    channel_name: str = ""
    cards: Mapping[str, ev.CardPosted] = field(default_factory=dict)
    severities: tuple[tuple[datetime, Severity], ...] = ()
    opened_there: bool = False
    pages: Mapping[int, ev.PageAccepted] = field(default_factory=dict)
    handovers: tuple[Handover, ...] = ()
    troubles: tuple[ev.DeliveryFailed, ...] = ()
    runs: Mapping[str, Run] = field(default_factory=dict)
    ask: Ask | None = None
    tested: Tested | None = None
    doubts: int = 0
    asked_again: frozenset[str] = frozenset()
    askers: Mapping[str, Actor] = field(default_factory=dict)
    postmortem: str = ""
    redacted: int = 0

    @property
    def ref(self) -> str:
        """What people call it: INC-42."""
        return f"INC-{self.number}"

    @property
    def is_live(self) -> bool:
        return self.status.is_live

    @property
    def asks(self) -> Ask | None:
        """The wish to have it resolved that the telemetry has not answered yet."""
        return self.ask if self.ask is not None and not self.ask.answered and self.is_live else None

    def page_key(self, generation: int) -> str:
        """The one key of a round's page, for trigger, acknowledge and resolve; at most 255 characters."""
        return f"{self.workspace}:{self.id}:{generation}"

    def wants_page(self, generation: int) -> bool:
        """Whether somebody still has to be woken for this round."""
        return self.is_live and self.acknowledged is None and self.generation == generation

    @property
    def handed_on(self) -> tuple[Handover, ...]:
        """Where else the page of the present generation went, in order."""
        return tuple(handover for handover in self.handovers if handover.generation == self.generation)

    def paged_by(self, fallback: str, generation: int) -> bool:
        """Whether this fallback has accepted the page of that generation."""
        return any(one.accepted and one.pager == fallback and one.generation == generation for one in self.handovers)

    @property
    def active_run(self) -> Run | None:
        """The latest run that is still going, else None."""
        going = [run for run in self.runs.values() if run.status is RunStatus.RUNNING]
        return going[-1] if going else None


def begin(entry: Entry, opened: ev.IncidentOpened) -> Incident:
    """The incident as its first entry makes it."""
    return Incident(
        id=entry.incident,
        workspace=entry.workspace,
        seq=entry.seq,
        number=opened.number,
        title=opened.title,
        severity=opened.severity,
        status=Status.OPEN,
        detected_at=opened.detected_at,
        opened_at=entry.at,
        declared_by=entry.by,
        source=entry.source,
        started_at=opened.started_at,
        service=opened.service,
        model=opened.model,
        group_key=opened.group_key,
        runbook=opened.runbook,
        recurs=opened.recurs,
        announced_with=opened.announced_with,
        drill=opened.drill_id,
        severities=((entry.at, opened.severity),),
        opened_there=entry.from_pager,
    )


def evolve(incident: Incident | None, entry: Entry) -> Incident:
    """The incident after one more entry. ValueError when the journal tells an impossible story."""
    event = entry.event
    if isinstance(event, ev.IncidentOpened):
        if incident is not None:
            raise ValueError(f"{entry.incident} was opened twice")
        return begin(entry, event)
    if incident is None:
        raise ValueError(f"{entry.incident} has entries but was never opened")
    return replace(_apply(incident, entry, event), seq=entry.seq)


def fold(entries: Iterable[Entry]) -> Incident | None:
    """The incident that these entries make; None when there are none."""
    return reduce(evolve, entries, None)


def _to(incident: Incident, status: Status, **changes: Any) -> Incident:
    if status is not incident.status and status not in TRANSITIONS[incident.status]:
        raise ValueError(f"{incident.ref} cannot go from {incident.status} to {status}")
    return replace(incident, status=status, **changes)


def _apply(inc: Incident, entry: Entry, event: ev.Event) -> Incident:
    mark = Mark(entry.at, entry.by)
    match event:
        case ev.AlertsReported():
            return replace(
                inc,
                firing=event.firing,
                recovered=event.resolved,
                alerts_changed_at=entry.at,
                samples=event.samples or inc.samples,
                truncated=max(inc.truncated, event.truncated),
            )
        case ev.Acknowledged():
            return _to(inc, Status.ACKNOWLEDGED, acknowledged=mark)
        case ev.SeverityChanged():
            return replace(inc, severity=event.after, severities=(*inc.severities, (entry.at, event.after)))
        case ev.RoleAssigned():
            return replace(inc, roles={**inc.roles, event.role: event.user})
        case ev.ImpactStated():
            stated = replace(mark, what=event.text)
            return replace(inc, impact=event.text, triaged=stated, started_at=event.started_at or inc.started_at)
        case ev.UpdatePosted():
            return replace(inc, communicated=replace(mark, what=event.text), update_reminded_at=None)
        case ev.UpdateReminded():
            return replace(inc, update_reminded_at=entry.at)
        case ev.AckDeadlineMissed():
            return replace(inc, escalations=event.level, escalated_at=entry.at)
        case ev.Mitigated():
            acknowledged = inc.acknowledged or mark
            return _to(inc, Status.MITIGATED, mitigated=replace(mark, what=event.text), acknowledged=acknowledged)
        case ev.Relapsed():
            return _to(inc, Status.ACKNOWLEDGED, mitigated=None)
        case ev.ResolveAsked():
            ask = Ask(entry.id, entry.at, entry.by, event.reason, event.despite_firing)
            again = {entry.id} if inc.doubts and not entry.by.is_person else set()
            askers, asked_again = {**inc.askers, entry.by.id: entry.by}, inc.asked_again | again
            return replace(inc, ask=ask, askers=askers, asked_again=asked_again)
        case ev.HealthProven():
            return replace(inc, tested=Tested(entry.at, True, event.text), ask=_answered(inc.ask, event.ask))
        case ev.HealthDoubted():
            tested = Tested(entry.at, False, event.text)
            doubts = inc.doubts + (1 if event.ask else 0)
            return replace(inc, tested=tested, ask=_answered(inc.ask, event.ask), doubts=doubts)
        case ev.Resolved():
            ended = Mark(entry.at, behind(entry, inc), event.reason)
            return _to(inc, Status.RESOLVED, resolved=ended, snoozed_until=event.snoozed_until)
        case ev.Cancelled():
            return _to(inc, Status.CANCELLED, resolved=replace(mark, what=event.reason))
        case ev.Reopened():
            return _to(
                inc,
                Status.OPEN,
                generation=event.generation,
                firing=event.firing,
                opened_at=entry.at,
                acknowledged=None,
                mitigated=None,
                resolved=None,
                snoozed_until=None,
                escalations=0,
                escalated_at=None,
                update_reminded_at=None,
                ask=None,
                tested=None,
                doubts=0,
                severities=((entry.at, inc.severity),),
                opened_there=entry.from_pager,
                worst=None,
            )
        case ev.EvidenceCollected():
            return _looked(inc, entry, event, mark)
        case ev.EvidenceFailed():
            return replace(inc, evidence_missing=event.reason)
        case ev.ChangeFound():
            return replace(inc, changes=merged([*inc.changes, Change.found(event)]))
        case ev.EvidenceFrozen():
            return replace(inc, frozen={**inc.frozen, event.evidence: event})
        case ev.PictureShown():
            return replace(inc, pictures={**inc.pictures, event.evidence: event})
        case ev.VerdictRated():
            return replace(inc, ratings={**inc.ratings, (event.evidence, entry.by.id): event})
        case ev.ChannelOpened():
            return replace(inc, channel=event.channel, channel_name=event.name)
        case ev.CardPosted():
            return replace(inc, cards={**inc.cards, event.surface: event})
        case ev.PageAccepted():
            return _accepted(inc, event)
        case ev.PageUnanswered():
            handover = Handover(event.generation, entry.at, event.silent, event.pager, event.seconds)
            return replace(inc, handovers=(*inc.handovers, handover))
        case ev.DeliveryFailed():
            return replace(inc, troubles=(*_outlasting(inc, event), event))
        case ev.DeliverySettled():
            return replace(inc, troubles=_outlasting(inc, event))
        case ev.PostmortemDrafted():
            return replace(inc, postmortem=event.path)
        case ev.SecondCalled() | ev.StepSaid():
            run = evolve_run(inc.runs, entry)
            return replace(inc, runs={**inc.runs, run.id: run}, escalations=max(inc.escalations, event.level))
        case ev.RunStarted():
            return replace(inc, runs={**inc.runs, event.run: run_from_event(event, entry.at, entry.by.id)})
        case ev.TextRedacted():
            return replace(inc, redacted=inc.redacted + 1)
        case ev.NoteAdded() | ev.MessagePinned() | ev.GlassBroken():
            return inc
        case _:
            run = evolve_run(inc.runs, entry)
            return replace(inc, runs={**inc.runs, run.id: run})


def behind(entry: Entry, incident: Incident) -> Actor:
    """In whose name it happened: a proof resolves for whoever asked."""
    asked_by = entry.event.asked_by if isinstance(entry.event, ev.Resolved) else ""
    return incident.askers.get(asked_by, entry.by)


def _answered(ask: Ask | None, answers: str) -> Ask | None:
    return replace(ask, answered=True) if ask is not None and ask.id == answers else ask


def _looked(inc: Incident, entry: Entry, event: ev.EvidenceCollected, mark: Mark) -> Incident:
    triaged = inc.triaged or replace(mark, what=f"telemetry says {event.verdict}")
    looks = inc.looks
    if event.evidence:
        cause = str(event.report.get("cause_id", ""))
        looks = {**looks, event.evidence: Look(entry.id, entry.at, event.verdict, cause, inc.firing)}
    told = replace(event, report=_without_queries(event.report))
    worst = told if inc.worst is None or _badness(told) < _badness(inc.worst) else inc.worst
    return replace(inc, evidence=told, evidence_missing="", triaged=triaged, looks=looks, worst=worst)


def _without_queries(report: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a report found; what was asked is nine tenths of its 130 KB, and its entry in the journal has it."""
    checks = [{key: value for key, value in check.items() if key != "query"} for check in report.get("checks", ())]
    return {**report, "checks": checks} if checks else report


def _badness(event: ev.EvidenceCollected) -> int:
    return _WORST.index(event.verdict) if event.verdict in _WORST else len(_WORST)


def _outlasting(inc: Incident, event: ev.DeliveryFailed | ev.DeliverySettled) -> tuple[ev.DeliveryFailed, ...]:
    """The troubles without those that the event ends."""
    return tuple(trouble for trouble in inc.troubles if not ends(event, trouble))


def ends(event: ev.DeliveryFailed | ev.DeliverySettled, trouble: ev.DeliveryFailed) -> bool:
    """Whether the event ends the trouble: of the same effect, and still tried until now.

    What shows the incident as it is makes good, once it gets out, whatever failed before it.
    """
    if (trouble.courier, trouble.effect) != (event.courier, event.effect):
        return False
    kind = EFFECTS.get(trouble.effect)
    shown_anew = isinstance(event, ev.DeliverySettled) and kind is not None and kind.latest_wins
    return trouble.goes_on or shown_anew


def _accepted(inc: Incident, event: ev.PageAccepted) -> Incident:
    """Once a pager has accepted, its earlier troubles are over; the first one's word ends those of all others too."""
    if not event.fallback:
        others = tuple(trouble for trouble in inc.troubles if not trouble.courier.startswith(PageEffect.courier))
        return replace(inc, pages={**inc.pages, event.generation: event}, troubles=others)
    others = tuple(trouble for trouble in inc.troubles if trouble.courier != pager_named(event.fallback))
    handovers = tuple(
        replace(one, accepted=event.pager)
        if one.pager == event.fallback and one.generation == event.generation
        else one
        for one in inc.handovers
    )
    return replace(inc, handovers=handovers, troubles=others)
