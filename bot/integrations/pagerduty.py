"""PagerDuty: pages out by Events API v2, escalation by REST or a second key, webhooks V3 in.

Events API: https://developer.pagerduty.com/docs/events-api-v2/overview/ (summary up to 1024 characters, key 255).
Webhooks: https://developer.pagerduty.com/docs/webhooks/v3-overview/ (answer within 5 s, no signed time stamp).
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import httpx2
from pagerduty import Error, EventsApiV2Client, HttpError, RestApiV2Client

from bot.contracts import Attempt, Delivered, Malformed, Permanent, Transient
from bot.incident import commands as cmd
from bot.incident import effects as ef
from bot.incident.entry import FIRST_PAGER
from bot.incident.events import Event, PageAccepted, Severity
from bot.incident.people import Actor, ActorKind, Right
from bot.incident.redact import redact
from bot.incident.state import Incident
from bot.intake.alerts import Delivery, Message
from bot.intake.body import read_json
from bot.integrations.fallback import Word, timeout_of
from bot.settings import Secret, Table

SOURCE: Final = FIRST_PAGER
NAME: Final = "PagerDuty"
Client = TypeVar("Client", EventsApiV2Client, RestApiV2Client)
TIMEOUT_S: Final = 3
LOOK_TIMEOUT_S: Final = 1
"""Together what a page may hold its lane up: at most one look whether it is known, and one word."""
ALREADY_SO: Final = frozenset({1001, 1002})
"""REST error codes for "already resolved" and "already acknowledged": what we wanted."""
SEVERITIES: Final = {
    Severity.SEV1: "critical",
    Severity.SEV2: "error",
    Severity.SEV3: "warning",
    Severity.SEV4: "info",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The `[pagerduty]` table.

    `escalation`: `policy` leaves it to PagerDuty's own policy, `level` raises the incident's escalation level by REST,
    `key` pages a second integration key. `users` maps Slack user ids to PagerDuty's (`P...`, as in a profile's link).
    """

    routing_key: Secret
    second_routing_key: Secret
    api_token: Secret
    webhook_secrets: tuple[Secret, ...]
    api_url: str
    events_url: str
    from_email: str
    escalation: str
    users: Mapping[str, str]

    @classmethod
    def from_toml(
        cls, values: Mapping[str, Any], secret: Callable[[str], str | None]
    ) -> tuple["Settings | None", list[str]]:
        """The settings, or None with the faults as sentences. Secrets come by name from `secret`."""
        faults: list[str] = []
        table = Table("pagerduty", values, faults)
        settings = cls(
            routing_key=Secret(secret("FIXFIRST_PAGERDUTY_ROUTING_KEY") or ""),
            second_routing_key=Secret(secret("FIXFIRST_PAGERDUTY_SECOND_ROUTING_KEY") or ""),
            api_token=Secret(secret("FIXFIRST_PAGERDUTY_API_TOKEN") or ""),
            webhook_secrets=tuple(
                Secret(part.strip())
                for part in (secret("FIXFIRST_PAGERDUTY_WEBHOOK_SECRETS") or "").split(",")
                if part.strip()
            ),
            api_url=table.url("api_url", "https://api.pagerduty.com"),
            events_url=table.url("events_url", "https://events.pagerduty.com"),
            from_email=table.text("from"),
            escalation=table.choice("escalation", "policy", ("policy", "level", "key")),
            users={str(user): str(theirs) for user, theirs in table.mapping("users").items()},
        )
        if not settings.routing_key:
            table.fault("routing_key", "is missing; set FIXFIRST_PAGERDUTY_ROUTING_KEY in the environment")
        if settings.escalation == "level" and not (settings.api_token and settings.from_email):
            table.fault("escalation", 'is "level", which needs FIXFIRST_PAGERDUTY_API_TOKEN and pagerduty.from')
        if settings.escalation == "key" and not settings.second_routing_key:
            table.fault("escalation", 'is "key", which needs FIXFIRST_PAGERDUTY_SECOND_ROUTING_KEY')
        table.done()
        return (None if faults else settings), faults


def dedup_key(incident: Incident, generation: int) -> str:
    """One key for trigger, acknowledge and resolve of one round."""
    return incident.page_key(generation)


class _PlainHttp(httpx2.HTTPTransport):
    """Lets an http:// address be configured although the client insists on https:// (a proxy, or a test double)."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.url = request.url.copy_with(scheme="http")
        return super().handle_request(request)


def _connection(url: str) -> dict[str, Any]:
    """The client's arguments for an address; http needs a transport of our own."""
    plain = {"transport": _PlainHttp()} if url.startswith("http://") else {}
    return {"base_url": url.rstrip("/").replace("http://", "https://", 1), **plain}


