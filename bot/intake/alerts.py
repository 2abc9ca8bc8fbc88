"""The rules of the alert ledger: what a delivery changes, and what of it is news for an incident."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from bot.incident.alert import Alert, AlertStatus
from bot.incident.events import Severity
from bot.intake.reading import Reading

OVERTAKEN_WITHIN: Final = timedelta(minutes=5)
"""How long after an end a message from before it may still come in."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One alert as a monitor just reported it, vendor's words already translated.

    `group_key` is set by a source whose alerts are incidents already, each a group of its own; else labels decide.
    """

    fingerprint: str
    firing: bool
    name: str
    title: str
    severity: Severity
    service: str
    model: str
    runbook: str
    labels: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None
    group_key: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """What one request of a monitor brought. `truncated` counts alerts the sender left out to keep it short; `fault`
    says what is wrong with those that could not be read, and is empty when all could."""

    source: str
    deliveries: tuple[Delivery, ...]
    truncated: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class GroupNews:
    """What changed in one group: how many alerts began and how many ended."""

    group_key: str
    began: int
    ended: int


@dataclass(frozen=True, slots=True)
class Intake:
    """The rows to write, and the groups with news."""

    rows: tuple[Alert, ...]
    news: tuple[GroupNews, ...]


def transition(known: Alert | None, delivery: Delivery, source: str, group_key: str, now: datetime) -> Alert:
    """The ledger's row after this delivery. `changes` has grown by one where the alert began or ended.

    Messages overtake each other on the way. An episode is known by when it began, and the latest one counts: what is
    said of an earlier one is counted, and changes nothing. An alert that is reported firing with the very beginning of
    an episode that we know has just ended was overtaken by its end. Later it burns again: Alertmanager ends what it
    hears nothing of, though it has burnt on all the while. An end whose beginning has not come yet is kept for it.
    Words that a person has taken out stay out, whatever is said again.
    """
    if known is None:
        return _first(delivery, source, group_key, now)
    burns = known.status is AlertStatus.FIRING
    heard = replace(known, last_seen=now, times=known.times + 1)
    later = delivery.starts_at > known.starts_at
    if delivery.firing and not burns and _overtaken(known, delivery, now):
        return heard
    if delivery.firing:
        return replace(
            heard,
            status=AlertStatus.FIRING,
            group_key=known.group_key if burns else group_key,
            title=known.title if known.was_redacted else delivery.title,
            severity=delivery.severity,
            labels=known.labels if known.was_redacted else delivery.labels,
            starts_at=delivery.starts_at if later or not burns else known.starts_at,
            ends_at=None,
            changes=known.changes + (not burns),
        )
    if delivery.starts_at < known.starts_at or not (burns or later):
        return heard
    return replace(
        heard,
        status=AlertStatus.RESOLVED,
        starts_at=delivery.starts_at,
        ends_at=delivery.ends_at or now,
        changes=known.changes + burns,
    )


def _first(delivery: Delivery, source: str, group_key: str, now: datetime) -> Alert:
    """The row of an alert that was never heard of before."""
    return Alert(
        source=source,
        fingerprint=delivery.fingerprint,
        status=AlertStatus.FIRING if delivery.firing else AlertStatus.RESOLVED,
        group_key=group_key,
        name=delivery.name,
        title=delivery.title,
        severity=delivery.severity,
        service=delivery.service,
        model=delivery.model,
        runbook=delivery.runbook,
        labels=delivery.labels,
        starts_at=delivery.starts_at,
        ends_at=None if delivery.firing else delivery.ends_at or now,
        first_seen=now,
        last_seen=now,
        changes=int(delivery.firing),
    )


def _overtaken(known: Alert, delivery: Delivery, now: datetime) -> bool:
    """Whether this is word of an episode whose end we have, sent before that end."""
    ended = known.ends_at
    return ended is not None and delivery.starts_at < ended and now - ended < OVERTAKEN_WITHIN


def take_in(message: Message, known: Mapping[str, Alert], reading: Reading, now: datetime) -> Intake:
    """Works one message into the ledger's rows. An alert that occurs twice in it is taken in order."""
    groups = _groups(message.deliveries, reading)
    rows: dict[str, Alert] = {}
    for delivery in message.deliveries:
        before = rows.get(delivery.fingerprint) or known.get(delivery.fingerprint)
        group = groups[delivery.fingerprint]
        rows[delivery.fingerprint] = transition(before, delivery, message.source, group, now)
    changed = [row for row in rows.values() if _changes(known, row)]
    return Intake(tuple(rows.values()), tuple(_news(changed)))


def _changes(known: Mapping[str, Alert], row: Alert) -> bool:
    before = known.get(row.fingerprint)
    return row.changes != (before.changes if before else 0)


def _groups(deliveries: Sequence[Delivery], reading: Reading) -> dict[str, str]:
    """The group key of each alert; a message that would open too many groups is a storm and is grouped coarsely."""
    fine = {d.fingerprint: d.group_key or reading.group_of(d.name, d.labels) for d in deliveries}
    if len(set(fine.values())) <= reading.storm_groups:
        return fine
    return {d.fingerprint: d.group_key or reading.storm_of(d.name, d.labels) for d in deliveries}


def _news(changed: Iterable[Alert]) -> Iterable[GroupNews]:
    by_group: dict[str, list[Alert]] = {}
    for row in changed:
        by_group.setdefault(row.group_key, []).append(row)
    for group_key, rows in by_group.items():
        began = sum(row.status is AlertStatus.FIRING for row in rows)
        yield GroupNews(group_key, began, len(rows) - began)
