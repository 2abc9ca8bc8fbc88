"""The decisions: an incident and a command give events, or a Refused with one sentence for the person who asked.

`decide` answers the command; `follow` adds what each event entails at once (a step that failed ends the run, alerts
that burn again end the mitigation). Both are pure: the same story gives the same events on any machine.
"""

from dataclasses import replace
from datetime import datetime
from functools import singledispatch

from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.change import MOST, Change, is_known, is_same
from bot.incident.decide_resolve import answer, decide_resolve, require_nothing_on_loan
from bot.incident.decide_run import decide_run, must_be_live
from bot.incident.due import due
from bot.incident.glass import reason_of
from bot.incident.people import Refused, require_member, require_responder
from bot.incident.policy import Policy
from bot.incident.run import OnFail, Run, RunStatus, StepRun, StepStatus
from bot.incident.runs import advance, undoable
from bot.incident.state import Incident, Status, ends


def decide(incident: Incident | None, command: cmd.Command, policy: Policy) -> list[ev.Event]:
    """What the command makes happen; an empty list when it is already so. Raises Refused."""
    if isinstance(command, cmd.Declare):
        return _declare(incident, command)
    if isinstance(command, cmd.ReportAlerts):
        return _report_alerts(incident, command, policy)
    if incident is None:
        raise Refused("There is no such incident; `/incident list` shows the open ones.")
    return _decide(command, incident, policy)


def follow(incident: Incident, event: ev.Event) -> list[ev.Event]:
    """What the event entails, given the incident after it."""
    match event:
        case ev.AlertsReported(firing=firing) if firing and incident.status is Status.MITIGATED and event.new:
            return [ev.Relapsed(firing)]
        case ev.StepUndone(run=run) if incident.runs[run].goes_back:
            if any(step.status is StepStatus.UNDOING for step in incident.runs[run].steps):
                return []  # that one was on its way back by itself: first things first
            return [ev.UndoStarted(run, step.spec.id, "all") for step in undoable(incident.runs[run])[:1]]
        case (
            ev.RunStarted(run=run)
            | ev.StepSucceeded(run=run)
            | ev.StepSaid(run=run)
            | ev.StepSkipped(run=run)
            | ev.StepUndone(run=run)
            | ev.StepRetried(run=run)
        ):
            ahead = advance(incident.runs[run])
            if isinstance(ahead, ev.StepSaid) and ahead.level:
                ahead = replace(ahead, level=incident.escalations + 1)
            return [ahead] if isinstance(ahead, ev.Event) else []
        case ev.RunFinished(run=run, outcome=RunStatus.DONE.value) if incident.status is Status.ACKNOWLEDGED:
            proof = _proof(incident.runs[run])
            return [ev.Mitigated(proof)] if proof else []
        case ev.StepFailed(run=run, step=step):
            going = incident.runs[run].status is RunStatus.RUNNING
            return _after_failure(incident.runs[run].step(step), event) if going else []
        case _:
            return []


def _proof(run: Run) -> str:
    """What was measured after the run's last act, which is what makes it a mitigation; empty when nothing was."""
    acts = [step for step in run.steps if step.status is StepStatus.DONE and step.spec.verify is not None]
    return f"{run.title}: {acts[-1].outcome}" if acts else ""


def _after_failure(step: StepRun, event: ev.StepFailed) -> list[ev.Event]:
    match step.spec.on_fail:
        case OnFail.CONTINUE:
            return [ev.StepSkipped(event.run, event.step, f"failed, and the runbook goes on: {event.text}")]
        case OnFail.STOP:
            return [ev.RunFinished(event.run, RunStatus.STOPPED.value)]
        case OnFail.UNDO if step.spec.undo and step.applied and not event.inconclusive:
            return [ev.UndoStarted(event.run, event.step, "failed")]
        case _:
            return []


def _declare(incident: Incident | None, command: cmd.Declare) -> list[ev.Event]:
    require_member(command.by)
    if incident is not None:
        return []
    title = command.title.strip()
    if not title:
        raise Refused("Say in a few words what is wrong, for example `/incident declare llama-70b answers 500`.")
    events: list[ev.Event] = [
        ev.IncidentOpened(
            number=0,
            title=title,
            severity=command.severity,
            detected_at=command.at,
            started_at=command.started_at,
            service=command.service,
            model=command.model,
        )
    ]
    if command.impact:
        events.append(ev.ImpactStated(command.impact, command.started_at))
    return events


