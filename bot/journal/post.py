"""The outbox in SQL: who may carry which effect out, and what became of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    and_,
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

from bot.incident.effects import EFFECTS, Effect, PageEffect
from bot.journal.codec import effect_out
from bot.journal.direct import Direct
from bot.journal.errands import DELIVER, Errand
from bot.journal.ids import new_id
from bot.journal.rows import Job, job_from_row
from bot.journal.servers import APART, FRESH_FOR, LEASE
from bot.journal.tables import inbox, outbox, server

WAITING, DONE, DEAD = "waiting", "done", "dead"


# Written into the statement: SQLite does not use an index of the waiting ones alone for a state it is only told later.
_SAID: Final[ColumnElement[str]] = literal_column(f"'{WAITING}'")
_WAITING: Final = outbox.c.state == _SAID
_OURS: Final = outbox.c.workspace == bindparam("whose")
_EARLIER: Final = outbox.alias("earlier")
# The statements of every delivery are built once: to build one costs more than to carry it out.
_LAST: Final = select(func.max(outbox.c.position)).where(outbox.c.incident == bindparam("its"))
# Locked until the commit: whoever takes it meanwhile would read the incident without what it is joined for.
_TWIN: Final = (
    select(outbox.c.body)
    .where(
        outbox.c.incident == bindparam("its"),
        outbox.c.lane == bindparam("queue"),
        outbox.c.kind == bindparam("what"),
        _WAITING,
        outbox.c.claim.is_(None),
    )
    .with_for_update()
)
_NEW: Final = insert(outbox)
_FREE: Final = or_(
    outbox.c.claimed_until.is_(None),
    outbox.c.claimed_until <= bindparam("now"),
    and_(
        # By the row itself: who waits for its lock sees it as it is then, but of the beats what was there before.
        outbox.c.claimed_until <= bindparam("not_fresh"),
        exists().where(server.c.id == outbox.c.claimed_by, server.c.beat_at < bindparam("dead_before")),
    ),
)
"""Nobody holds it: it was given back, its lease is over, or its server is dead and has not claimed it just now."""
_FOLLOWS: Final = sorted({(effect.lane, effect.after) for effect in EFFECTS.values() if effect.after})
"""Lanes, each with the one it waits for too."""


def ahead(earlier: Any) -> tuple[ColumnElement[bool], ...]:
    """Whether the row of this alias comes before the outbox's: what a lane holds, and what it follows, is in order."""
    follows = (
        and_(outbox.c.lane == literal_column(f"'{lane}'"), earlier.c.lane == literal_column(f"'{first}'"))
        for lane, first in _FOLLOWS
    )
    return (
        earlier.c.incident == outbox.c.incident,
        earlier.c.courier == outbox.c.courier,
        or_(earlier.c.lane == outbox.c.lane, *follows),
        earlier.c.position < outbox.c.position,
    )


