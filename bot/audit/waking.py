"""Since when somebody is still to be woken who could not be told; much else that pagers are told wakes nobody."""

from datetime import datetime

from bot.audit.findings import unpaged
from bot.incident.effects import CallSecond, Effect, EscalatePage, Page
from bot.incident.policy import Policy
from bot.incident.state import Incident, Status
from bot.journal import Journal
from bot.journal.audit import calls_waiting


def waits_since(journal: Journal, policy: Policy) -> datetime | None:
    """When the oldest call that is still wanted was decided; None when none waits. Raises Busy.

    Of an incident that cannot be read, every one may be wanted.
    """
    calls = calls_waiting(journal)
    if not calls:
        return None
    live = {incident.id: incident for incident in journal.live()}
    unreadable = {one.incident_id for one in journal.unreadable()}
    wanted = (
        call.created_at
        for call in calls
        if call.incident in unreadable or ((of := live.get(call.incident)) and wakes(call.effect, of, policy))
    )
    return min(wanted, default=None)


def wakes(effect: Effect, incident: Incident, policy: Policy) -> bool:
    """Whether somebody would still have to be woken by this: by a page no longer once any pager has accepted one."""
    match effect:
        case Page():
            return effect.generation == incident.generation and unpaged(incident, policy) is not None
        case CallSecond():
            return effect.generation == incident.generation
        case EscalatePage():
            return effect.generation == incident.generation and incident.status is Status.OPEN
    return False
