"""The decisions about runbooks: who may start one, answer its steps, stop it, and take back what it did."""

from functools import singledispatch

from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.brake import require_released, require_room
from bot.incident.failover import require_thawed
from bot.incident.people import Refused, require_responder
from bot.incident.policy import Policy
from bot.incident.run import APPROVAL_LASTS, SECOND_WITHIN, RunStatus, StepRun, StepStatus
from bot.incident.runs import ASKS_PEOPLE, AT_WORK, all_of, current_step, lacks_second, spec_to_json, undoable
from bot.incident.state import Incident
from bot.incident.timeline import who


@singledispatch
def decide_run(command: cmd.Command, incident: Incident, policy: Policy) -> list[ev.Event]:
    """What a command about a runbook makes happen. Raises Refused."""
    raise TypeError(f"nobody decides {type(command).__name__}")


def must_be_live(incident: Incident, verb: str) -> None:
    """Raises Refused for what has ended."""
    if not incident.is_live:
        raise Refused(f"{incident.ref} is already {incident.status}, so there is nothing to {verb}.")


@decide_run.register
def _(command: cmd.StartRun, incident: Incident, policy: Policy) -> list[ev.Event]:
    require_responder(command.by)
    must_be_live(incident, "mitigate")
    if command.run in incident.runs:
        return []
    busy = next(
        (r for r in incident.runs.values() if r.status is RunStatus.RUNNING and r.target == command.target), None
    )
    if busy is not None:
        raise Refused(f"*{busy.title}* is already running on {busy.target}; finish or stop it first.")
    return [
        ev.RunStarted(
            command.run,
            command.runbook,
            command.title,
            command.source_digest,
            command.target,
            dict(command.params),
            tuple(spec_to_json(step) for step in command.steps),
        )
    ]


@decide_run.register
def _(command: cmd.StopRun, incident: Incident, policy: Policy) -> list[ev.Event]:
    require_responder(command.by)
    run = incident.runs.get(command.run)
    if run is None:
        raise Refused("That run is not part of this incident.")
    if run.status is not RunStatus.RUNNING:
        return []
    return [ev.RunFinished(run.id, RunStatus.STOPPED.value)]


def _step(incident: Incident, command: cmd.StepCommand) -> StepRun:
    require_responder(command.by)
    run = incident.runs.get(command.run)
    if run is None or command.step not in {s.spec.id for s in run.steps}:
        raise Refused("That step is not part of this incident.")
    return run.step(command.step)


def _current(incident: Incident, command: cmd.StepCommand) -> StepRun:
    step = _step(incident, command)
    run = incident.runs[command.run]
    if run.status is not RunStatus.RUNNING:
        raise Refused(f"*{run.title}* has ended; start it again if it is still needed.")
    now = current_step(run)
    if now is None or now.spec.id != command.step:
        raise Refused(f"*{step.spec.title}* is not the step at hand any more.")
    return step


@decide_run.register
def _(command: cmd.ApproveStep, incident: Incident, policy: Policy) -> list[ev.Event]:
    step = _step(incident, command)
    if step.status in (*AT_WORK, StepStatus.DONE):
        return []
    step = _current(incident, command)
    if step.spec.kind in ASKS_PEOPLE and step.status is StepStatus.ASKING:
        return [ev.StepSucceeded(command.run, command.step, f"confirmed by {who(command.by)}")]
    if step.status is not StepStatus.ASKING or step.asked_at is None:
        raise Refused("There is no preview to approve yet; ask for one first.")
    require_thawed(policy.frozen)
    require_released(policy.brake)
    alone = lacks_second(incident.runs[command.run], step, command.by.id)
    if alone:
        _require_nobody_came(step, command)
    if command.digest != step.plan_digest:
        raise Refused("The plan has changed since that preview; look at the new one.")
    if command.at - step.asked_at > APPROVAL_LASTS or (policy.previews_from and step.asked_at <= policy.previews_from):
        return [ev.StepRetried(command.run, command.step)]
    require_room(step.spec.kind, policy.caps, policy.begun, command.at)
    overridden = [ev.StepOverridden(command.run, command.step, command.alone.strip())] if alone else []
    approved = ev.StepApproved(command.run, command.step, command.digest)
    return [*overridden, approved, ev.StepStarted(command.run, command.step, step.attempt + 1)]


