"""The whole policy of who hears what: an event gives the effects it calls for in the world."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from bot.incident import effects as ef
from bot.incident import events as ev
from bot.incident.entry import Entry
from bot.incident.policy import Policy
from bot.incident.runs import effects_of
from bot.incident.state import Incident, Status

PICTURE: Final = "picture"
"""The name of the kept piece that people look at."""

LOOK_AGAIN: Final = timedelta(minutes=5)
"""Alerts that flap recover every minute, and a look each time would fill channel and journal with the same report."""


class Call(StrEnum):
    """Whom a message calls by name."""

    NOBODY = ""
    ON_CALL = "on-call"
    NEXT_ON_CALL = "next-on-call"
    RESPONDERS = "responders"
    ASKER = "asker"


def calls(event: ev.Event) -> Call:
    """Whom the message about this event calls."""
    match event:
        case ev.IncidentOpened() | ev.Reopened() | ev.Relapsed() | ev.PageUnanswered():
            return Call.ON_CALL
        case ev.AckDeadlineMissed() | ev.SecondCalled():
            return Call.NEXT_ON_CALL
        case ev.StepSaid(level=level):
            return Call.NEXT_ON_CALL if level else Call.NOBODY
        case ev.HealthDoubted():
            return Call.ASKER
        case (
            ev.UpdateReminded()
            | ev.FallbackReminded()
            | ev.StepFailed()
            | ev.StepInterrupted()
            | ev.UndoFailed()
            | ev.UndoStarted()
        ):
            return Call.RESPONDERS
        case _:
            return Call.NOBODY


def react(incident: Incident, entry: Entry, policy: Policy) -> list[ef.Effect]:
    """What the entry calls for; `incident` is as it stands after it. A pager is told nothing that it told us."""
    match entry.event:
        case ev.DeliveryFailed(effect=ef.OPEN_CHANNEL) if incident.announced_with:
            return [ef.RefreshCard()]  # it needs a place after all
        case ev.DeliveryFailed(courier=ef.RefreshCard.courier):
            return []  # what failed in chat is not told in chat: it would fail again, for ever
        case ev.ChannelOpened() | ev.PageAccepted() | ev.DeliveryFailed() | ev.PostmortemDrafted():
            return [ef.RefreshCard(), *(_tell(entry) if _is_news(entry.event) else [])]
        case ev.EvidenceFrozen():
            return _froze(incident, entry.event)
        case ev.PictureShown() | ev.VerdictRated() | ev.DeliverySettled():
            return [ef.RefreshCard()]
        case ev.CardPosted() if _came_into_another(incident, entry.event):
            return [ef.RefreshCard()]
        case ev.CardPosted() | ev.StepShown() | ev.NoteAdded() | ev.StepApproved() | ev.StepOverridden():
            return []
        case event:
            return [
                *_pager(incident, entry, policy),
                ef.RefreshCard(),
                *_work(incident, entry, policy),
                *_talk(incident, entry, event),
            ]


def _came_into_another(incident: Incident, event: ev.CardPosted) -> bool:
    """Whether a message was there already, and may just have been brought up to date without what came into it."""
    here = [place for place in incident.cards.values() if (place.channel, place.ts) == (event.channel, event.ts)]
    return len(here) > 1


def _froze(incident: Incident, event: ev.EvidenceFrozen) -> list[ef.Effect]:
    """The report's message is brought up to date, and a draft that was written before gets the picture too."""
    picture: list[ef.Effect] = [ef.ShowPicture(event.evidence)] if PICTURE in event.parts else []
    drafted: list[ef.Effect] = [ef.DraftPostmortem()] if incident.status is Status.RESOLVED else []
    return [ef.RefreshCard(), *picture, *drafted]


