"""The outbox in SQL: who may carry which effect out, and what became of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from bot.incident.effects import EFFECTS, Effect
from bot.journal.codec import effect_out
from bot.journal.ids import new_id
from bot.journal.rows import Job, job_from_row
from bot.journal.tables import inbox, outbox

WAITING, DONE, DEAD = "waiting", "done", "dead"


# Written into the statement: SQLite does not use an index of the waiting ones alone for a state it is only told later.
_SAID: Final[ColumnElement[str]] = literal_column(f"'{WAITING}'")
_WAITING: Final = outbox.c.state == _SAID
_EARLIER: Final = outbox.alias("earlier")
# The statements of every delivery are built once: to build one costs more than to carry it out.
_LAST: Final = select(func.max(outbox.c.position)).where(outbox.c.incident == bindparam("its"))
_TWIN: Final = select(outbox.c.body).where(
    outbox.c.incident == bindparam("its"),
    outbox.c.lane == bindparam("queue"),
    outbox.c.kind == bindparam("what"),
    _WAITING,
    outbox.c.claim.is_(None),
)
_NEW: Final = insert(outbox)
_FREE: Final = or_(outbox.c.claimed_until.is_(None), outbox.c.claimed_until <= bindparam("now"))
COURIERS: Final = sorted({effect.courier for effect in EFFECTS.values()}, key=lambda name: (name != "pager", name))
"""Everybody who carries effects out, the pager first."""
_READY: Final = (
    select(outbox)
    .where(
        outbox.c.workspace == bindparam("whose"),
        _WAITING,
        outbox.c.courier == bindparam("by"),
        outbox.c.due_at <= bindparam("now"),
        _FREE,
        ~exists().where(
            _EARLIER.c.incident == outbox.c.incident,
            _EARLIER.c.courier == outbox.c.courier,
            _EARLIER.c.lane == outbox.c.lane,
            _EARLIER.c.state == _SAID,
            _EARLIER.c.position < outbox.c.position,
        ),
    )
    .order_by(outbox.c.due_at, outbox.c.id)
    .limit(bindparam("most"))
)
_CLAIM: Final = (
    update(outbox)
    .where(outbox.c.id == bindparam("job"), _WAITING, _FREE)
    .values(claim=bindparam("token"), claimed_until=bindparam("until"), attempts=outbox.c.attempts + 1)
)
_JOB: Final = select(outbox).where(outbox.c.id == bindparam("job"))
_SETTLE: Final = update(outbox).where(outbox.c.id == bindparam("job"), outbox.c.claim == bindparam("token"), _WAITING)


def enqueue(connection: Connection, workspace: str, incident: str, effects: Sequence[Effect], now: datetime) -> None:
    """Adds effects behind what the incident's lanes already hold; a `latest_wins` one joins its unclaimed twin."""
    if not effects:
        return
    position = connection.execute(_LAST, {"its": incident}).scalar() or 0
    for effect in effects:
        kind, body = effect_out(effect)
        named = {"its": incident, "queue": effect.queue(), "what": kind}
        if effect.latest_wins and body in connection.execute(_TWIN, named).scalars().all():
            continue
        position += 1
        row = {
            "id": new_id(),
            "workspace": workspace,
            "incident": incident,
            "position": position,
            "courier": effect.courier,
            "lane": effect.queue(),
            "kind": kind,
            "body": body,
            "state": WAITING,
            "created_at": now,
            "due_at": now,
            "attempts": 0,
            "progress": {},
            "warned": False,
            "last_error": "",
        }
        connection.execute(_NEW, row)


def ready(connection: Connection, workspace: str, now: datetime, limit: int) -> list[Job]:
    """Heads of lanes that are due and unclaimed, at most `limit` per courier, so that a dead one crowds out no other.

    Pages come first, then the longest waiting.
    """
    jobs: list[Job] = []
    for courier in COURIERS:
        rows = connection.execute(_READY, {"whose": workspace, "by": courier, "now": now, "most": limit})
        jobs += [job_from_row(dict(row)) for row in rows.mappings()]
    return jobs


def claim(connection: Connection, job: str, now: datetime, until: datetime) -> Job | None:
    """Takes the job for ourselves; None when somebody else was faster or it has ended."""
    taken = connection.execute(_CLAIM, {"job": job, "token": new_id(), "until": until, "now": now})
    if taken.rowcount != 1:
        return None
    return job_from_row(dict(connection.execute(_JOB, {"job": job}).mappings().one()))


def settle(connection: Connection, job: Job, values: Mapping[str, Any]) -> bool:
    """Writes what became of a job, if it is still ours."""
    named = {"job": job.id, "token": job.claim, "claim": None, "claimed_until": None}
    return connection.execute(_SETTLE, {**named, **values}).rowcount == 1


def release_all(connection: Connection, workspace: str) -> None:
    """Gives back what a process that is gone had claimed. Only for a process that is alone on its database."""
    connection.execute(
        update(outbox)
        .where(outbox.c.workspace == workspace, outbox.c.state == WAITING)
        .values(claim=None, claimed_until=None)
    )


def next_due(connection: Connection, workspace: str) -> datetime | None:
    """When the next waiting job is due."""
    return connection.execute(
        select(func.min(outbox.c.due_at)).where(outbox.c.workspace == workspace, outbox.c.state == WAITING)
    ).scalar()


def numbers(connection: Connection, workspace: str) -> dict[str, Any]:
    """Jobs by state, and since when the oldest waits."""
    counts = connection.execute(
        select(outbox.c.state, func.count()).where(outbox.c.workspace == workspace).group_by(outbox.c.state)
    )
    oldest = connection.execute(
        select(func.min(outbox.c.created_at)).where(outbox.c.workspace == workspace, outbox.c.state == WAITING)
    ).scalar()
    return {"states": {row[0]: row[1] for row in counts}, "oldest": oldest}


def tidy(connection: Connection, workspace: str, before: datetime) -> None:
    """Forgets delivered effects and drained news older than `before`; the events behind them stay."""
    connection.execute(
        delete(outbox).where(outbox.c.workspace == workspace, outbox.c.state == DONE, outbox.c.ended_at < before)
    )
    connection.execute(delete(inbox).where(inbox.c.workspace == workspace, inbox.c.drained_at < before))
