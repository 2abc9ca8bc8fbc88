"""What PagerDuty tells us: who may say it, what it means, and what it asks of an incident.

Webhooks: https://developer.pagerduty.com/docs/webhooks/v3-overview/ (answer within 5 s, no signed time stamp).
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bot.contracts import Malformed
from bot.incident import commands as cmd
from bot.incident.events import PageAccepted, Severity
from bot.incident.people import Actor, ActorKind, Right
from bot.incident.redact import redact
from bot.incident.state import Incident
from bot.intake.alerts import Delivery, Message
from bot.intake.body import read_json
from bot.integrations.pagerduty.settings import NAME, SOURCE
from bot.integrations.pagerduty.wire import GROUP_PREFIX
from bot.settings import Secret


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
        said = redact(str(error))[:80]
        raise Malformed(f"this is not a PagerDuty V3 webhook: {type(error).__name__} {said}") from error
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
            return cmd.Resolve(**common, reason="resolved in PagerDuty", despite_firing=True, despite_fallback=True)
        case "reopened":
            return cmd.Reopen(**common)
        case "annotated":
            return cmd.AddNote(**common, text=inbound.text)
        case _:
            return None
