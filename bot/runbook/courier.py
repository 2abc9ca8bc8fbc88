"""Carries out runbook steps: preview, act once, look, measure, undo. Waiting is done by coming back."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from bot.contracts import Act, Again, Attempt, Check, Delivered, Going, Lasting, Observed, Permanent, Plan, Transient
from bot.incident import effects as ef
from bot.incident import events as ev
from bot.incident.run import APPROVAL_LASTS, TRIES, Reading, Risk, Run, RunStatus, Sample, StepRun, StepStatus, Verify
from bot.incident.runs import lacks_second, takes_two
from bot.incident.state import Incident
from bot.incident.timeline import count, span
from bot.runbook.breaker import Breakers
from bot.runbook.kinds import KINDS

Measure = Callable[[str, str], Reading]
"""A query and what is expected of it, measured once."""

WAITS: Final = frozenset({"promql.wait"})
"""Kinds of check that are repeated until they hold."""
MEASURED_BY: Final = "Prometheus"
LOOK_EVERY: Final = timedelta(seconds=15)
"""As often as Prometheus scrapes as a rule."""
GO_ON_EVERY: Final = timedelta(seconds=5)
"""How often an act that goes on by itself is looked after."""
SAY_EVERY: Final = timedelta(seconds=30)
"""How often people hear how far a step is; each time is kept for ever."""


def plan_to_json(plan: Plan) -> dict[str, Any]:
    """A plan as it is stored with its step."""
    return {**asdict(plan), "risk": plan.risk.value, "lines": list(plan.lines), "warnings": list(plan.warnings)}


def plan_from_json(data: Mapping[str, Any]) -> Plan:
    """The plan that `plan_to_json` wrote."""
    return Plan(
        lines=tuple(data["lines"]),
        request=data["request"],
        before=data["before"],
        risk=Risk(data["risk"]),
        undo=data["undo"],
        warnings=tuple(data["warnings"]),
    )


def plan_digest(plan: Plan) -> str:
    """What an approval binds to: the act and the state of the world it was planned on."""
    pinned = json.dumps([plan.request, plan.before, plan.risk], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(pinned.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Courier:
    """`acts` and `checks` are the registered step kinds; `measure` proves that an act helped.

    What does not answer several times in a row is left alone for a while (`breakers`), except to take something back.
    """

    acts: Mapping[str, Act]
    checks: Mapping[str, Check]
    measure: Measure
    breakers: Breakers = field(default_factory=Breakers)

    def deliver(self, effect: ef.Effect, incident: Incident, attempt: Attempt) -> Delivered:
        """One thing for one step. Raises Transient; what cannot be done is an event, so that a person decides."""
        if not isinstance(effect, ef.StepEffect):
            raise TypeError(f"a runbook cannot carry out {type(effect).__name__}")
        step = incident.runs[effect.run].step(effect.step)
        try:
            return self._deliver(effect, incident, step, attempt)
        except Transient as failure:
            if attempt.number <= _retries(effect, step) and not _late(effect, step, attempt):
                raise
            return [_gave_up(effect, f"tried {count(attempt.number, 'time')}: {failure}", unclear=True)]
        except Permanent as failure:
            lost = isinstance(effect, ef.UndoStep) and attempt.number > 1  # an earlier try may have got through
            return [_gave_up(effect, str(failure), unclear=failure.ambiguous or lost)]

    def _deliver(self, effect: ef.StepEffect, incident: Incident, step: StepRun, attempt: Attempt) -> Delivered:
        run, name = effect.run, effect.step
        match effect:
            case ef.CheckStep():
                if step.spec.kind in WAITS:
                    return self._wait(effect, incident.runs[run], step, attempt)
                reading = self._look(step)
                if reading.sample is Sample.HOLDS:
                    return [ev.StepSucceeded(run, name, reading.text)]
                return [ev.StepFailed(run, name, reading.text, reading.sample is Sample.INCONCLUSIVE)]
            case ef.PlanStep():
                act = self._act(step)
                plan = self.breakers.ask(_target(step), lambda: act.plan(step.spec.args))
                return [ev.StepPlanned(run, name, plan_to_json(plan), plan_digest(plan))]
            case ef.ApplyStep():
                return self._apply(effect, incident.runs[run], step, attempt)
            case ef.ContinueStep():
                return self._continue(effect, incident.runs[run], step, attempt)
            case ef.VerifyStep():
                return self._verify(effect, step, attempt)
            case ef.UndoStep():
                return self._undo(effect, incident, step, attempt)
            case other:
                raise TypeError(f"a runbook cannot carry out {type(other).__name__}")

    def _act(self, step: StepRun) -> Act:
        act = self.acts.get(step.spec.kind)
        if act is None:
            raise Permanent(f"the step kind {step.spec.kind} is not set up here")
        return act

    def _check(self, step: StepRun) -> Check:
        check = self.checks.get(step.spec.kind)
        if check is None:
            raise Permanent(f"the step kind {step.spec.kind} is not set up here")
        return check

    def _look(self, step: StepRun) -> Reading:
        check = self._check(step)
        return self.breakers.ask(_target(step), lambda: check.check(step.spec.args))

    def _wait(self, effect: ef.CheckStep, run: Run, step: StepRun, attempt: Attempt) -> Delivered:
        """One look a time until it holds or the step's time is over. A look that fails for now is looked at again."""
        if run.status is not RunStatus.RUNNING or step.status is not StepStatus.WAITING:
            return []
        deadline = _time(attempt.progress, "deadline") or attempt.now + step.spec.timeout
        try:
            reading = self._look(step)
        except Transient as failure:
            reading = Reading(Sample.INCONCLUSIVE, f"could not be measured: {failure}")
        if reading.sample is Sample.HOLDS:
            return [ev.StepSucceeded(effect.run, effect.step, reading.text)]
        if attempt.now >= deadline:
            text = f"waited {span(step.spec.timeout)}: {reading.text}"
            return [ev.StepFailed(effect.run, effect.step, text, reading.sample is Sample.INCONCLUSIVE)]
        at, progress = min(attempt.now + LOOK_EVERY, deadline), {"deadline": deadline.isoformat()}
        return _said(effect, attempt, Again(at, progress), reading.text)

    def _apply(self, effect: ef.ApplyStep, run: Run, step: StepRun, attempt: Attempt) -> Delivered:
        """Acts on the first try; on any later one looks first, because an earlier try may have got through.

        Whoever stops the run before the act went out is obeyed, and nothing goes out that was approved long ago.
        """
        if step.status is not StepStatus.RUNNING or step.attempt != effect.attempt:
            return []
        act, plan = self._act(step), plan_from_json(step.plan)
        seen, said = Observed.NOT_DONE, ""
        if attempt.number > 1:
            try:
                seen = self.breakers.ask(_target(step), lambda: act.observe(plan))
            except Permanent as failure:
                unclear = f"an earlier try may have got through, and nobody can look: {failure}"
                return [ev.StepInterrupted(effect.run, effect.step, unclear)]
        if seen is Observed.NOT_DONE and run.status is not RunStatus.RUNNING:
            return [ev.StepSkipped(effect.run, effect.step, "the runbook was stopped before it was carried out")]
        if seen is Observed.UNKNOWN or (seen is Observed.NOT_DONE and attempt.number > 1 and takes_two(step)):
            return [
                ev.StepInterrupted(
                    effect.run,
                    effect.step,
                    "an earlier try got no answer, and it cannot be told whether it got through",
                )
            ]
        if seen is Observed.NOT_DONE and step.started_at and attempt.now - step.started_at > APPROVAL_LASTS:
            return [ev.StepFailed(effect.run, effect.step, "not carried out: its approval is too old by now")]
        if seen is Observed.NOT_DONE and lacks_second(run, step, step.approved_by):
            return [ev.StepFailed(effect.run, effect.step, "not carried out: it needs the approval of a second person")]
        if seen is Observed.NOT_DONE:
            attempt.still_ours()
            key = f"{effect.run}:{effect.step}:{effect.attempt}"
            said = self.breakers.ask(_target(step), lambda: act.apply(plan, key)) or ""
        lease = attempt.now + step.spec.lease if step.spec.lease else None
        return [ev.StepApplied(effect.run, effect.step, effect.attempt, lease, isinstance(act, Lasting), said)]

    def _continue(self, effect: ef.ContinueStep, run: Run, step: StepRun, attempt: Attempt) -> Delivered:
        """One look a time until the act has ended, somebody stops the run, or the step's time is over."""
        if step.status is not StepStatus.GOING:
            return []
        if run.status is not RunStatus.RUNNING:
            text = f"the runbook was stopped while it was going on: {step.outcome or 'nobody knows how far it is'}"
            return [ev.StepFailed(effect.run, effect.step, text)]
        act = self._act(step)
        if not isinstance(act, Lasting):
            return [ev.StepCompleted(effect.run, effect.step)]
        if _late(effect, step, attempt):
            text = f"not finished within {span(step.spec.timeout)}: {step.outcome or 'nobody knows how far it is'}"
            return [ev.StepFailed(effect.run, effect.step, text)]
        attempt.still_ours()
        plan, key = plan_from_json(step.plan), f"{effect.run}:{effect.step}:{step.attempt}"
        try:
            going = self.breakers.ask(_target(step), lambda: act.go_on(plan, key))
        except Transient as failure:
            going = Going(f"cannot be looked at: {failure}")
        if going is None:
            return [ev.StepCompleted(effect.run, effect.step)]
        return _said(effect, attempt, Again(attempt.now + GO_ON_EVERY, {}), going.text)

    def _verify(self, effect: ef.VerifyStep, step: StepRun, attempt: Attempt) -> Delivered:
        """One sample a time: it must hold without a break for `hold`, inside `within`."""
        verify = step.spec.verify
        if verify is None:
            return [ev.StepSucceeded(effect.run, effect.step, "carried out")]
        if step.status is not StepStatus.VERIFYING:
            return []
        now = attempt.now
        deadline = _time(attempt.progress, "deadline") or now + verify.within
        since = _time(attempt.progress, "since")
        reading = self._sample(verify)
        if reading.sample is Sample.HOLDS:
            since = since or now
            if now - since >= verify.hold:
                held = f", held for {span(verify.hold)}" if verify.hold else ""
                return [ev.StepSucceeded(effect.run, effect.step, f"{reading.text}{held}")]
        else:
            since = None
        if now >= deadline:
            text = f"not proven within {span(verify.within)}: {reading.text}"
            return [ev.StepFailed(effect.run, effect.step, text, reading.sample is Sample.INCONCLUSIVE)]
        progress = {"deadline": deadline.isoformat(), "since": since.isoformat() if since else None}
        return _said(effect, attempt, Again(now + sample_every(verify), progress), reading.text)

    def _sample(self, verify: Verify) -> Reading:
        try:
            return self.breakers.ask(MEASURED_BY, lambda: self.measure(verify.query, verify.expect))
        except (Transient, Permanent) as failure:
            return Reading(Sample.INCONCLUSIVE, f"could not be measured: {failure}")

    def _undo(self, effect: ef.UndoStep, incident: Incident, step: StepRun, attempt: Attempt) -> Delivered:
        """Puts back the snapshot, which twice is once; a step named as the way back is never repeated blindly."""
        if step.status is not StepStatus.UNDOING:
            return []
        key = f"{effect.run}:{effect.step}:undo:{step.attempt}"
        if step.spec.undo == "auto":
            self._act(step).undo(plan_from_json(step.way_back), key)
        elif attempt.number > 1:
            cut_off = "the bot was cut off while it was being undone; please look"
            return [ev.UndoFailed(effect.run, effect.step, cut_off, unclear=True)]
        else:
            other = incident.runs[effect.run].step(step.spec.undo or "")
            act = self._act(other)
            way_back = act.plan(other.spec.args)
            if way_back.risk is Risk.DESTRUCTIVE:
                raise Permanent(
                    "the way back cannot itself be taken back, so it takes two people; carry it out as a step"
                )
            attempt.still_ours()
            act.apply(way_back, key)
        return [ev.StepUndone(effect.run, effect.step)]


