"""What the telemetry showed, kept with the incident: series and a picture, compressed, under the id that cites them."""

import hashlib
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import bindparam, insert, null, select, update

from bot.incident.events import NAMES, EvidenceCollected, EvidenceFrozen
from bot.journal.direct import Direct
from bot.journal.tables import evidence

LARGEST: Final = 6_000_000
"""Characters of one look as stored, a wall behind the freezer's own: 256 GPUs over 90 minutes take some 300,000."""
FROZEN: Final = NAMES[EvidenceFrozen]
KINDS: Final = frozenset({FROZEN, NAMES[EvidenceCollected]})
"""The events that cite evidence."""
_COMPRESSION: Final = 6

Kind = Literal["series", "picture"]


@dataclass(frozen=True, slots=True)
class Part:
    """One kept piece. `content` is JSON of a series, or a PNG; None once it was redacted. `query` is what was asked."""

    name: str
    kind: Kind
    query: str
    content: bytes | None

    @property
    def sha256(self) -> str:
        """Of the content, hex."""
        return hashlib.sha256(self.content or b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Kept:
    """All pieces of one look, in the order of their names; `at` is when they were kept."""

    id: str
    at: datetime
    parts: tuple[Part, ...]

    def part(self, name: str) -> Part | None:
        """The piece of that name."""
        return next((part for part in self.parts if part.name == name), None)


_DIGESTS: Final = select(evidence.c.part, evidence.c.sha256).where(
    evidence.c.incident == bindparam("incident_id"), evidence.c.id == bindparam("evidence_id")
)
_KEEP: Final = insert(evidence)
_FIND: Final = (
    select(evidence.c.part, evidence.c.kind, evidence.c.query, evidence.c.content, evidence.c.at)
    .where(
        evidence.c.workspace == bindparam("workspace"),
        evidence.c.incident == bindparam("incident_id"),
        evidence.c.id == bindparam("evidence_id"),
    )
    .order_by(evidence.c.part)
)
_CLEAR: Final = (
    update(evidence)
    .where(
        evidence.c.incident == bindparam("incident_id"),
        evidence.c.id == bindparam("evidence_id"),
        evidence.c.content.is_not(None),
    )
    .values(content=null(), redacted_at=bindparam("now"))
)


def keep(
    direct: Direct, workspace: str, incident_id: str, evidence_id: str, parts: Sequence[Part], *, now: datetime
) -> Mapping[str, str]:
    """Writes the pieces down, once: what an earlier try has kept stays as it is. Gives the sha256 of what stands there.

    Raises ValueError when they are more than LARGEST.
    """
    which = {"incident_id": incident_id, "evidence_id": evidence_id}
    there: dict[str, str] = dict(direct.all(_DIGESTS, which))
    if there:
        return there
    rows = [(part, pack(part.content or b"")) for part in parts]
    if sum(len(packed) for _, packed in rows) > LARGEST:
        raise ValueError(f"the evidence is over {LARGEST} bytes")
    for part, packed in rows:
        direct.run(
            _KEEP,
            {
                "incident": incident_id,
                "id": evidence_id,
                "part": part.name,
                "workspace": workspace,
                "at": now,
                "kind": part.kind,
                "query": part.query,
                "size": len(part.content or b""),
                "sha256": part.sha256,
                "content": packed,
            },
        )
    return {part.name: part.sha256 for part in parts}


def find(direct: Direct, workspace: str, incident_id: str, evidence_id: str) -> Kept | None:
    """What was kept under this id, or None."""
    which = {"workspace": workspace, "incident_id": incident_id, "evidence_id": evidence_id}
    rows = direct.all(_FIND, which)
    if not rows:
        return None
    parts = tuple(Part(name, kind, query, unpack(content)) for name, kind, query, content, _ in rows)
    return Kept(evidence_id, rows[0][4], parts)


def clear(direct: Direct, incident_id: str, body: Mapping[str, Any], now: datetime) -> int:
    """Takes out what was kept under the id that this stored event cites; gives how many pieces that were."""
    which = {"incident_id": incident_id, "evidence_id": body.get("evidence", ""), "now": now}
    return direct.run(_CLEAR, which)


def pack(content: bytes) -> str:
    """As it stands in the table."""
    return b64encode(zlib.compress(content, _COMPRESSION)).decode()


def unpack(text: str | None) -> bytes | None:
    """What `pack` made; None for what was redacted. ValueError, zlib.error for anything else."""
    return None if text is None else zlib.decompress(b64decode(text, validate=True))


def digest_of(text: str) -> str:
    """The sha256 of a stored content; empty when it cannot be read any more."""
    try:
        return hashlib.sha256(unpack(text) or b"").hexdigest()
    except (ValueError, zlib.error):
        return ""
