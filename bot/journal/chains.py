"""Looks through the chains of hashes and says what was done to them: which incident, which entry, what kind of damage.

Whoever can change the database can change a row, delete one, swap two, cut the end off, or take a whole incident away.
To redact is not damage: the text is gone, the entry that held it still fits, and a later one of the chain says so.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import String, bindparam, column, select, table

from bot.incident.events import NAMES, TextRedacted
from bot.journal.chain import entry_hash, text_digest
from bot.journal.codec import digests_in, time_in
from bot.journal.direct import Direct, Salvaged
from bot.journal.evidence import FROZEN, digest_of
from bot.journal.evidence import KINDS as CITES
from bot.journal.rows import envelope
from bot.journal.statements import ENTRIES_OF
from bot.journal.tables import archive, blob, event, evidence, incident

REDACTED: Final = NAMES[TextRedacted]
_NO_TEXT: Final = (None, None)
_NO_DIGEST: Final = ("", "")
"""Salt and text whose digest stands in no entry: an empty text is kept without one."""


@dataclass(frozen=True, slots=True)
class Damage:
    """`ref` is INC-42, or the id where the number is lost; `seq` is the entry's, None when it is about all of them."""

    ref: str
    seq: int | None
    what: str

    def __str__(self) -> str:
        return f"{self.ref}: {self.what}" if self.seq is None else f"{self.ref}: entry {self.seq} {self.what}"


@dataclass(frozen=True, slots=True)
class Examined:
    """How much was looked at, and what is wrong."""

    incidents: int
    entries: int
    damage: tuple[Damage, ...]


_ROWS: Final = (
    select(incident.c.id, incident.c.number, incident.c.seq, incident.c.head_hash)
    .where(incident.c.workspace == bindparam("workspace"))
    .order_by(incident.c.number)
)
_ORPHANS: Final = (
    select(event.c.incident)
    .where(event.c.workspace == bindparam("workspace"), event.c.incident.not_in(select(incident.c.id)))
    .distinct()
    .order_by(event.c.incident)
)
_HAS_ARCHIVE: Final = (
    select(column("name", String)).select_from(table("sqlite_master")).where(column("name", String) == "archive")
)
_ARCHIVED: Final = select(archive.c.incident).where(archive.c.workspace == bindparam("workspace"))
_HASHES_OF: Final = select(archive.c.hashes).where(archive.c.incident == bindparam("incident_id"))
_FIRST_OF: Final = select(event.c.seq).where(event.c.incident == bindparam("incident_id")).limit(1)
_HAS_EVIDENCE: Final = (
    select(column("name", String)).select_from(table("sqlite_master")).where(column("name", String) == "evidence")
)
_EVIDENCE: Final = select(evidence.c.id, evidence.c.part, evidence.c.content).where(
    evidence.c.incident == bindparam("incident_id")
)
_TEXTS: Final = select(blob.c.digest, blob.c.salt, blob.c.text).where(blob.c.incident == bindparam("incident_id"))


def examine(direct: Direct, workspace: str, only: str = "") -> Examined:
    """Every chain of the workspace, or that of one incident by its id."""
    ours = {"workspace": workspace}
    known = direct.salvaged(_ROWS, ours)
    orphans = [found for found in direct.scalars(_ORPHANS, ours) if only in ("", found)]
    damage = [] if only else [*_numbers_missing([row.values["number"] for row in known])]
    chosen = [row for row in known if only in ("", row.values["id"])]
    entries = 0
    archived = _archived(direct, workspace)
    for found in chosen:
        row = found.values
        ref = f"INC-{row['number']}"
        if found.unreadable:
            damage.append(Damage(ref, None, f"the incident's own row cannot be read: {found.unreadable}"))
        elif row["id"] in archived:
            entries += row["seq"]
            damage += _archive_damage(direct, row)
            continue
        chain = Chain.read(direct, row["id"], ref)
        entries += len(chain.rows)
        damage += chain.damage()
        if not found.unreadable:
            damage += chain.against(row)
    for orphan in orphans:
        chain = Chain.read(direct, orphan, str(orphan))
        entries += len(chain.rows)
        damage += [Damage(chain.ref, None, "the incident's own row is missing, its entries are there"), *chain.damage()]
    return Examined(len(chosen) + len(orphans), entries, tuple(damage))


