"""One archived incident as a file: compressed lines of JSON that can be read, and proved, without the bot.

The first line says what follows and how to prove it. Then come the entries in order, each with its line as people read
it, the texts that the entries hold the digests of, the alerts that belonged to the incident, and the evidence.
"""

import gzip
import json
import os
import tempfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bot.journal.chains import Chain, Damage
from bot.journal.codec import canonical, time_out

FORMAT: Final = "fixfirst archive"
VERSION: Final = 1
KINDS: Final = ("entry", "text", "alert", "evidence")
_TEXT: Final = str | None
NEEDED: Final[Mapping[str, Mapping[str, Any]]] = {
    "entry": {"id": str, "seq": int, "kind": str, "prev_hash": str, "hash": str},
    "text": {"digest": str, "salt": _TEXT, "text": _TEXT},
    "evidence": {"id": str, "part": str, "content": _TEXT},
}
"""What a proof goes by; all else of an entry is covered by its hash."""
COUNTED: Final = ("entries", "texts", "alerts")
HOW: Final = (
    "An entry's hash is SHA-256 (hex) of: its prev_hash, a newline, and the entry as JSON without hash and prev_hash, "
    "keys sorted, no spaces, not escaped to ASCII, in UTF-8. The first entry's prev_hash is empty, each other's is the "
    "hash of the entry before. A text's digest is SHA-256 of: its salt, a newline, the text; a text that is null was "
    "redacted. 'head' is the hash of the last entry. Evidence is Base64 of zlib; its sha256 is of what comes out, and "
    "stands in the entry evidence.frozen. Times are UTC."
)


class BadArchive(Exception):
    """The file cannot be what it should be; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Content:
    """One incident as it stands in its file. Rows are those of the journal's tables, as plain JSON."""

    workspace: str
    incident: str
    number: int
    status: str
    head: str
    entries: Sequence[Mapping[str, Any]]
    texts: Sequence[Mapping[str, Any]]
    alerts: Sequence[Mapping[str, Any]]
    evidence: Sequence[Mapping[str, Any]] = field(default_factory=list)

    @property
    def ref(self) -> str:
        """What people call it: INC-42."""
        return f"INC-{self.number}"

    def damage(self) -> list[Damage]:
        """What does not fit: between the entries, in their texts, or at the end."""
        texts = {text["digest"]: (text["salt"], text["text"]) for text in self.texts}
        chain = Chain(self.ref, self.entries, texts, self.evidence)
        return [*chain.damage(), *chain.against({"seq": len(self.entries), "head_hash": self.head})]


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table as JSON has it."""
    return {name: time_out(value) if isinstance(value, datetime) else value for name, value in row.items()}


def write(target: Path, content: Content, said: Sequence[str], folder: Path) -> None:
    """Puts the file there whole, read again and proved, or not at all. `said` is each entry as a line for people.

    A file that is there already is replaced when it is of this incident: then somebody stopped half way. Raises
    BadArchive, OSError.
    """
    if target.exists() and read(target).incident != content.incident:
        raise BadArchive(f"{target} holds another incident; give each workspace and each database a folder of its own")
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    unproved = Path(name)
    try:
        with os.fdopen(handle, "wb") as raw:
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
                for line in _lines(content, said):
                    packed.write(canonical(line).encode() + b"\n")
            raw.flush()
            os.fsync(raw.fileno())
        if read(unproved) != content:
            raise BadArchive(f"{target} does not say, read again, what was written into it")
        unproved.replace(target)
    finally:
        unproved.unlink(missing_ok=True)
    for above in (target.parent, folder):
        _names_to_disk(above)


def _lines(content: Content, said: Sequence[str]) -> Iterable[Mapping[str, Any]]:
    yield {
        "format": FORMAT,
        "version": VERSION,
        "how": HOW,
        "workspace": content.workspace,
        "incident": content.incident,
        "number": content.number,
        "status": content.status,
        "head": content.head,
        "entries": len(content.entries),
        "texts": len(content.texts),
        "alerts": len(content.alerts),
        "evidence": len(content.evidence),
    }
    for entry, line in zip(content.entries, said, strict=True):
        yield {"entry": entry, "said": line}
    yield from ({"text": text} for text in content.texts)
    yield from ({"alert": alert} for alert in content.alerts)
    yield from ({"evidence": part} for part in content.evidence)


def read(file: Path) -> Content:
    """What the file holds, whether or not it fits together. Raises BadArchive, and OSError when there is no file."""
    try:
        with gzip.open(file, "rt", encoding="utf-8") as packed:
            lines = [json.loads(line) for line in packed]
        head, rest = lines[0], lines[1:]
        if head["format"] != FORMAT or head["version"] != VERSION:
            raise BadArchive(f"{file} is an archive of another kind ({head['format']} {head['version']})")
        parts = {kind: [line[kind] for line in rest if kind in line] for kind in KINDS}
        # Before there was evidence, nobody counted it.
        if [len(part) for part in parts.values()] != [*(head[name] for name in COUNTED), head.get("evidence", 0)]:
            raise BadArchive(f"{file} is not whole: it lacks lines that its first one counts")
        for kind, needed in NEEDED.items():
            for nth, row in enumerate(parts[kind], start=1):
                if not _has(row, needed):
                    raise BadArchive(f"{file} is no archive of ours: {kind} {nth} cannot be read")
        return Content(
            workspace=head["workspace"],
            incident=head["incident"],
            number=head["number"],
            status=head["status"],
            head=head["head"],
            entries=parts["entry"],
            texts=parts["text"],
            alerts=parts["alert"],
            evidence=parts["evidence"],
        )
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadArchive(f"{file} is damaged: {error}") from error
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise BadArchive(f"{file} is no archive of ours: {error!r}") from error


def _has(row: object, needed: Mapping[str, Any]) -> bool:
    return isinstance(row, Mapping) and all(isinstance(row.get(name, ...), kind) for name, kind in needed.items())


def _names_to_disk(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
