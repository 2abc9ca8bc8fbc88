"""While a page is being delivered, what only informs waits: on a busy machine they share one processor's time."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

INFORMS: Final = frozenset({"slack", "health", "changes", "postmortem"})
"""Couriers whose work helps people who are awake already."""
GIVE_WAY_S: Final = 1.0
"""Seconds. A page takes a tenth of one where nothing is wrong."""


class PagesFirst:
    """Lets the threads of other couriers wait for pages. Thread-safe.

    Nothing waits longer than GIVE_WAY_S, and a page whose pager has hung for so long holds up nobody any more.
    """

    def __init__(self, counter: Callable[[], float] = time.monotonic) -> None:
        self._counter = counter
        self._changed = threading.Condition()
        self._under_way: list[float] = []

    @contextmanager
    def page(self) -> Iterator[None]:
        """One page under way."""
        began = self._counter()
        with self._changed:
            self._under_way.append(began)
        try:
            yield
        finally:
            with self._changed:
                self._under_way.remove(began)
                self._changed.notify_all()

    def give_way(self) -> None:
        """Returns when no page is under way, or after GIVE_WAY_S."""
        until = self._counter() + GIVE_WAY_S
        with self._changed:
            while (now := self._counter()) < until:
                over = [began + GIVE_WAY_S for began in self._under_way if now < began + GIVE_WAY_S]
                if not over:
                    return
                self._changed.wait(min(until, *over) - now)
