"""A whole runbook beforehand: what each step would measure or change, as the world is now. Changes nothing."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from bot.contracts import Act, Check, Permanent, Transient
from bot.incident.run import Reading, Risk, Sample, StepSpec, Verify
from bot.incident.runs import ASKS_PEOPLE, TELLS
from bot.incident.timeline import span

_RISK = {
    Risk.READ: "only looks",
    Risk.REVERSIBLE: "can be undone",
    Risk.DESTRUCTIVE: "CANNOT BE TAKEN BACK",
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What runbooks are carried out by: kinds of step that act, kinds that look, and what proves that an act helped."""

    acts: Mapping[str, Act]
    checks: Mapping[str, Check]
    measure: Callable[[str, str], Reading]


@dataclass(frozen=True, slots=True)
class Foreseen:
    """One step as it would go now, in lines; `trouble` is why it would not."""

    step: StepSpec
    terms: str
    lines: tuple[str, ...] = ()
    trouble: str = ""


def foresee(steps: tuple[StepSpec, ...], parts: Parts) -> Iterator[Foreseen]:
    """Each step in order. A later one is told by the world as it is, not as the earlier ones would leave it."""
    for step in steps:
        try:
            yield _foreseen(step, parts)
        except (Transient, Permanent) as failure:
            yield Foreseen(step, _RISK[step.risk], trouble=str(failure))


def _foreseen(step: StepSpec, parts: Parts) -> Foreseen:
    if step.kind in ASKS_PEOPLE:
        text = str(step.args.get("text", ""))
        return Foreseen(step, "for a person", tuple([text] if text else []) + tuple(f"[ ] {i}" for i in step.checklist))
    if step.kind in TELLS:
        woken = "tells the channel and wakes the next on call" if step.kind == "page.oncall" else "tells the channel"
        return Foreseen(step, woken, (str(step.args["text"]),))
    if step.risk is Risk.READ:
        check = parts.checks.get(step.kind)
        if check is None:
            raise Permanent(f"the step kind {step.kind} is not set up here")
        return Foreseen(step, _RISK[step.risk], (_said(check.check(step.args)),))
    act = parts.acts.get(step.kind)
    if act is None:
        raise Permanent(f"the step kind {step.kind} is not set up here")
    plan = act.plan(step.args)
    back = f"undo: {plan.undo}" if plan.undo else f"no undo: {step.no_undo or 'there is no way back'}"
    lease = f"kept for {span(step.lease)} unless renewed" if step.lease else ""
    warnings = [f"! {text}" for text in (step.warning, *plan.warnings) if text]
    proof = [_proof(step.verify, parts)] if step.verify else []
    terms = "; ".join(part for part in (_RISK[plan.risk], back, lease) if part)
    return Foreseen(step, terms, (*plan.lines, *warnings, *proof))


def _said(reading: Reading) -> str:
    words = {Sample.HOLDS: "holds", Sample.FAILS: "does not hold", Sample.INCONCLUSIVE: "cannot be told"}
    return f"{reading.text}: {words[reading.sample]}"


def _proof(verify: Verify, parts: Parts) -> str:
    """How it would be proven, and how that measures now."""
    held = f" for {span(verify.hold)}" if verify.hold else ""
    try:
        now = parts.measure(verify.query, verify.expect).text
    except (Transient, Permanent) as failure:
        now = f"could not be measured ({failure})"
    return f"then {verify.query} {verify.expect}{held}, within {span(verify.within)}; now {now}"
