"""One circuit of the breaker library, on our clock. Imported when first needed: the library brings a Redis client."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from pybreaker import STATE_CLOSED, CircuitBreaker, CircuitBreakerError, CircuitMemoryStorage

from bot.contracts import Transient

T = TypeVar("T")


class Open(Exception):
    """The circuit is open: nobody was asked."""


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


class Circuit:
    """Opens after `fails` failures in a row, and lets one call decide after `pause`. Only `Transient` is a failure."""

    def __init__(self, clock: Callable[[], float], fails: int, pause: timedelta) -> None:
        self._breaker = CircuitBreaker(
            fail_max=fails,
            reset_timeout=pause.total_seconds(),
            exclude=[lambda error: not isinstance(error, Transient)],
            state_storage=_ByOurClock(clock),
            throw_new_error_on_trip=False,
        )

    def ask(self, call: Callable[[], T]) -> T:
        """What the call gives. Raises what it raises, and Open."""
        try:
            answer: T = self._breaker.call(call)
        except CircuitBreakerError:
            raise Open from None
        return answer
