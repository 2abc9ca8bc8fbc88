"""Takes the free text of one entry out of the journal; what the entry's hash covers stays, so its chain still holds."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import bindparam, null, select, update

from bot.incident.people import Refused
from bot.incident.state import fold
from bot.journal import evidence
from bot.journal.codec import digests_in
from bot.journal.tables import blob, event
from bot.journal.txn import Txn

_ENTRY: Final = select(event.c.id, event.c.kind, event.c.body).where(
    event.c.incident == bindparam("incident_id"), event.c.seq == bindparam("nth")
)
_CLEAR: Final = (
    update(blob)
    .where(blob.c.digest == bindparam("which"), blob.c.text.is_not(None))
    .values(text=null(), salt=null(), redacted_at=bindparam("now"))
)


def clear_text(txn: Txn, incident_id: str, seq: int) -> str:
    """Clears what people or outside systems wrote in one entry, within the transaction; gives the entry's id.

    With the words about a look at the telemetry goes what was kept of it.

    Raises Refused when there is no such entry, or nothing in it to clear.
    """
    row = txn.direct.first(_ENTRY, {"incident_id": incident_id, "nth": seq})
    if row is None:
        raise Refused(f"There is no entry {seq}; `fixfirst timeline` shows their numbers.")
    entry_id, kind, body = row
    if txn.direct.database == "sqlite":
        # SQLite leaves what was deleted standing in the file until something else needs the place.
        txn.direct.say("PRAGMA secure_delete=ON")
    cleared = evidence.clear(txn.direct, incident_id, body, txn.now) if kind in evidence.KINDS else 0
    cleared += sum(txn.direct.run(_CLEAR, {"which": digest, "now": txn.now}) for digest in digests_in(kind, body))
    if not cleared:
        raise Refused(f"Entry {seq} holds no text that somebody wrote, or it is gone already.")
    folded = fold(txn.entries(incident_id))
    if folded is not None:
        txn.touched[incident_id] = folded
    return str(entry_id)


def empty_wal(file: Path) -> None:
    """What stood beside SQLite's file, the cleared text with it, goes into the file's place and from the disk.

    Whoever reads at that moment puts it off; the next checkpoint that finds nobody reading does it.
    """
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
