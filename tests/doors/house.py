"""The real doors on loopback, over a real journal, with what they answer and what they log in plain sight."""

import hashlib
import hmac
import http.client
import json
import sqlite3
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from bot.app import App
from bot.config import Config, read
from bot.journal.reader import Memory
from bot.workbench.server import Servers, Site, bind
from tests.hands import Afterwards

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
OLD_TOKEN, NEW_TOKEN = "canary-old-alertmanager", "canary-new-alertmanager"
SIGNING_SECRET = "canary-slack-signing"
OLD_SECRET, NEW_SECRET = "canary-old-pagerduty", "canary-new-pagerduty"
SECRETS = {
    "FIXFIRST_SLACK_BOT_TOKEN": "xoxb-canary-bot-token",
    "FIXFIRST_SLACK_SIGNING_SECRET": SIGNING_SECRET,
    "FIXFIRST_PAGERDUTY_ROUTING_KEY": "canary-routing-key-0123456789abc",
    "FIXFIRST_PAGERDUTY_WEBHOOK_SECRETS": f"{OLD_SECRET}, {NEW_SECRET}",
    "FIXFIRST_ALERTMANAGER_TOKENS": f"{OLD_TOKEN}, {NEW_TOKEN}",
}
NOBODY = "http://127.0.0.1:9"
"""Where Slack and PagerDuty would be. Nothing here delivers anything, so nobody calls there."""
ALERTS, PAGER, SLACK = "/hooks/alertmanager", "/hooks/pagerduty", "/slack/events"
JSON_TYPE = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """What a door said."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """The sentence of a refusal."""
        return str(json.loads(self.body)["error"])


@dataclass
class Street:
    """Where one knocks: the port of the doors."""

    port: int

    def post(
        self,
        path: str,
        body: bytes | Iterator[bytes],
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
    ) -> Answer:
        """One request; an iterator as body is sent in chunks."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request(method, path, body, dict(headers or {}), encode_chunked=not isinstance(body, bytes))
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())

    def alerts(self, body: bytes | Iterator[bytes] | Mapping[str, Any], token: str = NEW_TOKEN) -> Answer:
        raw = json.dumps(body).encode() if isinstance(body, Mapping) else body
        return self.post(ALERTS, raw, {"Authorization": f"Bearer {token}", **JSON_TYPE})

    def pager(self, body: bytes | Mapping[str, Any], signature: str | None = None) -> Answer:
        raw = json.dumps(body).encode() if isinstance(body, Mapping) else body
        given = pager_signature(raw) if signature is None else signature
        return self.post(PAGER, raw, {"X-PagerDuty-Signature": given, **JSON_TYPE})

    def slack(
        self, body: bytes, *, at: datetime = NOW, signature: str | None = None, more: Mapping[str, str] | None = None
    ) -> Answer:
        stamp = str(int(at.timestamp()))
        headers = {
            "X-Slack-Request-Timestamp": stamp,
            "X-Slack-Signature": slack_signature(stamp, body) if signature is None else signature,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return self.post(SLACK, body, {**headers, **(more or {})})


@dataclass
class House(Street):
    """The bot with its doors open and its engine at rest, so that what a request leaves behind stays where it is."""

    app: App
    lines: list[MutableMapping[str, Any]] = field(default_factory=list)

    def logged(self, *events: str) -> list[MutableMapping[str, Any]]:
        """The log lines of these kinds."""
        return [line for line in self.lines if line["event"] in events]

    def rows(self) -> dict[str, list[Any]]:
        """All that is on disk, by table."""
        with closing(sqlite3.connect(self.app.config.data_dir / "fixfirst.db")) as database:
            names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {name: database.execute(f"SELECT * FROM {name}").fetchall() for name in names}

    def turn(self) -> None:
        """Works in what has come in."""
        while self.app.engine.turn():
            """until nothing is left to do now"""

    def spoils(self, body: str) -> str:
        """Writes over the second entry there is, behind the bot's back; gives what it was."""
        with closing(sqlite3.connect(self.app.config.data_dir / "fixfirst.db")) as database, database:
            ((before,),) = database.execute("SELECT body FROM event WHERE seq = 2")
            database.execute("UPDATE event SET body = ? WHERE seq = 2", (body,))
        self.app.journal.memory = Memory()
        return str(before)

    @contextmanager
    def stuck(self) -> Iterator[None]:
        """Somebody else holds the database."""
        with closing(sqlite3.connect(self.app.config.data_dir / "fixfirst.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")


@contextmanager
def open_house(folder: Path, *, bare: bool = False) -> Iterator[House]:
    """A house in `folder`. A bare one has no secret, and nothing is connected."""
    app = App(config(folder, bare=bare), lambda: NOW, Afterwards())
    listener = bind(0, "--doors-port")
    servers = Servers([Site(app.doors.app, listener)])
    house = House(listener.getsockname()[1], app)
    servers.start()
    try:
        with capture_logs() as house.lines:
            yield house
    finally:
        servers.stop()
        app.close()


def config(folder: Path, *, bare: bool = False) -> Config:
    connected = {
        "slack": {"api_url": f"{NOBODY}/api/", "team_id": "T0FIXFIRST", "intake_channel": "C0INCIDENTS"},
        "pagerduty": {"api_url": NOBODY, "events_url": NOBODY},
    }
    common = {"doors": {"largest_body_mb": 1}, "runbooks_dir": str(folder)}
    values = common if bare else {**common, **connected}
    found, faults = read(values, folder, (lambda _: None) if bare else SECRETS.get)
    assert found is not None, faults
    return found


def pager_signature(body: bytes, *secrets: str) -> str:
    """`X-PagerDuty-Signature` by these secrets, the newest by default."""
    return ",".join(
        f"v1={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}" for secret in secrets or (NEW_SECRET,)
    )


def slack_signature(stamp: str, body: bytes, secret: str = SIGNING_SECRET) -> str:
    return "v0=" + hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()


def alert(fingerprint: str = "f1", **changes: Any) -> dict[str, Any]:
    """One firing alert as Alertmanager sends it."""
    return {
        "status": "firing",
        "labels": {"alertname": "LLMErrorRatioHigh", "severity": "critical", "model_name": "llama-70b"},
        "annotations": {"summary": "llama-70b answers with errors"},
        "startsAt": "2026-11-21T02:59:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example/graph",
        "fingerprint": fingerprint,
        **changes,
    }


def webhook(alerts: Sequence[Any], **changes: Any) -> dict[str, Any]:
    """One message of Alertmanager, version 4."""
    return {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "fixfirst",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example",
        "alerts": list(alerts),
        **changes,
    }


def pager_event(
    kind: str = "incident.triggered", event: str = "01BIRTH0000001", at: datetime = NOW, **data: Any
) -> dict[str, Any]:
    """One PagerDuty V3 webhook about an incident that was born there."""
    return {
        "event": {
            "id": event,
            "event_type": kind,
            "resource_type": "incident",
            "occurred_at": at.isoformat(),
            "agent": {"id": "PMAYA01", "type": "user_reference", "summary": "Maya Okafor"},
            "data": {
                "id": "QBORNTHERE0001",
                "type": "incident",
                "title": "The gateway is slow",
                "urgency": "high",
                "html_url": "https://night-shift.pagerduty.example/incidents/QBORNTHERE0001",
                "service": {"summary": "Gateway"},
                **data,
            },
        }
    }
