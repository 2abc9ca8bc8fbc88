"""What is said in an incident's channel: one message for a journal entry, one for the whole life of a runbook step."""

from bot.health.findings import Report
from bot.incident import events as ev
from bot.incident import timeline
from bot.incident.drill import score
from bot.incident.entry import Entry
from bot.incident.run import RunStatus, StepRun, StepStatus
from bot.incident.runs import ASKS_PEOPLE, spec_from_json
from bot.incident.state import Incident, Status, behind
from bot.incident.timeline import count, span
from bot.slack import steps
from bot.slack.actions import Do
from bot.slack.blocks import Block, Message, actions, button, message, section, small
from bot.slack.health import evidence_message, report_title
from bot.slack.parts import (
    Context,
    acknowledge,
    durations,
    postmortem_button,
    run_button,
    trouble,
)
from bot.slack.text import clock, line, link, name_of, quote, told

STEPS_SHOWN = 20


def render(
    entry: Entry, incident: Incident, context: Context, mention: str = "", under: Message | None = None
) -> Message:
    """The message about `entry`; `incident` may be of any later time. `mention` is ready-made mrkdwn, put first.

    `under` is an earlier message that this one goes into, below what that says.
    """
    said = told(entry, incident) or line(timeline.kind(entry.event), 40)
    push = f"{incident.ref}: {_for_a_phone(entry, incident)}"
    body = _about_run(entry, incident) or _about_incident(entry, incident, context) or [small(f"{_mark(entry)} {said}")]
    above = under.blocks if under else []
    return message(f"{mention} {push}".strip(), [*above, *_called(mention, body)])


def _called(mention: str, body: list[Block | None]) -> list[Block | None]:
    """The blocks with the mention on the first line, so that a small screen shows who is meant and why at once."""
    first = body[0]
    if not mention or first is None or first["type"] != "section" or "text" not in first:
        return [section(mention), *body]
    return [section(f"{mention} {first['text']['text']}"), *body[1:]]


def _for_a_phone(entry: Entry, incident: Incident) -> str:
    """The line of a notification: what to know before the phone is unlocked."""
    match entry.event:
        case ev.IncidentOpened(title=title, severity=severity):
            return f"{severity} {line(title, 150)}"
        case ev.Reopened():
            return f"{incident.severity} is back: {line(incident.title, 150)} ({_why_back(entry.event, entry)})"
        case ev.AckDeadlineMissed():
            return f"{incident.severity} {line(incident.title, 150)}: nobody has it yet"
        case ev.UpdateReminded():
            return "stakeholders have heard nothing for too long"
        case ev.EvidenceCollected(report=report) if report:
            return report_title(Report.from_dict(report))
        case ev.StepInterrupted(run=run, step=step):
            return f"{_title(incident, run, step)}: unclear whether it happened, please look"
        case _:
            return told(entry, incident, 400) or line(incident.title, 150)


def _title(incident: Incident, run: str, step: str) -> str:
    return line(incident.runs[run].step(step).spec.title, 120)


_MARKS = {
    ev.Acknowledged: ":eyes:",
    ev.RoleAssigned: ":bust_in_silhouette:",
    ev.ImpactStated: ":busts_in_silhouette:",
    ev.NoteAdded: ":memo:",
    ev.ChangeFound: ":wrench:",
    ev.MessagePinned: ":pushpin:",
    ev.Cancelled: ":white_circle:",
    ev.EvidenceFailed: ":black_circle:",
    ev.StepSkipped: ":fast_forward:",
    ev.StepUndone: ":arrows_counterclockwise:",
    ev.UndoStarted: ":arrows_counterclockwise:",
}


def _mark(entry: Entry) -> str:
    return _MARKS.get(type(entry.event), ":small_blue_diamond:")


