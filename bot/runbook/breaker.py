"""Leaves an outside system alone for a while when it failed several times in a row: a breaker for each target."""

import time
from collections.abc import Callable
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING, Final, TypeVar

from bot.contracts import Transient
from bot.incident.timeline import span

if TYPE_CHECKING:
    from bot.runbook.circuit import Circuit

T = TypeVar("T")
FAILS: Final = 10
"""So often in a row it may fail, by all steps of all incidents together: twice what one step tries."""
PAUSE: Final = timedelta(seconds=15)
"""So long nobody asks it then; after that one call decides."""
ASK_AGAIN: Final = timedelta(seconds=5)
"""A step that waits for it looks this often whether it is asked again; that costs nothing."""


class Breakers:
    """One for each target, by its name. Thread-safe. A refusal is an answer: only `Transient` counts as a failure.

    `clock` counts seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, Circuit] = {}
        self._making = Lock()

    def ask(self, target: str, call: Callable[[], T]) -> T:
        """What the call gives. Raises what it raises; Transient without a call while the target is left alone."""
        from bot.runbook.circuit import Open

        try:
            return self._of(target).ask(call)
        except Open:
            words = f"{target} failed {FAILS} times in a row and is left alone for {span(PAUSE)}"
            raise Transient(words, retry_after=ASK_AGAIN.total_seconds()) from None

    def _of(self, target: str) -> "Circuit":
        from bot.runbook.circuit import Circuit

        with self._making:
            if target not in self._known:
                self._known[target] = Circuit(self._clock, FAILS, PAUSE)
            return self._known[target]
