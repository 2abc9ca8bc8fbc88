"""One circuit of the breaker library, on our clock. Imported when first needed: the library brings a Redis client."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from pybreaker import STATE_CLOSED, STATE_OPEN, CircuitBreaker, CircuitBreakerError, CircuitMemoryStorage

from bot.contracts import Permanent, Transient

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
    """Opens after `fails` failures in a row, and lets calls decide after `pause`. Only `Transient` is a failure.

    Nobody waits for another's call: the library, which holds its lock for as long as it calls, is told how it ended.
    """

    def __init__(self, clock: Callable[[], float], fails: int, pause: timedelta) -> None:
        self._storage, self._pause = _ByOurClock(clock), pause
        self._breaker = CircuitBreaker(
            fail_max=fails,
            reset_timeout=pause.total_seconds(),
            state_storage=self._storage,
            throw_new_error_on_trip=False,
        )

    def ask(self, call: Callable[[], T]) -> T:
        """What the call gives. Raises what it raises, and Open."""
        opened = self._storage.opened_at
        if self._storage.state == STATE_OPEN and opened and datetime.now(UTC) < opened + self._pause:
            raise Open
        try:
            answer = call()
        except Transient as failure:
            with suppress(Transient, CircuitBreakerError):
                self._breaker.call(partial(_raise, failure))
            raise
        except Permanent:
            self._is_there()
            raise
        self._is_there()
        return answer

    def _is_there(self) -> None:
        with suppress(CircuitBreakerError):  # others have found it dead meanwhile
            self._breaker.call(lambda: None)


def _raise(failure: Transient) -> None:
    raise failure