def _about_incident(entry: Entry, incident: Incident, context: Context) -> list[Block | None]:
    match entry.event:
        case ev.IncidentOpened(title=title, severity=severity):
            by = f"Declared by {name_of(entry.by)}" if entry.by.is_person else f"From {name_of(entry.by)}"
            again = " · it has happened before" if entry.event.recurs else ""
            drill = " · *this is a drill*" if entry.event.drill else ""
            return [
                section(f":rotating_light: *{severity} · {incident.ref} · {line(title)}*\n{_affected(incident)}"),
                small(f"{by}, {clock(entry.at)}{again}{drill}"),
                _take(incident),
            ]
        case ev.Reopened():
            return [
                section(f":rotating_light: *{incident.ref} is back* · {line(incident.title)}"),
                small(f"{_why_back(entry.event, entry)}, {clock(entry.at)}"),
                _take(incident),
            ]
        case ev.Relapsed(firing=firing):
            said = f":rotating_light: *{incident.ref} is no longer mitigated*: {count(firing, 'alert')} firing again."
            run = run_button(incident, context) if incident.is_live else None
            return [section(said), _take(incident) or actions(run)]
        case ev.AckDeadlineMissed(level=level):
            return [
                section(f":bell: *Nobody has {incident.ref} yet* · {incident.severity} · {line(incident.title)}"),
                small(f"Escalation {level}. Acknowledge and nobody else is called."),
                _take(incident),
            ]
        case ev.UpdateReminded():
            update = button("Post an update", Do.UPDATE, incident.id, style="primary")
            return [
                small(":speech_balloon: Stakeholders have heard nothing for a while. One sentence is enough."),
                actions(update),
            ]
        case ev.ChangeFound(at=at):
            late = at < incident.opened_at
            when = "Changed shortly before, told now" if late else "Changed while you were looking"
            return [section(f":wrench: *{when}*, {clock(entry.at)}\n{told(entry, incident, 600)}")]
        case ev.UpdatePosted(text=text):
            return [section(f":mega: *Update* from {name_of(entry.by)}\n{quote(text)}")]
        case ev.Mitigated(text=text):
            how = f": {line(text, 800)}" if text.strip() else "."
            hint = "Tell people, then watch the alerts recover." if incident.firing else "Tell people, then resolve it."
            return [small(f":large_yellow_circle: {name_of(entry.by)} called it mitigated{how}", hint)]
        case ev.EvidenceCollected():
            return evidence_message(entry, entry.event, incident, context)
        case ev.HealthDoubted():
            return _doubt(entry.event, incident)
        case ev.Resolved(reason=reason, firing=firing, snoozed_until=snoozed, proof=proof, unproven=unproven):
            again = f" · they page again at {clock(snoozed)}" if snoozed else ""
            burning = f":warning: {count(firing, 'alert')} still firing{again}" if firing else ""
            took = durations(incident) if incident.status is Status.RESOLVED else ""
            return [
                section(
                    f":white_check_mark: *{incident.ref} is resolved* by {name_of(behind(entry, incident))}"
                    f"\n{line(reason, 1000)}"
                ),
                small(f":large_green_circle: Proven healthy: {line(proof, 500)}") if proof else None,
                small(f":warning: Not proven: {line(unproven, 500)}") if unproven else None,
                small(burning, took),
                section("\n".join([":dart: *How the drill went*", *score(incident).lines])) if incident.drill else None,
            ]
        case ev.PostmortemDrafted():
            return [
                section(":page_facing_up: *The postmortem is drafted.* It waits for what only you know."),
                actions(postmortem_button(incident, context)),
            ]
        case ev.PageAccepted(pager=pager, link=url):
            name = line(pager, 40)
            return [small(f":pager: {link(url, pager) if url else name} accepted the page")]
        case ev.DeliveryFailed():
            return [small(trouble(entry.event))]
        case _:
            return []


def _doubt(event: ev.HealthDoubted, incident: Incident) -> list[Block | None]:
    """The numbers against resolving, and the way past them; or what a pager's people closed too early."""
    numbers = line(event.text, 1500)
    if event.closed:
        return [
            section(f":warning: *{incident.ref} was closed without proof*\n{numbers}"),
            small("If users are still hurt, open it again where it was closed, or declare a new one."),
        ]
    if not incident.is_live:
        return [section(f":warning: *{incident.ref} was not proven healthy*\n{numbers}")]
    return [
        section(f":warning: *{incident.ref} is not proven healthy*, so it stays open\n{numbers}"),
        small("Ask again in a few minutes, or resolve it all the same and say why; the numbers stay on record."),
        actions(
            button("Ask again", Do.RESOLVE, incident.id),
            button("Resolve all the same", Do.UNPROVEN, incident.id),
        ),
    ]


def _why_back(event: ev.Reopened, entry: Entry) -> str:
    if entry.by.is_person:
        return f"reopened by {name_of(entry.by)}"
    return f"{count(event.firing, 'alert')} firing, round {event.generation}"


def _affected(incident: Incident) -> str:
    return " · ".join(part for part in (line(incident.service, 80), line(incident.model, 80)) if part)


def _take(incident: Incident) -> Block | None:
    return actions(acknowledge(incident)) if incident.status is Status.OPEN else None


