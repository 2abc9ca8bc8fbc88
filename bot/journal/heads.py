"""One hash over all chains, for every hour in which something was written.

Whoever can rewrite the whole database can make every chain fit again, but cannot change what was said outside, in a log
or a channel. A head covers the head before it and the hash of every entry since, so it fits one history only.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, insert, null, select, update

from bot.journal.chains import Damage
from bot.journal.codec import time_in
from bot.journal.direct import Direct, Salvaged
from bot.journal.tables import archive, event, head

if TYPE_CHECKING:
    from bot.journal.txn import Txn


@dataclass(frozen=True, slots=True)
class Head:
    """Of the `entries` that were recorded before `at`, a full hour; `hash` is SHA-256 in hex."""

    at: datetime
    entries: int
    hash: str

    def __str__(self) -> str:
        return f"Head of the journal at {self.at:%Y-%m-%d %H:%M} UTC: {self.entries} entries, {self.hash}"


_BEGINNING: Final = datetime(1, 1, 2, tzinfo=UTC)
"""Before anything was recorded, and still a time for a database in any zone."""
_PUBLISHED: Final = (
    select(head.c.at, head.c.entries, head.c.hash).where(head.c.workspace == bindparam("workspace")).order_by(head.c.at)
)
_LATEST: Final = _PUBLISHED.order_by(None).order_by(head.c.at.desc()).limit(1)
_RECORDED: Final = (
    event.c.workspace == bindparam("workspace"),
    event.c.recorded_at >= bindparam("since"),
    event.c.recorded_at < bindparam("until"),
)
_BETWEEN: Final = select(event.c.hash).where(*_RECORDED).order_by(event.c.recorded_at, event.c.incident, event.c.seq)
_PLACED: Final = select(event.c.recorded_at, event.c.incident, event.c.seq, event.c.hash).where(*_RECORDED)
_ARCHIVED: Final = select(archive.c.incident, archive.c.hashes).where(
    archive.c.workspace == bindparam("workspace"),
    archive.c.last_at >= bindparam("since"),
    archive.c.first_at < bindparam("until"),
)
_PUBLISH: Final = insert(head)
_UNSAID: Final = (
    select(head.c.at, head.c.entries, head.c.hash, head.c.due_at)
    .where(head.c.workspace == bindparam("workspace"), head.c.due_at.is_not(None))
    .order_by(head.c.at.desc())
    .limit(1)
)
_TAKE: Final = (
    update(head)
    .where(head.c.workspace == bindparam("whose"), head.c.at == bindparam("which"), head.c.due_at <= bindparam("now"))
    .values(due_at=bindparam("until"))
)
_SAID: Final = (
    update(head)
    .where(head.c.workspace == bindparam("whose"), head.c.at <= bindparam("which"), head.c.due_at.is_not(None))
    .values(due_at=null())
)
_NOT_LONG: Final = "SET LOCAL lock_timeout = '200ms'"
"""Who begins to write waits behind us while we wait, so we give up soon, and try again."""


def published(direct: Direct, workspace: str) -> list[Head]:
    """Every head that was published, oldest first."""
    return [Head(**row.values) for row in _rows(direct, workspace) if not row.unreadable]


def _rows(direct: Direct, workspace: str) -> list[Salvaged]:
    return direct.salvaged(_PUBLISHED, {"workspace": workspace})


def publish(txn: "Txn", at: datetime) -> Head | None:
    """Makes the head at a full hour, for whoever asks first; from now on it is to be said.

    None when there is one of then already, or nothing new was written since the last. Nothing that it should cover is
    on its way meanwhile, and what comes later is recorded later.
    """
    if txn.direct.database == "postgresql":
        txn.direct.say(_NOT_LONG)
    txn.direct.alone(f"head:{txn.workspace}")
    row = txn.direct.first(_LATEST, {"workspace": txn.workspace})
    last = Head(*row) if row else None
    if last is not None and last.at >= at:
        return None
    new = _after(txn.direct, txn.workspace, last, at)
    if new.entries == (last.entries if last else 0):
        return None
    values = {"workspace": txn.workspace, "at": new.at, "entries": new.entries, "hash": new.hash}
    txn.direct.run(_PUBLISH, {**values, "due_at": txn.now})
    return new


def unsaid(direct: Direct, workspace: str, now: datetime) -> Head | None:
    """The latest head that nobody has said, when it is time to; those before it are covered by it."""
    row = direct.first(_UNSAID, {"workspace": workspace})
    return None if row is None or row[3] > now else Head(*row[:3])


def take(txn: "Txn", which: Head, until: datetime) -> bool:
    """Whether it is ours to say until then; if that does not succeed, somebody tries again after that."""
    return txn.direct.run(_TAKE, {"whose": txn.workspace, "which": which.at, "now": txn.now, "until": until}) == 1


def said(txn: "Txn", which: Head) -> None:
    """The head was said, and with it all before."""
    txn.direct.run(_SAID, {"whose": txn.workspace, "which": which.at})


def earliest(direct: Direct, workspace: str) -> datetime:
    """Before this, nothing may be recorded in this transaction: a head covers it. None is published until its end.

    A process that stands still between reading its clock and its commit, or a clock that was set back, may believe that
    it is earlier.
    """
    unchanged(direct, workspace)
    row = direct.first(_LATEST, {"workspace": workspace})
    return row[0] if row else _BEGINNING


def unchanged(direct: Direct, workspace: str) -> None:
    """No head is made of what this transaction changes until its end."""
    direct.together(f"head:{workspace}")


def examine_heads(direct: Direct, workspace: str) -> Iterator[Damage]:
    """The hours whose head does not fit what the journal says of them now."""
    last: Head | None = None
    for row in _rows(direct, workspace):
        if row.unreadable:
            yield Damage(f"head of {row.values['at']}", None, f"cannot be read: {row.unreadable}")
            continue
        told = Head(**row.values)
        ref = f"head of {told.at:%Y-%m-%d %H:%M} UTC"
        try:
            found = _after(direct, workspace, last, told.at)
        except (TypeError, ValueError):
            yield Damage(ref, None, "what it was made of cannot be read")
        else:
            if found != told:
                now = "others stand there now" if found.entries == told.entries else f"{found.entries} stand there now"
                yield Damage(ref, None, f"it was made of {told.entries} entries, {now}")
        last = told


def _after(direct: Direct, workspace: str, last: Head | None, at: datetime) -> Head:
    since = last.at if last else _BEGINNING
    hashes = _hashes(direct, {"workspace": workspace, "since": since, "until": at})
    covered = "\n".join([last.hash if last else "", *hashes])
    return Head(at, (last.entries if last else 0) + len(hashes), hashlib.sha256(covered.encode()).hexdigest())


def _hashes(direct: Direct, given: Mapping[str, Any]) -> list[str]:
    """Of every entry that was recorded in that time, in order, also of those whose incident was archived since."""
    archived = direct.all(_ARCHIVED, given)
    if not archived:
        return direct.scalars(_BETWEEN, given)
    placed = [
        (at, incident, seq, entry_hash)
        for incident, hashes in archived
        for seq, (told, entry_hash) in enumerate(hashes, start=1)
        if given["since"] <= (at := time_in(told)) < given["until"]
    ]
    return [entry_hash for *_, entry_hash in sorted([*placed, *direct.all(_PLACED, given)])]
