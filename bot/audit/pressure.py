"""Whether more may be taken in: what is answered 2xx has to be kept, and has to be acted on.

A service outside that is dead is no pressure. What waits for Slack or PagerDuty is on disk, goes out when they return,
and pages go by the next pager meanwhile; to turn alerts away for that would keep those pages from being sent at all.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from bot.audit.findings import Check, Finding
from bot.incident.timeline import span
from bot.journal import Journal
from bot.journal.audit import news_waiting

log = structlog.get_logger()

LOOK_EVERY_S: Final = 5.0
RESERVE_SHARE: Final = 0.05
RESERVE_MOST: Final = 256 * 1024 * 1024
"""Bytes; five per cent of a large disk would be room for years."""
LAST_SHARE: Final = 0.25
"""Of the reserve. What is left then is for work on what was taken in: to claim a page needs a write as well."""
STANDS_STILL: Final = timedelta(seconds=60)
MOST_NEWS: Final = 50_000
"""Groups' news that wait to be worked in. A storm of 10,000 alerts in as many groups is a fifth of this, and the
engine works in some hundred groups a second."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system, in bytes. `free` is what the bot's user may still write."""

    size: int
    free: int

    @property
    def reserve(self) -> int:
        """Below this much free space, alerts that wake nobody are turned away."""
        return int(min(self.size * RESERVE_SHARE, RESERVE_MOST))


def disk_of(folder: Path) -> Disk:
    """The file system a folder lies on."""
    found = os.statvfs(folder)
    return Disk(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why alerts are turned away: all of them, or only those that wake nobody."""

    text: str
    even_those_that_wake: bool = True

    def __str__(self) -> str:
        whom = "Alerts" if self.even_those_that_wake else "Alerts that wake nobody"
        return f"{self.text} {whom} are turned away."


class Pressure:
    """What stands against taking alerts in. `disk` is None where the journal is kept by a database server.

    `turned_at` tells when the engine last completed a turn. Only `look` asks anything of disk or journal; the rest
    answers at once, from what it saw. Thread-safe.
    """

    def __init__(
        self, journal: Journal, turned_at: Callable[[], datetime | None], disk: Callable[[], Disk] | None
    ) -> None:
        self._journal = journal
        self._turned_at = turned_at
        self._disk = disk
        self._began = journal.clock()
        self._news = 0
        self._against: tuple[Reason, ...] = ()

    def look(self) -> None:
        """Takes the measure of disk, engine and inbox. Raises Busy when the journal cannot be asked, after the rest."""
        try:
            self._news = news_waiting(self._journal)
        finally:
            before, self._against = self._against, tuple(self._reasons())
            if self._against and not before:
                log.error("alerts_turned_away", reasons=[str(reason) for reason in self._against])
            elif before and not self._against:
                log.info("alerts_welcome_again")

    def turns_away(self, *, wakes: bool) -> str:
        """Why an alert may not be taken in now; empty when it may. `wakes`: somebody would be paged for it."""
        return next((str(reason) for reason in self._against if reason.even_those_that_wake or not wakes), "")

    def findings(self) -> tuple[Finding, ...]:
        """The same for people."""
        return tuple(Finding(Check.PRESSURE, "", str(reason)) for reason in self._against)

    def _reasons(self) -> Iterator[Reason]:
        if self._disk is not None:
            space = self._disk()
            if space.free < space.reserve:
                text = f"The journal's disk has {space.free // 1024:,} KiB left of {space.size // 1024:,}."
                yield Reason(text, even_those_that_wake=space.free < space.reserve * LAST_SHARE)
        still = self._journal.clock() - (self._turned_at() or self._began)
        if still > STANDS_STILL:
            yield Reason(f"The engine has not completed a turn for {span(still)}.")
        if self._news > MOST_NEWS:
            yield Reason(f"{self._news:,} changes of alerts wait to be worked in.")
