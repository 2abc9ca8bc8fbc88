"""What burns by our own ledger, for comparing it with the world."""

from typing import Final

from sqlalchemy import bindparam, select

from bot.journal.direct import Direct
from bot.journal.tables import alert, incident

_FIRING: Final = (
    select(alert.c.fingerprint, incident.c.number)
    .join(incident, incident.c.id == alert.c.incident)
    .where(
        alert.c.workspace == bindparam("workspace"),
        alert.c.source == bindparam("source"),
        alert.c.status == "firing",
        incident.c.live,
    )
)


def firing_here(direct: Direct, workspace: str, source: str) -> dict[str, int]:
    """The alerts of open incidents that fire, by fingerprint, each with its incident's number."""
    found: dict[str, int] = dict(direct.all(_FIRING, {"workspace": workspace, "source": source}))
    return found
