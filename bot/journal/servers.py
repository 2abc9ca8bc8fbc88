"""Which servers are alive: each says so every other second, and what a dead one had claimed is anybody's."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from bot.journal.direct import Direct, PerDatabase
from bot.journal.tables import server

BEAT_EVERY: Final = timedelta(seconds=2)
DEAD_AFTER: Final = timedelta(seconds=8)
"""Silent for so long is dead: three beats may come late, and a page in its hands still waits less than ten seconds,
while another server lives. Where none does, the first that begins anew must itself have lived for as long before it may
judge, so that the page waits less than ten seconds from then."""
LEASE: Final = timedelta(seconds=45)
"""How long a claimed job is ours while our server lives; four times what any courier call may last."""
FRESH_FOR: Final = DEAD_AFTER - BEAT_EVERY
"""A claim that is younger is its server's, however long that was silent before: cut off or stopped until now, it may
claim before it beats, and beats within BEAT_EVERY. Nobody waits longer for that: who claims between two beats and dies
is dead no sooner."""
APART: Final = timedelta(seconds=1)
"""So far the servers' ideas of the database's time may lie apart; what is from later still is from before a setting."""
FORGET_AFTER: Final = timedelta(days=1)
NOBODY: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""As time of death: before any beat, so that nobody is dead."""


def _beating(into: Any) -> Any:
    statement = into(server)
    return statement.on_conflict_do_update(index_elements=["id"], set_={"beat_at": statement.excluded.beat_at})


_BEAT: Final[PerDatabase] = {"sqlite": _beating(sqlite.insert), "postgresql": _beating(postgresql.insert)}
_OURS: Final = server.c.workspace == bindparam("whose")
_ALIVE: Final = select(server.c.id).where(_OURS, server.c.beat_at > bindparam("before")).order_by(server.c.id)
_LEAVE: Final = delete(server).where(server.c.id == bindparam("which"))
_FROM_LATER: Final = update(server).where(_OURS, server.c.beat_at > bindparam("later"))
_FORGET: Final = delete(server).where(_OURS, server.c.beat_at < bindparam("before"))


def beat(direct: Direct, workspace: str, which: str, now: datetime) -> None:
    """This server is alive."""
    direct.run(_BEAT[direct.database], {"id": which, "workspace": workspace, "beat_at": now})


def alive(direct: Direct, workspace: str, now: datetime) -> list[str]:
    """The servers that are not dead."""
    return direct.scalars(_ALIVE, {"whose": workspace, "before": now - DEAD_AFTER})


def leave(direct: Direct, which: str) -> None:
    """This server ends in order, with nothing in its hands."""
    direct.run(_LEAVE, {"which": which})


def from_later(direct: Direct, workspace: str, now: datetime) -> None:
    """Who beat at a time that has not come yet beat just now, so that it can be dead soon: the clock was set back."""
    direct.run(_FROM_LATER, {"whose": workspace, "later": now + APART, "beat_at": now})


def forget(direct: Direct, workspace: str, now: datetime) -> None:
    """Takes the long dead off the list; every lease of theirs is over by then."""
    direct.run(_FORGET, {"whose": workspace, "before": now - FORGET_AFTER})


class Pulse:
    """Whether we may judge others. Only who has beaten without a gap for as long as it takes to be dead may: after the
    database was away, or we were frozen, everybody's last beat is old, and nobody is dead for that."""

    def __init__(self) -> None:
        self._since: datetime | None = None
        self._last: datetime | None = None
        self.was_set_back = False
        """The clock was, and what is planned by its former time waits for somebody to plan it anew."""

    def beaten(self, now: datetime) -> None:
        """A beat of ours is on disk."""
        if self._last is not None and self._last - now > APART:
            self.was_set_back = True
        if self._last is None or self.was_set_back or now - self._last >= DEAD_AFTER:
            self._since = now
        self._last = now

    def dead_before(self, now: datetime) -> datetime:
        """Whose last beat lies before that is dead."""
        last, since = self._last, self._since
        if last is None or since is None or now - last >= DEAD_AFTER or now - since < DEAD_AFTER:
            return NOBODY
        return now - DEAD_AFTER
