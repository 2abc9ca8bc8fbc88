"""Takes the free text of one entry out of the journal; what the entry's hash covers stays, so its chain still holds."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import bindparam, null, or_, select, update

from bot.incident.alert import WORDLESS
from bot.incident.entry import Entry
from bot.incident.events import NAMES, AlertsReported, ChangeFound, Event, IncidentOpened
from bot.incident.people import Refused
from bot.incident.state import fold
from bot.journal import changes, evidence
from bot.journal.codec import REDACTED, digests_in
from bot.journal.tables import alert, blob, event, incident
from bot.journal.txn import Txn

_ENTRY: Final = select(event.c.id, event.c.kind, event.c.source, event.c.body).where(
    event.c.incident == bindparam("incident_id"), event.c.seq == bindparam("nth")
)
_CHANGE: Final = NAMES[ChangeFound]
_SAME_CHANGE: Final = (
    select(event.c.incident, event.c.id, event.c.seq, event.c.body)
    .where(
        event.c.workspace == bindparam("workspace"),
        event.c.kind == _CHANGE,
        event.c.source == bindparam("told_by"),
        event.c.body["id"].as_string() == bindparam("change_id"),
    )
    .order_by(event.c.incident, event.c.seq)
)
OF_ALERTS: Final = frozenset({NAMES[IncidentOpened], NAMES[AlertsReported]})
"""The events that repeat what alerts say."""
_GROUP: Final = select(incident.c.group_key).where(incident.c.id == bindparam("incident_id"))
_WITHOUT_WORDS: Final = alert.c.name + WORDLESS
# Not by the incident alone: the next one of the group takes the alerts over, and would be told the same words.
_CLEAR_ALERTS: Final = (
    update(alert)
    .where(
        alert.c.workspace == bindparam("whose"),
        or_(alert.c.incident == bindparam("which"), alert.c.group_key == bindparam("group")),
        alert.c.title != _WITHOUT_WORDS,
    )
    .values(title=_WITHOUT_WORDS, labels=bindparam("left"))
)
_CLEAR: Final = (
    update(blob)
    .where(blob.c.digest == bindparam("which"), blob.c.text.is_not(None))
    .values(text=null(), salt=null(), redacted_at=bindparam("now"))
)


@dataclass(frozen=True, slots=True)
class Cleared:
    """An entry without its text, for the record: its incident's id, its own, and its number in the timeline."""

    incident: str
    entry: str
    number: int


def clear_text(txn: Txn, incident_id: str, seq: int) -> list[Cleared]:
    """Clears what people or outside systems wrote in one entry, within the transaction.

    With the words about a look at the telemetry goes what was kept of it; with those of alerts, what the ledger holds
    of the group's alerts but their names; with a change, the same change in every other incident and in the ledger that
    the next one would take it from. Gives the entries, the one asked for first.

    Raises Refused when there is no such entry, or nothing in it to clear.
    """
    row = txn.direct.first(_ENTRY, {"incident_id": incident_id, "nth": seq})
    if row is None:
        raise Refused(f"There is no entry {seq}; `fixfirst timeline` shows their numbers.")
    entry_id, kind, told_by, body = row
    if txn.direct.database == "sqlite":
        # SQLite leaves what was deleted standing in the file until something else needs the place.
        txn.direct.say("PRAGMA secure_delete=ON")
    count = _clear(txn, kind, body)
    count += evidence.clear(txn.direct, incident_id, body, txn.now) if kind in evidence.KINDS else 0
    if kind in OF_ALERTS:
        group = txn.direct.scalar(_GROUP, {"incident_id": incident_id})
        which = {"whose": txn.workspace, "which": incident_id, "group": group, "left": {}}
        count += txn.direct.run(_CLEAR_ALERTS, which)
    cleared = [Cleared(incident_id, entry_id, seq)]
    if kind == _CHANGE:
        count += changes.clear(txn.direct, txn.workspace, told_by, body["id"])
        same = {"workspace": txn.workspace, "told_by": told_by, "change_id": body["id"]}
        for other, other_id, nth, other_body in txn.direct.all(_SAME_CHANGE, same):
            if other_id != entry_id and _clear(txn, kind, other_body):
                cleared.append(Cleared(other, other_id, nth))
    if not count:
        raise Refused(f"Entry {seq} holds no text that somebody wrote, or it is gone already.")
    for one in {one.incident for one in cleared}:
        folded = fold(txn.entries(one))
        if folded is not None:
            txn.touched[one] = folded
    return cleared


def with_words_of_alerts(entries: Sequence[Entry]) -> list[int]:
    """The numbers of the entries that still repeat what alerts said."""
    return [entry.seq for entry in entries if _repeats_alerts(entry.event)]


def _repeats_alerts(event: Event) -> bool:
    if isinstance(event, IncidentOpened):
        return bool(event.group_key) and event.title != REDACTED
    return isinstance(event, AlertsReported) and any(
        sample["labels"] or sample["title"] != f"{sample['name']}{WORDLESS}" for sample in event.samples
    )


def _clear(txn: Txn, kind: str, body: Mapping[str, Any]) -> int:
    return sum(txn.direct.run(_CLEAR, {"which": digest, "now": txn.now}) for digest in digests_in(kind, body))


def empty_wal(file: Path) -> None:
    """What stood beside SQLite's file, the cleared text with it, goes into the file's place and from the disk.

    Whoever reads at that moment puts it off; the next checkpoint that finds nobody reading does it.
    """
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
