"""The rules of the alert ledger: what a delivery changes, and what of it is news for an incident."""

import hashlib
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
    """What one request of a monitor brought. `truncated` counts alerts the sender left out to keep it short."""

    source: str
    deliveries: tuple[Delivery, ...]
    truncated: int = 0


@dataclass(frozen=True, slots=True)
class GroupNews:
    """What changed in one group: how many alerts began and how many ended. `key` is the same for the same change."""

    group_key: str
    began: int
    ended: int
    key: str


@dataclass(frozen=True, slots=True)
class Intake:
    """The rows to write, the groups with news, and how many ends had no beginning we know of."""

    rows: tuple[Alert, ...]
    news: tuple[GroupNews, ...]
    orphans: int


def transition(known: Alert | None, delivery: Delivery, source: str, group_key: str, now: datetime) -> Alert | None:
    """The ledger's row after this delivery; None for an end without a beginning, which is not worth a row.

    `changes` has grown by one where the alert began or ended. An alert that is reported firing with the very beginning
    of an episode that we know has just ended is a message that was overtaken on the way: it is counted, and changes
    nothing. Later it burns again: Alertmanager ends what it hears nothing of, though it has burnt on all the while.
    """
    if known is None:
        if not delivery.firing:
            return None
        return Alert(
            source=source,
            fingerprint=delivery.fingerprint,
            status=AlertStatus.FIRING,
            group_key=group_key,
            name=delivery.name,
            title=delivery.title,
            severity=delivery.severity,
            service=delivery.service,
            model=delivery.model,
            runbook=delivery.runbook,
            labels=delivery.labels,
            starts_at=delivery.starts_at,
            ends_at=None,
            first_seen=now,
            last_seen=now,
        )
    burns = known.status is AlertStatus.FIRING
    times = known.times + 1
    if delivery.firing and not burns and _overtaken(known, delivery, now):
        return replace(known, last_seen=now, times=times)
    if delivery.firing:
        return replace(
            known,
            status=AlertStatus.FIRING,
            group_key=known.group_key if burns else group_key,
            title=delivery.title,
            severity=delivery.severity,
            labels=delivery.labels,
            starts_at=known.starts_at if burns else delivery.starts_at,
            ends_at=None,
            last_seen=now,
            times=times,
            changes=known.changes + (not burns),
        )
    if not burns or delivery.starts_at < known.starts_at:
        return replace(known, last_seen=now, times=times)
    ended = delivery.ends_at or now
    return replace(
        known, status=AlertStatus.RESOLVED, ends_at=ended, last_seen=now, times=times, changes=known.changes + 1
    )


def _overtaken(known: Alert, delivery: Delivery, now: datetime) -> bool:
    """Whether this is word of an episode whose end we have, sent before that end."""
    ended = known.ends_at
    return ended is not None and delivery.starts_at < ended and now - ended < OVERTAKEN_WITHIN


def take_in(message: Message, known: Mapping[str, Alert], reading: Reading, now: datetime) -> Intake:
    """Works one message into the ledger's rows. An alert that occurs twice in it is taken in order."""
    groups = _groups(message.deliveries, reading)
    rows: dict[str, Alert] = {}
    orphans = 0
    for delivery in message.deliveries:
        before = rows.get(delivery.fingerprint) or known.get(delivery.fingerprint)
        after = transition(before, delivery, message.source, groups[delivery.fingerprint], now)
        if after is None:
            orphans += 1
        else:
            rows[delivery.fingerprint] = after
    changed = [row for row in rows.values() if _changes(known, row)]
    return Intake(tuple(rows.values()), tuple(_news(changed)), orphans)


def _changes(known: Mapping[str, Alert], row: Alert) -> bool:
    before = known.get(row.fingerprint)
    return before is None or before.changes != row.changes


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
        facts = sorted(f"{row.fingerprint} {row.status} {row.changes}" for row in rows)
        digest = hashlib.sha256("\n".join([group_key, *facts]).encode()).hexdigest()
        yield GroupNews(group_key, began, len(rows) - began, digest)
