"""The outbox in SQL: who may carry which effect out, and what became of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, func, insert, or_, select, update

from bot.incident.effects import Effect
from bot.journal.codec import effect_out
from bot.journal.ids import new_id
from bot.journal.rows import Job, job_from_row
from bot.journal.tables import inbox, outbox

WAITING, DONE, DEAD = "waiting", "done", "dead"


def enqueue(connection: Connection, workspace: str, incident: str, effects: Sequence[Effect], now: datetime) -> None:
    """Adds effects behind what the incident's lanes already hold; a `latest_wins` one joins its unclaimed twin."""
    if not effects:
        return
    last = connection.execute(select(func.max(outbox.c.position)).where(outbox.c.incident == incident)).scalar()
    position = last or 0
    for effect in effects:
        kind, body = effect_out(effect)
        if effect.latest_wins and _twin(connection, incident, effect, kind):
            continue
        position += 1
        connection.execute(
            insert(outbox).values(
                id=new_id(),
                workspace=workspace,
                incident=incident,
                position=position,
                courier=effect.courier,
                lane=effect.queue(),
                kind=kind,
                body=body,
                state=WAITING,
                created_at=now,
                due_at=now,
                attempts=0,
                progress={},
                warned=False,
                last_error="",
            )
        )


def _twin(connection: Connection, incident: str, effect: Effect, kind: str) -> bool:
    query = select(outbox.c.id).where(
        outbox.c.incident == incident,
        outbox.c.lane == effect.queue(),
        outbox.c.kind == kind,
        outbox.c.state == WAITING,
        outbox.c.claim.is_(None),
    )
    return connection.execute(query.limit(1)).first() is not None


def ready(connection: Connection, workspace: str, now: datetime, limit: int) -> list[Job]:
    """The head of every lane that is due and unclaimed; pages first, then the longest waiting."""
    earlier = outbox.alias("earlier")
    behind = exists().where(
        and_(
            earlier.c.incident == outbox.c.incident,
            earlier.c.courier == outbox.c.courier,
            earlier.c.lane == outbox.c.lane,
            earlier.c.state == WAITING,
            earlier.c.position < outbox.c.position,
        )
    )
    rows = connection.execute(
        select(outbox)
        .where(
            outbox.c.workspace == workspace,
            outbox.c.state == WAITING,
            outbox.c.due_at <= now,
            or_(outbox.c.claimed_until.is_(None), outbox.c.claimed_until <= now),
            ~behind,
        )
        .order_by(outbox.c.courier != "pager", outbox.c.due_at, outbox.c.id)
        .limit(limit)
    ).mappings()
    return [job_from_row(dict(row)) for row in rows]


def claim(connection: Connection, job: str, now: datetime, until: datetime) -> Job | None:
    """Takes the job for ourselves; None when somebody else was faster or it has ended."""
    token = new_id()
    taken = connection.execute(
        update(outbox)
        .where(
            outbox.c.id == job,
            outbox.c.state == WAITING,
            or_(outbox.c.claimed_until.is_(None), outbox.c.claimed_until <= now),
        )
        .values(claim=token, claimed_until=until, attempts=outbox.c.attempts + 1)
    )
    if taken.rowcount != 1:
        return None
    return job_from_row(dict(connection.execute(select(outbox).where(outbox.c.id == job)).mappings().one()))


def settle(connection: Connection, job: Job, values: Mapping[str, Any]) -> bool:
    """Writes what became of a job, if it is still ours."""
    done = connection.execute(
        update(outbox)
        .where(outbox.c.id == job.id, outbox.c.claim == job.claim, outbox.c.state == WAITING)
        .values(claim=None, claimed_until=None, **values)
    )
    return done.rowcount == 1


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
