"""What a test moves by hand: time, and the work that follows an answer."""

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import pytest

T = TypeVar("T")
START: Final = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
"""When most stories begin."""


@dataclass
class HandClock:
    """One time for everybody: the bot's as datetime, the workbench's as seconds."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()

    def after(self, **span: float) -> None:
        self.now += timedelta(**span)


def suspended(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """This machine slept for so long: only the clock that counts such time has gone on."""
    clock_gettime = time.clock_gettime

    def slept(which: int) -> float:
        return clock_gettime(which) + (seconds if which == time.CLOCK_BOOTTIME else 0.0)

    monkeypatch.setattr(time, "clock_gettime", slept)


class Afterwards(Executor):
    """What follows an acknowledgement: kept until told to, then done in order."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:  # noqa: BLE001 - belongs to whoever holds the future
                future.set_exception(error)

        self.waiting.append(run)
        return future

    def run(self) -> int:
        """Does what waits, and what comes of it; how many things that were."""
        ran = 0
        while self.waiting:
            self.waiting.pop(0)()
            ran += 1
        return ran
