"""The logbook in SQL: records in a chain of hashes, and which of them people have still to be told."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, false, insert, select, true, update

from bot.incident.logbook import Kind, Record
from bot.incident.people import Actor
from bot.journal.chain import entry_hash
from bot.journal.chains import Damage, hash_of
from bot.journal.codec import actor_in, actor_out
from bot.journal.direct import Direct, one_of
from bot.journal.rows import envelope
from bot.journal.tables import logbook

_OURS: Final = logbook.c.workspace == bindparam("workspace")
_SAID: Final = [column for column in logbook.c if column.name not in ("told", "due_at")]
_ALL: Final = select(*_SAID).where(_OURS).order_by(logbook.c.seq)
# To SQLite a word that somebody wrote into the column is more than any number; there is nothing to count on from.
_LAST: Final = (
    select(logbook.c.seq, logbook.c.hash)
    .where(_OURS, logbook.c.seq <= 2**31 - 1)
    .order_by(logbook.c.seq.desc())
    .limit(1)
)
_OF_KINDS: Final = {database: _ALL.where(among) for database, among in one_of(logbook.c.kind, "kinds").items()}
_LATEST_OF: Final = {
    database: query.order_by(None).order_by(logbook.c.seq.desc()).limit(1) for database, query in _OF_KINDS.items()
}
_NEW: Final = insert(logbook)
_UNTOLD: Final = _ALL.where(logbook.c.told == false(), logbook.c.due_at <= bindparam("now"))
_THIS: Final = (
    logbook.c.workspace == bindparam("whose"),
    logbook.c.seq == bindparam("which"),
    logbook.c.told == false(),
)
_TAKE: Final = update(logbook).where(*_THIS, logbook.c.due_at <= bindparam("now")).values(due_at=bindparam("until"))
_TOLD: Final = update(logbook).where(*_THIS).values(told=true())


def append(
    direct: Direct, workspace: str, kind: Kind, *, by: Actor, body: Mapping[str, Any], now: datetime, tell: bool = True
) -> Record:
    """Adds one record; with `tell`, people have to hear of it."""
    alone(direct, workspace)
    last = direct.first(_LAST, {"workspace": workspace})
    seq, prev_hash = (last[0] + 1, last[1]) if last else (1, "")
    row: dict[str, Any] = {
        "workspace": workspace,
        "seq": seq,
        "at": now,
        "kind": kind.value,
        "by": actor_out(by),
        "body": dict(body),
    }
    row |= {"prev_hash": prev_hash, "hash": entry_hash(envelope(row), prev_hash)}
    direct.run(_NEW, {**row, "told": not tell, "due_at": now})
    return _record(row)


def alone(direct: Direct, workspace: str) -> None:
    """Until the end of this transaction, nobody else adds a record."""
    direct.alone(f"logbook:{workspace}")


def latest(direct: Direct, workspace: str, kinds: Sequence[Kind]) -> Record | None:
    """The latest record of these kinds."""
    row = next(iter(direct.named(_LATEST_OF[direct.database], _of(workspace, kinds))), None)
    return _record(row) if row else None


def records(direct: Direct, workspace: str, kinds: Sequence[Kind] = tuple(Kind)) -> list[Record]:
    """Every record of these kinds, the oldest first."""
    return [_record(row) for row in direct.named(_OF_KINDS[direct.database], _of(workspace, kinds))]


def untold(direct: Direct, workspace: str, now: datetime) -> list[Record]:
    """What people have still to be told at `now`, the oldest first."""
    return [_record(row) for row in direct.named(_UNTOLD, {"workspace": workspace, "now": now})]


def take(direct: Direct, workspace: str, seq: int, now: datetime, until: datetime) -> bool:
    """Whether it is ours to tell until then; if it does not succeed, somebody tries again after that."""
    return direct.run(_TAKE, {"whose": workspace, "which": seq, "now": now, "until": until}) == 1


def told(direct: Direct, workspace: str, seq: int) -> None:
    """People have heard of it."""
    direct.run(_TOLD, {"whose": workspace, "which": seq})


def examine_logbook(direct: Direct, workspace: str) -> Iterator[Damage]:
    """The records that are not what was once written. An end that was cut off does not show: compare with the log."""
    previous, expected = "", 1
    for found in direct.salvaged(_ALL, {"workspace": workspace}):
        row = found.values
        if found.unreadable:
            seq = row["seq"] if isinstance(row["seq"], int) else None
            yield Damage("logbook", seq, f"{'' if seq else 'a record '}cannot be read: {found.unreadable}")
            previous, expected = row["hash"], (seq or expected) + 1
            continue
        fits = row["seq"] == expected and row["prev_hash"] == previous
        if not fits or hash_of(row, previous) != row["hash"]:
            yield Damage("logbook", row["seq"], "was changed, or one before it is missing")
        previous, expected = row["hash"], row["seq"] + 1


def _of(workspace: str, kinds: Sequence[Kind]) -> dict[str, Any]:
    return {"workspace": workspace, "kinds": [kind.value for kind in kinds]}


def _record(row: Mapping[str, Any]) -> Record:
    return Record(row["seq"], row["at"], Kind(row["kind"]), actor_in(row["by"]), row["body"])