def _report_alerts(incident: Incident | None, command: cmd.ReportAlerts, policy: Policy) -> list[ev.Event]:
    report = ev.AlertsReported(command.firing, command.resolved, command.new, command.samples, command.truncated)
    if incident is None:
        if not command.firing:
            return []
        opened = ev.IncidentOpened(
            number=0,
            title=command.title,
            severity=command.severity,
            detected_at=command.detected_at or command.at,
            started_at=command.started_at,
            service=command.service,
            model=command.model,
            group_key=command.group_key,
            runbook=command.runbook,
            recurs=command.recurs,
        )
        return [opened, report]
    fires_anew = bool(command.firing and command.new)
    worse = fires_anew and command.severity.worse_than(incident.severity)
    raised = [ev.SeverityChanged(incident.severity, command.severity)] if worse else []
    if incident.is_live:
        return [report, *raised]
    snoozed = incident.snoozed_until is not None and command.at < incident.snoozed_until
    if fires_anew and (worse or not snoozed) and takes_refire(incident, command.at, policy):
        return [report, *raised, ev.Reopened(incident.generation + 1, command.firing)]
    return [report]


def takes_refire(incident: Incident, at: datetime, policy: Policy) -> bool:
    """Whether alerts that fire at `at` belong to this incident; later than that they make a new one.

    What was resolved under fire keeps its alerts for as long as they burn: its snooze ends with its own return.
    """
    if incident.is_live or (incident.snoozed_until is not None and incident.firing):
        return True
    return incident.resolved is not None and at - incident.resolved.at <= policy.reopen_within


@singledispatch
def _decide(command: cmd.Command, incident: Incident, policy: Policy) -> list[ev.Event]:
    raise TypeError(f"nobody decides {type(command).__name__}")


@_decide.register
def _(command: cmd.Acknowledge, incident: Incident, policy: Policy) -> list[ev.Event]:
    require_responder(command.by)
    must_be_live(incident, "acknowledge")
    return [ev.Acknowledged()] if incident.status is Status.OPEN else []


@_decide.register
def _(command: cmd.NoteChange, incident: Incident, policy: Policy) -> list[ev.Event]:
    if not incident.is_live or not _teaches(incident, command.change):
        return []
    # Who has heard of the roll-out already is not told again when its pipeline speaks up.
    heard = any(is_same(known, command.change) for known in incident.changes)
    return [command.change.event(live=command.live and not heard)]


def _teaches(incident: Incident, change: Change) -> bool:
    return len(incident.changes) < MOST and not is_known(incident.changes, change)


@_decide.register
def _(command: cmd.BreakGlass, incident: Incident, policy: Policy) -> list[ev.Event]:
    require_responder(command.by)
    return [ev.GlassBroken(command.glass, reason_of(command.reason), command.until)]


@_decide.register
def _(command: cmd.ChangeSeverity, incident: Incident, policy: Policy) -> list[ev.Event]:
    require_responder(command.by)
    if command.severity is incident.severity:
        return []
    return [ev.SeverityChanged(incident.severity, command.severity)]


@_decide.register
def _(command: cmd.AssignRole, incident: Incident, policy: Policy) -> list[ev.Event]:
    require_responder(command.by)
    if incident.roles.get(command.role) == command.user:
        return []
    return [ev.RoleAssigned(command.role, command.user)]


@_decide.register
def _(command: cmd.StateImpact, incident: Incident, policy: Policy) -> list[ev.Event]:
    require_responder(command.by)
    text = command.text.strip()
    if not text:
        raise Refused("Say which users are affected and how badly.")
    since = command.started_at
    if since is not None and since > command.at:
        raise Refused("Users cannot have been hit since a time still to come.")
    if text == incident.impact and since in (None, incident.started_at):
        return []
    return [ev.ImpactStated(text, since)]


@_decide.register
def _(command: cmd.AddNote, incident: Incident, policy: Policy) -> list[ev.Event]:
    require_member(command.by)
    if not command.text.strip():
        raise Refused("A note needs some text: `/incident note restarted the gateway`.")
    return [ev.NoteAdded(command.text.strip())]


@_decide.register
def _(command: cmd.RedactText, incident: Incident, policy: Policy) -> list[ev.Event]:
    require_responder(command.by)
    if not command.reason.strip():
        raise Refused("Say why it is taken out; the record keeps who did and why.")
    return [ev.TextRedacted(command.entry, command.number, command.reason.strip())]


