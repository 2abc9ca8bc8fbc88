"""The account at work: events become incidents, people act on them, silence escalates, every change is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

from bot.workbench.pagerduty.model import (
    ApiError,
    Call,
    Incident,
    LogEntry,
    Note,
    PagerDutyConfig,
    Person,
    invalid,
    not_found,
)
from bot.workbench.pagerduty.shapes import Json, Shapes, stamp
from bot.workbench.pagerduty.webhooks import Subscription
from bot.workbench.slack.deliver import Poster
from bot.workbench.weather import Weather

Outage = Literal["none", "down", "429", "500", "500-after", "silent-after"]
"""down: no answer at all. 500-after: the request is carried out and then answered 500. silent-after: it is carried out,
and no answer comes."""
WEATHER: tuple[Outage, ...] = ("429", "500", "500-after", "silent-after")

CALLS_KEPT = 20_000


@dataclass(frozen=True)
class Throttle:
    """At most `limit` requests in the 60 s before now."""

    limit: int

    def allow(self, times: list[float], now: float) -> bool:
        """Note a request at `now` in `times` if there is room for it."""
        times[:] = [at for at in times if at > now - 60.0]
        if len(times) >= self.limit:
            return False
        times.append(now)
        return True


class PagerDuty:
    """One account. `clock` gives seconds since the epoch and may be driven by hand; `post` sends webhooks.

    Nothing happens by itself: `advance()` escalates what is due and sends the webhooks that are due. The server
    calls it several times a second, a test calls it when its clock has moved. Safe to use from any thread.
    """

    def __init__(self, config: PagerDutyConfig, clock: Callable[[], float], post: Poster) -> None:
        self.config = config
        self.shapes = Shapes(config)
        self.subscription = Subscription(config.webhook_url, config.secrets, post)
        self.outage: Outage = "none"
        self.weather = Weather(WEATHER)
        self._clock = clock
        self._lock = threading.RLock()
        self._incidents: list[Incident] = []
        self._calls: list[Call] = []
        self._issued = 0
        self._event_times: list[float] = []
        self._rest_times: list[float] = []
        self.changes = 0

    # --- what a test or the panel reads

    @property
    def now(self) -> float:
        """The account's time."""
        return self._clock()

    @property
    def incidents(self) -> list[Incident]:
        """Every incident, oldest first: copies, so that nobody changes the account by accident."""
        with self._lock:
            return deepcopy(self._incidents)

    @property
    def calls(self) -> list[Call]:
        """Every request that reached the account, oldest first (the last 20,000)."""
        with self._lock:
            return list(self._calls)

    def record(self, call: Call) -> None:
        """Remember a request and its answer."""
        with self._lock:
            self._calls.append(call)
            del self._calls[:-CALLS_KEPT]

    def steadily(self, rate: float, seed: int) -> None:
        """From now on each request fails with this probability (0 to 1), in one of the ways of WEATHER."""
        self.weather.turns(rate, seed)

    @property
    def is_well(self) -> bool:
        """Whether nothing fails."""
        return self.outage == "none" and self.weather.is_fair

    def trouble(self) -> Outage:
        """What the next request suffers: the outage while there is one, else what the weather brings."""
        return self.outage if self.outage != "none" else self.weather.strikes() or "none"

    def allow_event(self) -> bool:
        """Whether the Events API takes another event this minute."""
        with self._lock:
            return Throttle(self.config.events_per_minute).allow(self._event_times, self.now)

    def allow_rest(self) -> tuple[bool, int]:
        """Whether the REST API takes another request this minute, and how many remain."""
        with self._lock:
            allowed = Throttle(self.config.rest_per_minute).allow(self._rest_times, self.now)
            return allowed, self.config.rest_per_minute - len(self._rest_times)

    def find(self, incident_id: str) -> Incident:
        """One incident by id; 404 when there is none."""
        for incident in self._incidents:
            if incident.id == incident_id:
                return incident
        raise not_found()

    def person(self, ident: str) -> Person:
        """A person by PagerDuty id, e-mail or chat id; 404 when there is none."""
        for person in self.config.people:
            if ident in (person.id, person.email, person.alias):
                return person
        raise not_found()

    def search(self, *, key: str | None, statuses: list[str]) -> list[Incident]:
        """Incidents with this key (None: any) in one of `statuses` (empty: any), newest first."""
        with self._lock:
            found = [
                incident
                for incident in reversed(self._incidents)
                if key in (None, incident.key) and (not statuses or incident.status in statuses)
            ]
            return deepcopy(found)

    # --- events from the integration

    def trigger(self, key: str, payload: Mapping[str, object], *, second: bool = False) -> Incident:
        """Open an incident for `key`, or add the alert to the one that is open. `second`: by the second integration."""
        with self._lock:
            now = self.now
            incident = self._open(key, second=second)
            if incident is not None:
                incident.alerts += 1
                self._write(incident, "Triggered again by the integration; joined this incident.")
                return incident
            level = 2 if second else 1
            first = self.config.levels[level - 1]
            severity = payload.get("severity")
            incident = Incident(
                id=self._id("Q"),
                number=len(self._incidents) + 1,
                title=str(payload["summary"]),
                key=key,
                urgency="low" if severity in ("info", "warning") else "high",
                created_at=now,
                changed_at=now,
                level=level,
                second=second,
                assigned_to=first,
                escalates_at=now + self.config.escalate_after_s,
                details=dict(payload),
            )
            self._incidents.append(incident)
            self._write(incident, f"Triggered by the integration. {self._name(first)} was paged.")
            self._tell(incident, "incident.triggered", None)
            return incident

    def event_acknowledge(self, key: str, *, second: bool = False) -> None:
        """Acknowledge what is open and unacknowledged for `key`; anything else is ignored, as PagerDuty does."""
        with self._lock:
            incident = self._open(key, second=second)
            if incident is not None and incident.status == "triggered":
                self._acknowledge(incident, None)

    def event_resolve(self, key: str, *, second: bool = False) -> None:
        """Resolve what is open for `key`; nothing open is ignored."""
        with self._lock:
            incident = self._open(key, second=second)
            if incident is not None:
                self._resolve(incident, None, None)

    # --- what people do

    def acknowledge(self, incident_id: str, by: Person) -> Incident:
        """Stop the escalation. 1002 when it is acknowledged already, 1001 when it is resolved."""
        with self._lock:
            incident = self.find(incident_id)
            self._refuse_resolved(incident)
            if incident.status == "acknowledged":
                raise ApiError(400, 1002, "Incident Already Acknowledged")
            self._acknowledge(incident, by)
            return incident

    def resolve(self, incident_id: str, by: Person, resolution: str | None = None) -> Incident:
        """Close it. 1001 when it is resolved already."""
        with self._lock:
            incident = self.find(incident_id)
            self._refuse_resolved(incident)
            self._resolve(incident, by, resolution)
            return incident

    def reopen(self, incident_id: str, by: Person) -> Incident:
        """Open a resolved incident again, paging the first level."""
        with self._lock:
            incident = self.find(incident_id)
            if incident.status != "resolved":
                raise invalid("Incident is not resolved.")
            now = self.now
            incident.status, incident.reopened_at, incident.changed_at = "triggered", now, now
            incident.changed_by, incident.acknowledged_by, incident.acknowledged_at = by.id, None, None
            incident.level, incident.assigned_to = 1, self.config.levels[0]
            incident.escalates_at = now + self.config.escalate_after_s
            self._write(incident, f"Reopened by {by.name}. {self._name(incident.assigned_to)} was paged.")
            self._tell(incident, "incident.reopened", by)
            return incident

    def annotate(self, incident_id: str, by: Person, content: str) -> Note:
        """Add a note; the text must not be empty."""
        with self._lock:
            incident = self.find(incident_id)
            if not content.strip():
                raise invalid("Note content cannot be empty.")
            note = Note(self._id("N"), self.now, by, content)
            incident.notes.append(note)
            self._write(incident, f"{by.name} noted: {content}")
            data = self.shapes.note_data(incident, note)
            self._queue(incident, "incident.annotated", by, data)
            return note

    def escalate(self, incident_id: str, level: int, by: Person) -> Incident:
        """Page the person of `level` (1 is the first); it becomes unacknowledged."""
        with self._lock:
            incident = self.find(incident_id)
            self._refuse_resolved(incident)
            if not 1 <= level <= len(self.config.levels):
                raise invalid(f"Escalation level must be between 1 and {len(self.config.levels)}.")
            self._page_level(incident, level, f"{by.name} escalated to", by)
            return incident

    def act(self, user: str, incident_id: str, action: str, text: str = "") -> Incident:
        """Act as a person in the panel: acknowledge, resolve, reopen or note. `user` is any of a person's ids."""
        person = self.person(user)
        if action == "acknowledge":
            self.acknowledge(incident_id, person)
        elif action == "resolve":
            self.resolve(incident_id, person, text or None)
        elif action == "reopen":
            self.reopen(incident_id, person)
        elif action == "note":
            self.annotate(incident_id, person, text)
        else:
            raise invalid(f"There is no action {action}.")
        with self._lock:
            return deepcopy(self.find(incident_id))

    def ping(self) -> None:
        """Send `pagey.ping` to the subscription, as its test button does."""
        with self._lock:
            event_id = self._id("01P")
            data: Json = {"message": "Hello from your friend Pagey!", "type": "ping"}
            event = self.shapes.event(event_id, "pagey.ping", self.now, None, data, resource="pagey")
            self.subscription.queue(self._id("W"), "pagey", "pagey.ping", event, self.now)

    # --- time

    def advance(self) -> None:
        """Escalate what nobody acknowledged in time, then send the webhooks that are due."""
        with self._lock:
            now = self.now
            for incident in self._incidents:
                if (
                    incident.status == "triggered"
                    and incident.escalates_at is not None
                    and now >= incident.escalates_at
                ):
                    minutes = self.config.escalate_after_s / 60
                    why = f"Not acknowledged in {minutes:g} min: escalated to"
                    self._page_level(incident, incident.level + 1, why, None)
        self.subscription.deliver_due(self.now)

    # --- inside, with the lock held

    def _open(self, key: str, *, second: bool) -> Incident | None:
        ours = (i for i in reversed(self._incidents) if i.key == key and i.second is second)
        matching = (i for i in ours if i.status != "resolved")
        return next(matching, None)

    def _refuse_resolved(self, incident: Incident) -> None:
        if incident.status == "resolved":
            raise ApiError(400, 1001, "Incident Already Resolved")

    def _acknowledge(self, incident: Incident, by: Person | None) -> None:
        now = self.now
        incident.status, incident.changed_at, incident.escalates_at = "acknowledged", now, None
        incident.acknowledged_at, incident.acknowledged_by = now, by.id if by else None
        incident.changed_by = by.id if by else None
        self._write(incident, f"Acknowledged by {by.name if by else 'the integration'}.")
        self._tell(incident, "incident.acknowledged", by)

    def _resolve(self, incident: Incident, by: Person | None, resolution: str | None) -> None:
        incident.status, incident.changed_at, incident.escalates_at = "resolved", self.now, None
        incident.changed_by, incident.resolution = by.id if by else None, resolution
        words = f" {resolution}" if resolution else ""
        self._write(incident, f"Resolved by {by.name if by else 'the integration'}.{words}")
        self._tell(incident, "incident.resolved", by)

    def _page_level(self, incident: Incident, level: int, why: str, by: Person | None) -> None:
        incident.level, incident.assigned_to = level, self.config.levels[level - 1]
        incident.status, incident.changed_at = "triggered", self.now
        incident.acknowledged_at = incident.acknowledged_by = None
        more = level < len(self.config.levels)
        incident.escalates_at = self.now + self.config.escalate_after_s if more else None
        self._write(incident, f"{why} {self._name(incident.assigned_to)}.")
        self._tell(incident, "incident.escalated", by)

    def _write(self, incident: Incident, what: str) -> None:
        incident.log.append(LogEntry(self.now, what))
        self.changes += 1

    def _tell(self, incident: Incident, event_type: str, by: Person | None) -> None:
        self._queue(incident, event_type, by, self.shapes.incident_data(incident))

    def _queue(self, incident: Incident, event_type: str, by: Person | None, data: Json) -> None:
        event = self.shapes.event(self._id("01E"), event_type, self.now, by.id if by else None, data)
        self.subscription.queue(self._id("W"), incident.id, event_type, event, self.now)

    def _name(self, ident: str) -> str:
        return self.person(ident).name

    def _id(self, prefix: str) -> str:
        self._issued += 1
        return f"{prefix}{self._issued:0{14 - len(prefix)}X}"

    # --- the panel

    def pages(self) -> list[Json]:
        """Every incident as the panel shows it, newest first."""
        with self._lock:
            return [
                {
                    "id": incident.id,
                    "title": incident.title,
                    "status": incident.status,
                    "urgency": incident.urgency,
                    "assigned_to": self._name(incident.assigned_to),
                    "dedup_key": incident.key,
                    "created_at": stamp(incident.created_at),
                    "log": [{"at": stamp(entry.at), "what": entry.what} for entry in incident.log],
                }
                for incident in reversed(self._incidents)
            ]
