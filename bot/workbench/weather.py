"""Chance for faults: with a seed, so that bad weather can be had again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from threading import Lock
from typing import Generic, TypeVar

Kind = TypeVar("Kind")


class Weather(Generic[Kind]):
    """Fair until `turns` bad. Safe to use from any thread."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._kinds = kinds
        self._lock = Lock()
        self._dice = random.Random(0)  # noqa: S311 - chance for a drill, guards nothing
        self._rate = 0.0

    def turns(self, rate: float, seed: int) -> None:
        """From now on each call fails with this probability, 0 (fair) to 1, in one of the kinds of ways."""
        with self._lock:
            self._rate = rate
            self._dice.seed(seed)

    @property
    def is_fair(self) -> bool:
        """Whether nothing fails."""
        return not self._rate

    def strikes(self) -> Kind | None:
        """How the next call fails; None when it does not."""
        with self._lock:
            if self._dice.random() >= self._rate:
                return None
            return self._dice.choice(self._kinds)