def _archived(direct: Direct, workspace: str) -> frozenset[str]:
    """The incidents whose entries are in files; none in a backup of a version that could not archive."""
    if direct.database == "sqlite" and direct.scalar(_HAS_ARCHIVE) is None:
        return frozenset()
    return frozenset(direct.scalars(_ARCHIVED, {"workspace": workspace}))


def _archive_damage(direct: Direct, row: Mapping[str, Any]) -> Iterator[Damage]:
    """Whether what was left of an archived incident is what its own row says; its entries are the file's to prove."""
    ref = f"INC-{row['number']}"
    if direct.scalar(_FIRST_OF, {"incident_id": row["id"]}) is not None:
        yield Damage(ref, None, "it was archived, and entries stand there again")
    (seal,) = direct.salvaged(_HASHES_OF, {"incident_id": row["id"]})
    try:
        hashes = [(time_in(at), entry_hash) for at, entry_hash in seal.values["hashes"]]
    except (TypeError, ValueError):
        yield Damage(ref, None, "what its archive was sealed with cannot be read: its hashes are none")
        return
    if not hashes or len(hashes) != row["seq"] or hashes[-1][1] != row["head_hash"]:
        yield Damage(
            ref, None, "what its archive was sealed with was changed: it does not end as the incident's row does"
        )


def _numbers_missing(known: Sequence[Any]) -> Iterator[Damage]:
    """Numbers are given out without a gap, so a gap is an incident that was taken away."""
    expected = 1
    for number in known:
        if not isinstance(number, int):
            continue
        last = number - 1
        if last == expected:
            yield Damage(f"INC-{last}", None, "the whole incident is missing")
        elif last > expected:
            yield Damage(f"INC-{expected} to INC-{last}", None, f"{last - expected + 1} whole incidents are missing")
        expected = number + 1


