"""The ledger of changes in SQL: what pipelines told us of, for as long as somebody may still ask."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from bot.incident.change import GONE, Change
from bot.incident.events import Precision
from bot.journal.direct import Direct, PerDatabase
from bot.journal.tables import change

MOST_LISTED: Final = 500
"""Changes in one answer; the newest, since what was long ago is seldom the cause."""
_OURS: Final = change.c.workspace == bindparam("workspace")
_SINCE: Final = (
    select(change.c.id, change.c.at, change.c.precision, change.c.body)
    .where(_OURS, change.c.at >= bindparam("since"))
    .order_by(change.c.at.desc(), change.c.id.desc())
    .limit(MOST_LISTED)
)
_FORGET: Final = delete(change).where(change.c.workspace == bindparam("whose"), change.c.at < bindparam("before"))


def _keeping(into: Callable[[Any], Any]) -> Any:
    return into(change).on_conflict_do_nothing(index_elements=["workspace", "source", "id"])


_ONE: Final = (
    change.c.workspace == bindparam("whose"),
    change.c.source == bindparam("told_by"),
    change.c.id == bindparam("which"),
)
_FIND: Final = select(change.c.body).where(*_ONE)
_CLEAR: Final = update(change).where(*_ONE).values(environment="", body=bindparam("left"))
_KEEP: Final[PerDatabase] = {"sqlite": _keeping(sqlite.insert), "postgresql": _keeping(postgresql.insert)}


def keep(direct: Direct, workspace: str, one: Change, now: datetime) -> bool:
    """Writes the change down; False when it was there already. What was said first under an id counts."""
    row = {
        "workspace": workspace,
        "source": one.source,
        "id": one.id,
        "at": one.at,
        "precision": one.precision.value,
        "noted_at": now,
        "environment": one.environment,
        "body": one.to_dict(),
    }
    return direct.run(_KEEP[direct.database], row) > 0


def since(direct: Direct, workspace: str, moment: datetime) -> list[Change]:
    """What was changed since then, the newest first, at most MOST_LISTED."""
    rows = direct.all(_SINCE, {"workspace": workspace, "since": moment})
    return [Change.from_dict(id_, at, Precision(precision), body) for id_, at, precision, body in rows]


def forget(direct: Direct, workspace: str, before: datetime) -> None:
    """Takes out what was changed before then."""
    direct.run(_FORGET, {"whose": workspace, "before": before})


def clear(direct: Direct, workspace: str, source: str, id_: str) -> int:
    """Takes out all that was said of one change but that it was; 1 if there was anything.

    Its row stays, so that the same words told again are not written down again.
    """
    which = {"whose": workspace, "told_by": source, "which": id_}
    body = direct.scalar(_FIND, which)
    if body is None:
        return 0
    left = {"source": body["source"], "kind": body["kind"], "title": GONE}
    return direct.run(_CLEAR, {**which, "left": left}) if body != left else 0
