"""What is overdue at a given moment, computed from the incident: there are no timers that could be lost."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from bot.incident import events as ev
from bot.incident.decide_resolve import by_itself, too_late
from bot.incident.failover import CLOSES
from bot.incident.policy import Policy
from bot.incident.run import StepStatus
from bot.incident.runs import lent
from bot.incident.state import Incident, Status

ZERO: Final = timedelta()
ASKED_AGAIN: Final = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6))
"""How long after its first, second and every later doubt the telemetry is asked again whether a quiet one is over."""


def _deadlines(incident: Incident, policy: Policy) -> Iterator[tuple[datetime, ev.Event]]:
    """Every pending deadline of the incident with what happens when it passes."""
    pages = incident.severity in policy.pages
    answered_by, doubt = too_late(incident.asks, policy) if incident.asks else (None, None)
    if answered_by is not None and doubt is not None:
        yield answered_by, doubt
    if incident.status is Status.OPEN and pages and incident.escalations < policy.max_escalations:
        since = incident.escalated_at or incident.opened_at
        yield _not_before(answered_by, since + policy.ack_within), _missed(incident, policy)
    unanswered = _unanswered(incident, policy)
    if unanswered is not None:
        yield _not_before(answered_by, unanswered[0]), unanswered[1]
    span = policy.update_span(incident.severity)
    if span and incident.status in (Status.ACKNOWLEDGED, Status.MITIGATED) and incident.acknowledged:
        told = max(incident.communicated.at, incident.opened_at) if incident.communicated else incident.opened_at
        yield max(told, incident.update_reminded_at or told) + span, ev.UpdateReminded()
    if incident.snoozed_until and incident.firing and incident.status is Status.RESOLVED:
        yield incident.snoozed_until, ev.Reopened(incident.generation + 1, incident.firing)
    quiet_since = incident.alerts_changed_at
    if (
        incident.status is Status.OPEN
        and incident.severity in policy.self_resolving
        and quiet_since
        and incident.recovered
        and not incident.firing
        and incident.active_run is None
        and incident.asks is None
        and not lent(incident.runs.values())
    ):
        at = _quiet_for_long(incident, max(quiet_since, incident.opened_at), policy)
        yield at, by_itself("The alerts stopped and nobody had to step in.", policy)
    for run in incident.runs.values():
        for step in run.steps:
            if step.lease_until and step.status not in (StepStatus.RUNNING, StepStatus.UNDOING, StepStatus.UNDONE):
                yield step.lease_until, ev.UndoStarted(run.id, step.spec.id, "lease")
                reminder = (step.reminded_at or step.lease_until - (step.spec.lease or ZERO)) + policy.fallback_every
                if step.lent and incident.is_live and reminder < step.lease_until:
                    yield reminder, ev.FallbackReminded(run.id, step.spec.id)


def _missed(incident: Incident, policy: Policy) -> ev.AckDeadlineMissed:
    """The deadline that passes next, with what comes of it: who is told to call somebody else, and who does unasked."""
    accepted = incident.generation in incident.pages
    has_it = dict.fromkeys(policy.pagers[:1], accepted or incident.opened_there)
    # Once the first one has the page, a stand-in that never had it stays out of it.
    stand_ins = [one for one in incident.handed_on if one.pager and (one.accepted or not accepted)]
    has_it |= {one.pager: bool(one.accepted) for one in stand_ins}
    return ev.AckDeadlineMissed(
        incident.escalations + 1,
        asked=tuple(pager for pager in has_it if pager not in policy.self_escalating),
        left_to=tuple(pager for pager, has in has_it.items() if has and pager in policy.self_escalating),
    )


def _quiet_for_long(incident: Incident, since: datetime, policy: Policy) -> datetime:
    """When a quiet one resolves itself; later each time that the telemetry doubts it, until its alerts move again."""
    asked = incident.ask
    if asked is None or asked.at < since:
        return since + policy.quiet
    pause = ASKED_AGAIN[min(max(incident.doubts, 1), len(ASKED_AGAIN)) - 1]
    return asked.at + max(pause, policy.quiet)


def _not_before(answered_by: datetime | None, at: datetime) -> datetime:
    """While the telemetry is asked whether it is over, nobody is called for it."""
    return at if answered_by is None else max(at, answered_by)


def page_asked_at(incident: Incident, policy: Policy) -> datetime | None:
    """Since when the first pager is asked to wake people for this round; None when it is not."""
    at, severity = incident.severities[0]
    if severity in policy.pages and not incident.opened_there:
        return at
    raised = (
        at
        for (_, before), (at, after) in pairwise(incident.severities)
        if before not in policy.pages and after in policy.pages
    )
    return next(raised, None)


def _unanswered(incident: Incident, policy: Policy) -> tuple[datetime, ev.PageUnanswered] | None:
    """When the page goes by the next pager too; None when somebody has accepted it, or nobody is left to ask."""
    generation, asked = incident.generation, incident.handed_on
    if not policy.pagers or incident.status is not Status.OPEN or incident.severity not in policy.pages:
        return None
    if generation in incident.pages or any(one.accepted or not one.pager for one in asked):
        return None
    since = asked[-1].at if asked else page_asked_at(incident, policy)
    if since is None:
        return None
    tried = {handover.pager for handover in asked}
    following = next((pager for pager in policy.pagers[1:] if pager not in tried), "")
    silent = asked[-1].pager if asked else policy.pagers[0]
    seconds = int(policy.accept_within.total_seconds())
    return since + policy.accept_within, ev.PageUnanswered(generation, silent, following, seconds)


def due(incident: Incident, now: datetime, policy: Policy) -> list[ev.Event]:
    """What the passing of time makes happen at `now`, the longest overdue first.

    A late look escalates once and reminds once, however many spans have passed: nobody is helped by a burst. A resolve
    wins over an escalation or a page that fell due with it.
    """
    passed = sorted(((at, event) for at, event in _deadlines(incident, policy) if at <= now), key=lambda d: d[0])
    events = [event for _, event in passed if not (policy.frozen and isinstance(event, CLOSES))]
    if any(isinstance(event, ev.Resolved | ev.ResolveAsked) for event in events):
        events = [event for event in events if not isinstance(event, ev.AckDeadlineMissed | ev.PageUnanswered)]
    return events


def next_due_at(incident: Incident, policy: Policy) -> datetime | None:
    """When somebody has to look at this incident's deadlines next; None when time alone changes nothing."""
    return min((at for at, _ in _deadlines(incident, policy)), default=None)
