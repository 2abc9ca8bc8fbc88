"""The brake on record: who stopped all runbooks, who let them act again, and which steps were begun of late."""

from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, literal_column, select

from bot.incident.brake import ABOUT, Begun, Brake, brake, held_by, was_refused
from bot.incident.logbook import Kind
from bot.incident.people import Actor, Refused
from bot.incident.redact import redact
from bot.journal import logbook
from bot.journal.direct import Direct
from bot.journal.tables import event
from bot.journal.txn import Txn

LONGEST_REASON: Final = 500
_BEGUN: Final = (
    select(event.c.incident, event.c.at, event.c.body)
    .where(
        event.c.workspace == bindparam("workspace"),
        event.c.kind == literal_column("'run.step_started'"),
        event.c.at > bindparam("since"),
    )
    .order_by(event.c.at)
)


def brake_on_record(direct: Direct, workspace: str) -> Brake | None:
    """The brake as it is; None while runbooks may act."""
    return brake(logbook.latest(direct, workspace, ABOUT))


def pull(txn: Txn, by: Actor, reason: str) -> bool:
    """Stops all runbooks; False when they are already."""
    if txn.brake() is not None:
        return False
    body = {"reason": redact(" ".join(reason.split()))[:LONGEST_REASON]}
    logbook.append(txn.direct, txn.workspace, Kind.RUNBOOKS_STOPPED, by=by, body=body, now=txn.now)
    return True


def release(txn: Txn, by: Actor, seq: int | None = None) -> bool:
    """Lets them act again; False when they may already.

    Raises Refused when somebody has stopped them anew since the record `seq`.
    """
    pulled = txn.brake()
    if pulled is None:
        return False
    if seq is not None and pulled.seq != seq:
        raise Refused(f"{pulled.words}; that button is about an earlier stop. `/incident runbooks` shows this one.")
    logbook.append(txn.direct, txn.workspace, Kind.RUNBOOKS_RELEASED, by=by, body={}, now=txn.now)
    return True


def released(txn: Txn, by: Actor, seq: int | None = None) -> str:
    """`release`, and what people are told of it: also what else still keeps runbooks from acting."""
    if not release(txn, by, seq):
        return ""
    still = held_by(None, txn.standing().frozen_since)
    return " ".join(["They are not stopped any more.", *still]) if still else "Runbooks act again."


def confirmed(txn: Txn, by: Actor) -> str:
    """A person vouches for the database, and what people are told of it; empty where nothing waited for that."""
    if not txn.confirm(by):
        return ""
    still = held_by(txn.brake(), None)
    return " ".join(["Confirmed.", *(still or ["Runbooks act again, each after a new preview."])])


def begun_since(txn: Txn, since: datetime) -> list[Begun]:
    """Every step that was begun after then and not refused, on any incident, the oldest first."""
    txn.direct.alone(f"begun:{txn.workspace}")  # so that two servers do not each begin the last one that may be
    found: list[Begun] = []
    for row in txn.direct.named(_BEGUN, {"workspace": txn.workspace, "since": since}):
        incident = txn.glimpse(row["incident"])
        run = incident.runs.get(row["body"]["run"]) if incident else None
        step = run.step(row["body"]["step"]) if run else None
        if incident is not None and step is not None and not was_refused(step):
            found.append(Begun(step.spec.kind, row["at"], incident.ref))
    return found
