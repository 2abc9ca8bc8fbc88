"""What should have happened by now and has not: from facts to findings, pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from bot.incident.due import page_asked_at
from bot.incident.effects import PageEffect, StepEffect
from bot.incident.events import Severity
from bot.incident.failover import WHY
from bot.incident.policy import Policy
from bot.incident.state import Incident, Status
from bot.incident.timeline import count, span
from bot.journal import Unreadable
from bot.journal.audit import EFFECT_WITHIN, Waiting

TURN_WITHIN: Final = timedelta(seconds=10)
"""The engine looks every second."""
TIMER_WITHIN: Final = timedelta(seconds=30)
PAGE_WITHIN: Final = timedelta(seconds=60)
AT_ONCE: Final = (PageEffect.courier, StepEffect.courier)
"""Couriers whose effects have to be taken up in time themselves: pages, and the steps of runbooks."""
NEWS_WITHIN: Final = timedelta(seconds=60)


class Check(StrEnum):
    """What an audit looks at."""

    ENGINE = "engine"
    TIMERS = "timers"
    PAGES = "pages"
    OUTBOX = "outbox"
    INBOX = "inbox"
    INCIDENTS = "incidents"
    JOURNAL = "journal"
    PRESSURE = "pressure"
    FAILOVER = "failover"
    AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that should have happened and has not. With the same `check` and `about` it is the same as before."""

    check: Check
    about: str
    text: str


@dataclass(frozen=True, slots=True)
class Unpaged:
    """An open incident that should wake people, for which no pager has accepted a page; `since` is when it should."""

    ref: str
    severity: Severity
    since: datetime


@dataclass(frozen=True, slots=True)
class Facts:
    """What an audit has to go by. `turned_at` is when the engine last completed a turn, None before the first;
    `frozen_since` is when a fail-over was noticed that nobody has confirmed."""

    turned_at: datetime | None
    waiting: Waiting
    unpaged: Sequence[Unpaged]
    frozen_since: datetime | None = None


def find(facts: Facts, now: datetime) -> tuple[Finding, ...]:
    """Everything that is late at `now`."""
    return tuple(_late(facts, now))


def _late(facts: Facts, now: datetime) -> Iterator[Finding]:
    yield from turning(facts.turned_at, now)
    if facts.frozen_since is not None:
        text = f"Automation is frozen for {span(now - facts.frozen_since)}: {WHY}."
        yield Finding(Check.FAILOVER, "", text)
    waiting = facts.waiting
    if waiting.timer is not None:
        number, due_at = waiting.timer
        if now - due_at > TIMER_WITHIN:
            text = f"A deadline of INC-{number} passed {span(now - due_at)} ago, and nothing came of it."
            yield Finding(Check.TIMERS, "", text)
    for page in facts.unpaged:
        if now - page.since > PAGE_WITHIN:
            text = f"{page.ref} ({page.severity.value}) has had no accepted page for {span(now - page.since)}."
            yield Finding(Check.PAGES, page.ref, text)
    for courier, since in sorted(waiting.effects.items()):
        if now - since > EFFECT_WITHIN and not _in_the_queue(courier, since, waiting):
            text = f"An effect for the {courier} courier could have left {span(now - since)} ago, and nobody took it."
            yield Finding(Check.OUTBOX, courier, text)
    if waiting.news is not None and now - waiting.news > NEWS_WITHIN:
        text = f"Alerts that came in {span(now - waiting.news)} ago are not worked into an incident."
        yield Finding(Check.INBOX, "", text)
    for group, alerts in waiting.homeless.items():
        burn = "burns" if alerts == 1 else "burn"
        text = f"{count(alerts, 'alert')} of the group {group} {burn} in no incident: declare one."
        yield Finding(Check.INBOX, group, text)


def _in_the_queue(courier: str, since: datetime, waiting: Waiting) -> bool:
    """Whether the effect only waits behind others: before a slow or hung service a queue grows, worked off in order.

    It is passed over, and so stuck, once nothing is worked at but what fell due well after its own turn came.
    """
    if courier in AT_ONCE or courier not in waiting.at_work:
        return False
    reached = waiting.at_work[courier]
    return reached is None or reached - since <= EFFECT_WITHIN


def turning(turned_at: datetime | None, now: datetime) -> Iterator[Finding]:
    """Whether the engine stands still. A turn that is still to come was made before the clock was set back."""
    if turned_at is None:
        yield Finding(Check.ENGINE, "", "The engine has not completed a turn yet.")
    elif turned_at - now > TURN_WITHIN:
        yield Finding(Check.ENGINE, "", "The clock was set back, and the engine has completed no turn since.")
    elif now - turned_at > TURN_WITHIN:
        yield Finding(Check.ENGINE, "", f"The engine last completed a turn {span(now - turned_at)} ago.")


def unreadable(incidents: Iterable[Unreadable]) -> Iterator[Finding]:
    """The incidents that are on, and that nobody works in here."""
    for one in incidents:
        text = f"{one} Nothing is done or told for it here; what its alerts say waits."
        yield Finding(Check.INCIDENTS, one.ref, text)


def takes_no_write(why: str) -> Finding:
    """The journal can be read, as a rule, but not written; `why` may have several lines."""
    reason = why.partition("\n")[0].rstrip(".")
    text = f"No alert can be kept: {reason}. Look at the journal's disk, and at its database where a server keeps it."
    return Finding(Check.JOURNAL, "", text)


def unpaged(incident: Incident, policy: Policy) -> Unpaged | None:
    """The incident as one that should wake people, and that no pager has taken in this round; None when it is not."""
    if not policy.pagers or incident.status is not Status.OPEN or incident.severity not in policy.pages:
        return None
    if incident.generation in incident.pages or any(handover.accepted for handover in incident.handed_on):
        return None
    since = page_asked_at(incident, policy)
    return None if since is None else Unpaged(incident.ref, incident.severity, since)
