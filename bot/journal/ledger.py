"""The alert ledger and the inbox in SQL: the first stage of intake and the drain of the second."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

from sqlalchemy import Table, bindparam, func, insert, literal_column, select, update
from sqlalchemy.dialects import postgresql, sqlite

from bot.incident.alert import Alert, AlertStatus, GroupState
from bot.incident.events import Severity
from bot.intake.tally import Heard
from bot.journal.direct import Direct, PerDatabase, one_of
from bot.journal.ids import new_id
from bot.journal.tables import alert, inbox


@dataclass(frozen=True, slots=True)
class News:
    """A group has changed: what the second stage of intake has to work in. `payload` is plain JSON without secrets."""

    source: str
    group_key: str
    payload: Mapping[str, Any]


SAMPLES = 5


_FIELDS: Final = tuple(field.name for field in fields(Alert))
# A database is given the plain text of a word: the driver looks long for what else to make of a kind of str.
_VALUES: Final = attrgetter(*(f"{name}.value" if name in ("status", "severity") else name for name in _FIELDS))
_STATUS, _SEVERITY = _FIELDS.index("status"), _FIELDS.index("severity")
# The statements of intake are built once: to build one costs more than to carry it out.
_KNOWN: Final[PerDatabase] = {
    database: select(*(alert.c[name] for name in _FIELDS)).where(
        alert.c.workspace == bindparam("workspace"), alert.c.source == bindparam("source"), among
    )
    for database, among in one_of(alert.c.fingerprint, "fingerprints").items()
}


def _storing(into: Callable[[Table], Any]) -> Any:
    statement = into(alert)
    # What is known of a row says nothing of where it lives: a drain may have given it a home since.
    keys, not_ours = ("workspace", "source", "fingerprint"), ("incident",)
    changing = {c.name: statement.excluded[c.name] for c in alert.columns if c.name not in (*keys, *not_ours)}
    return statement.on_conflict_do_update(index_elements=list(keys), set_=changing)


# Both know INSERT ... ON CONFLICT, each from a module of its own.
_STORE: Final[PerDatabase] = {"sqlite": _storing(sqlite.insert), "postgresql": _storing(postgresql.insert)}
_COUNT: Final = (
    update(alert)
    .where(
        alert.c.workspace == bindparam("whose"),
        alert.c.source == bindparam("of"),
        alert.c.fingerprint == bindparam("which"),
    )
    .values(times=alert.c.times + bindparam("more"), last_seen=bindparam("latest"))
)
_PUT: Final = insert(inbox)

_GROUP: Final = (alert.c.workspace == bindparam("whose"), alert.c.group_key == bindparam("group"))
# Only the words of its condition tell a database that it may use an index over some of the rows.
_HOMELESS: Final = (*_GROUP, alert.c.incident.is_(None), alert.c.status == literal_column(f"'{AlertStatus.FIRING}'"))
_AT_HOME: Final = (*_GROUP, alert.c.incident.is_not(None))
_FIRING: Final = (*_AT_HOME, alert.c.status == AlertStatus.FIRING.value)
_WAITING: Final = (inbox.c.workspace == bindparam("whose"), inbox.c.drained_at.is_(None))
_ITS_NEWS: Final = (*_WAITING, inbox.c.group_key == bindparam("group"))
_GROUPS_WITH_NEWS: Final = (
    select(inbox.c.group_key).where(*_WAITING).group_by(inbox.c.group_key).order_by(func.min(inbox.c.id))
)
_NEWS: Final = select(inbox).where(*_ITS_NEWS).order_by(inbox.c.id).with_for_update()
_DRAIN: Final[PerDatabase] = {
    database: update(inbox).where(among) for database, among in one_of(inbox.c.id, "read").items()
}
_TAKE_IN: Final = update(alert).where(*_HOMELESS)
_MOVE: Final = update(alert).where(*_FIRING, alert.c.incident != bindparam("new_home"))
_BURNING: Final = select(func.count(), func.min(alert.c.severity), func.min(alert.c.starts_at)).where(*_FIRING)
_ENDED: Final = select(func.count()).where(
    *_AT_HOME, alert.c.status == AlertStatus.RESOLVED.value, alert.c.incident == bindparam("which")
)
_SAMPLES_OF: Final = (
    select(*(alert.c[name] for name in _FIELDS))
    .where(*_FIRING)
    .order_by(alert.c.severity, alert.c.starts_at.desc(), alert.c.fingerprint)
    .limit(SAMPLES)
)


def _from_row(row: Sequence[Any]) -> Alert:
    """An alert from its columns in the order of its fields."""
    values = list(row)
    values[_STATUS] = AlertStatus(values[_STATUS])
    values[_SEVERITY] = Severity(values[_SEVERITY])
    return Alert(*values)


def known(direct: Direct, workspace: str, source: str, fingerprints: Sequence[str]) -> dict[str, Alert]:
    """The ledger's rows of these fingerprints, for us alone to change; those never seen are absent."""
    # What is not there yet cannot be locked row by row, and an end must not overtake its beginning.
    direct.alone(f"ledger:{workspace}:{source}")
    named = {"workspace": workspace, "source": source, "fingerprints": list(fingerprints)}
    return {item.fingerprint: item for item in map(_from_row, direct.all(_KNOWN[direct.database], named))}