def _bounded(client: Client, timeout: int = TIMEOUT_S) -> Client:
    """The client without its own retries, which sleep for minutes: the outbox repeats, and keeps lanes apart."""
    client.retry = {429: 1, 500: 0, 502: 0, 503: 0, 504: 0}
    client.max_http_attempts = -1  # with 0 it would still sleep once after a 429, and hold up the next page
    client.max_network_attempts = 0
    client.timeout = timeout
    return client


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
        return _bounded(EventsApiV2Client(key.reveal(), **_connection(self._settings.events_url)))

    def close(self) -> None:
        """Lets go of the connections."""
        for client in (self._events, self._second, self._rest_client, self._look_client):
            if client is not None:
                client.close()

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
        if not settings.api_token or not settings.from_email:
            raise Permanent("PagerDuty's REST API needs FIXFIRST_PAGERDUTY_API_TOKEN and pagerduty.from")
        client = RestApiV2Client(
            settings.api_token.reveal(), default_from=settings.from_email, **_connection(settings.api_url)
        )
        return _bounded(client, timeout)

    def deliver(self, effect: ef.Effect, incident: Incident, attempt: Attempt) -> Delivered:
        """Pages, acknowledges, resolves or escalates. Raises Transient, Permanent."""
        try:
            return self._deliver(effect, incident, attempt)
        except HttpError as error:
            raise _failure(error) from error
        except (Error, httpx2.HTTPError) as error:
            raise Transient(f"PagerDuty does not answer ({error})", ambiguous=True) from error

    def _deliver(self, effect: ef.Effect, incident: Incident, attempt: Attempt) -> Sequence[Event]:
        match effect:
            case ef.Page(generation=generation):
                if not incident.wants_page(generation):
                    return []
                if attempt.number == 1 or not self._known(incident, generation):
                    self._trigger(self._events, incident, generation)
                return [PageAccepted(NAME, generation)]
            case ef.AcknowledgePage(generation=generation):
                self._change(incident, generation, "acknowledge")
            case ef.StopPaging(generation=generation):
                self._change(incident, generation, "resolve")
            case ef.EscalatePage(generation=generation, level=level):
                if not incident.wants_page(generation):
                    return []
                self._escalate(incident, generation, level)
            case other:
                raise TypeError(f"PagerDuty cannot carry out {type(other).__name__}")
        return []

    def _known(self, incident: Incident, generation: int) -> bool:
        """Whether an earlier try of unknown outcome did page. PagerDuty joins a repeat only to what is still open: sent
        again after somebody resolved it there, it would wake people anew. When in doubt it is sent: better twice."""
        if not self._settings.api_token or not self._settings.from_email:
            return False
        try:
            return bool(self._look().rget("incidents", params={"incident_key": dedup_key(incident, generation)}))
        except (Error, httpx2.HTTPError):
            return False

    def _trigger(self, client: EventsApiV2Client, incident: Incident, generation: int) -> None:
        _trigger(client, incident, generation, self._link(incident))

    def _change(self, incident: Incident, generation: int, action: str) -> None:
        theirs = foreign_id(incident)
        if self._second is not None and self._settings.escalation == "key":
            # Whether it was paged at all, a later round no longer knows; the end of what never was is ignored there.
            self._second.send_event(action, dedup_key=dedup_key(incident, generation))
        if theirs is None or generation in incident.pages:
            self._events.send_event(action, dedup_key=dedup_key(incident, generation))
        if theirs is not None and self._settings.api_token:
            status = {"acknowledge": "acknowledged", "resolve": "resolved"}[action]
            self._put(theirs, {"type": "incident_reference", "status": status})

    def _escalate(self, incident: Incident, generation: int, level: int) -> None:
        match self._settings.escalation:
            case "level":
                found = self._find(incident, generation)
                rules = found["escalation_policy"].get("escalation_rules", ())
                if level < len(rules):  # beyond the last level there is nobody to wake
                    self._put(found["id"], {"type": "incident_reference", "escalation_level": level + 1})
            case "key" if self._second is not None:
                self._trigger(self._second, incident, generation)
            case _:
                """PagerDuty's own escalation policy is already calling the next person."""

    def _find(self, incident: Incident, generation: int) -> Mapping[str, Any]:
        """PagerDuty's own incident with its whole escalation policy."""
        whole = {"include[]": "escalation_policies"}
        theirs = foreign_id(incident)
        if theirs is not None:
            return dict(self._rest().rget(f"incidents/{theirs}", params=whole))
        found = self._rest().rget("incidents", params={"incident_key": dedup_key(incident, generation), **whole})
        if not found:
            raise Transient("PagerDuty does not know the incident yet")
        return dict(found[0])

    def _put(self, incident_id: str, changes: Mapping[str, Any]) -> None:
        try:
            self._rest().rput(f"incidents/{incident_id}", json=dict(changes))
        except HttpError as error:
            if _code(error) not in ALREADY_SO:
                raise


