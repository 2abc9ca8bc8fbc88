"""Makes Slack misbehave on purpose, so that drills and tests see what a bot does then."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from threading import Event, Lock


class Fault(Enum):
    """What can go wrong with one Web API call."""

    SERVER_ERROR = "500"  # nothing is done, HTTP 500
    RATELIMITED = "429"  # nothing is done, HTTP 429 with Retry-After
    LOST_ANSWER = "done_500"  # the work is done, and HTTP 500 says otherwise
    DROP = "drop"  # nothing is done, the connection breaks
    DONE_DROP = "done_drop"  # the work is done, the connection breaks before the answer
    HANG = "hang"  # no answer until `release` or the client gives up; nothing is done
    ERROR = "error"  # HTTP 200 with ok: false and the `error` given


@dataclass
class Plan:
    """A fault for the next `times` calls of `method` ("*" for any)."""

    fault: Fault
    method: str
    times: int
    retry_after: int
    error: str


class Faults:
    """The misbehaviour that is planned. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._plans: list[Plan] = []
        self._released = Event()
        self.down = False

    def plan(
        self,
        fault: Fault,
        method: str = "*",
        *,
        times: int = 1,
        retry_after: int = 1,
        error: str = "internal_error",
    ) -> None:
        """Let the next `times` calls of a method fail so; `retry_after` is in seconds (RATELIMITED)."""
        with self._lock:
            if fault is Fault.HANG:
                self._released.clear()
            self._plans.append(Plan(fault, method, times, retry_after, error))

    def take(self, method: str) -> Plan | None:
        """The fault that this call must suffer, used up by one, or None."""
        with self._lock:
            for plan in self._plans:
                if plan.method in ("*", method):
                    plan.times -= 1
                    if plan.times <= 0:
                        self._plans.remove(plan)
                    return plan
        return None

    def clear(self) -> None:
        """Behave again: forget every plan, come up, let hanging calls go."""
        with self._lock:
            self._plans.clear()
            self.down = False
        self.release()

    def release(self) -> None:
        """Let the calls that hang have their answer (HTTP 500)."""
        self._released.set()

    @property
    def released(self) -> bool:
        """Whether hanging calls may end."""
        return self._released.is_set()
