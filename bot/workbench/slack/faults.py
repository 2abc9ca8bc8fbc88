"""Makes Slack misbehave on purpose, so that drills and tests see what a bot does then."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from threading import Event, Lock

from bot.workbench.weather import Weather


class Fault(Enum):
    """What can go wrong with one Web API call."""

    SERVER_ERROR = "500"  # nothing is done, HTTP 500
    RATELIMITED = "429"  # nothing is done, HTTP 429 with Retry-After
    LOST_ANSWER = "done_500"  # the work is done, and HTTP 500 says otherwise
    DROP = "drop"  # nothing is done, the connection breaks
    DONE_DROP = "done_drop"  # the work is done, the connection breaks before the answer
    HANG = "hang"  # no answer until `release` or the client gives up; nothing is done
    DONE_HANG = "done_hang"  # the work is done, and no answer comes until `release` or the client gives up
    ERROR = "error"  # HTTP 200 with ok: false and the `error` given


WEATHER = (Fault.RATELIMITED, Fault.SERVER_ERROR, Fault.LOST_ANSWER, Fault.DONE_HANG)


@dataclass
class Plan:
    """A fault for the next `times` calls of `method` ("*" for any)."""

    fault: Fault
    method: str
    times: int
    retry_after: int
    error: str


class Faults:
    """The misbehaviour that is planned, and the weather. Safe to use from any thread.

    `suffered` counts the calls that failed, by fault; `weather` is what makes them fail by chance.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._plans: list[Plan] = []
        self._released = Event()
        self.weather = Weather(WEATHER)
        self.suffered: Counter[Fault] = Counter()
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

    def steadily(self, rate: float, seed: int) -> None:
        """From now on each call fails with this probability (0 to 1), in one of the ways of WEATHER."""
        self._released.clear()
        self.weather.turns(rate, seed)

    def take(self, method: str) -> Plan | None:
        """The fault that this call must suffer, a planned one used up by one, or None."""
        with self._lock:
            plan = self._planned(method) or self._by_chance(method)
            if plan is not None:
                self.suffered[plan.fault] += 1
            return plan

    def _planned(self, method: str) -> Plan | None:
        for plan in self._plans:
            if plan.method in ("*", method):
                plan.times -= 1
                if plan.times <= 0:
                    self._plans.remove(plan)
                return plan
        return None

    def _by_chance(self, method: str) -> Plan | None:
        fault = self.weather.strikes()
        return None if fault is None else Plan(fault, method, times=1, retry_after=1, error="")

    def clear(self) -> None:
        """Behave again: forget every plan and the weather, come up, let hanging calls go."""
        with self._lock:
            self._plans.clear()
            self.down = False
        self.weather.turns(0.0, 0)
        self.release()

    def release(self) -> None:
        """Let the calls that hang have their answer (HTTP 500)."""
        self._released.set()

    @property
    def released(self) -> bool:
        """Whether hanging calls may end."""
        return self._released.is_set()
