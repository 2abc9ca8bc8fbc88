"""How a runbook run moves: the fold of its events, and what the bot does next about it."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from bot.incident import events as ev
from bot.incident.effects import ApplyStep, CheckStep, ContinueStep, Effect, PlanStep, UndoStep, VerifyStep
from bot.incident.entry import Entry
from bot.incident.people import one_person
from bot.incident.run import OnFail, Risk, Run, RunStatus, StepRun, StepSpec, StepStatus, Verify

ASKS_PEOPLE: Final = frozenset({"ask.approve", "manual"})
"""Kinds of step that a person answers; the bot only asks."""
TELLS: Final = frozenset({"notify.post", "page.oncall"})
"""Kinds of step that only tell people; the core does that by itself."""
ENDED: Final = frozenset({StepStatus.DONE, StepStatus.SKIPPED, StepStatus.UNDOING, StepStatus.UNDONE})
"""A step here no longer holds the run up."""
AT_WORK: Final = frozenset({StepStatus.RUNNING, StepStatus.GOING, StepStatus.VERIFYING})
"""A step here is being carried out or proven."""


def spec_to_json(spec: StepSpec) -> dict[str, Any]:
    """A step as it is stored; durations are seconds."""
    return {
        "id": spec.id,
        "title": spec.title,
        "kind": spec.kind,
        "args": dict(spec.args),
        "risk": spec.risk.value,
        "prose": spec.prose,
        "warning": spec.warning,
        "checklist": list(spec.checklist),
        "timeout": spec.timeout.total_seconds(),
        "retry": spec.retry,
        "verify": None
        if spec.verify is None
        else {
            "query": spec.verify.query,
            "expect": spec.verify.expect,
            "hold": spec.verify.hold.total_seconds(),
            "within": spec.verify.within.total_seconds(),
        },
        "undo": spec.undo,
        "no_undo": spec.no_undo,
        "lease": None if spec.lease is None else spec.lease.total_seconds(),
        "on_fail": spec.on_fail.value,
    }


def spec_from_json(data: Mapping[str, Any]) -> StepSpec:
    """The step that `spec_to_json` wrote."""
    verify = data["verify"]
    return StepSpec(
        id=data["id"],
        title=data["title"],
        kind=data["kind"],
        args=data["args"],
        risk=Risk(data["risk"]),
        prose=data["prose"],
        warning=data["warning"],
        checklist=tuple(data["checklist"]),
        timeout=timedelta(seconds=data["timeout"]),
        retry=data["retry"],
        verify=None
        if verify is None
        else Verify(
            verify["query"],
            verify["expect"],
            timedelta(seconds=verify["hold"]),
            timedelta(seconds=verify["within"]),
        ),
        undo=data["undo"],
        no_undo=data["no_undo"],
        lease=None if data["lease"] is None else timedelta(seconds=data["lease"]),
        on_fail=OnFail(data["on_fail"]),
    )


def run_from_event(event: ev.RunStarted, at: datetime, by: str) -> Run:
    """The run as its first event makes it; `by` is the id of who asked for it."""
    return Run(
        id=event.run,
        runbook=event.runbook,
        title=event.title,
        source_digest=event.source_digest,
        target=event.target,
        params=event.params,
        steps=tuple(StepRun(spec_from_json(step)) for step in event.steps),
        started_at=at,
        started_by=by,
    )


def _set(run: Run, step_id: str, **changes: Any) -> Run:
    run.step(step_id)
    return replace(run, steps=tuple(replace(s, **changes) if s.spec.id == step_id else s for s in run.steps))


def _first_plan(step: StepRun, plan: Mapping[str, Any]) -> Mapping[str, Any]:
    """The plan that knows what was there before the step, where it may be in force already and is planned anew.

    The new one sees its own work as what was there. Where it wants something else, it is a change of its own.
    """
    same = step.may_be_in_force and _wanted(step.plan) == _wanted(plan)
    return step.way_back if same else {}


def _wanted(plan: Mapping[str, Any]) -> dict[str, Any]:
    """What a plan asks for, but not what it comes after."""
    return {name: value for name, value in (plan.get("request") or {}).items() if name != "after"}


def evolve_run(runs: Mapping[str, Run], entry: Entry) -> Run:
    """The run after one more of its events. ValueError when it is not about a run; KeyError for an unknown run."""
    at = entry.at
    match entry.event:
        case ev.StepPlanned(run=run, step=step, plan=plan, digest=digest):
            planned = {"plan": plan, "plan_digest": digest, "first_plan": _first_plan(runs[run].step(step), plan)}
            return _set(
                runs[run],
                step,
                status=StepStatus.ASKING,
                asked_at=at,
                outcome="",
                alone=False,
                second_called_at=None,
                **planned,
            )
        case ev.StepShown(run=run, step=step, channel=channel, ts=ts):
            return _set(runs[run], step, channel=channel, ts=ts)
        case ev.StepAsked(run=run, step=step):
            return _set(runs[run], step, status=StepStatus.ASKING, asked_at=at, outcome="")
        case ev.SecondCalled(run=run, step=step):
            return _set(runs[run], step, second_called_at=at)
        case ev.StepOverridden(run=run, step=step):
            return _set(runs[run], step, alone=True)
        case ev.StepApproved(run=run, step=step):
            return _set(runs[run], step, approved_by=entry.by.id)
        case ev.StepStarted(run=run, step=step, attempt=attempt):
            lease = runs[run].step(step).spec.lease
            until = at + lease if lease else None  # counted from here, so that an act of unknown outcome ends too
            return _set(
                runs[run],
                step,
                status=StepStatus.RUNNING,
                attempt=attempt,
                started_at=at,
                lease_until=until,
                reminded_at=None,
                outcome="",
            )
        case ev.StepApplied(run=run, step=step, lease_until=lease, lasting=lasting):
            now = StepStatus.GOING if lasting else StepStatus.VERIFYING
            return _set(runs[run], step, status=now, lease_until=lease, applied=True)
        case ev.StepProgressed(run=run, step=step, text=text):
            return _set(runs[run], step, outcome=text)
        case ev.StepCompleted(run=run, step=step):
            return _set(runs[run], step, status=StepStatus.VERIFYING, outcome="")
        case ev.StepSaid(run=run, step=step, level=level):
            told = "told the channel and called the next person" if level else "told the channel"
            return _set(runs[run], step, status=StepStatus.DONE, outcome=told)
        case ev.StepSucceeded(run=run, step=step, text=text):
            return _set(runs[run], step, status=StepStatus.DONE, outcome=text)
        case ev.StepFailed(run=run, step=step, text=text):
            failed = runs[run].step(step)
            until = failed.lease_until if failed.applied else None
            return _set(runs[run], step, status=StepStatus.FAILED, outcome=text, lease_until=until)
        case ev.StepInterrupted(run=run, step=step, text=text):
            return _set(runs[run], step, status=StepStatus.INTERRUPTED, outcome=text)
        case ev.StepRetried(run=run, step=step):
            return _set(runs[run], step, status=StepStatus.WAITING, plan_digest="", outcome="")
        case ev.StepSkipped(run=run, step=step, reason=reason):
            return _set(runs[run], step, status=StepStatus.SKIPPED, outcome=reason)
        case ev.UndoStarted(run=run, step=step, why=why):
            undone = _set(runs[run], step, status=StepStatus.UNDOING, lease_until=None)
            return replace(undone, goes_back=undone.goes_back or why == "all")
        case ev.StepUndone(run=run, step=step):
            return _set(runs[run], step, status=StepStatus.UNDONE, outcome="undone", applied=False)
        case ev.UndoFailed(run=run, step=step, text=text, unclear=unclear):
            known = runs[run].step(step).applied and not unclear
            status = StepStatus.FAILED if known else StepStatus.INTERRUPTED
            told = f"unclear whether it was undone: {text}" if unclear else f"undo failed: {text}"
            stuck = _set(runs[run], step, status=status, outcome=told)
            return replace(stuck, goes_back=False)  # a person looks before anything below it is taken away
        case ev.LeaseRenewed(run=run, step=step, until=until):
            return _set(runs[run], step, lease_until=until)
        case ev.FallbackReminded(run=run, step=step):
            return _set(runs[run], step, reminded_at=at)
        case ev.RunFinished(run=run, outcome=outcome):
            return replace(runs[run], status=RunStatus(outcome))
        case other:
            raise ValueError(f"{type(other).__name__} is not about a run")


def current_step(run: Run) -> StepRun | None:
    """The first step that still holds the run up; None when all are through."""
    return next((s for s in run.steps if s.status not in ENDED), None)


def undoable(run: Run) -> list[StepRun]:
    """The steps in force that have a way back, the latest first."""
    going = (StepStatus.UNDOING, StepStatus.UNDONE)
    return [s for s in reversed(run.steps) if s.may_be_in_force and s.spec.undo is not None and s.status not in going]


def all_of(steps: Sequence[StepRun]) -> str:
    """Which steps these are, in their order, in a few characters."""
    return hashlib.sha256("\n".join(step.spec.id for step in steps).encode()).hexdigest()[:16]


def lent(runs: Iterable[Run]) -> list[tuple[Run, StepRun]]:
    """What is in force for a time only."""
    return [(run, step) for run in runs for step in run.steps if step.lent]


def risk_of(spec: StepSpec, plan: Mapping[str, Any]) -> Risk:
    """What it costs: as the runbook says, or as the preview found, whichever is more."""
    return max(spec.risk, Risk(plan.get("risk", spec.risk)), key=list(Risk).index)


def takes_two(step: StepRun) -> bool:
    """Whether the step cannot be taken back, so that one asks and another approves."""
    return risk_of(step.spec, step.plan) is Risk.DESTRUCTIVE


def lacks_second(run: Run, step: StepRun, approver: str) -> bool:
    """Whether this approval is not enough: it takes two people, and nobody has said why one must do."""
    return takes_two(step) and not step.alone and one_person(run.started_by, approver)


def advance(run: Run) -> Effect | ev.Event | None:
    """What moves a run on after a step ended: an effect, or an event that follows at once; None is to wait."""
    if run.status is not RunStatus.RUNNING:
        return None
    step = current_step(run)
    if step is None:
        return ev.RunFinished(run.id, RunStatus.DONE.value)
    if step.status is not StepStatus.WAITING:
        return None
    if step.spec.kind in ASKS_PEOPLE:
        return ev.StepAsked(run.id, step.spec.id)
    if step.spec.kind in TELLS:
        calls = 1 if step.spec.kind == "page.oncall" else 0
        return ev.StepSaid(run.id, step.spec.id, str(step.spec.args.get("text", "")), calls)
    if step.spec.risk is Risk.READ:
        return CheckStep(run.id, step.spec.id)
    return PlanStep(run.id, step.spec.id)


def effects_of(event: ev.Event, run: Run) -> list[Effect]:
    """What a run's event calls for outside, apart from telling people."""
    match event:
        case ev.StepStarted(step=step, attempt=attempt):
            return [ApplyStep(run.id, step, attempt)]
        case ev.StepApplied(step=step, lasting=True):
            return [ContinueStep(run.id, step)]
        case ev.StepApplied(step=step) | ev.StepCompleted(step=step):
            return [VerifyStep(run.id, step)]
        case ev.UndoStarted(step=step):
            return [UndoStep(run.id, step)]
        case (
            ev.RunStarted() | ev.StepSucceeded() | ev.StepSaid() | ev.StepSkipped() | ev.StepUndone() | ev.StepRetried()
        ):
            following = advance(run)
            return [following] if isinstance(following, Effect) else []
        case _:
            return []