def sample_every(verify: Verify) -> timedelta:
    """How often to measure: five times within the hold, at least every 15 s and at most every 2 s."""
    return min(timedelta(seconds=15), max(timedelta(seconds=2), verify.hold / 5))


def _target(step: StepRun) -> str:
    """What outside a step speaks to, as people know it."""
    rule = KINDS.get(step.spec.kind)
    named = next(
        (str(step.spec.args[name]) for name in ("target", "endpoint", "command") if name in step.spec.args), ""
    )
    return f"{rule.table}.{named}" if rule is not None and rule.table and named else MEASURED_BY


def _retries(effect: ef.StepEffect, step: StepRun) -> int:
    """How often a failure that may pass is tried again; a way back is worth more tries than the runbook may say."""
    return max(step.spec.retry, TRIES - 1) if isinstance(effect, ef.UndoStep) else step.spec.retry


def _late(effect: ef.StepEffect, step: StepRun, attempt: Attempt) -> bool:
    """Whether the step's time is over: of an act from when it was begun, of anything else from when it was wanted.

    A way back is worth every try.
    """
    if isinstance(effect, ef.UndoStep):
        return False
    began = step.started_at if isinstance(effect, ef.ContinueStep) else attempt.since
    return began is not None and attempt.now - began >= step.spec.timeout


