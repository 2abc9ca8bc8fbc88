"""The time of a machine on which somebody may set the clock while an incident is running."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger()

FOLLOWED: Final = timedelta(seconds=5)
"""A correction up to this is followed at once; time servers make such ones."""
AGREED: Final = timedelta()


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


class Note:
    """What the server writes beside the journal for others on its machine: how far the wall clock is ahead of its own.

    By their own clocks the acknowledgement that a terminal takes down would be sent an hour later.
    """

    def __init__(self, journal: Path) -> None:
        self._file = journal.with_name(f"{journal.name}.clock")

    def write(self, apart: timedelta) -> None:
        """For whoever asks from now on; nothing while the clocks agree."""
        try:
            if apart:
                fresh = self._file.with_name(f"{self._file.name}.new")
                fresh.write_text(str(apart.total_seconds()), encoding="ascii")
                fresh.replace(self._file)
            else:
                self._file.unlink(missing_ok=True)
        except OSError as error:
            log.warning("clock_note_not_written", reason=error.strerror)

    def read(self) -> timedelta:
        """Nothing where nothing can be read."""
        try:
            return timedelta(seconds=float(self._file.read_text(encoding="ascii")))
        except (OSError, ValueError, OverflowError):
            return timedelta()


class SteadyClock:
    """The wall clock's time, for as long as nobody sets it. Never goes back by itself. Thread-safe.

    When the wall clock is set by more than FOLLOWED, this one goes on as if nothing had happened, so that no deadline
    comes early or late, and an incident is told by one clock; `follow` takes the new time, once nothing is running.
    The wall clock may be `apart`, ahead of this one, from the beginning; `tell` hears each time how far it is then.
    """

    def __init__(
        self,
        wall: Callable[[], datetime] = wall_clock,
        counter: Callable[[], float] = elapsed,
        apart: timedelta = AGREED,
        tell: Callable[[timedelta], None] = lambda _: None,
    ) -> None:
        self._wall = wall
        self._counter = counter
        self._tell = tell
        self._lock = threading.Lock()
        self._told, self._at = wall() - apart, counter()
        self._apart = apart

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
                self._tell(apart)
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
            self._tell(self._apart)
