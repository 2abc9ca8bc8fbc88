"""One step of a runbook as people meet it: what it would do, what it would cost, and the buttons to answer with."""

from collections.abc import Iterable, Mapping
from typing import Any

from bot.incident.run import Risk, Run, RunStatus, StepRun, StepSpec, StepStatus
from bot.incident.runs import ASKS_PEOPLE, all_of, current_step, risk_of, takes_two, undoable
from bot.incident.timeline import span
from bot.slack.actions import StepDo, step_value
from bot.slack.blocks import Block, button, confirm
from bot.slack.text import cut, esc, line

_RISK = {
    Risk.READ: "Only looks, changes nothing",
    Risk.REVERSIBLE: "Changes the service, can be undone",
    Risk.DESTRUCTIVE: "*Cannot be taken back*",
}
_STANDS = {
    StepStatus.WAITING: "comes next",
    StepStatus.PLANNING: "preview being made",
    StepStatus.ASKING: "waits for your go",
    StepStatus.RUNNING: "approved, no result yet",
    StepStatus.GOING: "begun, going on by itself",
    StepStatus.VERIFYING: "done, being measured",
    StepStatus.DONE: "done",
    StepStatus.FAILED: "failed",
    StepStatus.INTERRUPTED: "interrupted, nobody knows yet how it stands",
    StepStatus.SKIPPED: "skipped",
    StepStatus.UNDOING: "being undone",
    StepStatus.UNDONE: "undone",
}
_MARKS = {
    StepStatus.WAITING: ":hourglass_flowing_sand:",
    StepStatus.PLANNING: ":mag:",
    StepStatus.RUNNING: ":gear:",
    StepStatus.GOING: ":gear:",
    StepStatus.VERIFYING: ":gear:",
    StepStatus.DONE: ":white_check_mark:",
    StepStatus.FAILED: ":x:",
    StepStatus.INTERRUPTED: ":warning:",
    StepStatus.SKIPPED: ":fast_forward:",
    StepStatus.UNDOING: ":arrows_counterclockwise:",
    StepStatus.UNDONE: ":arrows_counterclockwise:",
}
GOES_ON = (StepStatus.GOING, StepStatus.VERIFYING)
"""Where `outcome` tells how far a step is."""
CHANGE = " → "
"""Stands in those lines of a preview that tell a before and an after (`bot.contracts.Plan`)."""
PLAN_LINES = 12
CHECKLIST_LINES = 15


def place(run: Run, step: StepRun) -> str:
    """`step 2 of 3: Roll back`."""
    number = [one.spec.id for one in run.steps].index(step.spec.id) + 1
    return f"step {number} of {len(run.steps)}: {line(step.spec.title, 120)}"


def standing(run: Run) -> str:
    """Where a run stands, in one line of mrkdwn."""
    title = f"*{line(run.title, 120)}* on {line(run.target, 80)}"
    step = current_step(run)
    if run.status is not RunStatus.RUNNING:
        return f"{title}: {run.status.value}"
    if step is None:
        return f"{title}: finishing"
    if step.status is StepStatus.WAITING and step.spec.risk is Risk.READ:
        measured = f" (now {line(step.outcome, 200)})" if step.outcome else ""
        return f"{title}: {place(run, step)}, being measured{measured}"
    if step.status is StepStatus.WAITING:
        return f"{title}: {place(run, step)}, preview being made"
    far = f" ({line(step.outcome, 200)})" if step.outcome and step.status in GOES_ON else ""
    return f"{title}: {place(run, step)}, {_STANDS[step.status]}{far}"


def stands(step: StepRun) -> str:
    """Where one step stands, in a few words."""
    return _STANDS[step.status]


def mark(step: StepRun) -> str:
    """The emoji of where it stands."""
    if step.status is StepStatus.ASKING:
        return ":clipboard:" if step.spec.kind in ASKS_PEOPLE else ":mag:"
    return _MARKS[step.status]


def first_line(plan: Mapping[str, Any]) -> str:
    """The one line of a preview that says what changes."""
    lines = plan.get("lines", ())
    return line(str(lines[0]), 300) if lines else ""


def result(step: StepRun) -> str:
    """How a step ended: what was measured, or who answered."""
    measured = step.spec.risk is Risk.READ or step.spec.verify is not None
    told = line(step.outcome, 600)
    return f"measured {told}" if told and measured and step.spec.kind not in ASKS_PEOPLE else told


def bullets(lines: Iterable[str], most: int, mark: str = "•") -> str:
    """Untrusted lines as a list; what is beyond `most` is counted."""
    every = [one for one in (line(text) for text in lines) if one]
    more = [f"_and {len(every) - most} more_"] if len(every) > most else []
    return "\n".join([*(f"{mark} {one}" for one in every[:most]), *more])


def preview(plan: Mapping[str, Any]) -> str:
    """What the step would do to the world as it is, from `contracts.Plan` as JSON: what changes, where that is told."""
    changes, others = _sorted_lines(plan)
    return bullets(changes or others, PLAN_LINES) or "• _nothing would change_"


def details(plan: Mapping[str, Any]) -> str:
    """The rest of a preview, for those who read on: what is looked at and sent. As code, so that no address becomes a
    link that a click would call without the request's method and content."""
    changes, others = _sorted_lines(plan)
    return "  ".join(map(_code, others[:PLAN_LINES])) if changes else ""


def _code(text: str) -> str:
    words = line(text, 200).replace("`", "'")
    return f"`{words}`"


