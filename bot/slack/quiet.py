"""Knows which channels are quiet, so that what nobody waits for takes no place from what people wait for."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Final

QUIET: Final = timedelta(seconds=3)
"""Slack takes about one message a second in a channel, threads included, and short bursts
(https://docs.slack.dev/apis/web-api/rate-limits): after so long the burst is there again for a runbook's steps."""
MOST: Final = 2_000
LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


class Posted:
    """When this server posted last, by channel. What other servers post it does not know. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at: dict[str, datetime] = {}

    def note(self, channel: str, now: datetime) -> None:
        """Something is posted there now."""
        with self._lock:
            self._at.pop(channel, None)
            self._at[channel] = now
            while len(self._at) > MOST:
                self._at.pop(next(iter(self._at)))

    def quiet_at(self, channel: str) -> datetime:
        """From when on the channel is quiet, unless something is posted before."""
        with self._lock:
            return self._at.get(channel, LONG_AGO) + QUIET
