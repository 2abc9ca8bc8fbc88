"""The alert ledger and the inbox in SQL: the first stage of intake and the drain of the second."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from bot.incident.alert import Alert, AlertStatus, GroupState
from bot.incident.events import Severity
from bot.journal.ids import new_id
from bot.journal.tables import alert, inbox


@dataclass(frozen=True, slots=True)
class News:
    """A group has changed: what the second stage of intake has to work in. `payload` is plain JSON without secrets."""

    source: str
    key: str
    group_key: str
    payload: Mapping[str, Any]


CHUNK = 500
"""Fingerprints per SELECT: SQLite refuses statements with too many parameters."""
SAMPLES = 5


def _upsert(connection: Connection) -> Any:
    statement: Any = sqlite.insert(alert) if connection.dialect.name == "sqlite" else postgresql.insert(alert)
    keys = ("workspace", "source", "fingerprint")
    changing = {c.name: statement.excluded[c.name] for c in alert.columns if c.name not in keys}
    return statement.on_conflict_do_update(index_elements=list(keys), set_=changing)


def _from_row(row: Mapping[str, Any]) -> Alert:
    values = {name: value for name, value in row.items() if name != "workspace"}
    values["status"] = AlertStatus(values["status"])
    values["severity"] = Severity(values["severity"])
    return Alert(**values)


def known(connection: Connection, workspace: str, source: str, fingerprints: Sequence[str]) -> dict[str, Alert]:
    """The ledger's rows of these fingerprints; those never seen are absent."""
    found: dict[str, Alert] = {}
    for start in range(0, len(fingerprints), CHUNK):
        rows = connection.execute(
            select(alert).where(
                alert.c.workspace == workspace,
                alert.c.source == source,
                alert.c.fingerprint.in_(fingerprints[start : start + CHUNK]),
            )
        ).mappings()
        found.update((row["fingerprint"], _from_row(dict(row))) for row in rows)
    return found


def store(connection: Connection, workspace: str, alerts: Iterable[Alert]) -> None:
    """Writes these rows of the ledger, new or changed."""
    rows = [{**asdict(item), "workspace": workspace} for item in alerts]
    if rows:
        connection.execute(_upsert(connection), rows)


def put(connection: Connection, workspace: str, news: News, now: datetime) -> None:
    """Remembers that a group has news to be worked into an incident; once per source and key."""
    same = (inbox.c.workspace == workspace, inbox.c.source == news.source, inbox.c.key == news.key)
    if connection.execute(select(inbox.c.id).where(*same)).first() is None:
        connection.execute(insert(inbox).values(id=new_id(), workspace=workspace, received_at=now, **asdict(news)))


def waiting_groups(connection: Connection, workspace: str) -> list[str]:
    """The groups with news, the longest waiting first."""
    rows = connection.execute(
        select(inbox.c.group_key)
        .where(inbox.c.workspace == workspace, inbox.c.drained_at.is_(None))
        .group_by(inbox.c.group_key)
        .order_by(func.min(inbox.c.id))
    )
    return [row[0] for row in rows]


def take(connection: Connection, workspace: str, group_key: str, now: datetime) -> list[dict[str, Any]]:
    """The group's news, oldest first, marked as drained in this transaction."""
    news = (inbox.c.workspace == workspace, inbox.c.group_key == group_key, inbox.c.drained_at.is_(None))
    rows = [dict(row) for row in connection.execute(select(inbox).where(*news).order_by(inbox.c.id)).mappings()]
    connection.execute(update(inbox).where(*news).values(drained_at=now))
    return rows


def adopt(connection: Connection, workspace: str, group_key: str, incident: str) -> None:
    """From now on the group's firing alerts belong to this incident."""
    connection.execute(
        update(alert)
        .where(
            alert.c.workspace == workspace,
            alert.c.group_key == group_key,
            alert.c.status == AlertStatus.FIRING.value,
        )
        .values(incident=incident)
    )


def group_state(connection: Connection, workspace: str, group_key: str, incident: str | None) -> GroupState:
    """How the group stands; alerts that ended count only where they belonged to `incident`."""
    group = (alert.c.workspace == workspace, alert.c.group_key == group_key)
    burning = (*group, alert.c.status == AlertStatus.FIRING.value)
    firing, worst, started = connection.execute(
        select(func.count(), func.min(alert.c.severity), func.min(alert.c.starts_at)).where(*burning)
    ).one()
    ended = 0
    if incident is not None:
        ended = connection.execute(
            select(func.count()).where(
                *group, alert.c.status == AlertStatus.RESOLVED.value, alert.c.incident == incident
            )
        ).scalar_one()
    rows = connection.execute(
        select(alert)
        .where(*burning)
        .order_by(alert.c.severity, alert.c.starts_at.desc(), alert.c.fingerprint)
        .limit(SAMPLES)
    ).mappings()
    return GroupState(
        group_key=group_key,
        firing=firing,
        resolved=ended,
        worst=Severity(worst) if worst else Severity.SEV3,
        samples=tuple(_from_row(dict(row)) for row in rows),
        started_at=started,
    )