def _said(effect: ef.StepEffect, attempt: Attempt, again: Again, text: str) -> Again:
    """What was found is told to people when it is news and they have not heard for a while."""
    before, told_at = attempt.progress.get("told"), _time(attempt.progress, "told_at")
    if text == before or (told_at is not None and attempt.now - told_at < SAY_EVERY):
        return replace(again, progress={**again.progress, **_kept(attempt.progress)})
    told = {"told": text, "told_at": attempt.now.isoformat()}
    return replace(
        again, progress={**again.progress, **told}, events=[ev.StepProgressed(effect.run, effect.step, text)]
    )


def _kept(progress: Mapping[str, Any]) -> dict[str, Any]:
    return {name: progress[name] for name in ("told", "told_at") if name in progress}


def _gave_up(effect: ef.StepEffect, reason: str, *, unclear: bool = False) -> ev.Event:
    """An act, or its way back, whose answers all got lost may have happened; a person looks."""
    if isinstance(effect, ef.UndoStep):
        return ev.UndoFailed(effect.run, effect.step, reason, unclear)
    if isinstance(effect, ef.ApplyStep) and unclear:
        return ev.StepInterrupted(effect.run, effect.step, reason)
    unmeasured = isinstance(effect, ef.CheckStep)
    return ev.StepFailed(effect.run, effect.step, reason, unmeasured)


def _time(progress: Mapping[str, Any], name: str) -> datetime | None:
    value = progress.get(name)
    return datetime.fromisoformat(value) if value else None