@dataclass(frozen=True, slots=True)
class Chain:
    """The entries of one incident as they stand; `unreadable` are those of which not even the columns can be read."""

    ref: str
    rows: Sequence[Mapping[str, Any]]
    texts: Mapping[str, tuple[str | None, str | None]]
    evidence: Sequence[Mapping[str, Any]] = ()
    unreadable: Sequence[Damage] = ()

    @classmethod
    def read(cls, direct: Direct, incident_id: str, ref: str) -> "Chain":
        """As the database has it, whatever somebody made of that."""
        its = {"incident_id": incident_id}
        found = direct.salvaged(ENTRIES_OF, its)
        # A backup of a version that kept none has no such table.
        has = direct.database != "sqlite" or direct.scalar(_HAS_EVIDENCE) is not None
        parts = direct.salvaged(_EVIDENCE, its) if has else []
        return cls(
            ref=ref,
            rows=[row.values for row in found if not row.unreadable],
            texts=dict(_text(row) for row in direct.salvaged(_TEXTS, its)),
            evidence=[{**row.values, "content": ""} if row.unreadable else row.values for row in parts],
            unreadable=[_no_entry(ref, row) for row in found if row.unreadable],
        )

    def damage(self) -> Iterator[Damage]:
        """What is wrong between the entries themselves."""
        yield from self.unreadable
        known = {damage.seq for damage in self.unreadable}
        written_as = [self._written_as(row) for row in self.rows]
        # A changed row's hash is still what the next one was written on, so one change is told once.
        hashes = {seq or row["seq"]: row["hash"] for seq, row in zip(written_as, self.rows, strict=True)}
        # What a body says is believed of the bodies that were written here, and of no others.
        bodies = [_body(row) if seq is not None else {} for seq, row in zip(written_as, self.rows, strict=True)]
        told = list(zip(self.rows, bodies, strict=True))
        redacted = frozenset(str(body.get("entry")) for row, body in told if row["kind"] == REDACTED)
        cleared = frozenset(
            str(body.get("evidence")) for row, body in told if row["id"] in redacted and row["kind"] in CITES
        )
        expected = 1
        for written, (row, body) in zip(written_as, told, strict=True):
            seq = row["seq"]
            yield from self._missing(expected, seq, known)
            if written is None:
                yield self._entry(seq, "was changed")
            elif written != seq:
                yield self._entry(seq, f"was swapped: it was written as entry {written}")
            elif row["prev_hash"] != hashes.get(seq - 1, row["prev_hash"] if seq > 1 else ""):
                yield self._entry(seq, f"was not written after entry {seq - 1} as it stands: one of them was replaced")
            if written is not None and not isinstance(row.get("body"), Mapping):
                yield self._entry(seq, "cannot be read: its body is none")
            yield from self._texts(row, body, was_redacted=row["id"] in redacted)
            yield from self._kept(row, body, cleared)
            expected = seq + 1

    def _missing(self, first: int, until: int, known: Collection[int | None], why: str = "") -> Iterator[Damage]:
        """The gap before an entry, as ranges: a number that somebody made up may be very large."""
        for at in [*sorted(seq for seq in known if seq is not None and first <= seq < until), until]:
            if at - first == 1:
                yield self._entry(first, f"is missing{why}")
            elif at > first:
                yield Damage(self.ref, None, f"entries {first} to {at - 1} are missing{why}")
            first = at + 1

    def _written_as(self, row: Mapping[str, Any]) -> int | None:
        """The place under which the row's hash fits; None when it fits nowhere."""
        places = [row["seq"], *(other["seq"] for other in self.rows if other is not row)]
        return next((seq for seq in places if hash_of({**row, "seq": seq}, row["prev_hash"]) == row["hash"]), None)

    def _texts(self, row: Mapping[str, Any], body: Mapping[str, Any], *, was_redacted: bool) -> Iterator[Damage]:
        for digest in digests_in(row["kind"], body):
            salt, text = self.texts.get(digest, _NO_TEXT)
            if text is None:
                if digest not in self.texts or not was_redacted:
                    yield self._entry(row["seq"], "has lost its text, and nobody redacted it")
            elif text_digest(salt or "", text) != digest:
                yield self._entry(row["seq"], "has another text than it was written with")

    def _kept(self, row: Mapping[str, Any], body: Mapping[str, Any], cleared: Collection[str]) -> Iterator[Damage]:
        """Whether the evidence that the entry speaks of is there, as it was kept."""
        if row["kind"] != FROZEN or not body:
            return
        cited, parts = str(body.get("evidence")), body.get("parts")
        if not isinstance(parts, Mapping):
            yield self._entry(row["seq"], "cannot be read: its evidence has no parts")
            return
        there = {part["part"]: part for part in self.evidence if part["id"] == cited}
        for name, digest in parts.items():
            part = there.get(name)
            if part is None:
                yield self._entry(row["seq"], f"has lost its evidence {name}")
            elif part["content"] is None:
                if cited not in cleared:
                    yield self._entry(row["seq"], f"has lost its evidence {name}, and nobody redacted it")
            elif digest_of(part["content"]) != digest:
                yield self._entry(row["seq"], f"has another evidence {name} than was kept")

    def against(self, row: Mapping[str, Any]) -> Iterator[Damage]:
        """What the incident's own row says of its end."""
        last = self.rows[-1] if self.rows else None
        end = last["seq"] if last else 0
        known = {damage.seq for damage in self.unreadable}
        yield from self._missing(end + 1, row["seq"] + 1, known, ": the end was cut off")
        if last is not None and end > row["seq"]:
            yield Damage(
                self.ref, None, f"the incident's own row was changed: it ends at entry {row['seq']}, not {end}"
            )
        elif last is not None and end == row["seq"] and last["hash"] != row["head_hash"]:
            yield self._entry(end, "is not the one that the incident's own row ends with: one of them was replaced")

    def _entry(self, seq: int, what: str) -> Damage:
        return Damage(self.ref, seq, what)


def _body(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Empty where it is none: even a hash that fits may be that of somebody who knows how it is made."""
    body = row.get("body")
    return body if isinstance(body, Mapping) else {}


def _no_entry(ref: str, row: Salvaged) -> Damage:
    seq = row.values["seq"]
    what = f"cannot be read: {row.unreadable}"
    return Damage(ref, seq, what) if isinstance(seq, int) else Damage(ref, None, f"an entry {what}")


def _text(row: Salvaged) -> tuple[str, tuple[str | None, str | None]]:
    """Its digest, salt and words; words that fit no digest where they cannot be read."""
    values = row.values
    return str(values["digest"]), _NO_DIGEST if row.unreadable else (values["salt"], values["text"])


def hash_of(row: Mapping[str, Any], previous: str) -> str:
    """The hash that the row should have; empty where it can have none."""
    try:
        return entry_hash(envelope(row), previous)
    except (TypeError, ValueError, RecursionError):  # its JSON has no canonical form, so nobody wrote it here
        return ""