def _about_run(entry: Entry, incident: Incident) -> list[Block | None]:
    match entry.event:
        case ev.RunStarted(title=title, target=target):
            specs = [spec_from_json(step) for step in entry.event.steps]
            numbered = [f"{n}. {line(spec.title, 150)}" for n, spec in enumerate(specs[:STEPS_SHOWN], 1)]
            left = [f"_and {len(specs) - STEPS_SHOWN} more_"] if len(specs) > STEPS_SHOWN else []
            head = f":gear: *{line(title, 150)}* on {line(target, 80)}, started by {name_of(entry.by)}"
            return [
                section("\n".join([head, *numbered, *left])),
                small("Looking happens at once; every act is shown here first and waits for your go."),
            ]
        case ev.RunFinished(run=run, outcome=outcome):
            mark = ":white_check_mark:" if outcome == "done" else ":octagonal_sign:"
            by = f" by {name_of(entry.by)}" if entry.by.is_person and outcome != "done" else ""
            return [small(f"{mark} Runbook *{line(incident.runs[run].title, 150)}*: {line(outcome, 40)}{by}")]
        case ev.StepFailed(run=run, step=step, text=text, inconclusive=blind):
            what = "could not be measured" if blind else "did not work"
            return [section(f":x: *{_title(incident, run, step)}* {what}: {line(text, 600)}")]
        case ev.StepInterrupted(run=run, step=step, text=text):
            return [
                section(f":warning: *{_title(incident, run, step)}*: unclear whether it happened. {line(text, 600)}")
            ]
        case ev.SecondCalled(run=run, step=step):
            return [
                section(f":bell: *A second person, please:* {_title(incident, run, step)}"),
                small(f"Called by {name_of(entry.by)}. Look at the step above; what cannot be taken back takes two."),
            ]
        case ev.StepSaid(run=run, text=text):
            return [
                section(f":mega: {line(text, 2000)}"),
                small(f"Said by the runbook *{line(incident.runs[run].title, 120)}*"),
            ]
        case ev.FallbackReminded(run=run, step=step):
            until = incident.runs[run].step(step).lease_until
            ends = f", until {clock(until)}" if until else ""
            return [
                section(f":hourglass_flowing_sand: *{_title(incident, run, step)}* is still on{ends}."),
                small("It helps users and hides that the service is not well. Repair it, then take this back."),
            ]
        case ev.UndoStarted(run=run, step=step, why="lease"):
            said = f"The time of *{_title(incident, run, step)}* is up and nobody kept it on. Taking it back."
            return [section(f":hourglass: {said}")]
        case ev.UndoFailed(run=run, step=step, text=text, unclear=unclear):
            title = _title(incident, run, step)
            head = f"Unclear whether {title} was undone" if unclear else f"Could not undo {title}"
            sure = incident.runs[run].step(step).applied and not unclear
            stands = "It is still in force. Take" if sure else "Nobody knows whether it is in force. Look, then take"
            return [
                section(f":rotating_light: *{head}*\n{line(text, 1000)}"),
                small(f"{stands} it back by hand, or try again."),
            ]
        case _:
            return []


def step_message(incident: Incident, run_id: str, step_id: str) -> Message:
    """One step of a run as it stands: preview, approval, act, proof and undo all happen in this one message."""
    run = incident.runs[run_id]
    step = run.step(step_id)
    head = f"*{line(run.title, 120)}* · {steps.place(run, step)}"
    text = f"{incident.ref}: {steps.place(run, step)} {steps.stands(step)}"
    answers = actions(*steps.buttons(incident.id, run, step))
    over = run.status is not RunStatus.RUNNING and step.status is StepStatus.WAITING
    body = [small("The runbook was stopped; nobody looks any more.")] if over else _step_body(step)
    return message(text, [section(f"{steps.mark(step)} {head}"), *body, answers])


def _step_body(step: StepRun) -> list[Block | None]:
    spec = step.spec
    match step.status:
        case StepStatus.ASKING if spec.kind in ASKS_PEOPLE:
            checklist = steps.bullets(spec.checklist, steps.CHECKLIST_LINES, ":white_circle:")
            return [section(steps.prose(spec)), section(checklist), section(steps.warnings(spec, {}))]
        case StepStatus.ASKING:
            return [
                section(steps.preview(step.plan)),
                small(steps.details(step.plan)),
                section(steps.prose(spec)),
                section(steps.warnings(spec, step.plan)),
                small(steps.terms(spec, step.plan), steps.proof(spec)),
            ]
        case StepStatus.RUNNING | StepStatus.GOING | StepStatus.VERIFYING:
            far = f"*Now:* {line(step.outcome, 600)}" if step.outcome else ""
            return [
                small(steps.first_line(step.plan), steps.stands(step)),
                section(far),
                small(steps.proof(spec)),
            ]
        case StepStatus.WAITING if step.outcome:
            waits = (
                f"Goes on when it is {line(str(spec.args.get('expect', '')), 40)}, for {span(spec.timeout)} at most."
            )
            return [section(f"*Now:* {line(step.outcome, 600)}"), small(waits)]
        case StepStatus.FAILED:
            return [section(f"*It did not work.* {line(step.outcome, 1000)}"), small(steps.first_line(step.plan))]
        case StepStatus.INTERRUPTED:
            return [
                section(f"*Unclear how it stands.* {line(step.outcome, 1000)}"),
                small("Look at the service before you try again."),
            ]
        case StepStatus.DONE:
            until = f"On until {clock(step.lease_until)}, then taken back." if step.lease_until else ""
            return [small(" · ".join(filter(None, (steps.first_line(step.plan), steps.result(step)))), until)]
        case _:
            return [small(line(step.outcome, 600) or steps.stands(step))]