def _sorted_lines(plan: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    lines = [str(one) for one in plan.get("lines", ()) if line(str(one))]
    return [one for one in lines if CHANGE in one], [one for one in lines if CHANGE not in one]


def prose(spec: StepSpec) -> str:
    """The runbook's own words."""
    return cut(esc(spec.prose).strip(), 900)


def warnings(spec: StepSpec, plan: Mapping[str, Any]) -> str:
    """What to think of before saying yes, the runbook's and the live system's."""
    own = [line(spec.warning, 500)] if spec.warning else []
    live = [line(str(text)) for text in plan.get("warnings", ())][:5]
    return "\n".join(f":warning: {text}" for text in [*own, *live] if text)


def terms(spec: StepSpec, plan: Mapping[str, Any]) -> str:
    """Risk, way back, and how it is proven, in small print."""
    risk = risk_of(spec, plan)
    back = plan.get("undo") or ""
    undo = f"undo: {line(str(back), 120)}" if back else f"no undo: {line(spec.no_undo, 120) or 'there is no way back'}"
    lease = f"kept for {span(spec.lease)}, then taken back unless renewed" if spec.lease else ""
    return " · ".join(part for part in (_RISK[risk], undo, lease) if part)


def proof(spec: StepSpec) -> str:
    """The sentence that says when the step counts as done; empty where nothing is measured."""
    verify = spec.verify
    if verify is None:
        return ""
    query = line(verify.query, 200).replace("`", "'")
    hold = f" for {span(verify.hold)}" if verify.hold else ""
    return f"Done when `{query} {line(verify.expect, 40)}` holds{hold}, within {span(verify.within)}."


def buttons(incident_id: str, run: Run, step: StepRun) -> list[Block]:
    """The answers a step at hand takes, the best first; none while it is being worked on."""
    value = step_value(incident_id, run.id, step.spec.id, step.plan_digest)
    skip = button("Skip", StepDo.SKIP, value)
    stop = button("Stop the runbook", StepDo.STOP, value)
    if run.status is not RunStatus.RUNNING or step.status in (
        StepStatus.VERIFYING,
        StepStatus.DONE,
        StepStatus.SKIPPED,
    ):
        return kept(incident_id, run, step)
    if step.status is StepStatus.GOING:
        return [*kept(incident_id, run, step), stop]
    if step.status is StepStatus.WAITING and step.outcome:
        return [skip, stop]
    if step.status is StepStatus.ASKING and step.spec.kind in ASKS_PEOPLE:
        return [button("Done, go on", StepDo.APPROVE, value, style="primary"), skip, stop]
    if step.status is StepStatus.ASKING:
        return [_go(step, value), skip, *_company(step, value), stop]
    if step.status in (StepStatus.FAILED, StepStatus.INTERRUPTED):
        again = button("Preview again", StepDo.RETRY, value, style="primary")
        return [again, skip, *_ways_back(incident_id, run, step), *_company(step, value), stop]
    return []


def kept(incident_id: str, run: Run, step: StepRun) -> list[Block]:
    """What can be done about an act that is in force: take it back, or keep it on longer."""
    shown = (StepStatus.DONE, StepStatus.GOING, StepStatus.VERIFYING, StepStatus.FAILED, StepStatus.SKIPPED)
    if not step.may_be_in_force or step.status not in (*shown, StepStatus.INTERRUPTED):
        return []
    value = step_value(incident_id, run.id, step.spec.id)
    longer = [button("Keep it on longer", StepDo.RENEW, value)] if step.lease_until else []
    return [*longer, *_ways_back(incident_id, run, step)]


def _go(step: StepRun, value: str) -> Block:
    if not takes_two(step):
        return button("Run it", StepDo.APPROVE, value, style="primary")
    what = step.plan.get("lines", ())
    sure = confirm(
        "This cannot be taken back", line(str(what[0]) if what else step.spec.title, 250) or "Run it?", "Run it"
    )
    return button("Run it", StepDo.APPROVE, value, style="danger", confirm=sure)


def _company(step: StepRun, value: str) -> list[Block]:
    """Nobody need be alone with a step; when nobody comes, they may say why and go on with what takes two."""
    if step.second_called_at is None:
        return [button("Call a second person", StepDo.SECOND, value)]
    alone = takes_two(step) and step.status is StepStatus.ASKING
    return [button("Nobody came: go on alone", StepDo.ALONE, value)] if alone else []


def _ways_back(incident_id: str, run: Run, step: StepRun) -> list[Block]:
    """To undo this step, and at the latest of several all of them."""
    if not step.may_be_in_force or not step.spec.undo:
        return []
    value = step_value(incident_id, run.id, step.spec.id)
    one = button("Undo", StepDo.UNDO, value, confirm=confirm("Undo this step?", _back(step), "Undo"))
    every = undoable(run)
    latest = next((other for other in every if other.status is not StepStatus.ASKING), None)
    if len(every) < 2 or latest is None or latest.spec.id != step.spec.id:
        return [one]
    order = "\n".join(f"{number}. {_back(other)}" for number, other in enumerate(every, 1))
    sure = confirm("Undo all of the runbook?", cut(order, 300), "Undo all")
    listed = step_value(incident_id, run.id, step.spec.id, all_of(every))
    return [one, button("Undo all", StepDo.UNDO_ALL, listed, confirm=sure)]


def _back(step: StepRun) -> str:
    return line(str(step.way_back.get("undo") or step.spec.title), 250) or "Take it back?"