def store(direct: Direct, workspace: str, alerts: Iterable[Alert]) -> None:
    """Writes these rows of the ledger, new or changed."""
    direct.run_many(_STORE[direct.database], ("workspace", *_FIELDS), [(workspace, *_VALUES(item)) for item in alerts])


def count(direct: Direct, workspace: str, heard: Iterable[Heard]) -> None:
    """Adds to how often these rows were heard, and when last."""
    names = ("whose", "of", "which", "more", "latest")
    rows = [(workspace, item.source, item.fingerprint, item.times, item.last_seen) for item in heard]
    direct.run_many(_COUNT, names, rows)


def put(direct: Direct, workspace: str, news: Iterable[News], now: datetime) -> None:
    """Remembers that groups have news to be worked into an incident."""
    names = ("id", "workspace", "source", "group_key", "payload", "received_at", "drained_at")
    rows = [(new_id(), workspace, item.source, item.group_key, dict(item.payload), now, None) for item in news]
    direct.run_many(_PUT, names, rows)


def waiting_groups(direct: Direct, workspace: str) -> list[str]:
    """The groups with news, the longest waiting first."""
    return direct.scalars(_GROUPS_WITH_NEWS, {"whose": workspace})


def take(direct: Direct, workspace: str, group_key: str, now: datetime) -> list[dict[str, Any]]:
    """The group's news, oldest first, marked as drained in this transaction."""
    rows = direct.named(_NEWS, {"whose": workspace, "group": group_key})
    if rows:
        # Those that were read and no others: by now another server may have heard more.
        direct.run(_DRAIN[direct.database], {"read": [row["id"] for row in rows], "drained_at": now})
    return rows


def adopt(direct: Direct, workspace: str, group_key: str, incident: str) -> None:
    """From now on the group's firing alerts belong to this incident."""
    its = {"whose": workspace, "group": group_key, "incident": incident}
    direct.run(_TAKE_IN, its)
    direct.run(_MOVE, {**its, "new_home": incident})


def group_state(direct: Direct, workspace: str, group_key: str, incident: str | None) -> GroupState:
    """How the alerts stand that were adopted; those that ended count only where they belonged to `incident`."""
    its = {"whose": workspace, "group": group_key}
    firing, worst, started = direct.all(_BURNING, its)[0]
    ended = direct.scalar(_ENDED, {**its, "which": incident}) if incident is not None else 0
    return GroupState(
        group_key=group_key,
        firing=firing,
        resolved=ended,
        worst=Severity(worst) if worst else Severity.SEV3,
        samples=tuple(map(_from_row, direct.all(_SAMPLES_OF, its))),
        started_at=started,
    )
