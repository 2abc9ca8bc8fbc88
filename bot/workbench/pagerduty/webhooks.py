"""Signed V3 webhooks to one subscription: in order per incident, retried while the other side is away.

Rules from PagerDuty's webhook documentation: no answer, 5xx and 429 are retried for up to 48 hours; any other non-2xx
drops the event; three drops in a row disable the subscription for 24 hours; `X-Webhook-Id` is the same on each try.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections import deque
from dataclasses import dataclass, field

from bot.workbench.pagerduty.model import SUBSCRIPTION_ID
from bot.workbench.slack.deliver import Poster

TIMEOUT_S = 5.0
GIVE_UP_S = 48 * 3600.0
DISABLED_S = 24 * 3600.0
DROPS_TO_DISABLE = 3
FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 300.0


@dataclass
class Delivery:
    """One event on its way. `body` never changes between attempts, so neither does the signature."""

    id: str
    resource: str
    event_type: str
    body: bytes
    queued_at: float
    due_at: float
    attempts: int = 0
    outcome: str = "waiting"


@dataclass
class Subscription:
    """The one webhook subscription of the account and its queues, one per resource."""

    url: str
    secrets: tuple[str, ...]
    post: Poster
    queues: dict[str, deque[Delivery]] = field(default_factory=dict)
    history: list[Delivery] = field(default_factory=list)
    drops: int = 0
    disabled_until: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)
    sending: threading.Lock = field(default_factory=threading.Lock)

    def queue(self, delivery_id: str, resource: str, event_type: str, event: dict[str, object], now: float) -> None:
        """Put one event behind the earlier ones of the same resource. Without a URL there is nobody to tell."""
        if not self.url:
            return
        body = json.dumps({"event": event}, separators=(",", ":")).encode()
        delivery = Delivery(delivery_id, resource, event_type, body, now, now)
        with self.lock:
            self.queues.setdefault(resource, deque()).append(delivery)
            self.history.append(delivery)

    def deliver_due(self, now: float) -> int:
        """Try the first event of each resource that is due at `now`; returns how many were tried.

        Only one thread sends at a time, so that two pumps cannot overtake each other.
        """
        tried = 0
        with self.sending:
            while now >= self.disabled_until:
                heads = self._heads(now)
                if not heads:
                    break
                for delivery in heads:
                    if now < self.disabled_until:
                        break
                    self._settle(delivery, self._attempt(delivery), now)
                    tried += 1
        return tried

    def signature(self, body: bytes) -> str:
        """The header value: one v1 per secret, so that a receiver can change its secret without a gap."""
        digests = (hmac.new(secret.encode(), body, hashlib.sha256).hexdigest() for secret in self.secrets)
        return ",".join(f"v1={digest}" for digest in digests)

    def _heads(self, now: float) -> list[Delivery]:
        with self.lock:
            return [queue[0] for queue in self.queues.values() if queue and queue[0].due_at <= now]

    def _attempt(self, delivery: Delivery) -> int | None:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "PagerDuty-Webhook/V3.0",
            "X-Webhook-Id": delivery.id,
            "X-Webhook-Subscription": SUBSCRIPTION_ID,
            "X-PagerDuty-Signature": self.signature(delivery.body),
        }
        delivery.attempts += 1
        try:
            return self.post(self.url, headers, delivery.body, TIMEOUT_S)[0]
        except OSError:
            return None

    def _settle(self, delivery: Delivery, status: int | None, now: float) -> None:
        with self.lock:
            if status is not None and 200 <= status < 300:
                delivery.outcome, self.drops = "delivered", 0
            elif status is None or status >= 500 or status == 429:
                if now - delivery.queued_at < GIVE_UP_S:
                    delay = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(delivery.attempts - 1, 10))
                    delivery.due_at = now + delay
                    return
                delivery.outcome = "given up after 48 h"
            else:
                delivery.outcome = f"dropped: answered {status}"
                self.drops += 1
                if self.drops >= DROPS_TO_DISABLE:
                    self.drops, self.disabled_until = 0, now + DISABLED_S
            self.queues[delivery.resource].popleft()
