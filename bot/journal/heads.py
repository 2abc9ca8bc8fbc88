"""One hash over all chains, for every hour in which something was written.

Whoever can rewrite the whole database can make every chain fit again, but cannot change what was said outside, in a log
or a channel. A head covers the head before it and the hash of every entry since, so it fits one history only.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from bot.journal.chains import Damage
from bot.journal.direct import Direct
from bot.journal.store import Txn
from bot.journal.tables import event, head


@dataclass(frozen=True, slots=True)
class Head:
    """Of the `entries` that were recorded before `at`, a full hour; `hash` is SHA-256 in hex."""

    at: datetime
    entries: int
    hash: str

    def __str__(self) -> str:
        return f"Head of the journal at {self.at:%Y-%m-%d %H:%M} UTC: {self.entries} entries, {self.hash}"


_PUBLISHED: Final = (
    select(head.c.at, head.c.entries, head.c.hash).where(head.c.workspace == bindparam("workspace")).order_by(head.c.at)
)
_LATEST: Final = _PUBLISHED.order_by(None).order_by(head.c.at.desc()).limit(1)
_BETWEEN: Final = (
    select(event.c.hash)
    .where(
        event.c.workspace == bindparam("workspace"),
        event.c.recorded_at >= bindparam("since"),
        event.c.recorded_at < bindparam("until"),
    )
    .order_by(event.c.recorded_at, event.c.incident, event.c.seq)
)
_BEFORE: Final = (
    select(event.c.hash)
    .where(event.c.workspace == bindparam("workspace"), event.c.recorded_at < bindparam("until"))
    .order_by(event.c.recorded_at, event.c.incident, event.c.seq)
)
_PUBLISH: Final[dict[str, Any]] = {
    "sqlite": sqlite.insert(head).on_conflict_do_nothing(index_elements=["workspace", "at"]),
    "postgresql": postgresql.insert(head).on_conflict_do_nothing(index_elements=["workspace", "at"]),
}


def published(direct: Direct, workspace: str) -> list[Head]:
    """Every head that was published, oldest first."""
    return [Head(*row) for row in direct.all(_PUBLISHED, {"workspace": workspace})]


def next_head(direct: Direct, workspace: str, at: datetime) -> Head | None:
    """The head at a full hour; None when there is one of then already, or nothing new was written since the last."""
    row = direct.first(_LATEST, {"workspace": workspace})
    last = Head(*row) if row else None
    if last is not None and last.at >= at:
        return None
    following = _after(direct, workspace, last, at)
    return None if following.entries == (last.entries if last else 0) else following


def publish(txn: Txn, new: Head) -> bool:
    """Claims the hour for whoever asks first; that one tells the world."""
    values = {"workspace": txn.workspace, "at": new.at, "entries": new.entries, "hash": new.hash}
    return txn.direct.run(_PUBLISH[txn.direct.database], values) == 1


def examine_heads(direct: Direct, workspace: str) -> Iterator[Damage]:
    """The hours whose head does not fit what the journal says of them now."""
    last: Head | None = None
    for said in published(direct, workspace):
        found = _after(direct, workspace, last, said.at)
        if found != said:
            now = "others stand there now" if found.entries == said.entries else f"{found.entries} stand there now"
            yield Damage(f"head of {said.at:%Y-%m-%d %H:%M} UTC", None, f"it was made of {said.entries} entries, {now}")
        last = said


def _after(direct: Direct, workspace: str, last: Head | None, at: datetime) -> Head:
    given = {"workspace": workspace, "until": at}
    hashes = direct.scalars(_BETWEEN, {**given, "since": last.at}) if last else direct.scalars(_BEFORE, given)
    covered = "\n".join([last.hash if last else "", *hashes])
    return Head(at, (last.entries if last else 0) + len(hashes), hashlib.sha256(covered.encode()).hexdigest())