def _trigger(client: EventsApiV2Client, incident: Incident, generation: int, link: str) -> None:
    client.send_event(
        "trigger",
        dedup_key=dedup_key(incident, generation),
        payload={
            "summary": f"{incident.severity} {incident.ref} {incident.title}"[:1024],
            "source": incident.service or incident.model or "fixfirst",
            "severity": SEVERITIES[incident.severity],
            "component": incident.model or None,
            "group": incident.service or None,
            "custom_details": {"firing": incident.firing, "runbook": incident.runbook, "round": generation},
        },
        links=[{"href": link, "text": f"{incident.ref} in FixFirst"}] if link else [],
    )


@dataclass(frozen=True, slots=True)
class Integration:
    """One `[[pager.fallback]]` of the kind `pagerduty`: another integration key. `timeout` is in seconds."""

    name: str
    routing_key: Secret
    events_url: str
    timeout: float

    @classmethod
    def from_table(cls, name: str, table: Table, secret: Callable[[str], str | None]) -> "Integration":
        """The settings; faults go to the table. `secret` gives a secret by its name."""
        if "routing_key_env" not in table.values:
            table.fault("routing_key_env", "is missing; name the environment variable with the integration key")
        return cls(
            name=name,
            routing_key=table.secret("routing_key_env", secret),
            events_url=table.url("events_url", "https://events.pagerduty.com"),
            timeout=timeout_of(table),
        )

    @property
    def label(self) -> str:
        """How people know it."""
        return f"{NAME} ({self.name})"

    def say(self, word: Word) -> None:
        """Sends one event. Raises Transient, Permanent."""
        client = _bounded(EventsApiV2Client(self.routing_key.reveal(), **_connection(self.events_url)))
        client.timeout = self.timeout  # type: ignore[assignment]  # it goes to httpx as it is
        try:
            if word.action == "trigger":
                _trigger(client, word.incident, word.generation, word.link)
            else:
                client.send_event(word.action, dedup_key=word.key)
        except HttpError as error:
            raise _failure(error) from error
        except (Error, httpx2.HTTPError) as error:
            raise Transient(f"{self.label} does not answer ({error})", ambiguous=True) from error
        finally:
            client.close()


def _code(error: HttpError) -> int | None:
    try:
        return int(_answer(error).json()["error"]["code"])
    except (KeyError, TypeError, ValueError):
        return None


def _answer(error: HttpError) -> httpx2.Response:
    """The answer behind the error; the client's types allow for none, an HTTP error without one does not occur."""
    if error.response is None:
        raise error
    response: httpx2.Response = error.response
    return response


def _failure(error: HttpError) -> Transient | Permanent:
    response = _answer(error)
    status = response.status_code
    if status == 429 or status >= 500:
        # The REST API tells with every answer when its limit is counted anew; only who ran into it need wait so long.
        limit = response.headers.get("ratelimit-reset") if status == 429 else None
        wish = limit or response.headers.get("retry-after")
        after = float(wish) if wish and wish.isdecimal() else None
        return Transient(f"PagerDuty answered {status}", retry_after=after, ambiguous=status >= 500)
    return Permanent(f"PagerDuty refused it with {status}: {response.text[:200]}")


GROUP_PREFIX: Final = "v1:pagerduty="


def foreign_id(incident: Incident) -> str | None:
    """PagerDuty's id of an incident that was born there, else None.

    When such a one comes back here, or gets worse, we page it anew under our own key: then it is two over there.
    """
    return incident.group_key.removeprefix(GROUP_PREFIX) if incident.group_key.startswith(GROUP_PREFIX) else None


def signed(body: bytes, header: str, secrets: Sequence[Secret]) -> bool:
    """Whether any `v1=` of `X-PagerDuty-Signature` is HMAC-SHA256 of the raw body under any of our secrets.

    Several signatures come while a secret is rotated. No time stamp is signed, so a replay is told by its event id.
    """
    given = [part.strip()[3:].encode() for part in header.split(",") if part.strip().startswith("v1=")]
    wanted = [hmac.new(s.reveal().encode(), body, hashlib.sha256).hexdigest().encode() for s in secrets]
    matches = [hmac.compare_digest(one, other) for one in given for other in wanted]
    return any(matches)


@dataclass(frozen=True, slots=True)
class Inbound:
    """One webhook event in our words. `incident` is our id when the page was ours; else `group_key` is set."""

    event_id: str
    verb: str
    at: datetime
    by: Actor
    incident: str
    group_key: str
    generation: int
    title: str
    service: str
    urgent: bool
    link: str
    text: str