_TURN_CAME: Final = ~exists().where(*ahead(_EARLIER), _EARLIER.c.state == _SAID)
_KNOWN: Final[ColumnElement[bool]] = literal_column(
    f"outbox.kind IN ({', '.join(repr(name) for name in sorted(EFFECTS))})"
)
"""What a newer version has left waits for it, and so does all of its lane."""
_READY_NOW: Final = (_WAITING, _KNOWN, outbox.c.due_at <= bindparam("now"), _FREE, _TURN_CAME)
COURIERS: Final = sorted(
    {effect.courier for effect in EFFECTS.values()}, key=lambda name: (name != PageEffect.courier, name)
)
"""Everybody who carries effects out, the pager first."""
_READY: Final = (
    select(outbox)
    .where(_OURS, outbox.c.courier == bindparam("by"), *_READY_NOW)
    .order_by(outbox.c.due_at, outbox.c.id)
    .limit(bindparam("most"))
)
_PLACED: Final = (
    select(
        outbox,
        func.row_number()
        .over(partition_by=(outbox.c.lane, outbox.c.kind), order_by=(outbox.c.due_at, outbox.c.id))
        .label("place"),
    )
    .where(_OURS, outbox.c.courier == literal_column(f"'{PageEffect.courier}'"), *_READY_NOW)
    .subquery("placed")
)
_READY_PAGES: Final = (
    select(*(_PLACED.c[column.name] for column in outbox.columns))
    .where(_PLACED.c.place <= bindparam("most"))
    .order_by(_PLACED.c.due_at, _PLACED.c.id)
)
"""Each pager has lanes of its own: one that hangs crowds out neither another nor, with its calls, fresh pages."""
_CLAIM: Final = (
    update(outbox)
    .where(outbox.c.id == bindparam("job"), *_READY_NOW)
    .values(
        claim=bindparam("token"),
        claimed_until=bindparam("until"),
        claimed_by=bindparam("server"),
        attempts=outbox.c.attempts + 1,
    )
)
_JOB: Final = select(outbox).where(outbox.c.id == bindparam("job"))
_IN_HAND: Final = _JOB.where(_WAITING, outbox.c.claimed_by == bindparam("server"))
_ASKED: Final = outbox.alias("asked")
_IN_LANE_OF: Final = (
    select(outbox)
    .where(
        _ASKED.c.id == bindparam("job"),
        outbox.c.incident == _ASKED.c.incident,
        outbox.c.courier == _ASKED.c.courier,
        outbox.c.lane == _ASKED.c.lane,
        *_READY_NOW,
    )
    .limit(1)
)
_RELEASE: Final = update(outbox).where(_OURS, _WAITING)
_FROM_LATER: Final = _RELEASE.where(outbox.c.created_at > bindparam("later"))
_TOO_LATE: Final = _RELEASE.where(outbox.c.due_at > bindparam("latest"))
_HELD_TOO_LONG: Final = _RELEASE.where(outbox.c.claimed_until > bindparam("longest"))
_LET_GO_LATER: Final = _RELEASE.where(outbox.c.claim.is_(None), outbox.c.claimed_until > bindparam("later"))
_OLDEST: Final = (
    select(outbox.c.courier, func.min(outbox.c.created_at)).where(_OURS, _WAITING).group_by(outbox.c.courier)
)
_COUNTED: Final = (
    select(outbox.c.courier, outbox.c.state, func.count()).where(_OURS).group_by(outbox.c.courier, outbox.c.state)
)
_FORGET_JOBS: Final = delete(outbox).where(_OURS, outbox.c.state == DONE, outbox.c.ended_at < bindparam("before"))
_FORGET_NEWS: Final = delete(inbox).where(
    inbox.c.workspace == bindparam("whose"), inbox.c.drained_at < bindparam("before")
)
_HELD: Final = (outbox.c.id == bindparam("job"), outbox.c.claim == bindparam("token"), _WAITING)
_SETTLE: Final = update(outbox).where(*_HELD)
_HOLD: Final = update(outbox).where(*_HELD).values(claimed_until=bindparam("until"))


def enqueue(direct: Direct, workspace: str, incident: str, effects: Sequence[Effect], now: datetime) -> list[Errand]:
    """Adds effects behind what the incident's lanes already hold; a `latest_wins` one joins its unclaimed twin."""
    errands: list[Errand] = []
    if not effects:
        return errands
    position = direct.scalar(_LAST, {"its": incident}) or 0
    for effect in effects:
        kind, body = effect_out(effect)
        named = {"its": incident, "queue": effect.queue(), "what": kind}
        if effect.latest_wins and body in direct.scalars(_TWIN, named):
            continue
        position += 1
        row: dict[str, Any] = {
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
            "due_at": now + effect.delay,
            "attempts": 0,
            "progress": {},
            "warned": False,
            "last_error": "",
        }
        direct.run(_NEW, row)
        if effect.delay:
            continue  # nobody can do anything about it yet; the sweep finds it when it is due
        lane = f"{incident}:{effect.courier}:{effect.queue()}"
        errands.append(Errand(DELIVER, row["id"], lane, effect.courier))
    return errands


