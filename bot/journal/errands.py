"""What a transaction leaves for the engine to do, as rows to look at. Whether anybody is told of it is the engine's."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, func, select

from bot.journal.direct import Direct, PerDatabase, one_of
from bot.journal.tables import inbox

DRAIN, DELIVER = "drain", "deliver"


@dataclass(frozen=True, slots=True)
class Errand:
    """One row to look at: news of a group to DRAIN, or an effect to DELIVER.

    Errands of one `lane` are run one after the other, in the order in which they were left. News have no `courier`.
    """

    what: str
    row: str
    lane: str
    courier: str = ""


HandOn = Callable[[Direct, Sequence[Errand]], None]
"""Puts errands where an engine finds them, inside the transaction that made them necessary."""

_NEWS_OF: Final[PerDatabase] = {
    database: select(inbox.c.group_key, func.min(inbox.c.id), func.min(inbox.c.received_at))
    .where(inbox.c.workspace == bindparam("whose"), inbox.c.drained_at.is_(None), among)
    .group_by(inbox.c.group_key)
    for database, among in one_of(inbox.c.group_key, "groups").items()
}


def of_news(direct: Direct, workspace: str, groups: Sequence[str], now: datetime) -> list[Errand]:
    """For groups that had no news waiting before `now`, the time of this transaction: of the others is told already."""
    found = direct.all(_NEWS_OF[direct.database], {"whose": workspace, "groups": list(groups)})
    return [Errand(DRAIN, row, f"{workspace}:{group}") for group, row, came in found if came >= now]
