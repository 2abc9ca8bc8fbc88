"""Chance for faults: with a seed, so that bad weather can be had again."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from threading import Lock
from typing import Generic, TypeVar

Kind = TypeVar("Kind")


class Weather(Generic[Kind]):
    """Fair until `turns` bad. Safe to use from any thread.

    `met` counts the calls since it last turned by how they failed, None for those that did not.
    """

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._kinds = kinds
        self._lock = Lock()
        self._dice = random.Random(0)  # noqa: S311 - chance for a drill, guards nothing
        self._rate = 0.0
        self._deck: list[Kind] = []
        self.met: Counter[Kind | None] = Counter()

    def turns(self, rate: float, seed: int) -> None:
        """From now on each call fails with this probability, 0 (fair) to 1, in one of the kinds of ways."""
        with self._lock:
            self._rate = rate
            self._dice.seed(seed)
            self._deck.clear()
            self.met.clear()

    @property
    def is_fair(self) -> bool:
        """Whether nothing fails."""
        return not self._rate

    def strikes(self) -> Kind | None:
        """How the next call fails; None when it does not."""
        with self._lock:
            kind = self._dealt() if self._dice.random() < self._rate else None
            self.met[kind] += 1
            return kind

    def _dealt(self) -> Kind:
        """The next way to fail: each comes once before any comes again, so that a short night has them all."""
        if not self._deck:
            self._deck = self._dice.sample(self._kinds, len(self._kinds))
        return self._deck.pop()
