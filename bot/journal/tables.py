"""The tables. Portable between SQLite and PostgreSQL; times are UTC."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)


def _json(value: Mapping[str, Any]) -> str:
    return orjson.dumps(value).decode()


def _text(value: datetime | None) -> str | None:
    """As SQLAlchemy's DateTime writes it into SQLite, without a zone."""
    if value is None:
        return None
    return (value if value.tzinfo is UTC else value.astimezone(UTC)).isoformat(" ", "microseconds")[:26]


def _only(where: str) -> dict[str, Any]:
    """Makes an index hold only these rows, on both databases."""
    return {"sqlite_where": text(where), "postgresql_where": text(where)}


class Plain(TypeDecorator[Any]):
    """JSON of texts and whole numbers that hold nothing odd, as it comes in by the thousand."""

    impl = JSON
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        """For SQLite its text at once; PostgreSQL is given all rows in one text anyway (direct.py)."""
        return _json if dialect.name == "sqlite" else super().bind_processor(dialect)


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC datetime; SQLite has no zones, so it is stored naive there and made aware again on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        """For SQLite its text at once; SQLAlchemy's own way there takes longer than to write the row."""
        return _text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        time: datetime = value
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Written only together with `event`; a fold of it that queries can use.
incident = Table(
    "incident",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("workspace", String(80), nullable=False),
    Column("number", Integer, nullable=False),
    Column("status", String(20), nullable=False),
    Column("live", Boolean, nullable=False),
    Column("group_key", String(300), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("head_hash", String(64), nullable=False),
    Column("channel", String(40), nullable=False),
    Column("detected_at", UtcTime, nullable=False),
    Column("acknowledged_at", UtcTime),
    Column("mitigated_at", UtcTime),
    Column("resolved_at", UtcTime),
    Column("next_due_at", UtcTime),
    Column("archived_at", UtcTime),
    UniqueConstraint("workspace", "number"),
)
# Each begins with the workspace, or SQLite would rather walk through all incidents that ever were.
Index("ix_incident_channel", incident.c.workspace, incident.c.channel, incident.c.number)
Index("ix_incident_group", incident.c.workspace, incident.c.group_key, incident.c.number)
Index("ix_incident_next_due_at", incident.c.workspace, incident.c.next_due_at)
Index(
    "ix_incident_live",
    incident.c.workspace,
    incident.c.number,
    sqlite_where=text("live = 1"),
    postgresql_where=text("live"),
)
Index(
    "uq_incident_live_group",
    incident.c.workspace,
    incident.c.group_key,
    unique=True,
    **_only("live AND group_key <> ''"),
)

# The truth: append only. `body` holds digests where the event has free text.
event = Table(
    "event",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("workspace", String(80), nullable=False),
    Column("incident", String(36), ForeignKey("incident.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("kind", String(60), nullable=False),
    Column("v", Integer, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("recorded_at", UtcTime, nullable=False),
    Column("precision", String(10), nullable=False),
    Column("by", JSON, nullable=False),
    Column("source", String(40), nullable=False),
    Column("source_id", String(300), nullable=False),
    Column("key", String(300), nullable=False),
    Column("body", JSON, nullable=False),
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("incident", "seq"),
    UniqueConstraint("workspace", "key"),
)

Index(
    "ix_event_step_begun",
    event.c.workspace,
    event.c.at,
    **_only("kind = 'run.step_started'"),
)

Index("ix_event_rated", event.c.workspace, event.c.at, **_only("kind = 'evidence.rated'"))

# Free text by people and outside systems. Redacting clears `text` and `salt`; the digest in the event stays valid.
blob = Table(
    "blob",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("incident", String(36), nullable=False),
    Column("salt", String(32)),
    Column("text", Text),
    Column("redacted_at", UtcTime),
)
Index("ix_blob_incident", blob.c.incident)

# What the telemetry showed, kept before its own memory ends: series as JSON and a picture, compressed, as Base64 so
# that an archive is readable everywhere. `sha256` is of what was compressed, and stands in the chain (evidence.frozen).
evidence = Table(
    "evidence",
    metadata,
    Column("incident", String(36), ForeignKey("incident.id"), primary_key=True),
    Column("id", String(20), primary_key=True),
    Column("part", String(40), primary_key=True),
    Column("workspace", String(80), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("kind", String(10), nullable=False),
    Column("query", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("content", Text),
    Column("redacted_at", UtcTime),
)

# What is said outside about all chains together, at the full hour; `due_at` is when somebody should (again), NULL once
# it was said.
head = Table(
    "head",
    metadata,
    Column("workspace", String(80), primary_key=True),
    Column("at", UtcTime, primary_key=True),
    Column("entries", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("due_at", UtcTime),
)

# What is left of an incident whose entries were moved to a file, beside its own row. `hashes` are [recorded_at, hash]
# of every entry by `seq`, so that every head can still be held against them.
archive = Table(
    "archive",
    metadata,
    Column("incident", String(36), ForeignKey("incident.id"), primary_key=True),
    Column("workspace", String(80), nullable=False),
    Column("archived_at", UtcTime, nullable=False),
    Column("file", String(400), nullable=False),
    Column("first_at", UtcTime, nullable=False),
    Column("last_at", UtcTime, nullable=False),
    Column("hashes", JSON, nullable=False),
)
Index("ix_archive_last_at", archive.c.workspace, archive.c.last_at)

# The alert ledger: one row per alert that ever fired, by the sender's fingerprint.
alert = Table(
    "alert",
    metadata,
    Column("workspace", String(80), primary_key=True),
    Column("source", String(40), primary_key=True),
    Column("fingerprint", String(80), primary_key=True),
    Column("status", String(10), nullable=False),
    Column("group_key", String(300), nullable=False),
    Column("incident", String(36)),
    Column("name", String(200), nullable=False),
    Column("title", Text, nullable=False),
    Column("severity", String(4), nullable=False),
    Column("service", String(200), nullable=False),
    Column("model", String(200), nullable=False),
    Column("runbook", String(200), nullable=False),
    Column("labels", Plain, nullable=False),
    Column("starts_at", UtcTime, nullable=False),
    Column("ends_at", UtcTime),
    Column("first_seen", UtcTime, nullable=False),
    Column("last_seen", UtcTime, nullable=False),
    Column("times", Integer, nullable=False),
    Column("changes", Integer, nullable=False),
)
# What burns and has no incident yet: few at any time, and next to each other. A place in the index below costs a page
# of its own on the disk, so it is taken only when there is an incident, for all of a group's alerts at once.
Index(
    "ix_alert_homeless",
    alert.c.workspace,
    alert.c.group_key,
    **_only("incident IS NULL AND status = 'firing'"),
)
# Holds all that is asked about a group, in the order in which its worst alerts are shown: a storm's group is large.
Index(
    "ix_alert_group",
    alert.c.workspace,
    alert.c.group_key,
    alert.c.status,
    alert.c.severity,
    alert.c.starts_at.desc(),
    alert.c.fingerprint,
    alert.c.incident,
    **_only("incident IS NOT NULL"),
)

# What reached us and still has to be worked into an incident: the durable command of the second stage of intake. It is
# written with the change of the ledger's row that it is about, so it needs no key of its own to be there once.
inbox = Table(
    "inbox",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("workspace", String(80), nullable=False),
    Column("source", String(40), nullable=False),
    Column("group_key", String(300), nullable=False),
    Column("payload", Plain, nullable=False),
    Column("received_at", UtcTime, nullable=False),
    Column("drained_at", UtcTime),
)
Index(
    "ix_inbox_waiting",
    inbox.c.workspace,
    inbox.c.group_key,
    **_only("drained_at IS NULL"),
)

# What must still be done outside. `state` is waiting, done or dead. `claimed_until` is when somebody's hold on it ends,
# or, where nobody has a claim, when the last attempt ended.
outbox = Table(
    "outbox",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("workspace", String(80), nullable=False),
    Column("incident", String(36), ForeignKey("incident.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("courier", String(20), nullable=False),
    Column("lane", String(200), nullable=False),
    Column("kind", String(40), nullable=False),
    Column("body", JSON, nullable=False),
    Column("state", String(10), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("due_at", UtcTime, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("claim", String(36)),
    Column("claimed_until", UtcTime),
    Column("claimed_by", String(36)),
    Column("progress", JSON, nullable=False),
    Column("warned", Boolean, nullable=False),
    Column("last_error", Text, nullable=False),
    Column("ended_at", UtcTime),
    UniqueConstraint("incident", "position"),
)
Index(
    "ix_outbox_waiting",
    outbox.c.workspace,
    outbox.c.courier,
    outbox.c.due_at,
    **_only("state = 'waiting'"),
)

# The servers at work; one whose last beat is old is dead.
server = Table(
    "server",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("workspace", String(80), nullable=False),
    Column("beat_at", UtcTime, nullable=False),
)

# Periodic work that one server does for all: whoever writes the row does it. `cost` is in the work's own unit, `result`
# what it found, once it has ended.
slot = Table(
    "slot",
    metadata,
    Column("workspace", String(80), primary_key=True),
    Column("job", String(80), primary_key=True),
    Column("at", UtcTime, primary_key=True),
    Column("cost", Integer, nullable=False),
    Column("result", JSON(none_as_null=True)),
)

# What concerns no incident. `hash` covers the record and the hash before; `told` and `due_at` are about the telling.
logbook = Table(
    "logbook",
    metadata,
    Column("workspace", String(80), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("by", JSON, nullable=False),
    Column("body", JSON, nullable=False),
    Column("prev_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("told", Boolean, nullable=False),
    Column("due_at", UtcTime, nullable=False),
)

# What somebody changed, as a pipeline told it: what it said first under its id. Forgotten after a while.
change = Table(
    "change",
    metadata,
    Column("workspace", String(80), primary_key=True),
    Column("source", String(40), primary_key=True),
    Column("id", String(200), primary_key=True),
    Column("at", UtcTime, nullable=False),
    Column("precision", String(10), nullable=False),
    Column("noted_at", UtcTime, nullable=False),
    Column("environment", String(80), nullable=False),
    Column("body", JSON, nullable=False),
)
Index("ix_change_at", change.c.workspace, change.c.at)
