"""Which history of the database we work on, and whether a person has vouched for it.

A PostgreSQL standby that takes over begins another timeline, which any user may read. Where a provider hides it, or
the database was restored by hand, the operator says so with `database_epoch`. `fixfirst restore` says so itself.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy import Engine, bindparam, exists, false, func, literal_column, or_, select, update
from sqlalchemy.exc import NotSupportedError, ProgrammingError

from bot.incident.failover import Standing, standing
from bot.incident.logbook import FREEZES, Kind, Record
from bot.incident.people import BOT, Actor
from bot.journal import logbook
from bot.journal.direct import Direct
from bot.journal.tables import logbook as table
from bot.journal.tables import outbox

log = structlog.get_logger()

ABOUT: Final = (Kind.FIRST_SEEN, *FREEZES, Kind.CONFIRMED)
_TIMELINE: Final = select(func.substr(func.pg_walfile_name(func.pg_current_wal_lsn()), 1, 8))
_LATEST: Final = select(func.max(table.c.seq)).where(
    table.c.workspace == bindparam("workspace"), or_(*(table.c.kind == literal_column(f"'{kind}'") for kind in ABOUT))
)
_UNTOLD: Final = exists().where(
    table.c.workspace == bindparam("workspace"), table.c.told == false(), table.c.due_at <= bindparam("now")
)
_GLANCE: Final = {
    shows: select(_TIMELINE.scalar_subquery() if shows else literal_column("''"), _LATEST.scalar_subquery(), _UNTOLD)
    for shows in (True, False)
}
_DOUBT: Final = (
    update(outbox)
    .where(
        outbox.c.workspace == bindparam("whose"),
        outbox.c.state == literal_column("'waiting'"),
        outbox.c.attempts == 0,
    )
    .values(attempts=1)
)


def standing_on_record(direct: Direct, workspace: str) -> Standing:
    """How we stood when somebody last looked."""
    return standing(logbook.latest(direct, workspace, ABOUT))


def put_restore_on_record(direct: Direct, workspace: str, backup: str, now: datetime) -> None:
    """The journal is that of a backup from now on, and lacks whatever came after that."""
    direct.run(_DOUBT, {"whose": workspace})
    try:
        epoch = standing_on_record(direct, workspace).epoch
    except (AttributeError, LookupError, TypeError, ValueError):
        epoch = ""  # a damaged record must not keep this one from being made; whoever examines the logbook names it
    body = {"epoch": epoch, "backup": backup}
    logbook.append(direct, workspace, Kind.RESTORED, by=BOT, body=body, now=now)


@dataclass(frozen=True, slots=True)
class Glance:
    """As much as tells whether there is anything to look at: the history, the latest record about it, news to tell."""

    epoch: str
    latest: int
    untold: bool


class Epoch:
    """Tells one history of the database from another. Thread-safe: what it remembers is replaced whole."""

    def __init__(self, engine: Engine, told: str = "") -> None:
        self._engine = engine
        self._told = told
        self._shown: bool | None = None
        self._known: Glance | None = None

    def glance(self, direct: Direct, workspace: str, now: datetime) -> Glance:
        """One question, for a look every other second."""
        given = {"workspace": workspace, "now": now}
        timeline, latest, untold = direct.all(_GLANCE[self._shows()], given)[0]
        return Glance(self._named(timeline), latest or 0, bool(untold))

    def knows(self, glance: Glance) -> bool:
        """Whether nothing has changed since what was last remembered."""
        known = self._known
        return known is not None and (known.epoch, known.latest) == (glance.epoch, glance.latest)

    def remember(self, glance: Glance) -> None:
        """Everything about this is on record and committed."""
        self._known = glance

    def look(self, direct: Direct, workspace: str, now: datetime) -> Standing:
        """How we stand, in a transaction that may write: a history that nobody knew is put on record at once.

        What waits in the outbox may have left already, so from then on its couriers look before they act.
        """
        epoch = self._read(direct)
        latest = logbook.latest(direct, workspace, ABOUT)
        if self._unknown(epoch, latest):
            logbook.alone(direct, workspace)
            latest = logbook.latest(direct, workspace, ABOUT)
        if self._unknown(epoch, latest):
            latest = self._put_on_record(direct, workspace, epoch, latest, now)
        return standing(latest)

    def confirm(self, direct: Direct, workspace: str, by: Actor, now: datetime) -> bool:
        """A person vouches for the history as it is; False when there was nothing to confirm."""
        standing = self.look(direct, workspace, now)
        if not standing.frozen:
            return False
        logbook.append(direct, workspace, Kind.CONFIRMED, by=by, body={"epoch": standing.epoch}, now=now)
        return True

    def _unknown(self, epoch: str, latest: Record | None) -> bool:
        if not epoch:
            return False
        if latest is None or latest.body["epoch"] != epoch:
            return True
        # Back on a server that we had left: its own record knows nothing of that.
        known = self._known
        return known is not None and known.epoch != epoch and latest.seq <= known.latest

    def _put_on_record(
        self, direct: Direct, workspace: str, epoch: str, latest: Record | None, now: datetime
    ) -> Record:
        if latest is None:
            body = {"epoch": epoch}
            return logbook.append(direct, workspace, Kind.FIRST_SEEN, by=BOT, body=body, now=now, tell=False)
        before = self._known.epoch if self._known else latest.body["epoch"]
        direct.run(_DOUBT, {"whose": workspace})
        log.error("database_failed_over", before=before, after=epoch)
        body = {"epoch": epoch, "before": before}
        return logbook.append(direct, workspace, Kind.FAILED_OVER, by=BOT, body=body, now=now)

    def _read(self, direct: Direct) -> str:
        return self._named(direct.scalar(_TIMELINE) if self._shows() else "")

    def _named(self, timeline: str) -> str:
        return "/".join(part for part in (timeline, self._told) if part)

    def _shows(self) -> bool:
        """Whether the database tells its timeline; asked once, on a connection of its own that may fail."""
        if self._engine.dialect.name != "postgresql":
            return False
        if self._shown is None:
            try:
                with self._engine.connect() as connection:
                    connection.execute(_TIMELINE)
            except (ProgrammingError, NotSupportedError) as error:
                log.warning("no_timeline", reason=str(error.orig), advice="set database_epoch, and raise it yourself")
                self._shown = False
            else:
                self._shown = True
        return self._shown
