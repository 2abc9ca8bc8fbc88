"""The statements of every day, built once: SQLAlchemy takes longer to build one than SQLite to carry it out."""

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    Update,
    bindparam,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from bot.journal.direct import one_of
from bot.journal.tables import alert, archive, blob, event, inbox, incident, outbox

_OURS: Final = incident.c.workspace == bindparam("workspace")
_ITS: Final = incident.c.id == bindparam("incident_id")
_HERE: Final = incident.c.archived_at.is_(None)
"""What was archived is no incident any more that anything could happen to."""


def _newest(*where: Any) -> Select[str, str]:
    """Id and head of an incident of this workspace; the newest of those that meet the conditions."""
    query = select(incident.c.id, incident.c.head_hash).where(_OURS, _HERE, *where)
    return query.order_by(incident.c.number.desc()).limit(1)


HEAD_OF: Final = select(incident.c.head_hash).where(_ITS, _HERE)
LOCKED_HEAD_OF: Final = HEAD_OF.with_for_update()
END_OF: Final = select(incident.c.seq, incident.c.head_hash).where(_ITS)
NUMBER_OF: Final = select(incident.c.number).where(_ITS)
IS_LIVE: Final = select(incident.c.live).where(_ITS)
BY_ID: Final = _newest(_ITS)
BY_NUMBER: Final = _newest(incident.c.number == bindparam("number"))
BY_CHANNEL: Final = _newest(incident.c.channel == bindparam("channel"))
# The live one, if there is one: an older incident may have been opened again.
BY_GROUP: Final = (
    select(incident.c.id, incident.c.head_hash)
    .where(_OURS, _HERE, incident.c.group_key == bindparam("group_key"))
    .order_by(incident.c.live.desc(), incident.c.number.desc())
    .limit(1)
)
LOCKED_BY_GROUP: Final = BY_GROUP.with_for_update()
LIVE: Final = (
    select(incident.c.id, incident.c.head_hash).where(_OURS, incident.c.live).order_by(incident.c.number.desc())
)
RECENT: Final = (
    select(incident.c.id, incident.c.head_hash)
    .where(_OURS, _HERE)
    .order_by(incident.c.number.desc())
    .limit(bindparam("most"))
)
AFTER: Final = (
    select(incident.c.id, incident.c.head_hash)
    .where(_OURS, _HERE, incident.c.number > bindparam("number"))
    .order_by(incident.c.number)
    .limit(bindparam("most"))
)
DUE: Final = (
    select(incident.c.id).where(_OURS, incident.c.next_due_at <= bindparam("now")).order_by(incident.c.next_due_at)
)
HIGHEST_NUMBER: Final = select(func.max(incident.c.number)).where(_OURS)
NEW_INCIDENT: Final = insert(incident)
CHANGED_INCIDENT: Final[Update] = update(incident).where(_ITS)

ENTRIES_OF: Final = (
    select(event)
    .where(event.c.incident == bindparam("incident_id"), event.c.seq > bindparam("after", value=0))
    .order_by(event.c.seq)
)
ENTRY: Final = select(event).where(event.c.id == bindparam("entry_id"))
HAS_ENTRY: Final = select(event.c.id).where(event.c.id == bindparam("entry_id"))
SEEN: Final = select(event.c.incident).where(
    event.c.workspace == bindparam("workspace"), event.c.key == bindparam("key")
)
NEW_ENTRY: Final = insert(event)

_LEFT: Final = select(blob.c.digest, blob.c.text).where(blob.c.text.is_not(None))
TEXTS_OF: Final = _LEFT.where(blob.c.incident == bindparam("incident_id"))
TEXTS: Final = {database: _LEFT.where(among) for database, among in one_of(blob.c.digest, "digests").items()}
NEW_TEXTS: Final = insert(blob)

UNFINISHED: Final = select(incident.c.id, incident.c.seq, incident.c.head_hash, incident.c.next_due_at).where(
    _OURS, or_(incident.c.live, incident.c.next_due_at.is_not(None))
)
DUE_ANEW: Final = (
    update(incident).where(_ITS, incident.c.seq == bindparam("as_of")).values(next_due_at=bindparam("due_at"))
)
INCIDENTS_BY_STATUS: Final = select(incident.c.status, func.count()).where(_OURS).group_by(incident.c.status)
ALERTS_BY_STATUS: Final = (
    select(alert.c.status, func.count()).where(alert.c.workspace == bindparam("workspace")).group_by(alert.c.status)
)
GROUP_OF: Final = select(inbox.c.group_key).where(inbox.c.id == bindparam("news"), inbox.c.drained_at.is_(None))
NEWS_WAITING: Final = (
    select(func.count())
    .select_from(inbox)
    .where(inbox.c.workspace == bindparam("workspace"), inbox.c.drained_at.is_(None))
)

_SAID_WAITING: Final[ColumnElement[str]] = literal_column("'waiting'")
"""Written into the statement, as in post.py: SQLite must know it to use the index of the waiting ones."""
WORK_WAITS: Final = select(
    or_(
        exists().where(inbox.c.workspace == bindparam("workspace"), inbox.c.drained_at.is_(None)),
        exists().where(_OURS, incident.c.next_due_at <= bindparam("now")),
        exists().where(
            outbox.c.workspace == bindparam("workspace"),
            outbox.c.state == _SAID_WAITING,
            outbox.c.due_at <= bindparam("now"),
        ),
    )
)


def _archived(where: ColumnElement[bool]) -> Any:
    return select(
        incident.c.number,
        incident.c.status,
        incident.c.seq,
        incident.c.head_hash,
        incident.c.detected_at,
        incident.c.resolved_at,
        archive.c.archived_at,
        archive.c.file,
    ).where(_OURS, where, archive.c.incident == incident.c.id)


ARCHIVED_BY_NUMBER: Final = _archived(incident.c.number == bindparam("number"))
ARCHIVED_BY_ID: Final = _archived(_ITS)
