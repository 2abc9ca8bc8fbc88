"""Moves incidents that are long over out of the journal, each into a file of its own, and leaves what seals it.

First the file is on disk, read again and proved; then one small transaction takes the incident's entries, texts,
effects and alerts out. Whoever is stopped in between has a file too many, which the next one replaces. The incident's
own row stays, so no number is given out twice; the hashes of its entries stay, so every head can still be held.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import bindparam, delete, func, insert, select, update

from bot.incident.alert import AlertStatus
from bot.incident.state import fold
from bot.incident.timeline import line
from bot.journal.archive_file import BadArchive, Content, plain, read, write
from bot.journal.chains import Damage
from bot.journal.codec import time_in
from bot.journal.direct import Direct
from bot.journal.heads import unchanged
from bot.journal.post import WAITING
from bot.journal.rows import entry_from_row
from bot.journal.statements import ENTRIES_OF
from bot.journal.store import Journal
from bot.journal.tables import alert, archive, blob, event, evidence, inbox, incident, outbox
from bot.journal.txn import Txn

AT_A_TIME: Final = 100


@dataclass(frozen=True, slots=True)
class Moved:
    """An incident that is in `file` now, below the folder for archives."""

    ref: str
    entries: int
    file: str


@dataclass(frozen=True, slots=True)
class Left:
    """An incident that stays where it is, and why."""

    ref: str
    why: str


_OVER: Final = (
    select(incident.c.id, incident.c.number)
    .where(
        incident.c.workspace == bindparam("workspace"),
        incident.c.number > bindparam("after"),
        ~incident.c.live,
        incident.c.archived_at.is_(None),
        incident.c.next_due_at.is_(None),
        incident.c.resolved_at < bindparam("before"),
    )
    .order_by(incident.c.number)
    .limit(AT_A_TIME)
)
_ITS: Final = incident.c.id == bindparam("incident_id")
_STANDS: Final = select(incident).where(_ITS)
_LOCKED: Final = _STANDS.with_for_update()
_LAST_AT: Final = select(func.max(event.c.recorded_at)).where(event.c.incident == bindparam("incident_id"))
_UNDELIVERED: Final = select(func.count()).where(
    outbox.c.incident == bindparam("incident_id"), outbox.c.state == WAITING
)
_BURNING: Final = select(func.count()).where(
    alert.c.workspace == bindparam("workspace"),
    alert.c.group_key == bindparam("group"),
    alert.c.incident == bindparam("incident_id"),
    alert.c.status == AlertStatus.FIRING.value,
)
_TEXTS: Final = select(blob).where(blob.c.incident == bindparam("incident_id")).order_by(blob.c.digest)
_EVIDENCE: Final = (
    select(evidence).where(evidence.c.incident == bindparam("incident_id")).order_by(evidence.c.id, evidence.c.part)
)
_ITS_ALERTS: Final = (
    alert.c.workspace == bindparam("workspace"),
    alert.c.group_key == bindparam("group"),
    alert.c.incident == bindparam("incident_id"),
    alert.c.status == AlertStatus.RESOLVED.value,
    alert.c.last_seen < bindparam("before"),
)
_ALERTS: Final = select(alert).where(*_ITS_ALERTS).order_by(alert.c.source, alert.c.fingerprint)

_SEALED: Final = (
    select(incident.c.id, incident.c.number, incident.c.seq, incident.c.head_hash, archive.c.file)
    .join_from(incident, archive, archive.c.incident == incident.c.id)
    .where(incident.c.workspace == bindparam("workspace"))
    .order_by(incident.c.number)
)
_SEAL: Final = insert(archive)
_MARK: Final = update(incident).where(_ITS)
_FORGET_ENTRIES: Final = delete(event).where(event.c.incident == bindparam("incident_id"))
_FORGET_TEXTS: Final = delete(blob).where(blob.c.incident == bindparam("incident_id"))
_FORGET_EFFECTS: Final = delete(outbox).where(outbox.c.incident == bindparam("incident_id"))
_FORGET_EVIDENCE: Final = delete(evidence).where(evidence.c.incident == bindparam("incident_id"))
_FORGET_ALERTS: Final = delete(alert).where(*_ITS_ALERTS)
# With an alert's row goes the count of its changes, of which the keys of its news are made: old keys must not be met.
_FORGET_NEWS: Final = delete(inbox).where(
    inbox.c.workspace == bindparam("workspace"),
    inbox.c.group_key == bindparam("group"),
    inbox.c.drained_at < bindparam("before"),
)


def examine_files(direct: Direct, workspace: str, folder: Path) -> Iterator[Damage]:
    """What is wrong with the files of archived incidents, or gone from them.

    A file proves itself but for its end: where that was cut off and its first line changed to fit, only the incident's
    own row knows better.
    """
    for row in direct.named(_SEALED, {"workspace": workspace}):
        ref = f"INC-{row['number']}"
        try:
            content = read(folder / row["file"])
        except (BadArchive, OSError) as error:
            yield Damage(ref, None, f"its archive cannot be read: {error}")
            continue
        yield from content.damage()
        if (content.incident, len(content.entries), content.head) != (row["id"], row["seq"], row["head_hash"]):
            yield Damage(ref, None, f"its archive {row['file']} does not end as it did when it was made")


def move_old(journal: Journal, folder: Path, before: datetime) -> Iterator[Moved | Left]:
    """Archives every incident in which nothing has happened since `before`, the oldest first, while others work.

    Raises Busy, OSError, and BadArchive when the folder holds somebody else's files.
    """
    after = 0
    while over := journal.ask(partial(_over, before=before, after=after)):
        for incident_id, after in over:
            try:
                yield _move(journal, folder, before, incident_id)
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                yield Left(f"INC-{after}", f"it cannot be read by this version: {error}")


def _over(direct: Direct, workspace: str, before: datetime, after: int) -> list[tuple[str, int]]:
    return [(row[0], row[1]) for row in direct.all(_OVER, {"workspace": workspace, "before": before, "after": after})]


def _move(journal: Journal, folder: Path, before: datetime, incident_id: str) -> Moved | Left:
    content, lines = journal.ask_of_one_moment(lambda direct, whose: _content(direct, whose, incident_id, before))
    ref = content.ref
    why = journal.ask(lambda direct, whose: _in_use(direct, whose, incident_id, before))
    if why:
        return Left(ref, why)
    damage = content.damage()
    if damage:
        return Left(ref, f"it is damaged, see fixfirst audit verify: {damage[0]}")
    file = f"{content.entries[0]['recorded_at'][:4]}/{ref}.jsonl.gz"
    write(folder / file, content, lines, folder)
    took_out = journal.write(lambda txn: _take_out(txn, content, file, before), urgent=False).result()
    return Moved(ref, len(content.entries), file) if took_out else Left(ref, "something happened in it just now")


def _in_use(direct: Direct, workspace: str, incident_id: str, before: datetime) -> str:
    """Why the incident cannot be archived yet; empty when it can."""
    its = {"incident_id": incident_id}
    last_at = direct.scalar(_LAST_AT, its)
    if last_at is None or last_at >= before:
        return "something was recorded in it since"
    if direct.scalar(_UNDELIVERED, its):
        return "something of it still has to be told or done outside"
    stands = direct.named(_STANDS, its)[0]
    if direct.scalar(_BURNING, {**its, "workspace": workspace, "group": stands["group_key"]}):
        return "an alert of it still fires"
    return ""


def _content(direct: Direct, workspace: str, incident_id: str, before: datetime) -> tuple[Content, list[str]]:
    its = {"incident_id": incident_id}
    stands = direct.named(_STANDS, its)[0]
    rows = direct.named(ENTRIES_OF, its)
    texts = direct.named(_TEXTS, its)
    alerts = direct.named(_ALERTS, {**its, "workspace": workspace, "group": stands["group_key"], "before": before})
    left = {text["digest"]: text["text"] for text in texts if text["text"] is not None}
    content = Content(
        workspace=workspace,
        incident=incident_id,
        number=stands["number"],
        status=stands["status"],
        head=stands["head_hash"],
        entries=[plain(row) for row in rows],
        texts=[plain(text) for text in texts],
        alerts=[plain(one) for one in alerts],
        evidence=[plain(part) for part in direct.named(_EVIDENCE, its)],
    )
    entries = [entry_from_row(row, left) for row in rows]
    folded = fold(entries)
    return content, [(line(entry, folded) or "") if folded else "" for entry in entries]


def _take_out(txn: Txn, content: Content, file: str, before: datetime) -> bool:
    """Takes the incident out of the journal, if it is still what stands in the file."""
    its = {"incident_id": content.incident}
    unchanged(txn.direct, txn.workspace)
    stands = txn.direct.named(_LOCKED, its)[0]
    if stands["archived_at"] is not None or stands["head_hash"] != content.head:
        return False
    if _in_use(txn.direct, txn.workspace, content.incident, before):
        return False
    group = {"workspace": txn.workspace, "group": stands["group_key"], "before": before}
    hashes = [[entry["recorded_at"], entry["hash"]] for entry in content.entries]
    recorded = sorted(entry["recorded_at"] for entry in content.entries)
    seal = {
        "incident": content.incident,
        "workspace": txn.workspace,
        "archived_at": txn.now,
        "file": file,
        "first_at": time_in(recorded[0]),
        "last_at": time_in(recorded[-1]),
        "hashes": hashes,
    }
    txn.direct.run(_SEAL, seal)
    txn.direct.run(_MARK, {**its, "archived_at": txn.now})
    for statement in (_FORGET_ENTRIES, _FORGET_TEXTS, _FORGET_EFFECTS, _FORGET_EVIDENCE):
        txn.direct.run(statement, its)
    txn.direct.run(_FORGET_ALERTS, {**its, **group})
    if stands["group_key"]:
        txn.direct.run(_FORGET_NEWS, group)
    return True