def _require_nobody_came(step: StepRun, command: cmd.ApproveStep) -> None:
    """One alone goes on only after a second was called, had time to come, and with a reason. Raises Refused."""
    called, minutes = step.second_called_at, int(SECOND_WITHIN.total_seconds() // 60)
    if called is None:
        raise Refused(
            "This cannot be taken back, so somebody other than who started the runbook has to approve it. Call a "
            f"second person; if nobody comes within {minutes} min, you may go on alone, with a reason."
        )
    if command.at - called < SECOND_WITHIN:
        raise Refused(f"A second person was called; from {called + SECOND_WITHIN:%H:%M:%S} UTC on you may go on alone.")
    if not command.alone.strip():
        raise Refused("Nobody came; say in a sentence why it cannot wait, and go on alone.")


@decide_run.register
def _(command: cmd.CallSecond, incident: Incident, policy: Policy) -> list[ev.Event]:
    step = _current(incident, command)
    if step.second_called_at is not None and command.at - step.second_called_at < SECOND_WITHIN:
        return []
    return [ev.SecondCalled(command.run, command.step, incident.escalations + 1)]


@decide_run.register
def _(command: cmd.SkipStep, incident: Incident, policy: Policy) -> list[ev.Event]:
    step = _current(incident, command)
    if step.status in AT_WORK:
        raise Refused("The step is approved and has no result yet; wait for it, or stop the run.")
    return [ev.StepSkipped(command.run, command.step, command.reason.strip() or "skipped by a person")]


@decide_run.register
def _(command: cmd.RetryStep, incident: Incident, policy: Policy) -> list[ev.Event]:
    step = _current(incident, command)
    if step.status in AT_WORK:
        raise Refused("The step is approved and has no result yet; wait for it.")
    return [ev.StepRetried(command.run, command.step)]


@decide_run.register
def _(command: cmd.UndoStep, incident: Incident, policy: Policy) -> list[ev.Event]:
    step = _step(incident, command)
    if step.status in (StepStatus.UNDOING, StepStatus.UNDONE):
        return []
    if step.spec.undo is None:
        raise Refused(f"There is no way back: {step.spec.no_undo or 'the runbook names none'}.")
    if not step.may_be_in_force:
        raise Refused("The step was never carried out, so there is nothing to undo.")
    require_thawed(policy.frozen)
    if step.status is StepStatus.RUNNING:
        raise Refused("The step is approved and has no result yet; undo it when that is in.")
    return [ev.UndoStarted(command.run, command.step, "asked")]


@decide_run.register
def _(command: cmd.UndoRun, incident: Incident, policy: Policy) -> list[ev.Event]:
    require_responder(command.by)
    run = incident.runs.get(command.run)
    if run is None:
        raise Refused("That run is not part of this incident.")
    busy = next((s for s in run.steps if s.status in (StepStatus.RUNNING, StepStatus.UNDOING)), None)
    if busy is not None and run.goes_back:
        return []
    if busy is not None:
        raise Refused(f"*{busy.spec.title}* is being worked on right now; undo all when its result is in.")
    every = undoable(run)
    if not every:
        raise Refused("Nothing of this run is in force that has a way back.")
    if command.shown != all_of(every):
        raise Refused("Other steps are in force by now than that button listed; look at the latest one.")
    require_thawed(policy.frozen)
    ends = [ev.RunFinished(run.id, RunStatus.STOPPED.value)] if run.status is RunStatus.RUNNING else []
    return [*ends, ev.UndoStarted(run.id, every[0].spec.id, "all")]


@decide_run.register
def _(command: cmd.RenewLease, incident: Incident, policy: Policy) -> list[ev.Event]:
    step = _step(incident, command)
    if step.spec.lease is None or step.lease_until is None:
        raise Refused("Nothing is on loan here: the step has no lease, or it has ended.")
    return [ev.LeaseRenewed(command.run, command.step, command.at + step.spec.lease)]
