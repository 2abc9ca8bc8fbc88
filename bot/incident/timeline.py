"""A journal entry as one human line: the same words in Slack, terminal, web page and postmortem."""

from collections.abc import Iterable
from datetime import timedelta

from bot.incident import events as ev
from bot.incident.change import Change, words
from bot.incident.entry import Entry
from bot.incident.people import Actor, ActorKind
from bot.incident.run import StepRun
from bot.incident.state import Incident, behind


def who(actor: Actor) -> str:
    """How an actor is named in prose: by name where we know one."""
    if actor.kind is ActorKind.BOT:
        return "FixFirst"
    return actor.name or actor.id


def span(length: timedelta) -> str:
    """A duration as people say it: `45 s`, `12 min`, `3 h 05 min`, `2 d 4 h`."""
    seconds = int(length.total_seconds())
    if seconds < 0:
        return f"-{span(-length)}"
    if seconds < 90:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"


def count(number: int, noun: str) -> str:
    """`1 alert`, `3 alerts`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def listed(names: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`; at least one."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def kind(event: ev.Event) -> str:
    """The kind of timeline line, in the words of a postmortem: alert, ack, decision, action, finding, comms, ..."""
    match event:
        case ev.IncidentOpened() | ev.AlertsReported() | ev.Relapsed() | ev.Reopened():
            return "alert"
        case ev.Acknowledged():
            return "ack"
        case ev.AckDeadlineMissed() | ev.PageUnanswered() | ev.SecondCalled():
            return "escalation"
        case (
            ev.GlassBroken()
            | ev.SeverityChanged()
            | ev.RoleAssigned()
            | ev.Cancelled()
            | ev.StepApproved()
            | ev.StepOverridden()
            | ev.StepSkipped()
        ):
            return "decision"
        case ev.ImpactStated():
            return "impact"
        case ev.EvidenceCollected() | ev.EvidenceFailed() | ev.EvidenceFrozen() | ev.StepPlanned():
            return "finding"
        case ev.HealthProven() | ev.HealthDoubted():
            return "finding"
        case ev.ChangeFound():
            return "change"
        case ev.UpdatePosted() | ev.UpdateReminded() | ev.PageAccepted() | ev.StepSaid() | ev.FallbackReminded():
            return "comms"
        case ev.Mitigated():
            return "mitigation"
        case ev.ResolveAsked() | ev.Resolved():
            return "resolution"
        case ev.NoteAdded() | ev.MessagePinned() | ev.VerdictRated():
            return "note"
        case _:
            return "action"


def line(entry: Entry, incident: Incident, name: str = "") -> str | None:
    """What the entry says, past tense, one fact; None for bookkeeping that no reader wants.

    `incident` gives names to ids (the titles of runbook steps) and may be of any later time. `name` is what whoever is
    behind the entry is called, where that is not simply the name.
    """
    name = name or who(behind(entry, incident))
    match entry.event:
        case ev.IncidentOpened(title=title, severity=severity):
            if entry.by.is_person:
                return f"{name} declared {severity}: {title}"
            return f"Opened as {severity} by {name}: {title}"
        case ev.AlertsReported(firing=firing, resolved=resolved, new=new):
            parts = [f"{count(firing, 'alert')} firing", f"{resolved} recovered"]
            parts += [f"{new} new"] if new else []
            return ", ".join(parts)
        case ev.Acknowledged():
            return f"{name} acknowledged"
        case ev.GlassBroken(reason=reason, until=until):
            return f"{name} acts past the chat, until {until:%H:%M} UTC at most: {reason}"
        case ev.SeverityChanged(before=before, after=after):
            return f"{name} changed the severity from {before} to {after}"
        case ev.RoleAssigned(role=role, user=user):
            return f"{name} made <@{user}> {role}"
        case ev.ImpactStated(text=text):
            return f"{name} stated the impact: {text}"
        case ev.TextRedacted(number=number, reason=reason):
            return f"{name} took the text of entry {number} out: {reason}"
        case ev.NoteAdded(text=text):
            return f"{name} noted: {text}"
        case ev.MessagePinned(text=text, author=author):
            return f"<@{author}> wrote: {text}"
        case ev.UpdatePosted(text=text):
            return f"{name} told stakeholders: {text}"
        case ev.UpdateReminded():
            return "Asked the responders for an update: stakeholders have heard nothing for too long"
        case ev.AckDeadlineMissed(level=level, asked=asked, left_to=left_to):
            calls = [f"asking {listed(asked)} to call the next person"] if asked else []
            calls += [f"the next call is left to the policy of {listed(left_to)}"] if left_to else []
            return "; ".join([f"Nobody acknowledged in time (escalation {level})", *calls])
        case ev.Mitigated(text=text):
            return f"{name} called it mitigated" + (f": {text}" if text else "")
        case ev.Relapsed(firing=firing):
            return f"Relapsed: {count(firing, 'alert')} firing again"
        # What the bot asks once more by itself is no news, nor is it that the answer has not changed.
        case ev.ResolveAsked() if entry.id in incident.asked_again:
            return None
        case ev.HealthDoubted(ask=ask, closed=False) if ask in incident.asked_again:
            return None
        case ev.ResolveAsked(reason=reason):
            return f"{name} wants to resolve it, and the telemetry is asked first: {reason}"
        case ev.HealthProven(text=text):
            return f"Proven healthy: {text}"
        case ev.HealthDoubted(text=text):
            return f"Not proven healthy: {text}"
        case ev.Resolved(reason=reason, firing=firing, proof=proof, unproven=unproven):
            burning = f" (with {count(firing, 'alert')} still firing)" if firing else ""
            shown = f" (proven: {proof})" if proof else f" (not proven: {unproven})" if unproven else ""
            return f"{name} resolved it{burning}: {reason}{shown}"
        case ev.Cancelled(reason=reason):
            return f"{name} called it off: {reason}"
        case ev.Reopened() if entry.by.is_person:
            return f"{name} reopened it"
        case ev.Reopened(generation=generation, firing=firing):
            return f"Reopened ({count(firing, 'alert')} firing), round {generation}"
        case ev.EvidenceCollected(verdict=verdict, impact=impact, cause=cause, evidence=evidence):
            said = ". ".join(part.rstrip(".") for part in (f"Telemetry says {verdict}: {impact}", cause) if part)
            return f"{said} ({evidence})" if evidence else said
        case ev.EvidenceFrozen():
            return _frozen(entry.event)
        case ev.PictureShown(evidence=evidence, reason=reason):
            return f"The picture of {evidence} is not in the chat: {reason}" if reason else None
        case ev.VerdictRated():
            return f"{name} said of {entry.event.evidence}: {_rating(entry.event)}"
        case ev.EvidenceFailed(reason=reason):
            return f"Telemetry could not be read: {reason}"
        case ev.ChangeFound():
            return _change_line(entry.event, incident)
        case ev.PageAccepted(pager=pager, fallback=fallback):
            return f"Paged by {pager}" if fallback else f"{pager} accepted the page"
        case ev.PageUnanswered(silent=silent, pager=pager, seconds=seconds):
            further = f"it goes by {pager} too" if pager else "there is no other pager to ask"
            return f"{silent} has not accepted the page for {span(timedelta(seconds=seconds))}; {further}"
        case ev.DeliveryFailed(courier=courier, effect=effect, reason=reason):
            return f"Could not deliver {effect.replace('_', ' ')} by {courier}: {reason}"
        case ev.DeliverySettled(courier=courier, effect=effect):
            return f"The trouble with {effect.replace('_', ' ')} by {courier} is over"
        case ev.PostmortemDrafted(path=path):
            return f"Drafted the postmortem {path}"
        case ev.ChannelOpened() | ev.CardPosted() | ev.StepAsked() | ev.StepProgressed():
            return None
        case event:
            return _run_line(event, name, incident)


def _change_line(event: ev.ChangeFound, incident: Incident) -> str | None:
    """Nothing for a roll-out that was only seen and that its pipeline has told in better words since."""
    if incident.changes and all(known.id != event.id for known in incident.changes):
        return None
    return words(Change.found(event))


def _frozen(event: ev.EvidenceFrozen) -> str:
    kept = [name for name in event.parts if name != "picture"]
    said = [f"{len(kept)} series", count(event.points, "sample")]
    said += ["a picture"] if "picture" in event.parts else []
    what = f"Kept as {event.evidence}: {', '.join(said)}" if event.parts else f"Nothing kept as {event.evidence}"
    since = f"; users have felt it since {event.since:%H:%M} UTC" if event.since else ""
    return f"{what}{since}" + (f"; not kept: {event.missing}" if event.missing else "")


def _rating(event: ev.VerdictRated) -> str:
    if event.right:
        return "the verdict was right"
    actual = f", it was {event.actual}" if event.actual else ""
    return f"the verdict was wrong{actual}" + (f": {event.text}" if event.text else "")


def _run_line(event: ev.Event, name: str, incident: Incident) -> str | None:
    def step_of(run: str, step: str) -> StepRun:
        return incident.runs[run].step(step)

    match event:
        case ev.RunStarted(title=title, target=target):
            return f"{name} started the runbook {title} on {target}"
        case ev.StepPlanned(run=run, step=step, plan=plan):
            return f"Previewed {step_of(run, step).spec.title}: {'; '.join(plan['lines'])}"
        case ev.StepApproved(run=run, step=step):
            return f"{name} approved {step_of(run, step).spec.title}"
        case ev.SecondCalled(run=run, step=step):
            return f"{name} called a second person for {step_of(run, step).spec.title}"
        case ev.StepOverridden(run=run, step=step, reason=reason):
            return f"Nobody came for {step_of(run, step).spec.title}; {name} went on alone: {reason}"
        case ev.StepStarted(run=run, step=step, attempt=attempt):
            again = "" if attempt == 1 else f" (attempt {attempt})"
            return f"About to carry out {step_of(run, step).spec.title}{again}"
        case ev.StepApplied(run=run, step=step, said=said, lasting=lasting):
            done = "Began" if lasting else "Carried out"
            return f"{done} {step_of(run, step).spec.title}" + (f"; it said: {said}" if said else "")
        case ev.StepCompleted(run=run, step=step):
            return f"{step_of(run, step).spec.title} has ended; its effect is being measured"
        case ev.StepSaid(text=text, level=level):
            return f"Called the next person: {text}" if level else f"Told the channel: {text}"
        case ev.FallbackReminded(run=run, step=step):
            return f"Reminded the responders that {step_of(run, step).spec.title} is still on loan"
        case ev.StepSucceeded(run=run, step=step, text=text):
            return f"{step_of(run, step).spec.title}: {text}"
        case ev.StepFailed(run=run, step=step, text=text):
            return f"{step_of(run, step).spec.title} failed: {text}"
        case ev.StepInterrupted(run=run, step=step, text=text):
            return f"Unclear whether {step_of(run, step).spec.title} was carried out: {text}"
        case ev.StepRetried(run=run, step=step):
            return f"{name} asked for {step_of(run, step).spec.title} once more"
        case ev.StepSkipped(run=run, step=step, reason=reason):
            return f"{step_of(run, step).spec.title} skipped by {name}: {reason}"
        case ev.UndoStarted(run=run, step=step, why=why):
            causes = {
                "asked": f"{name} asked for it",
                "all": "all of the runbook is being undone",
                "lease": "its lease ran out",
                "failed": "it failed",
            }
            cause = causes[why]
            return f"Undoing {step_of(run, step).spec.title}: {cause}"
        case ev.StepUndone(run=run, step=step):
            return f"Undid {step_of(run, step).spec.title}"
        case ev.UndoFailed(run=run, step=step, text=text, unclear=True):
            return f"Unclear whether {step_of(run, step).spec.title} was undone: {text}"
        case ev.UndoFailed(run=run, step=step, text=text):
            return f"Could not undo {step_of(run, step).spec.title}: {text}"
        case ev.LeaseRenewed(run=run, step=step, until=until):
            return f"{name} extended {step_of(run, step).spec.title} until {until:%H:%M} UTC"
        case ev.RunFinished(run=run, outcome=outcome):
            return f"Runbook {incident.runs[run].title}: {outcome}"
        case _:
            return None
