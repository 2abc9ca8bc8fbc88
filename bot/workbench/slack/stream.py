"""Carries what happens in the workspace to the browser pages that are watching, one queue per page."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Lock

from .model import Json

# A page this far behind is not reading: its stream is closed, it reconnects and reads the state anew.
BACKLOG_MAX = 2000

Rendering = Callable[[str], Json | None]
"""user id -> the event as that person sees it, or None when it is not theirs to see."""


class Subscription:
    """One watching page; `take` empties its queue, `wake` is called from any thread when something came."""

    def __init__(self, user: str, wake: Callable[[], None]) -> None:
        self.user = user
        self.closed = False
        self._wake = wake
        self._queue: deque[Json] = deque()
        self._lock = Lock()

    def put(self, event: Json) -> None:
        """Queue one event, or close the stream when the page has stopped reading."""
        with self._lock:
            if len(self._queue) >= BACKLOG_MAX:
                self.closed = True
            else:
                self._queue.append(event)
        self._wake()

    def take(self) -> list[Json]:
        """Everything queued, oldest first."""
        with self._lock:
            events = list(self._queue)
            self._queue.clear()
        return events

    def close(self) -> None:
        """End the stream after what is queued."""
        self.closed = True
        self._wake()


class Hub:
    """Hands each event to every page that may see it. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._subscriptions: list[Subscription] = []

    def subscribe(self, user: str, wake: Callable[[], None]) -> Subscription:
        """Start a stream for a person's page."""
        subscription = Subscription(user, wake)
        with self._lock:
            self._subscriptions.append(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a stream; harmless when it is already forgotten."""
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)

    def publish(self, event: Json | Rendering, *, to: str | None = None) -> None:
        """Send an event to everyone (or to `to` alone); a callable renders it for each watcher."""
        with self._lock:
            watching = [one for one in self._subscriptions if to is None or one.user == to]
        for subscription in watching:
            seen = event(subscription.user) if callable(event) else event
            if seen is not None:
                subscription.put(seen)

    def close(self) -> None:
        """End every stream, so that a server can stop without waiting for its pages."""
        with self._lock:
            ending, self._subscriptions = self._subscriptions, []
        for subscription in ending:
            subscription.close()
