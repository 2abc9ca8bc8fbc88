"""A PagerDuty account on a hand-driven clock, with a receiver of its webhooks that can be told how to answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from bot.workbench.pagerduty import PagerDuty, PagerDutyConfig, pagerduty_app

ROUTING_KEY = "r" * 32
TOKEN = "u+test"
SECRETS = ("new-secret", "old-secret")


@dataclass
class Receiver:
    """Takes webhooks. `answers` are used up first: a status, or None for no answer; then 202."""

    answers: list[int | None] = field(default_factory=list)
    requests: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)

    def __call__(
        self, url: str, headers: Mapping[str, str], body: bytes, timeout: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        self.requests.append((headers, body))
        answer = self.answers.pop(0) if self.answers else 202
        if answer is None:
            raise TimeoutError
        return answer, {}, b""

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body)["event"] for _, body in self.requests]

    @property
    def types(self) -> list[str]:
        return [str(event["event_type"]) for event in self.events]


@dataclass
class Rig:
    """The account, the other side of its webhooks, and an HTTP client with the right headers."""

    now: float = 1_800_000_000.0
    receiver: Receiver = field(default_factory=Receiver)

    def __post_init__(self) -> None:
        config = PagerDutyConfig(ROUTING_KEY, TOKEN, "http://bot.example/hooks/pagerduty", SECRETS)
        self.account = PagerDuty(config, lambda: self.now, self.receiver)
        self.http = TestClient(Starlette(routes=pagerduty_app(self.account)))
        self.http.headers["authorization"] = f"Token token={TOKEN}"
        self.http.headers["from"] = "maya@night-shift.example"

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.account.advance()

    def send(self, action: str = "trigger", key: str | None = "k1", **changes: Any) -> Any:
        """One event of the Events API; `changes` replace fields of the payload."""
        payload = {"summary": "GPU off the bus", "source": "fixfirst", "severity": "critical", **changes}
        body = {"routing_key": ROUTING_KEY, "event_action": action, "dedup_key": key, "payload": payload}
        return self.http.post("/v2/enqueue", json=body)

    @property
    def incident_id(self) -> str:
        return self.account.incidents[-1].id


@pytest.fixture
def rig() -> Rig:
    return Rig()