def changes_announcement(event: ev.Event) -> bool:
    """Whether what an announcement says of the incident in one line is different now."""
    match event:
        case ev.IncidentOpened() | ev.Reopened() | ev.Relapsed() | ev.ChannelOpened() | ev.SeverityChanged():
            return True
        case ev.Acknowledged() | ev.Mitigated() | ev.Resolved() | ev.Cancelled():
            return True
        case _:
            return False


def announcer(newest: Incident | None, first: Incident | None, at: datetime, policy: Policy) -> str:
    """The id of the incident in whose announcement one that opens now is shown; empty when it gets its own.

    `newest` is the one that opened last, `first` the one whose announcement that is in. The channel where all is
    announced then gets at most one message in `announce_every`, and a storm does not push its own cause out of sight.
    """
    leads = first if newest is not None and newest.announced_with else newest
    if leads is None or leads.generation > 1 or at - leads.opened_at >= policy.announce_every:
        return ""
    return leads.id


def _is_news(event: ev.Event) -> bool:
    """Whether people in the channel want to hear of what a courier did; that the first pager works is no news."""
    return isinstance(event, ev.PostmortemDrafted) or (isinstance(event, ev.PageAccepted) and event.fallback != "")


def _show(run: str, step: str) -> list[ef.Effect]:
    return [ef.ShowStep(run, step)]


def _tell(entry: Entry) -> list[ef.Effect]:
    return [ef.Tell(entry.id)]


def _pager(incident: Incident, entry: Entry, policy: Policy) -> list[ef.Effect]:
    from_pager = entry.from_pager
    generation = incident.generation
    # Also those that have not accepted yet: whether they have by then is looked at when their lane is free.
    fallbacks = [handover.pager for handover in incident.handed_on if handover.pager]
    told = fallbacks if from_pager else ["", *fallbacks]
    match entry.event:
        case ev.IncidentOpened() | ev.Reopened() if incident.severity in policy.pages and not from_pager:
            return [ef.Page(generation)]
        case ev.SeverityChanged(before=before, after=after) if (
            before not in policy.pages and after in policy.pages and incident.acknowledged is None and incident.is_live
        ):
            return [ef.Page(generation)]
        case ev.PageUnanswered(pager=pager):
            return [ef.Page(generation, pager=pager)] if pager else []
        case ev.Acknowledged() | ev.Mitigated() if _just_taken(incident, entry):
            return [ef.AcknowledgePage(generation, pager=pager) for pager in told]
        case ev.Resolved() | ev.Cancelled():
            return [ef.StopPaging(generation, pager=pager) for pager in told]
        case ev.AckDeadlineMissed(level=level):
            return [ef.EscalatePage(generation, level, pager=pager) for pager in ("", *fallbacks)]
        case ev.SecondCalled(level=level) | ev.StepSaid(level=level) if level:
            return [ef.CallSecond(generation, level, pager=pager) for pager in ("", *fallbacks)]
        case _:
            return []


def _just_taken(incident: Incident, entry: Entry) -> bool:
    return incident.acknowledged is not None and incident.acknowledged.at == entry.at


