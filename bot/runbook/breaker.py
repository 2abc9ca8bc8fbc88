"""Leaves an outside system alone for a while when it failed several times in a row: a breaker for each target."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Final, TypeVar

from pybreaker import STATE_CLOSED, CircuitBreaker, CircuitBreakerError, CircuitMemoryStorage

from bot.contracts import Transient
from bot.incident.timeline import span

T = TypeVar("T")
FAILS: Final = 10
"""So often in a row it may fail, by all steps of all incidents together: twice what one step tries."""
PAUSE: Final = timedelta(seconds=15)
"""So long nobody asks it then; after that one call decides."""
ASK_AGAIN: Final = timedelta(seconds=5)
"""A step that waits for it looks this often whether it is asked again; that costs nothing."""


class _ByOurClock(CircuitMemoryStorage):
    """The library measures the pause by the machine's clock, which people set; this tells it how long it really was."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(STATE_CLOSED)
        self._clock = clock
        self._opened: float | None = None

    @property
    def opened_at(self) -> datetime | None:
        if self._opened is None:
            return None
        return datetime.now(UTC) - timedelta(seconds=self._clock() - self._opened)

    @opened_at.setter
    def opened_at(self, _: datetime) -> None:
        self._opened = self._clock()


class Breakers:
    """One for each target, by its name. Thread-safe. A refusal is an answer: only `Transient` counts as a failure.

    `clock` counts seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, CircuitBreaker] = {}
        self._making = Lock()

    def ask(self, target: str, call: Callable[[], T]) -> T:
        """What the call gives. Raises what it raises; Transient without a call while the target is left alone."""
        try:
            answer: T = self._of(target).call(call)
        except CircuitBreakerError:
            words = f"{target} failed {FAILS} times in a row and is left alone for {span(PAUSE)}"
            raise Transient(words, retry_after=ASK_AGAIN.total_seconds()) from None
        return answer

    def _of(self, target: str) -> CircuitBreaker:
        with self._making:
            if target not in self._known:
                self._known[target] = CircuitBreaker(
                    fail_max=FAILS,
                    reset_timeout=PAUSE.total_seconds(),
                    exclude=[lambda error: not isinstance(error, Transient)],
                    state_storage=_ByOurClock(self._clock),
                    throw_new_error_on_trip=False,
                )
            return self._known[target]
