"""What is overdue at a given moment, computed from the incident: there are no timers that could be lost."""

from collections.abc import Iterator
from datetime import datetime

from bot.incident import events as ev
from bot.incident.policy import Policy
from bot.incident.run import StepStatus
from bot.incident.state import Incident, Status


def _deadlines(incident: Incident, policy: Policy) -> Iterator[tuple[datetime, ev.Event]]:
    """Every pending deadline of the incident with what happens when it passes."""
    pages = incident.severity in policy.pages
    if incident.status is Status.OPEN and pages and incident.escalations < policy.max_escalations:
        since = incident.escalated_at or incident.opened_at
        yield since + policy.ack_within, ev.AckDeadlineMissed(incident.escalations + 1)
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
    ):
        since = max(quiet_since, incident.opened_at)
        yield since + policy.quiet, ev.Resolved("The alerts stopped and nobody had to step in.")
    for run in incident.runs.values():
        for step in run.steps:
            if step.lease_until and step.status not in (StepStatus.RUNNING, StepStatus.UNDOING, StepStatus.UNDONE):
                yield step.lease_until, ev.UndoStarted(run.id, step.spec.id, "lease")


def due(incident: Incident, now: datetime, policy: Policy) -> list[ev.Event]:
    """What the passing of time makes happen at `now`, the longest overdue first.

    A late look escalates once and reminds once, however many spans have passed: nobody is helped by a burst. A resolve
    wins over an escalation that fell due with it.
    """
    passed = sorted(((at, event) for at, event in _deadlines(incident, policy) if at <= now), key=lambda d: d[0])
    events = [event for _, event in passed]
    if any(isinstance(event, ev.Resolved) for event in events):
        events = [event for event in events if not isinstance(event, ev.AckDeadlineMissed)]
    return events


def next_due_at(incident: Incident, policy: Policy) -> datetime | None:
    """When somebody has to look at this incident's deadlines next; None when time alone changes nothing."""
    return min((at for at, _ in _deadlines(incident, policy)), default=None)