@_decide.register
def _(command: cmd.PinMessage, incident: Incident, policy: Policy) -> list[ev.Event]:
    require_member(command.by)
    return [ev.MessagePinned(command.text, command.author, command.link)] if command.text.strip() else []


@_decide.register
def _(command: cmd.PostUpdate, incident: Incident, policy: Policy) -> list[ev.Event]:
    require_responder(command.by)
    if not command.text.strip():
        raise Refused("An update needs some text: what users see, what you are doing, when you will say more.")
    return [ev.UpdatePosted(command.text.strip())]


@_decide.register
def _(command: cmd.RateVerdict, incident: Incident, policy: Policy) -> list[ev.Event]:
    require_member(command.by)
    look = incident.looks.get(command.evidence)
    if look is None:
        raise Refused(f"{incident.ref} has no such evidence; its page lists what there is.")
    actual, text = ("", "") if command.right else (command.actual, command.text.strip())
    rated = ev.VerdictRated(command.evidence, command.right, look.verdict, look.cause, actual, text)
    return [] if incident.ratings.get((command.evidence, command.by.id)) == rated else [rated]


@_decide.register
def _(command: cmd.Mitigate, incident: Incident, policy: Policy) -> list[ev.Event]:
    require_responder(command.by)
    must_be_live(incident, "mitigate")
    return [] if incident.status is Status.MITIGATED else [ev.Mitigated(command.text.strip())]


@_decide.register
def _(command: cmd.Resolve, incident: Incident, policy: Policy) -> list[ev.Event]:
    return decide_resolve(incident, command, policy)


@_decide.register
def _(command: cmd.Cancel, incident: Incident, policy: Policy) -> list[ev.Event]:
    require_responder(command.by)
    if not incident.is_live:
        return []
    require_nothing_on_loan(incident)
    return [ev.Cancelled(command.reason.strip() or "no incident")]


@_decide.register
def _(command: cmd.Reopen, incident: Incident, policy: Policy) -> list[ev.Event]:
    require_responder(command.by)
    if incident.is_live:
        return []
    # Still the same page over there, so it keeps the key by which we speak of it.
    return [ev.Reopened(incident.generation, incident.firing)]


@_decide.register
def _(command: cmd.CheckTimers, incident: Incident, policy: Policy) -> list[ev.Event]:
    return due(incident, command.at, policy)


@_decide.register
def _(command: cmd.RecordReceipt, incident: Incident, policy: Policy) -> list[ev.Event]:
    told = [event for event in command.events if _still_true(incident, event)]
    return [*told, *(more for event in told for more in answer(incident, event, command.at, policy))]


def _still_true(incident: Incident, event: ev.Event) -> bool:
    """A courier's report counts unless the story has moved on while it was away."""
    match event:
        case ev.StepPlanned(run=run, step=step):
            return incident.runs[run].step(step).status in (
                StepStatus.WAITING,
                StepStatus.FAILED,
                StepStatus.INTERRUPTED,
            )
        case ev.StepApplied(run=run, step=step) | ev.StepInterrupted(run=run, step=step):
            return incident.runs[run].step(step).status is StepStatus.RUNNING
        case ev.StepCompleted(run=run, step=step):
            return incident.runs[run].step(step).status is StepStatus.GOING
        case ev.StepProgressed(run=run, step=step):
            status = incident.runs[run].step(step).status
            return status in (StepStatus.WAITING, StepStatus.GOING, StepStatus.VERIFYING)
        case ev.StepSucceeded(run=run, step=step) | ev.StepFailed(run=run, step=step):
            status = incident.runs[run].step(step).status
            return status in (StepStatus.WAITING, StepStatus.RUNNING, StepStatus.GOING, StepStatus.VERIFYING)
        case ev.StepUndone(run=run, step=step) | ev.UndoFailed(run=run, step=step):
            return incident.runs[run].step(step).status is StepStatus.UNDOING
        case ev.DeliverySettled():
            return any(ends(event, trouble) for trouble in incident.troubles)
        case ev.ChangeFound():
            return incident.is_live and _teaches(incident, Change.found(event))
        case _:
            return True


for kind in (cmd.StartRun, cmd.StopRun, cmd.UndoRun, cmd.StepCommand):
    _decide.register(kind, decide_run)
