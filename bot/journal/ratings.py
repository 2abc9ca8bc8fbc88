"""How people rated the telemetry's verdicts, over all incidents whose entries are in the journal."""

from collections import Counter
from typing import Any, Final

from sqlalchemy import bindparam, literal_column, select

from bot.incident.events import VerdictRated
from bot.incident.rating import Rating
from bot.journal import statements as sql
from bot.journal.codec import actor_in, digests_in
from bot.journal.direct import Direct
from bot.journal.rows import entry_from_row
from bot.journal.tables import event, incident

# Written into the statements, for the index of these alone.
_RATED: Final = (event.c.workspace == bindparam("workspace"), event.c.kind == literal_column("'evidence.rated'"))
_ENTRIES: Final = select(event).where(*_RATED).order_by(event.c.at, event.c.id)
_WORDS: Final = select(event.c.incident, event.c.by, event.c.body).where(*_RATED).order_by(event.c.at, event.c.id)
_NUMBERS: Final = select(incident.c.id, incident.c.number).where(
    incident.c.id.in_(select(event.c.incident).where(*_RATED))
)


def ratings(direct: Direct, workspace: str) -> list[Rating]:
    """The last word of every person about every verdict, the newest first."""
    ours = {"workspace": workspace}
    rows = direct.named(_ENTRIES, ours)
    numbers: dict[str, int] = dict(direct.all(_NUMBERS, ours)) if rows else {}
    # Of the ratings alone: the reports that they are about are many times as long.
    digests = [digest for row in rows for digest in digests_in(row["kind"], row["body"])]
    texts: dict[str, str] = dict(direct.all(sql.TEXTS[direct.database], {"digests": digests})) if digests else {}
    latest: dict[tuple[str, str, str], Rating] = {}
    for row in rows:
        entry = entry_from_row(row, texts)
        said = entry.event
        if isinstance(said, VerdictRated):
            which = (entry.incident, said.evidence, entry.by.id)
            latest.pop(which, None)
            latest[which] = Rating(f"INC-{numbers[entry.incident]}", entry.at, entry.by, said)
    return list(reversed(latest.values()))


def tally(direct: Direct, workspace: str) -> Counter[str]:
    """How many of those last words are `right` and how many `wrong`: cheap, for whoever asks all the time."""
    latest: dict[tuple[Any, ...], bool] = {
        (its, body["evidence"], actor_in(by).id): body["right"]
        for its, by, body in direct.all(_WORDS, {"workspace": workspace})
    }
    return Counter("right" if right else "wrong" for right in latest.values())
