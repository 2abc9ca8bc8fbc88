"""The logbook: what concerns no single incident, as records, and the one human line of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from bot.incident.people import Actor
from bot.incident.timeline import who


class Kind(StrEnum):
    """What a record says. Stored for ever; a kind is never renamed."""

    GLASS_BROKEN = "glass.broken"
    GLASS_SHUT = "glass.shut"
    FIRST_SEEN = "database.first_seen"
    FAILED_OVER = "database.failed_over"
    RESTORED = "database.restored"
    CONFIRMED = "database.confirmed"
    RECONCILED = "database.reconciled"
    RUNBOOKS_STOPPED = "runbooks.stopped"
    RUNBOOKS_RELEASED = "runbooks.released"
    DRILL_STARTED = "drill.started"
    DRILL_ENDED = "drill.ended"


@dataclass(frozen=True, slots=True)
class Record:
    """One record; `seq` counts from 1 in a workspace, `body` is plain JSON. Its hash covers the one before it."""

    seq: int
    at: datetime
    kind: Kind
    by: Actor
    body: Mapping[str, Any]


FREEZES = (Kind.FAILED_OVER, Kind.RESTORED)
"""After one of these the record may lack what the world has seen."""
HOW_TO_CONFIRM = "the button in the intake channel or `fixfirst failover confirm`"
_FROZEN = (
    "People are still paged; no runbook acts and nothing is closed by itself until a person confirms, by "
    f"{HOW_TO_CONFIRM}"
)


def line(record: Record) -> str:
    """What the record says, for people: the same in the log, in chat, by mail and in the terminal."""
    name, body = who(record.by), record.body
    match record.kind:
        case Kind.GLASS_BROKEN:
            until = datetime.fromisoformat(body["until"])
            whom = "" if name.startswith(body["name"]) else f" for {body['name']}"
            return f"{name} broke the glass{whom}, until {until:%H:%M} UTC: {body['reason']} (key {body['glass']})"
        case Kind.GLASS_SHUT:
            return f"{name} took the break-glass key {body['glass']} back"
        case Kind.FIRST_SEEN:
            return f"The database is watched for a fail-over, from {body['epoch']} on"
        case Kind.FAILED_OVER:
            return (
                f"The database failed over ({body['before'] or 'unknown'} to {body['epoch']}): what was written in its "
                f"last seconds may be missing. {_FROZEN}"
            )
        case Kind.RESTORED:
            return f"The journal was restored from {body['backup']}: what came after that is missing. {_FROZEN}"
        case Kind.CONFIRMED:
            return f"{name} confirmed the database as it is now: runbooks wait for that no more, but for a new preview"
        case Kind.RUNBOOKS_STOPPED:
            why = f": {body['reason']}" if body["reason"] else ""
            return (
                f"{name} stopped all runbooks{why}. Nothing is carried out until somebody lets them act again; what "
                "was done can be undone"
            )
        case Kind.RUNBOOKS_RELEASED:
            return f"{name} took back the stop of all runbooks"
        case Kind.DRILL_STARTED:
            until = datetime.fromisoformat(body["until"])
            return f"{name} began the drill {body['scenario']}, until {until:%H:%M} UTC at most. It is practice"
        case Kind.DRILL_ENDED:
            return f"The drill {body['scenario']} is over"
        case Kind.RECONCILED:
            found = body["lines"]
            return "\n".join(["What the world says:", *(f"- {text}" for text in found)])
