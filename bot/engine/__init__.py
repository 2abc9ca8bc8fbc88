"""Who wakes the desk, the outbox and the timers. The ledger decides; a lost or doubled wake-up does no harm."""

from datetime import datetime
from typing import Protocol


class Engine(Protocol):
    """What the bot asks of an engine. What there is to do is in the journal; an engine only sees to it that it is done.

    Both engines do the same work by the same code (`bot.engine.work`); they differ in how they hear of it.
    """

    @property
    def last_turn(self) -> datetime | None:
        """When everything there was to do had last been looked at without trouble."""

    def start(self) -> None:
        """Takes over what an earlier process left behind, and begins."""

    def stop(self) -> None:
        """Finishes what is in hand; what is waiting stays in the journal."""

    def wake(self) -> None:
        """Something was committed here. May be called from anywhere, however often."""

    def take_over(self) -> None:
        """The first part of `start`, for a process without threads."""

    def turn(self) -> int:
        """Looks once, on the caller's thread, for a process without threads: how many things were done."""
