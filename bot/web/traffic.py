"""Counts what knocks at the doors: how often, how it was answered, and how long that took."""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

EDGES: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds. Slack waits for 3, a webhook of Alertmanager for 10 and more."""
ELSEWHERE: Final = "other"
"""A path that is no door; scanners must not make a time series each."""
HOOKS: Final = "/hooks/"
GONE: Final = 499
"""Who knocked has hung up before all was said, and sends it again: nginx's number for it."""
REFUSED, STRANGER, BUSY = REASONS = ("refused", "no_token", "busy")
"""Why what was sent to a hook was not taken: 4xx, which its sender drops for good; the same to somebody who showed no
token or signature at all, as scanners do; 5xx, after which it is sent again."""
NOTHING_LOST: Final = frozenset({HTTPStatus.METHOD_NOT_ALLOWED, GONE})
CREDENTIALS: Final = frozenset({b"authorization", b"x-pagerduty-signature"})


@dataclass(slots=True)
class Durations:
    """How many took at most each of EDGES and longer than the one before, then how many took longer; and their sum."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(EDGES) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Counts one."""
        self.counts[bisect_left(EDGES, seconds)] += 1
        self.total += seconds


@dataclass(frozen=True, slots=True)
class Traffic:
    """Since the start, by door: answers by status, how long until each began, and what hooks did not take by why.

    Written from one event loop only.
    """

    doors: Collection[str]
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    durations: dict[str, Durations] = field(default_factory=dict)
    untaken: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def hooks(self) -> list[str]:
        """The doors for what monitors, pagers and pipelines tell."""
        return sorted(door for door in self.doors if door.startswith(HOOKS))

    def note(self, path: str, status: int, seconds: float, *, shown: bool = True) -> None:
        """One request has been answered; `shown` is whether it came with a token or signature, right or wrong."""
        door = path if path in self.doors else ELSEWHERE
        self.answers[door, status] += 1
        self.durations.setdefault(door, Durations()).add(seconds)
        if door.startswith(HOOKS) and status >= HTTPStatus.BAD_REQUEST and status not in NOTHING_LOST:
            reason = BUSY if status >= HTTPStatus.INTERNAL_SERVER_ERROR else REFUSED if shown else STRANGER
            self.untaken[door, reason] += 1


class Counted:
    """Middleware that notes each request in `traffic`."""

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self._app = app
        self._traffic = traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        is_answered = False

        def note(status: int) -> None:
            shown = any(name in CREDENTIALS for name, _ in scope["headers"])
            self._traffic.note(scope["path"], status, time.perf_counter() - began, shown=shown)

        async def noticed(message: Message) -> None:
            nonlocal is_answered
            if message["type"] == "http.response.start":
                is_answered = True
                note(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noticed)
        except Exception:
            if not is_answered:
                note(HTTPStatus.INTERNAL_SERVER_ERROR)
            raise