MAX_ID: Final = 80
"""Characters of a PagerDuty id that are kept; real ones have 14."""
MAX_DIGITS: Final = 9
VERBS: Final = frozenset({"triggered", "acknowledged", "resolved", "reopened", "annotated"})


def read_webhook(body: bytes, workspace: str, users: Mapping[str, str]) -> Inbound | None:
    """What the event means to us; None for kinds we do not follow, which are answered 2xx all the same.

    `users` maps Slack ids to PagerDuty's, the only name that a webhook gives a person. Raises Malformed.
    """
    whole = read_json(body)
    try:
        event = whole["event"]
        event_id, kind, data = str(event["id"]), str(event["event_type"]), event["data"]
        verb = kind.removeprefix("incident.")
        if not kind.startswith("incident.") or verb not in VERBS or not isinstance(data, dict):
            return None
        occurred = datetime.fromisoformat(event["occurred_at"])
        at = occurred.astimezone(UTC) if occurred.tzinfo else occurred.replace(tzinfo=UTC)
    except (ValueError, OverflowError, TypeError, KeyError) as error:
        raise Malformed(f"this is not a PagerDuty V3 webhook: {type(error).__name__} {str(error)[:80]}") from error
    about = data.get("incident") if data.get("type") == "incident_note" else data
    if not isinstance(about, dict) or not about.get("id"):
        raise Malformed("the event names no incident")
    service = about.get("service")
    ours, generation = _ours(str(about.get("incident_key") or ""), workspace)
    return Inbound(
        event_id=event_id,
        verb=verb,
        at=at,
        by=_actor(event.get("agent"), users),
        incident=ours,
        group_key="" if ours else f"{GROUP_PREFIX}{str(about['id'])[:MAX_ID]}",
        generation=generation,
        title=redact(str(about.get("title") or about.get("summary") or "PagerDuty incident"))[:300],
        service=redact(str(service.get("summary") or ""))[:200] if isinstance(service, dict) else "",
        urgent=about.get("urgency") != "low",
        link=str(about.get("html_url") or ""),
        text=str(data.get("content") or ""),
    )


def _ours(key: str, workspace: str) -> tuple[str, int]:
    parts = key.rsplit(":", 2)
    if len(parts) == 3 and parts[0] == workspace and parts[2].isdecimal() and len(parts[2]) <= MAX_DIGITS:
        return parts[1], int(parts[2])
    return "", 0


def _actor(agent: Any, users: Mapping[str, str]) -> Actor:
    """Who acted there. PagerDuty decides who may act in PagerDuty, so its people are responders here."""
    if not isinstance(agent, dict) or agent.get("type") != "user_reference":
        return Actor(ActorKind.SOURCE, SOURCE, NAME)
    ident = str(agent.get("id"))[:MAX_ID]
    name = str(agent.get("summary") or ident)
    known = next((user for user, theirs in users.items() if theirs == ident), None)
    return Actor(ActorKind.MEMBER, known or f"pagerduty:{ident}", name, frozenset({Right.RESPOND}))


def as_alert(inbound: Inbound) -> Message:
    """An incident born in PagerDuty, as the alert it is to us."""
    firing = inbound.verb in ("triggered", "reopened")
    return Message(
        SOURCE,
        (
            Delivery(
                fingerprint=inbound.group_key.removeprefix(GROUP_PREFIX),
                firing=firing,
                name="PagerDuty",
                title=inbound.title,
                severity=Severity.SEV1 if inbound.urgent else Severity.SEV3,
                service=inbound.service,
                model="",
                runbook="",
                labels={"pagerduty": inbound.group_key.removeprefix(GROUP_PREFIX)},
                starts_at=inbound.at,
                ends_at=None if firing else inbound.at,
                group_key=inbound.group_key,
            ),
        ),
    )


def as_command(inbound: Inbound, incident: Incident) -> cmd.Command | None:
    """What the event asks of the incident; None when it asks nothing, or is about an earlier round of it."""
    if inbound.generation not in (0, incident.generation) and inbound.verb not in ("triggered", "annotated"):
        return None
    common: dict[str, Any] = {
        "incident": incident.id,
        "by": inbound.by,
        "at": inbound.at,
        "key": f"pagerduty:{inbound.event_id}",
        "source": SOURCE,
        "source_id": inbound.event_id,
    }
    match inbound.verb:
        case "triggered" if not inbound.group_key and inbound.link:
            return cmd.RecordReceipt(**common, events=(PageAccepted(NAME, inbound.generation, inbound.link),))
        case "acknowledged":
            return cmd.Acknowledge(**common)
        case "resolved":
            return cmd.Resolve(**common, reason="resolved in PagerDuty", despite_firing=True)
        case "reopened":
            return cmd.Reopen(**common)
        case "annotated":
            return cmd.AddNote(**common, text=inbound.text)
        case _:
            return None
