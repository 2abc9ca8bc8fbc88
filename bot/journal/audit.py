"""What an audit asks of the journal: what waits although its time has come, and whether it can be written."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy import (
    ColumnElement,
    String,
    bindparam,
    case,
    column,
    delete,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    table,
    type_coerce,
)

from bot.incident.alert import AlertStatus
from bot.incident.effects import EFFECT_NAMES, CallSecond, EscalatePage, Page, PageEffect
from bot.journal.database import newest_schema
from bot.journal.direct import Direct
from bot.journal.ids import new_id
from bot.journal.post import WAITING, ahead
from bot.journal.rows import Job, job_from_row
from bot.journal.statements import NEWS_WAITING
from bot.journal.store import Journal
from bot.journal.tables import alert, inbox, incident, outbox
from bot.journal.txn import Txn
from bot.journal.writer import Busy

EFFECT_WITHIN: Final = timedelta(minutes=2)
"""An effect that could leave, and that nobody takes. One that is tried in vain is not stuck; its age is a metric."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits longest of each kind, although nothing stands in its way; None or absent where nothing does.

    `timer` is an incident's number and the deadline that has passed. `effects` tells by courier since when an effect
    could have been taken up: it is due, first in its lane and in nobody's hands. `news` is when the oldest news of a
    group came in that are not worked into an incident. `homeless` are alerts that burn in no incident and in no news
    that are still to be worked in, by group: nothing will ever be made of them.

    `at_work` has the couriers of which an effect has been free for longer than EFFECT_WITHIN, and which some server was
    at work for in that time, each with how far it has come in its queue: when the first of what it was at fell due.
    None where all of that was in vain, for then it is due anew.
    """

    timer: tuple[int, datetime] | None
    effects: Mapping[str, datetime]
    news: datetime | None
    homeless: Mapping[str, int] = field(default_factory=dict)
    at_work: Mapping[str, datetime | None] = field(default_factory=dict)


_TIMER: Final = (
    select(incident.c.number, incident.c.next_due_at)
    .where(incident.c.workspace == bindparam("workspace"), incident.c.next_due_at <= bindparam("now"))
    .order_by(incident.c.next_due_at)
    .limit(1)
)
# Written into the statement, for the index of the waiting ones alone.
_WAITING: Final[ColumnElement[str]] = literal_column(f"'{WAITING}'")
_EARLIER: Final = outbox.alias("earlier")
_AHEAD: Final = ahead(_EARLIER)
_TURN_CAME: Final = select(func.max(_EARLIER.c.ended_at)).where(*_AHEAD).scalar_subquery()
_FREE: Final = select(outbox.c.courier, outbox.c.due_at, outbox.c.claimed_until, _TURN_CAME.label("turn_came")).where(
    outbox.c.workspace == bindparam("workspace"),
    outbox.c.state == _WAITING,
    outbox.c.due_at <= bindparam("now"),
    or_(outbox.c.claimed_until.is_(None), outbox.c.claimed_until <= bindparam("now")),
    ~exists().where(*_AHEAD, _EARLIER.c.state == _WAITING),
)
# What is in somebody's hands, or has ended, is still due when it was taken up.
_TAKEN_AS_DUE: Final = case((or_(outbox.c.claim.is_not(None), outbox.c.state != _WAITING), outbox.c.due_at))
_AT_WORK: Final = (
    select(outbox.c.courier, type_coerce(func.min(_TAKEN_AS_DUE), outbox.c.due_at.type))
    .where(
        outbox.c.workspace == bindparam("workspace"),
        or_(outbox.c.ended_at > bindparam("lately"), outbox.c.claimed_until > bindparam("lately")),
    )
    .group_by(outbox.c.courier)
)
_CALLS: Final = select(outbox).where(
    outbox.c.workspace == bindparam("workspace"),
    outbox.c.courier == literal_column(f"'{PageEffect.courier}'"),
    outbox.c.state == _WAITING,
    outbox.c.kind.in_([literal_column(f"'{EFFECT_NAMES[kind]}'") for kind in (Page, EscalatePage, CallSecond)]),
)
_NEWS: Final = select(func.min(inbox.c.received_at)).where(
    inbox.c.workspace == bindparam("workspace"), inbox.c.drained_at.is_(None)
)
# In the words of the index of the homeless ones.
_HOMELESS: Final = (
    select(alert.c.group_key, func.count())
    .where(
        alert.c.workspace == bindparam("workspace"),
        alert.c.incident.is_(None),
        alert.c.status == literal_column(f"'{AlertStatus.FIRING}'"),
        ~exists().where(
            inbox.c.workspace == alert.c.workspace, inbox.c.group_key == alert.c.group_key, inbox.c.drained_at.is_(None)
        ),
    )
    .group_by(alert.c.group_key)
    .order_by(alert.c.group_key)
)


def waiting(journal: Journal, now: datetime) -> Waiting:
    """What waits at `now` although its time has come."""
    return journal.ask(partial(_waiting, now=now))


def _waiting(direct: Direct, workspace: str, now: datetime) -> Waiting:
    named = {"workspace": workspace, "now": now}
    timer = direct.first(_TIMER, named)
    effects: dict[str, datetime] = {}
    for courier, *times in direct.all(_FREE, named):
        # Free since it was due, since whoever had it lost it, and since what was ahead of it ended.
        since = max(time for time in times if time is not None)
        effects[courier] = min(since, effects.get(courier, since))
    lately = now - EFFECT_WITHIN
    late = {courier for courier, since in effects.items() if since < lately}
    # Only then, for it walks through all that was carried out in a week.
    at_work = direct.all(_AT_WORK, {**named, "lately": lately}) if late else []
    return Waiting(
        timer=(timer[0], timer[1]) if timer else None,
        effects=effects,
        news=direct.scalar(_NEWS, {"workspace": workspace}),
        homeless=dict(direct.all(_HOMELESS, {"workspace": workspace})),
        at_work={courier: reached for courier, reached in at_work if courier in late},
    )


def calls_waiting(journal: Journal) -> list[Job]:
    """What is to wake somebody, and has not been carried out. Raises Busy."""
    asked = {"workspace": journal.workspace}
    return [job_from_row(row) for row in journal.ask(lambda direct, _: direct.named(_CALLS, asked))]


_RUNNING: Final = select(
    or_(
        exists().where(incident.c.workspace == bindparam("workspace"), incident.c.next_due_at.is_not(None)),
        exists().where(outbox.c.workspace == bindparam("workspace"), outbox.c.state == _WAITING),
        exists().where(inbox.c.workspace == bindparam("workspace"), inbox.c.drained_at.is_(None)),
    )
)


def is_at_rest(journal: Journal) -> bool:
    """Whether no deadline is running and nothing waits, so that a clock may be set. Raises Busy."""
    return not journal.ask(lambda direct, workspace: direct.scalar(_RUNNING, {"workspace": workspace}))


def news_waiting(journal: Journal) -> int:
    """How many changes of groups of alerts are on disk and not worked into an incident. Raises Busy."""
    return int(journal.ask(lambda direct, workspace: direct.scalar(NEWS_WAITING, {"workspace": workspace})))


_SCHEMA: Final = select(column("version_num", String)).select_from(table("alembic_version"))
_WRITE: Final = insert(inbox)
_TAKE_BACK: Final = delete(inbox).where(inbox.c.id == bindparam("row"))


def try_out(journal: Journal, within_s: float) -> None:
    """Commits a row that nobody sees and that is gone again; an empty transaction would not touch the disk.

    Raises Busy when that takes longer than `within_s` or fails, and when the schema is not the one we were made for.
    """
    future = journal.write(_leave_nothing)
    try:
        schema = future.result(within_s)
    except TimeoutError as late:
        future.cancel()
        raise Busy(f"the journal took no write within {within_s:g} s") from late
    if schema != newest_schema():
        raise Busy(f"the database has schema {schema}, and this version works with {newest_schema()}")


def _leave_nothing(txn: Txn) -> str | None:
    row = new_id()
    values = {"id": row, "workspace": txn.workspace, "source": "health", "group_key": "", "payload": {}}
    txn.direct.run(_WRITE, {**values, "received_at": txn.now, "drained_at": txn.now})
    txn.direct.run(_TAKE_BACK, {"row": row})
    schema: str | None = txn.direct.scalar(_SCHEMA)
    return schema
