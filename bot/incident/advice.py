"""The next right step of an incident, and where each of the six steps stands."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bot.incident.policy import Policy
from bot.incident.state import Ask, Incident, Mark, Status


class Next(StrEnum):
    """What the one primary button does."""

    ACKNOWLEDGE = "acknowledge"
    RUN = "run"
    ANSWER_STEP = "answer step"
    MITIGATED = "mitigated"
    UPDATE = "update"
    RESOLVE = "resolve"
    POSTMORTEM = "postmortem"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Advice:
    """The step to take now and the reason in one sentence; `due` is when it is escalated."""

    step: Next
    why: str
    due: datetime | None = None


def advise(incident: Incident, policy: Policy) -> Advice:
    """The one thing to do now: fix first, so an untried runbook comes before words, and words before closing."""
    if incident.asks is not None:
        return Advice(Next.WAIT, f"{_who(incident.asks)} wants to resolve it; the telemetry is asked first.")
    if incident.status is Status.OPEN and incident.severity not in policy.pages:
        return Advice(Next.ACKNOWLEDGE, f"{incident.severity} pages nobody; it waits for whoever takes it.")
    if incident.status is Status.OPEN and incident.escalations >= policy.max_escalations:
        return Advice(Next.ACKNOWLEDGE, "Nobody has it, and it is not escalated any further.")
    if incident.status is Status.OPEN:
        by = (incident.escalated_at or incident.opened_at) + policy.ack_within
        return Advice(Next.ACKNOWLEDGE, f"Escalates at {by:%H:%M:%S} UTC.", by)
    if not incident.is_live:
        return Advice(Next.POSTMORTEM, "The draft is waiting for the people who were there.")
    recovered = bool(incident.recovered) and not incident.firing
    if incident.active_run is not None:
        return Advice(Next.ANSWER_STEP, f"{incident.active_run.title} is under way.")
    if recovered:
        proven = incident.tested is not None and incident.tested.holds
        return Advice(Next.RESOLVE, "All alerts have recovered" + (", and it is proven." if proven else "."))
    if incident.status is Status.MITIGATED:
        return Advice(Next.UPDATE, "It is contained; tell people, then watch the alerts recover.")
    tried = bool(incident.runs)
    if not tried and proposed_runbook(incident):
        return Advice(Next.RUN, "Mitigate first; the cause can wait.")
    if incident.communicated is None:
        return Advice(Next.UPDATE, "Nobody outside has heard anything yet.")
    return Advice(Next.MITIGATED, "Say so as soon as users are no longer hurt.")


def _who(ask: Ask) -> str:
    return (ask.by.name or ask.by.id) if ask.by.is_person else "FixFirst"


def proposed_runbook(incident: Incident) -> str:
    """The runbook to offer: what the telemetry suggests, else what the alert names; empty when neither does."""
    from_evidence = incident.evidence.runbook if incident.evidence else ""
    return from_evidence or incident.runbook


@dataclass(frozen=True, slots=True)
class SixStep:
    """One of the six steps with who did it when; `mark` is None while it is still to do."""

    name: str
    mark: Mark | None
    detail: str = ""


def six_steps(incident: Incident) -> tuple[SixStep, ...]:
    """Acknowledge, triage, mitigate, communicate, resolve, postmortem."""
    written = incident.resolved if incident.postmortem else None
    return (
        SixStep("Acknowledge", incident.acknowledged),
        SixStep("Triage", incident.triaged, incident.triaged.what if incident.triaged else ""),
        SixStep("Mitigate", incident.mitigated, incident.mitigated.what if incident.mitigated else ""),
        SixStep("Communicate", incident.communicated),
        SixStep("Resolve", incident.resolved, incident.resolved.what if incident.resolved else ""),
        SixStep("Postmortem", written, incident.postmortem),
    )
