"""PagerDuty's JSON: REST objects and V3 webhook events, made from what the account holds."""

from __future__ import annotations

from datetime import UTC, datetime

from bot.workbench.pagerduty.model import POLICY_ID, SERVICE_ID, Incident, Note, PagerDutyConfig, Person

API = "https://api.pagerduty.com"
Json = dict[str, object]


def stamp(at: float) -> str:
    """ISO 8601 in UTC, whole seconds."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stamp_ms(at: float) -> str:
    """ISO 8601 in UTC with milliseconds, as webhook events carry it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Shapes:
    """Builds the JSON of one account."""

    def __init__(self, config: PagerDutyConfig) -> None:
        self._config = config
        self._people = {person.id: person for person in config.people}

    def reference(self, kind: str, ident: str, summary: str) -> Json:
        """A reference object, `<kind>_reference`."""
        plural = "escalation_policies" if kind == "escalation_policy" else f"{kind}s"
        return {
            "id": ident,
            "type": f"{kind}_reference",
            "summary": summary,
            "self": f"{API}/{plural}/{ident}",
            "html_url": f"{self._config.web_url}/#pagerduty/{plural}/{ident}",
        }

    def user_reference(self, ident: str) -> Json:
        """A reference to a person."""
        return self.reference("user", ident, self._people[ident].name)

    @property
    def service_reference(self) -> Json:
        """A reference to the account's one service."""
        return self.reference("service", SERVICE_ID, self._config.service)

    @property
    def policy_reference(self) -> Json:
        """A reference to the account's one escalation policy."""
        return self.reference("escalation_policy", POLICY_ID, self._config.policy)

    def user(self, person: Person) -> Json:
        """GET /users/{id}."""
        return {
            **self.user_reference(person.id),
            "type": "user",
            "name": person.name,
            "email": person.email,
            "time_zone": "Etc/UTC",
            "role": "user",
            "teams": [],
        }

    def service(self) -> Json:
        """GET /services/{id}."""
        return {
            **self.service_reference,
            "type": "service",
            "name": self._config.service,
            "status": "active",
            "acknowledgement_timeout": None,
            "auto_resolve_timeout": None,
            "alert_creation": "create_alerts_and_incidents",
            "escalation_policy": self.policy_reference,
            "teams": [],
        }

    def policy(self) -> Json:
        """GET /escalation_policies/{id}."""
        minutes = max(1, round(self._config.escalate_after_s / 60))
        return {
            **self.policy_reference,
            "type": "escalation_policy",
            "name": self._config.policy,
            "num_loops": 0,
            "escalation_rules": [
                {
                    "id": f"PRULE{level:02d}",
                    "escalation_delay_in_minutes": minutes,
                    "targets": [self.user_reference(ident)],
                }
                for level, ident in enumerate(self._config.levels, 1)
            ],
            "services": [self.service_reference],
            "teams": [],
        }

    def incident(self, incident: Incident) -> Json:
        """GET /incidents/{id}."""
        acknowledgements = []
        if incident.status == "acknowledged" and incident.acknowledged_at is not None:
            who = incident.acknowledged_by
            acknowledger = self.user_reference(who) if who else self.service_reference
            acknowledgements = [{"at": stamp(incident.acknowledged_at), "acknowledger": acknowledger}]
        assignments = []
        if incident.status != "resolved":
            assignee = self.user_reference(incident.assigned_to)
            assignments = [{"at": stamp(incident.changed_at), "assignee": assignee}]
        return {
            **self.reference("incident", incident.id, f"[#{incident.number}] {incident.title}"),
            "type": "incident",
            "incident_number": incident.number,
            "title": incident.title,
            "created_at": stamp(incident.created_at),
            "updated_at": stamp(incident.changed_at),
            "status": incident.status,
            "incident_key": incident.key,
            "urgency": incident.urgency,
            "service": self.service_reference,
            "escalation_policy": self.policy_reference,
            "assignments": assignments,
            "assigned_via": "escalation_policy",
            "acknowledgements": acknowledgements,
            "last_status_change_at": stamp(incident.changed_at),
            "last_status_change_by": self._agent(incident.changed_by) or self.service_reference,
            "alert_counts": self._alert_counts(incident),
            "teams": [],
            "pending_actions": [],
            "priority": None,
            "resolve_reason": None,
            "is_mergeable": incident.status != "resolved",
        }

    def note(self, note: Note) -> Json:
        """One entry of GET /incidents/{id}/notes."""
        return {
            "id": note.id,
            "user": self.user_reference(note.by.id),
            "content": note.content,
            "created_at": stamp(note.at),
            "channel": {"summary": "The PagerDuty website or APIs"},
        }

    def event(
        self, event_id: str, event_type: str, at: float, agent: str | None, data: Json, *, resource: str = "incident"
    ) -> Json:
        """The `event` object of a V3 webhook; `agent` is a person's id, or None for the integration."""
        return {
            "id": event_id,
            "event_type": event_type,
            "resource_type": resource,
            "occurred_at": stamp_ms(at),
            "agent": self._agent(agent),
            "client": None,
            "data": data,
        }

    def incident_data(self, incident: Incident) -> Json:
        """`data` of an incident event."""
        reference = self.reference("incident", incident.id, incident.title)
        assignees = [] if incident.status == "resolved" else [self.user_reference(incident.assigned_to)]
        return {
            "id": incident.id,
            "type": "incident",
            "self": reference["self"],
            "html_url": reference["html_url"],
            "number": incident.number,
            "status": incident.status,
            "incident_key": incident.key,
            "created_at": stamp(incident.created_at),
            "reopened_at": stamp(incident.reopened_at) if incident.reopened_at else None,
            "title": incident.title,
            "incident_type": {"name": "incident_default"},
            "service": self.service_reference,
            "assignees": assignees,
            "escalation_policy": self.policy_reference,
            "teams": [],
            "priority": None,
            "urgency": incident.urgency,
            "conference_bridge": None,
            "resolve_reason": None,
        }

    def note_data(self, incident: Incident, note: Note) -> Json:
        """`data` of incident.annotated."""
        return {
            "incident": self.reference("incident", incident.id, incident.title),
            "id": note.id,
            "content": note.content,
            "trimmed": False,
            "type": "incident_note",
        }

    def _agent(self, ident: str | None) -> Json | None:
        return self.user_reference(ident) if ident else None

    def _alert_counts(self, incident: Incident) -> Json:
        open_alerts = 0 if incident.status == "resolved" else incident.alerts
        return {"all": incident.alerts, "triggered": open_alerts, "resolved": incident.alerts - open_alerts}
