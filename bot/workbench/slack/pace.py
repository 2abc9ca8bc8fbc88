"""Slack's rate limits: so many calls a minute for each method, and about one message a second in a channel."""

from __future__ import annotations

from collections import deque
from math import ceil
from threading import Lock

WINDOW_S = 60.0
# https://docs.slack.dev/apis/web-api/rate-limits : "one message per second per channel, short bursts allowed";
# Slack names no number for the burst.
MESSAGES_PER_S = 1.0
BURST = 5.0


class Pace:
    """Counts calls by the clock it is given; `enabled` and `factor` are for tests to turn.

    `factor` stretches every limit: 2.0 allows twice as much, 0.1 a tenth.
    """

    def __init__(self, *, enabled: bool = True, factor: float = 1.0) -> None:
        self.enabled = enabled
        self.factor = factor
        self._lock = Lock()
        self._calls: dict[str, deque[float]] = {}
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, method: str, per_minute: int, now: float, channel: str | None = None) -> int | None:
        """Count one call; returns None when it may go on, or the whole seconds of Retry-After when it may not.

        `channel` names where a message goes, for the limit of a message a second. A call that is refused
        counts for nothing.
        """
        if not self.enabled:
            return None
        with self._lock:
            recent = self._calls.setdefault(method, deque())
            while recent and now - recent[0] >= WINDOW_S:
                recent.popleft()
            if len(recent) >= max(1, int(per_minute * self.factor)):
                return max(1, ceil(recent[0] + WINDOW_S - now))
            if channel is not None and (pause := self._pause(channel, now)) is not None:
                return pause
            recent.append(now)
            return None

    def _pause(self, channel: str, now: float) -> int | None:
        rate, burst = MESSAGES_PER_S * self.factor, max(1.0, BURST * self.factor)
        tokens, at = self._buckets.get(channel, (burst, now))
        tokens = min(burst, tokens + max(0.0, now - at) * rate)
        if tokens < 1.0:
            return max(1, ceil((1.0 - tokens) / rate))
        self._buckets[channel] = (tokens - 1.0, now)
        return None

    def reset(self) -> None:
        """Forget every call."""
        with self._lock:
            self._calls.clear()
            self._buckets.clear()