def _work(incident: Incident, entry: Entry, policy: Policy) -> list[ef.Effect]:
    awaited: list[ef.Effect] = [ef.AwaitHealth()] if policy.proof_over is not None else []
    match entry.event:
        case ev.IncidentOpened():
            return [ef.OpenChannel(), ef.CollectEvidence(), ef.FindChanges()]
        case ev.Reopened() | ev.Relapsed():
            return [ef.CollectEvidence(), ef.FindChanges()]
        case ev.Mitigated():
            return [ef.CollectEvidence(), *awaited]
        # Whether the service is healthy again is asked, not concluded from silence; a run under way asks for itself.
        case ev.AlertsReported(firing=0) if incident.is_live and incident.active_run is None:
            look: list[ef.Effect] = [] if _saw_recovery(incident, entry.at) else [ef.CollectEvidence()]
            return [*look, *awaited]
        case ev.EvidenceCollected(evidence=evidence) if evidence:
            return [ef.FreezeEvidence(evidence)]
        case ev.ResolveAsked():
            return [ef.ProveHealth(entry.id)]
        case ev.Resolved(proof="") if entry.from_pager and policy.proof_over is not None:
            return [
                ef.CollectEvidence(),
                ef.DraftPostmortem(),
                ef.ProveHealth(entry.id),
            ]  # their word counts; what is measured is told
        case ev.Resolved():
            return [ef.CollectEvidence(), ef.DraftPostmortem()]
        case ev.RunStarted(run=run) | ev.StepStarted(run=run) | ev.StepApplied(run=run) | ev.StepCompleted(run=run):
            return effects_of(entry.event, incident.runs[run])
        case ev.StepSucceeded(run=run) | ev.StepSaid(run=run) | ev.StepSkipped(run=run) | ev.StepRetried(run=run):
            return effects_of(entry.event, incident.runs[run])
        case ev.UndoStarted(run=run) | ev.StepUndone(run=run):
            return effects_of(entry.event, incident.runs[run])
        case _:
            return []


def _saw_recovery(incident: Incident, now: datetime) -> bool:
    """Whether the telemetry was looked at shortly before while no alert was firing."""
    return any(not look.firing and now - look.at < LOOK_AGAIN for look in incident.looks.values())


def _is_waited_for(incident: Incident, doubt: ev.HealthDoubted) -> bool:
    """Whether a doubt is news: a person waits for the answer, it is closed already, or it is the first."""
    by_person = incident.ask is not None and incident.ask.id == doubt.ask and incident.ask.by.is_person
    return bool(doubt.ask) and (by_person or doubt.closed or incident.doubts == 1)


def _talk(incident: Incident, entry: Entry, event: ev.Event) -> list[ef.Effect]:
    match event:
        case ev.EvidenceCollected():
            return [*_tell(entry), ef.TellNumbers(entry.id)]
        case ev.ChangeFound(live=live):
            return _tell(entry) if live else []  # what was there before is on the card
        case ev.HealthDoubted():
            return _tell(entry) if _is_waited_for(incident, event) else []
        case ev.StepFailed() | ev.StepInterrupted() | ev.UndoFailed() | ev.SecondCalled() | ev.FallbackReminded():
            return [*_show(event.run, event.step), *_tell(entry)]
        case ev.UndoStarted(run=run, step=step, why=why):
            return [*_show(run, step), *(_tell(entry) if why == "lease" else [])]
        case (
            ev.StepPlanned(run=run, step=step)
            | ev.StepAsked(run=run, step=step)
            | ev.StepStarted(run=run, step=step)
            | ev.StepApplied(run=run, step=step)
            | ev.StepProgressed(run=run, step=step)
            | ev.StepCompleted(run=run, step=step)
            | ev.StepSucceeded(run=run, step=step)
            | ev.StepRetried(run=run, step=step)
            | ev.StepSkipped(run=run, step=step)
            | ev.StepUndone(run=run, step=step)
            | ev.LeaseRenewed(run=run, step=step)
        ):
            return _show(run, step)
        case ev.RunFinished(run=run):
            shown = [step.spec.id for step in incident.runs[run].steps if step.ts]
            return [*(ef.ShowStep(run, step) for step in shown), *_tell(entry)]
        case (
            ev.IncidentOpened()
            | ev.Reopened()
            | ev.Relapsed()
            | ev.AckDeadlineMissed()
            | ev.PageUnanswered()
            | ev.UpdateReminded()
            | ev.GlassBroken()
            | ev.Acknowledged()
            | ev.SeverityChanged()
            | ev.RoleAssigned()
            | ev.ImpactStated()
            | ev.UpdatePosted()
            | ev.Mitigated()
            | ev.Resolved()
            | ev.Cancelled()
            | ev.EvidenceFailed()
            | ev.RunStarted()
            | ev.StepSaid()
        ):
            return _tell(entry)
        case _:
            return []
