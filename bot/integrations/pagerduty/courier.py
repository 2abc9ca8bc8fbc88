"""Carries pages to PagerDuty, as the first pager."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import httpx2
from pagerduty import Error, EventsApiV2Client, HttpError, RestApiV2Client

from bot.contracts import Again, Attempt, Delivered, Permanent, Transient
from bot.incident import effects as ef
from bot.incident.events import Event, PageAccepted
from bot.incident.state import Incident
from bot.integrations.pagerduty.census import RESOLVED, Paged, known
from bot.integrations.pagerduty.settings import NAME, Settings
from bot.integrations.pagerduty.wire import (
    LOOK_TIMEOUT_S,
    TIMEOUT_S,
    bounded,
    code_of,
    connection,
    dedup_key,
    failure_of,
    foreign_id,
    only_while,
    silence_of,
    trigger,
)
from bot.settings import Secret

ALREADY_SO: Final = frozenset({1001, 1002})
"""REST error codes for "already resolved" and "already acknowledged": what we wanted."""
KNOWN_AFTER: Final = timedelta(seconds=2)
"""An event is taken first and worked in later; so long after it the REST API is asked for what came of it."""
PAGED: Final = "paged"
"""In a call's progress: it has paged the round itself."""


class Courier:
    """Delivers pages. A page nobody needs any more (acknowledged, over, or an older round) is not sent."""

    def __init__(self, settings: Settings, link: Callable[[Incident], str]) -> None:
        self._settings = settings
        self._link = link
        self._events = self._events_client(settings.routing_key)
        self._second = self._events_client(settings.second_routing_key) if settings.second_routing_key else None
        self._rest_client: RestApiV2Client | None = None
        self._look_client: RestApiV2Client | None = None

    def _events_client(self, key: Secret) -> EventsApiV2Client:
        return bounded(EventsApiV2Client(key.reveal(), **connection(self._settings.events_url)))

    def close(self) -> None:
        """Lets go of the connections."""
        for client in (self._events, self._second, self._rest_client, self._look_client):
            if client is not None:
                client.close()

    def _has_rest(self) -> bool:
        return bool(self._settings.api_token and self._settings.from_email)

    def _rest(self) -> RestApiV2Client:
        if self._rest_client is None:
            self._rest_client = self._new_rest_client(TIMEOUT_S)
        return self._rest_client

    def _look(self) -> RestApiV2Client:
        if self._look_client is None:
            self._look_client = self._new_rest_client(LOOK_TIMEOUT_S)
        return self._look_client

    def _new_rest_client(self, timeout: int) -> RestApiV2Client:
        settings = self._settings
        if not self._has_rest():
            raise Permanent("PagerDuty's REST API needs FIXFIRST_PAGERDUTY_API_TOKEN and pagerduty.from")
        client = RestApiV2Client(
            settings.api_token.reveal(), default_from=settings.from_email, **connection(settings.api_url)
        )
        return bounded(client, timeout)

    def known(self, keys: Sequence[str]) -> list[Paged]:
        """Every page that is open there, and the latest under each of these keys. Raises Transient, Permanent."""
        return known(self._rest(), keys)

    def deliver(self, effect: ef.Effect, incident: Incident, attempt: Attempt) -> Delivered:
        """Pages, acknowledges, resolves or escalates. Raises Transient, Permanent, TakenOver."""
        try:
            with only_while(attempt.still_ours):
                return self._deliver(effect, incident, attempt)
        except HttpError as error:
            raise failure_of(error) from error
        except (Error, httpx2.HTTPError) as error:
            raise silence_of(error) from error

    def _deliver(self, effect: ef.Effect, incident: Incident, attempt: Attempt) -> Delivered:
        match effect:
            case ef.Page(generation=generation):
                if not incident.wants_page(generation):
                    return []
                if attempt.number > 1 and self._known(incident, generation):
                    return [PageAccepted(NAME, generation)]
                return self._page(incident, generation)
            case ef.AcknowledgePage(generation=generation):
                self._change(incident, generation, "acknowledge")
            case ef.StopPaging(generation=generation):
                self._change(incident, generation, "resolve")
            case ef.CallSecond(generation=generation, level=level):
                if not incident.is_live or incident.generation != generation:
                    return []
                return self._call_second(incident, generation, level, attempt)
            case ef.EscalatePage(generation=generation, level=level):
                if not incident.wants_page(generation):
                    return []
                return self._escalate(incident, generation, level)
            case other:
                raise TypeError(f"PagerDuty cannot carry out {type(other).__name__}")
        return []

    def _known(self, incident: Incident, generation: int) -> bool:
        """Whether an earlier try of unknown outcome did page. PagerDuty joins a repeat only to what is still open: sent
        again after somebody resolved it there, it would wake people anew. When in doubt it is sent: better twice."""
        if not self._has_rest():
            return False
        try:
            found = self._look().rget("incidents", params={"incident_key": dedup_key(incident, generation)})
        except (Error, httpx2.HTTPError, ValueError, RecursionError):
            return False
        return isinstance(found, list) and bool(found)

    def _page(self, incident: Incident, generation: int) -> Sequence[Event]:
        self._trigger(self._events, incident, generation)
        return [PageAccepted(NAME, generation)]

    def _trigger(self, client: EventsApiV2Client, incident: Incident, generation: int) -> None:
        trigger(client, incident, generation, self._link(incident))

    def _change(self, incident: Incident, generation: int, action: str) -> None:
        theirs = foreign_id(incident)
        if self._second is not None and self._settings.escalation == "key":
            # Whether it was paged at all, a later round no longer knows; the end of what never was is ignored there.
            self._second.send_event(action, dedup_key=dedup_key(incident, generation))
        if theirs is None or generation in incident.pages:
            self._events.send_event(action, dedup_key=dedup_key(incident, generation))
        if theirs is not None and self._settings.api_token and generation == incident.generation:
            # It has one life there: the end of an earlier round must not end what is live again.
            status = {"acknowledge": "acknowledged", "resolve": "resolved"}[action]
            self._put(theirs, {"type": "incident_reference", "status": status})

    def _call_second(self, incident: Incident, generation: int, level: int, attempt: Attempt) -> Delivered:
        """PagerDuty's own policy calls nobody any more once somebody has it, so a key is used, or the level is raised.

        A round that nobody was paged for (its severity pages nobody, or it was acknowledged before) is paged now, under
        its one key: the page wakes the first person of the policy, and the raised level the next.
        """
        if self._second is not None and self._settings.escalation == "key":
            self._trigger(self._second, incident, generation)
            return []
        if not self._has_rest():
            if generation in incident.pages or foreign_id(incident) is not None:
                raise Permanent(
                    "a second person can be called only with PagerDuty's REST API or a second key; call one"
                )
            return self._page(incident, generation)
        found, paged = self._find(incident, generation), bool(attempt.progress.get(PAGED))
        if found is None and paged:
            raise Transient("PagerDuty does not show the page yet")
        if found is None:
            return Again(attempt.now + KNOWN_AFTER, {PAGED: True}, self._page(incident, generation))
        self._raise_level(found, level, first_woken=paged)
        return []

    def _escalate(self, incident: Incident, generation: int, level: int) -> Sequence[Event]:
        match self._settings.escalation:
            case "level":
                found = self._find(incident, generation)
                if found is None:
                    return self._page(incident, generation)  # it was refused, and may be taken by now
                self._raise_level(found, level)
            case "key" if self._second is not None:
                self._trigger(self._second, incident, generation)
            case _:
                """Whom it calls next is up to PagerDuty's own policy; the timeline says so."""
        return []

    def _find(self, incident: Incident, generation: int) -> Mapping[str, Any] | None:
        """PagerDuty's own incident with its whole escalation policy; None when it knows no page of that round."""
        whole = {"include[]": "escalation_policies"}
        theirs = foreign_id(incident)
        if theirs is not None and generation not in incident.pages:
            return dict(self._rest().rget(f"incidents/{theirs}", params=whole))
        found = self._rest().rget("incidents", params={"incident_key": dedup_key(incident, generation), **whole})
        return dict(found[0]) if found else None

    def _raise_level(self, found: Mapping[str, Any], level: int, *, first_woken: bool = False) -> None:
        """Wakes whom this level is for. Permanent where that is nobody, unless our page has just woken the first."""
        if found["status"] == RESOLVED:
            raise Permanent("the page is resolved in PagerDuty and wakes nobody any more; call somebody yourself")
        if level >= len(found["escalation_policy"].get("escalation_rules", ())):
            if first_woken:
                return
            raise Permanent("the escalation policy has nobody further to wake; call somebody yourself")
        self._put(found["id"], {"type": "incident_reference", "escalation_level": level + 1})

    def _put(self, incident_id: str, changes: Mapping[str, Any]) -> None:
        try:
            self._rest().rput(f"incidents/{incident_id}", json=dict(changes))
        except HttpError as error:
            if code_of(error) not in ALREADY_SO:
                raise
