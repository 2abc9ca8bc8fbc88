"""Periodic work that one server does for all: a row for each job and slot of time, and who writes it does the work."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from bot.journal.direct import Direct, PerDatabase
from bot.journal.tables import slot

_KEY: Final = ["workspace", "job", "at"]
_TAKE: Final[PerDatabase] = {
    "sqlite": sqlite.insert(slot).on_conflict_do_nothing(index_elements=_KEY),
    "postgresql": postgresql.insert(slot).on_conflict_do_nothing(index_elements=_KEY),
}
_OURS: Final = slot.c.workspace == bindparam("whose")
_REPORT: Final = (
    update(slot)
    .where(_OURS, slot.c.job == bindparam("which"), slot.c.at == bindparam("taken"))
    .values(cost=bindparam("cost"), result=bindparam("result"))
)
_ENDED: Final = select(slot.c.job, func.max(slot.c.at).label("at")).where(_OURS, slot.c.result.is_not(None))
_LAST: Final = _ENDED.group_by(slot.c.job).subquery()
_RESULTS: Final = (
    select(slot.c.job, slot.c.result)
    .join(_LAST, (slot.c.job == _LAST.c.job) & (slot.c.at == _LAST.c.at))
    .where(_OURS)
    .order_by(slot.c.job)
)
_FORGET: Final = delete(slot).where(_OURS, slot.c.at < bindparam("before"))
_COSTS: Final = (
    select(slot.c.job, func.sum(slot.c.cost)).where(_OURS, slot.c.at >= bindparam("since")).group_by(slot.c.job)
)


def take(direct: Direct, workspace: str, job: str, at: datetime) -> bool:
    """Whether the work of this slot is ours; False when it is somebody else's, or done."""
    row = {"workspace": workspace, "job": job, "at": at, "cost": 0, "result": None}
    return direct.run(_TAKE[direct.database], row) == 1


def report(direct: Direct, workspace: str, job: str, at: datetime, *, cost: int, result: Mapping[str, Any]) -> None:
    """What the work of the slot has cost and found."""
    given = {"whose": workspace, "which": job, "taken": at, "cost": cost, "result": dict(result)}
    direct.run(_REPORT, given)


def results(direct: Direct, workspace: str) -> dict[str, Any]:
    """What each job found when it last ended."""
    return dict(direct.all(_RESULTS, {"whose": workspace}))


def costs(direct: Direct, workspace: str, since: datetime) -> dict[str, int]:
    """What each job has cost since then."""
    return {job: int(cost) for job, cost in direct.all(_COSTS, {"whose": workspace, "since": since})}


def forget(direct: Direct, workspace: str, before: datetime) -> None:
    """Forgets the slots before then."""
    direct.run(_FORGET, {"whose": workspace, "before": before})
