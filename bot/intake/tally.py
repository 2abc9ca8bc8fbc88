"""Alerts that are merely said again: recognised in memory, counted there, and written down together.

A monitor repeats what burns, and in a storm that is nearly everything it sends. That the alert burns is on disk since
it was first said, so a repeat is answered without a write of its own; what a crash takes is a second of counting.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bot.incident.alert import Alert, AlertStatus
from bot.intake.alerts import Delivery, Message

REMEMBERED: Final = 50_000
"""Alerts of which we know by heart how they stand; each takes some 200 bytes."""


@dataclass(frozen=True, slots=True)
class Heard:
    """How often an alert was said again since it was last written, and when it was last."""

    source: str
    fingerprint: str
    times: int
    last_seen: datetime

    def joined(self, other: "Heard | None") -> "Heard":
        """Both counts as one."""
        if other is None:
            return self
        last = max(self.last_seen, other.last_seen)
        return Heard(self.source, self.fingerprint, self.times + other.times, last)


class Tally:
    """What still has to be written. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heard: dict[tuple[str, str], Heard] = {}

    def add(self, heard: Heard) -> None:
        """Counts it, and what is given back after a write that failed."""
        key = heard.source, heard.fingerprint
        with self._lock:
            self._heard[key] = heard.joined(self._heard.get(key))

    def take(self) -> tuple[Heard, ...]:
        """All of it; the tally is empty then."""
        with self._lock:
            heard, self._heard = self._heard, {}
        return tuple(heard.values())


def merely_repeats(before: Alert | None, after: Alert) -> bool:
    """Whether a row says nothing that the ledger does not know, but how often and when it was last heard."""
    return (
        before is not None
        and before.changes == after.changes
        and before.starts_at == after.starts_at
        and before.title == after.title
        and before.severity == after.severity
        and before.labels == after.labels
    )


def _told(alert: Alert | Delivery, *, burns: bool) -> int:
    """What a message says about an alert, as one number; of one that has ended, only which episode it was."""
    words = (alert.title, alert.severity, frozenset(alert.labels.items())) if burns else ()
    return hash((alert.starts_at, burns, words))


class Known:
    """How alerts stand in the ledger, as far as this process has written them; it must be the only one that does.

    Thread-safe. Told of rows only after their commit, so what it knows is on disk.
    """

    def __init__(self, size: int = REMEMBERED) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._stand: OrderedDict[tuple[str, str], int] = OrderedDict()

    def learn(self, rows: Iterable[Alert]) -> None:
        """These rows are on disk."""
        with self._lock:
            for row in rows:
                key = row.source, row.fingerprint
                self._stand[key] = _told(row, burns=row.status is AlertStatus.FIRING)
                self._stand.move_to_end(key)
            while len(self._stand) > self._size:
                self._stand.popitem(last=False)

    def is_repeat(self, message: Message) -> bool:
        """Whether all of it is known: what burns still burns with the same words, and what has ended has ended."""
        with self._lock:
            return all(
                self._stand.get((message.source, delivery.fingerprint)) == _told(delivery, burns=delivery.firing)
                for delivery in message.deliveries
            )
