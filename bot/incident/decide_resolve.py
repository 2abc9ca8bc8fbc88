"""What it takes to resolve an incident: no alert, nothing on loan, a telemetry that proves it; or a person's word."""

from datetime import datetime, timedelta
from typing import Final

from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.people import Refused, require_responder
from bot.incident.policy import Policy
from bot.incident.runs import lent
from bot.incident.state import Ask, Incident

NOT_ASKED: Final = "the telemetry was not asked"


def decide_resolve(incident: Incident, command: cmd.Resolve, policy: Policy) -> list[ev.Event]:
    """At once where it is proven, cannot be, or need not be; else the telemetry is asked first. Raises Refused."""
    require_responder(command.by)
    if not incident.is_live:
        return []
    reason = command.reason.strip()
    if not reason:
        raise Refused("Say in one sentence why it is resolved, for the timeline.")
    if incident.firing and not command.despite_firing:
        raise Refused(f"{_still_firing(incident)}; confirm that you want to resolve all the same.")
    if not command.despite_fallback:
        require_nothing_on_loan(incident)
    proof = fresh_proof(incident, command.at, policy)
    if policy.proof_over is None or proof or command.despite_doubt or command.despite_fallback:
        return [_resolved(incident, reason, command.at, policy, proof=proof)]
    return [] if incident.asks else [ev.ResolveAsked(reason, command.despite_firing)]


def fresh_proof(incident: Incident, at: datetime, policy: Policy) -> str:
    """The numbers of a proof that still counts at `at`; empty without one."""
    tested, changed = incident.tested, incident.alerts_changed_at
    if tested is None or not tested.holds or at - tested.at > policy.proof_lasts:
        return ""
    return "" if changed is not None and changed > tested.at else tested.text


def answer(incident: Incident, told: ev.Event, at: datetime, policy: Policy) -> list[ev.Event]:
    """What the telemetry's word entails for whoever waits for it, given the incident before it."""
    ask = incident.asks
    if ask is None or not isinstance(told, ev.HealthProven) or told.ask != ask.id:
        return []
    doubt = _in_the_way(incident, ask)
    if doubt:
        return [ev.HealthDoubted(ask.id, f"{doubt}; besides, {told.text}", told.report)]
    return [_resolved(incident, ask.reason, at, policy, proof=told.text, asked_by=ask.by.id)]


def _in_the_way(incident: Incident, ask: Ask) -> str:
    """What has come up since somebody asked."""
    if incident.firing and not ask.despite_firing:
        return f"{_still_firing(incident)} meanwhile"
    return _on_loan(incident)


def _resolved(
    incident: Incident, reason: str, at: datetime, policy: Policy, *, proof: str, asked_by: str = ""
) -> ev.Resolved:
    snoozed = at + policy.snooze if incident.firing else None
    unproven = "" if proof else _why_unproven(incident, at, policy)
    return ev.Resolved(reason, incident.firing, snoozed, proof, unproven, asked_by)


def _why_unproven(incident: Incident, at: datetime, policy: Policy) -> str:
    """What stands beside the reason: with its time where it is not of just now."""
    tested = incident.tested
    if policy.proof_over is None:
        return policy.no_proof
    if tested is None:
        return NOT_ASKED
    day = "" if tested.at.date() == at.date() else f"{tested.at:%Y-%m-%d} "
    then = f"{day}{tested.at:%H:%M} UTC"
    if tested.holds:
        return f"{NOT_ASKED} again, and the last proof was of {then}"
    return tested.text if at - tested.at <= policy.proof_lasts else f"at {then} {tested.text}"


def by_itself(reason: str, policy: Policy) -> ev.Event:
    """How it is resolved when nobody had to step in: no less proven than by a person."""
    return ev.Resolved(reason, unproven=policy.no_proof) if policy.proof_over is None else ev.ResolveAsked(reason)


def too_late(ask: Ask, policy: Policy) -> tuple[datetime, ev.Event]:
    """When no answer is a doubt, and the doubt: nobody waits for ever."""
    within: timedelta = policy.proof_within
    said = f"the telemetry gave no answer within {int(within.total_seconds())} s"
    return ask.at + within, ev.HealthDoubted(ask.id, said, {})


def require_nothing_on_loan(incident: Incident) -> None:
    """Raises Refused while a step has put something in force for a time only."""
    on_loan = _on_loan(incident)
    if on_loan:
        raise Refused(f"{on_loan}. Take it back first; until then nobody knows whether the service is well.")


def _on_loan(incident: Incident) -> str:
    titles = ", ".join(f"*{step.spec.title}*" for _, step in lent(incident.runs.values()))
    return f"Still on loan: {titles}" if titles else ""


def _still_firing(incident: Incident) -> str:
    return "1 alert still fires" if incident.firing == 1 else f"{incident.firing} alerts still fire"
