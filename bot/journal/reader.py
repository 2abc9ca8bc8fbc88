"""Reading the journal: incidents as they stand now, folded once and then only brought up to date."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Final

from sqlalchemy import Select

from bot.incident.entry import Entry
from bot.incident.events import TextRedacted
from bot.incident.people import Refused
from bot.incident.state import Incident, evolve
from bot.journal import statements as sql
from bot.journal.codec import digests_in
from bot.journal.direct import Direct, Row
from bot.journal.rows import entry_from_row

LIVE_ONES: Final = 4_000
OVER: Final = 256
"""Folded incidents kept in memory, some 100 KB each. Everybody asks for all that are live, so of these all are kept:
were they one more than is kept, each would have been forgotten by the time it is asked for."""


_NO_ENTRIES_OF_OURS: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What reading and folding say of what is none of theirs; what a database says of itself is not among these."""


class Unreadable(Refused):
    """An incident with an entry that this version cannot read: a newer one wrote it, or somebody damaged it.

    Nothing can be decided about it here; every other incident goes on. The message is a sentence that names it.
    """

    def __init__(self, incident_id: str, ref: str, why: str) -> None:
        super().__init__(f"{ref} cannot be read by this version: {why}.")
        self.incident_id = incident_id
        self.ref = ref


class Memory:
    """Folded incidents by id, each with its chain's head; the least used forgotten first. Thread-safe.

    Only a head says that two mean the same: after a restore or a fail-over another entry may have the same number.
    """

    def __init__(self, live: int = LIVE_ONES, over: int = OVER) -> None:
        self._lock = threading.Lock()
        self._most = {True: live, False: over}
        self._kept: dict[bool, OrderedDict[str, tuple[Incident, str]]] = {True: OrderedDict(), False: OrderedDict()}

    def get(self, incident_id: str) -> tuple[Incident, str] | None:
        with self._lock:
            for shelf in self._kept.values():
                if incident_id in shelf:
                    shelf.move_to_end(incident_id)
                    return shelf[incident_id]
            return None

    def put(self, item: Incident, head: str) -> None:
        with self._lock:
            self._kept[not item.is_live].pop(item.id, None)
            shelf = self._kept[item.is_live]
            shelf[item.id] = (item, head)
            shelf.move_to_end(item.id)
            while len(shelf) > self._most[item.is_live]:
                shelf.popitem(last=False)


class Reader:
    """The queries that reading and writing share."""

    def __init__(self, direct: Direct, workspace: str, memory: Memory) -> None:
        self.direct = direct
        self.workspace = workspace
        self._memory = memory

    def incident(self, incident_id: str) -> Incident | None:
        """The incident as of now; from memory when nothing was added since. Raises Unreadable, as all of these do."""
        return self.glimpse(incident_id)

    def glimpse(self, incident_id: str) -> Incident | None:
        """The incident as of now, held by nobody."""
        head = self.direct.scalar(sql.HEAD_OF, {"incident_id": incident_id})
        return None if head is None else self._as_of(incident_id, head)

    def _as_of(self, incident_id: str, head: str) -> Incident | None:
        """The incident whose chain ends with this hash, or went on meanwhile."""
        try:
            return self._folded(incident_id, head)
        except _NO_ENTRIES_OF_OURS as error:
            number = self.direct.scalar(sql.NUMBER_OF, {"incident_id": incident_id})
            raise Unreadable(incident_id, f"INC-{number}", _why(error)) from error

    def _folded(self, incident_id: str, head: str) -> Incident | None:
        before, known = self._memory.get(incident_id) or (None, "")
        if before is not None and known == head:
            return before
        newer = self._since(before, known) if before is not None else ()
        if not newer:
            before, newer = None, self.entries(incident_id)
        folded = reduce(evolve, newer, before)
        if folded is not None:
            self._memory.put(folded, newer[-1].hash)
        return folded

    def _since(self, before: Incident, head: str) -> tuple[Entry, ...]:
        """What was added to it; none where it must be folded anew, since what it rests on is not the same any more."""
        newer = self.entries(before.id, after=before.seq)
        goes_on = bool(newer) and newer[0].prev_hash == head
        return newer if goes_on and not any(isinstance(entry.event, TextRedacted) for entry in newer) else ()

    def entries(self, incident_id: str, after: int = 0) -> tuple[Entry, ...]:
        """The entries of an incident from the one after this number on, in order."""
        its = {"incident_id": incident_id, "after": after}
        rows = self.direct.named(sql.ENTRIES_OF, its)
        # All of its texts in one go, or those of a few entries.
        texts = self.direct.all(sql.TEXTS_OF, its) if not after else self.texts(rows)
        found: dict[str, str] = dict(texts)
        return tuple(_entry(row, found) for row in rows)

    def texts(self, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        """The texts of these rows that still exist, by digest."""
        digests = [digest for row in rows for digest in digests_in(row["kind"], row["body"])]
        return self.direct.all(sql.TEXTS[self.direct.database], {"digests": digests}) if digests else []

    def one(self, query: Select[str, str], **values: Any) -> Incident | None:
        """The incident that a query for id and head finds in this workspace."""
        row = self.direct.first(query, {"workspace": self.workspace, **values})
        return None if row is None else self._as_of(*row)

    def many(self, query: Select[str, str], **values: Any) -> tuple[Incident, ...]:
        """As `one`, all of them that can be read."""
        found, _ = self.sorted_out(query, **values)
        return found

    def sorted_out(self, query: Select[str, str], **values: Any) -> tuple[tuple[Incident, ...], tuple[Unreadable, ...]]:
        """As `many`, and apart from them those that cannot be read."""
        found: list[Incident] = []
        unreadable: list[Unreadable] = []
        for incident_id, head in self.direct.all(query, {"workspace": self.workspace, **values}):
            try:
                item = self._as_of(incident_id, head)
            except Unreadable as error:
                unreadable.append(error)
            else:
                found += [item] if item is not None else []
        return tuple(found), tuple(unreadable)


def _why(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def _entry(row: Mapping[str, Any], texts: Mapping[str, str]) -> Entry:
    try:
        return entry_from_row(row, texts)
    except _NO_ENTRIES_OF_OURS as error:
        raise ValueError(f"entry {row['seq']} ({row['kind']}): {error}") from error
