"""What a night is held to, as plain functions of what was written down and what was seen outside."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final

from bot.incident import events as ev
from bot.incident.entry import Entry
from bot.incident.policy import Policy
from bot.incident.state import Incident, Status, evolve, fold

AT_ONCE: Final = timedelta(seconds=10)
"""So late may a timer be, and so soon must a page leave that nothing hinders."""


# -- alerts -----------------------------------------------------------------------------------------------------------


SAME_MOMENT: Final = timedelta(seconds=0.5)
"""What lies between the time that a transaction notes and its commit, and between two servers' ideas of it."""


@dataclass(frozen=True, slots=True)
class News:
    """A row of the inbox: how many alerts of a group began and ended, when it came in, and when it was worked in."""

    received_at: datetime
    drained_at: datetime | None
    began: int
    ended: int


def was_never_seen_burning(changes: int, news: Iterable[News]) -> bool:
    """Whether all that had begun in a group had ended again whenever its news were worked in: it opens no incident.

    `changes` counts how often its alerts began or ended, by the ledger; where news of one are missing, they are lost.
    Whoever works news in looks at the ledger after them, and on PostgreSQL may find an end there whose own news came
    in a moment after it had read the others, and wait for the next look.
    """
    rows = list(news)
    if sum(one.began + one.ended for one in rows) != changes:
        return False
    for one in rows:
        at = one.drained_at
        if at is None:
            return False
        began = sum(other.began for other in rows if other.drained_at is not None and other.drained_at <= at)
        ended = sum(other.ended for other in rows if other.received_at <= at + SAME_MOMENT)
        if began > ended:
            return False
    return True


# -- pages ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Round:
    """One round of an incident: when it began, when somebody had taken it or it was over, whether the first pager's
    acceptance is on record."""

    number: int
    began: datetime
    taken: datetime | None = None
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a round's page in the outbox."""

    attempts: int
    ended_at: datetime | None


def rounds(entries: Iterable[Entry]) -> list[Round]:
    """The rounds of one incident, the first first."""
    found: dict[int, Round] = {}
    incident: Incident | None = None
    for entry in entries:
        before = incident.generation if incident else 1
        incident = evolve(incident, entry)
        match entry.event:
            case ev.IncidentOpened() | ev.Reopened():
                found.setdefault(incident.generation, Round(incident.generation, entry.recorded_at))
            case ev.Acknowledged() | ev.Mitigated() | ev.Resolved() | ev.Cancelled():
                found[before].taken = found[before].taken or entry.recorded_at
            case ev.PageAccepted(fallback="", generation=number):
                found[number].accepted = True
    return list(found.values())


def was_hindered(one: Round, page: Sent | None) -> bool:
    """Whether a page was still being tried when somebody took the round, later than it should have left.

    A first try failed or was killed, and the page was not called done before it was not needed any more.
    """
    if one.taken is None or page is None or page.ended_at is None:
        return False
    return one.taken - one.began > AT_ONCE and page.attempts > 1 and page.ended_at >= one.taken


def wrong_with_page(one: Round, page: Sent | None, *, is_there: bool) -> str:
    """Why the pager should have this round's page and does not; empty where all is right."""
    if is_there:
        return ""
    if one.accepted:
        return "accepted, and not there"
    if one.taken is None:
        return "nobody was paged, and nobody has taken it"
    if one.taken - one.began <= AT_ONCE or was_hindered(one, page):
        return ""
    return f"nobody was paged in the {(one.taken - one.began).total_seconds():.1f} s until somebody took it"


@dataclass(frozen=True, slots=True)
class Search:
    """Somebody asked PagerDuty whether it has a page. `answered`: they were told."""

    at: float
    answered: bool


def without_cause(opened: Iterable[float], searches: Sequence[Search]) -> list[float]:
    """Which later alerts of one round have no excuse: the last search before them was answered, or there was none."""
    wrong = []
    for one, other in itertools.pairwise(sorted(opened)):
        between = [search for search in searches if one <= search.at <= other]
        if not between or max(between, key=attrgetter("at")).answered:
            wrong.append(other)
    return wrong


# -- timers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Span:
    """A span in which somebody had to acknowledge. `ended` is when it was `missed`, taken, or the night was over."""

    due: datetime
    ended: datetime
    missed: bool

    def late(self, nobody: Iterable[tuple[datetime, datetime]] = ()) -> timedelta:
        """How long after it was due it ended, without the times in which there was `nobody` who could notice."""
        cuts = (min(self.ended, until) - max(self.due, since) for since, until in nobody)
        return self.ended - self.due - sum((cut for cut in cuts if cut > timedelta()), timedelta())


def spans(entries: Iterable[Entry], policy: Policy, until: datetime) -> Iterator[Span]:
    """Every span of one incident, also those that nobody noticed."""
    incident: Incident | None = None
    due: datetime | None = None
    for entry in entries:
        missed = isinstance(entry.event, ev.AckDeadlineMissed)
        incident = evolve(incident, entry)
        following = _due(incident, policy)
        if due is not None and following != due:
            yield Span(due, entry.recorded_at, missed)
        due = following
    if due is not None:
        yield Span(due, until, missed=False)


def _due(incident: Incident, policy: Policy) -> datetime | None:
    """By when somebody must acknowledge; None where nobody must, or nobody is left to call."""
    waits = incident.status is Status.OPEN and incident.severity in policy.pages
    if not waits or incident.escalations >= policy.max_escalations:
        return None
    return (incident.escalated_at or incident.opened_at) + policy.ack_within


# -- what people were told --------------------------------------------------------------------------------------------


def as_of(entries: Iterable[Entry], at: datetime) -> Incident | None:
    """The incident as it stood then."""
    return fold(itertools.takewhile(lambda entry: entry.recorded_at <= at, entries))


def was_heeded(entries: Iterable[Entry], number: int, at: datetime, *, over: bool) -> bool:
    """Whether by then this round was taken (`over`: had ended), or was the past already."""
    incident = as_of(entries, at)
    if incident is None:
        return False
    return incident.generation > number or not (incident.is_live if over else incident.status is Status.OPEN)
