"""How people rated the telemetry's verdicts, over all incidents whose entries are in the journal."""

from typing import Final

from sqlalchemy import bindparam, literal_column, select

from bot.incident.events import VerdictRated
from bot.incident.rating import Rating
from bot.journal.direct import Direct
from bot.journal.rows import entry_from_row
from bot.journal.tables import blob, event, incident

# Written into the statements, for the index of these alone.
_RATED: Final = (event.c.workspace == bindparam("workspace"), event.c.kind == literal_column("'evidence.rated'"))
_ENTRIES: Final = select(event).where(*_RATED).order_by(event.c.at, event.c.id)
_NUMBERS: Final = select(incident.c.id, incident.c.number).where(
    incident.c.id.in_(select(event.c.incident).where(*_RATED))
)
_TEXTS: Final = select(blob.c.digest, blob.c.text).where(
    blob.c.incident.in_(select(event.c.incident).where(*_RATED)), blob.c.text.is_not(None)
)


def ratings(direct: Direct, workspace: str) -> list[Rating]:
    """The last word of every person about every verdict, the newest first."""
    ours = {"workspace": workspace}
    rows = direct.named(_ENTRIES, ours)
    numbers: dict[str, int] = dict(direct.all(_NUMBERS, ours)) if rows else {}
    texts: dict[str, str] = dict(direct.all(_TEXTS, ours)) if rows else {}
    latest: dict[tuple[str, str, str], Rating] = {}
    for row in rows:
        entry = entry_from_row(row, texts)
        said = entry.event
        if isinstance(said, VerdictRated):
            which = (entry.incident, said.evidence, entry.by.id)
            latest.pop(which, None)
            latest[which] = Rating(f"INC-{numbers[entry.incident]}", entry.at, entry.by, said)
    return list(reversed(latest.values()))
