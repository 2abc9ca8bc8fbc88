"""The time of a machine on which somebody may set the clock while an incident is running."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

log = structlog.get_logger()

FOLLOWED: Final = timedelta(seconds=5)
"""A correction up to this is followed at once; time servers make such ones."""


def wall_clock() -> datetime:
    """Now, in UTC, as the machine believes it to be."""
    return datetime.now(UTC)


def elapsed() -> float:
    """Seconds on a clock that nobody can set; time in which the machine was suspended counts, where it can be told."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Steps:
    """Notices that the wall clock was set."""

    def __init__(self, wall: Callable[[], float] = time.time, counter: Callable[[], float] = elapsed) -> None:
        self._wall = wall
        self._counter = counter
        self._apart = wall() - counter()

    def was_set(self) -> bool:
        """Whether it was set by more than FOLLOWED since this was last asked."""
        before, self._apart = self._apart, self._wall() - self._counter()
        return abs(self._apart - before) > FOLLOWED.total_seconds()


class SteadyClock:
    """The wall clock's time, for as long as nobody sets it. Never goes back by itself. Thread-safe.

    When the wall clock is set by more than FOLLOWED, this one goes on as if nothing had happened, so that no deadline
    comes early or late, and an incident is told by one clock; `follow` takes the new time, once nothing is running.
    """

    def __init__(self, wall: Callable[[], datetime] = wall_clock, counter: Callable[[], float] = elapsed) -> None:
        self._wall = wall
        self._counter = counter
        self._lock = threading.Lock()
        self._told, self._at = wall(), counter()
        self._apart = timedelta()

    def __call__(self) -> datetime:
        """Now, in UTC."""
        with self._lock:
            wall, count = self._wall(), self._counter()
            ours = self._told + timedelta(seconds=count - self._at)
            apart = wall - ours
            if abs(apart) <= FOLLOWED:
                ours, apart = max(wall, self._told), timedelta()
            if abs(apart - self._apart) > FOLLOWED:
                log.warning("clock_was_set", seconds=round((apart - self._apart).total_seconds(), 1))
                self._apart = apart
            self._told, self._at = ours, count
            return ours

    @property
    def apart(self) -> timedelta:
        """How far the wall clock is ahead of this one; nothing while they agree."""
        self()
        return self._apart

    def follow(self) -> None:
        """Takes the wall clock's word from now on."""
        with self._lock:
            if self._apart:
                log.warning("clock_followed", seconds=round(self._apart.total_seconds(), 1))
            self._told, self._at, self._apart = self._wall(), self._counter(), timedelta()
