"""Alerts that were merely said again: counted in memory and written down together, since nothing depends on them.

A monitor repeats what burns, and in a storm that is nearly everything it sends. That the alert burns is on disk since
it was first said, so a repeat is answered without a write of its own; what a crash takes is a second of counting.
"""

import threading
from dataclasses import dataclass
from datetime import datetime

from bot.incident.alert import Alert


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
        and before.title == after.title
        and before.severity == after.severity
        and before.labels == after.labels
    )