def ready(direct: Direct, workspace: str, now: datetime, dead_before: datetime, limit: int) -> list[Job]:
    """Heads of lanes that are due and free, at most `limit` per courier, so that a dead one crowds out no other.

    Of pages, and of each kind of call, at most as many per pager. What a server holds whose last beat lies before
    `dead_before` is free. Pages come first, then the longest waiting.
    """
    jobs: list[Job] = []
    for courier in COURIERS:
        its = {"whose": workspace, "most": limit, **_judged(now, dead_before)}
        pages = courier == PageEffect.courier
        jobs += map(
            job_from_row, direct.named(_READY_PAGES, its) if pages else direct.named(_READY, {**its, "by": courier})
        )
    return jobs


def ready_in_lane_of(direct: Direct, job: str, now: datetime, dead_before: datetime) -> Job | None:
    """What could be delivered now in the lane of this job, which need not be waiting any more."""
    rows = direct.named(_IN_LANE_OF, {"job": job, **_judged(now, dead_before)})
    return job_from_row(rows[0]) if rows else None


def _judged(now: datetime, dead_before: datetime) -> dict[str, datetime]:
    """By what it is judged whether a claim still holds."""
    return {"now": now, "dead_before": dead_before, "not_fresh": now + LEASE - FRESH_FOR}


@dataclass(frozen=True, slots=True)
class Hand:
    """Who takes a job: a server, until LEASE from now, and before when another must have beaten last for us to take its
    jobs."""

    server: str
    until: datetime
    dead_before: datetime


def claim(direct: Direct, job: str, now: datetime, hand: Hand) -> Job | None:
    """Takes the job into this hand; None when somebody else was faster, its turn has not come, or it has ended."""
    taken = {"token": new_id(), "until": hand.until, "server": hand.server}
    if direct.run(_CLAIM, {"job": job, **taken, **_judged(now, hand.dead_before)}) != 1:
        return None
    return job_from_row(direct.named(_JOB, {"job": job})[0])


def in_hand(direct: Direct, job: str, server: str) -> Job | None:
    """The job, if this server has claimed it and it has not ended."""
    rows = direct.named(_IN_HAND, {"job": job, "server": server})
    return job_from_row(rows[0]) if rows else None


def hold(direct: Direct, job: Job, until: datetime) -> bool:
    """Keeps the job in our hand for longer; False when somebody else has it by now."""
    return direct.run(_HOLD, {"job": job.id, "token": job.claim, "until": until}) == 1


def settle(direct: Direct, job: Job, values: Mapping[str, Any]) -> bool:
    """Writes what became of a job, if it is still ours."""
    named = {"job": job.id, "token": job.claim, "claim": None, "claimed_until": None, "claimed_by": None}
    return direct.run(_SETTLE, {**named, **values}) == 1


def release_all(direct: Direct, workspace: str) -> None:
    """Gives back what a process that is gone had claimed. Only for a process that is alone on its database."""
    direct.run(_RELEASE, {"whose": workspace, "claim": None, "claimed_until": None, "claimed_by": None})


def hasten(direct: Direct, workspace: str, now: datetime, latest: datetime) -> None:
    """What is from a time that has not come yet is due now, nothing later than `latest`, and what somebody holds is
    held for no longer than a lease: the clock was set back."""
    direct.run(_FROM_LATER, {"whose": workspace, "later": now + APART, "due_at": now})
    direct.run(_TOO_LATE, {"whose": workspace, "latest": latest, "due_at": latest})
    direct.run(_LET_GO_LATER, {"whose": workspace, "later": now, "claimed_until": None})
    held = {"whose": workspace, "longest": now + LEASE + APART, "claimed_until": now + LEASE}
    direct.run(_HELD_TOO_LONG, held)


def numbers(direct: Direct, workspace: str) -> dict[str, Any]:
    """Jobs by state, and by courier and state; and since when each courier's oldest waits."""
    ours = {"whose": workspace}
    effects = {(courier, state): count for courier, state, count in direct.all(_COUNTED, ours)}
    states: Counter[str] = Counter()
    for (_, state), count in effects.items():
        states[state] += count
    return {"states": dict(states), "effects": effects, "oldest": dict(direct.all(_OLDEST, ours))}


def tidy(direct: Direct, workspace: str, before: datetime) -> None:
    """Forgets delivered effects and drained news older than `before`; the events behind them stay."""
    direct.run(_FORGET_JOBS, {"whose": workspace, "before": before})
    direct.run(_FORGET_NEWS, {"whose": workspace, "before": before})
