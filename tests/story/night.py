"""Stories: the real bot on a real journal, between the workbench's Slack, PagerDuty and fleet, on a hand-driven clock.

What people do goes in by signed requests over HTTP; what the bot does comes out by its own clients over HTTP. Only the
engine is turned by hand, so that a story says when things happen and never sleeps.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from bot.app import App
from bot.config import Config, load
from bot.incident.state import Incident
from bot.workbench.launch import Options, Workbench
from bot.workbench.server import Servers, Site, bind
from bot.workbench.settings import Ports
from bot.workbench.slack.model import Message

T = TypeVar("T")
ANY_PORTS = Ports(**dict.fromkeys(Ports.__dataclass_fields__, 0))
START = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
MAYA, JONAS, PRIYA, SAM, GUEST = "U0MAYA", "U0JONAS", "U0PRIYA", "U0SAM", "U0GUEST"
INTAKE = "C0INCIDENTS"


@dataclass
class HandClock:
    """Wall time for everybody: the bot's as datetime, the workbench's as seconds."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()


class Afterwards(Executor):
    """What the bot does after its acknowledgement: kept until told to, then done in order."""

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
        ran = 0
        while self.waiting:
            self.waiting.pop(0)()
            ran += 1
        return ran


def alert(fingerprint: str = "f1", *, firing: bool = True, at: datetime = START, **labels: str) -> dict[str, Any]:
    """One alert as Alertmanager sends it."""
    return {
        "status": "firing" if firing else "resolved",
        "labels": {
            "alertname": "LLMErrorRatioHigh",
            "severity": "critical",
            "service": "chat",
            "model_name": "llama-70b",
            **labels,
        },
        "annotations": {"summary": "llama-70b answers with errors", "runbook": "rollback-model-deploy"},
        "startsAt": at.isoformat(),
        "endsAt": "0001-01-01T00:00:00Z" if firing else (at + timedelta(minutes=5)).isoformat(),
        "generatorURL": "http://prometheus.example/graph",
        "fingerprint": fingerprint,
    }


def webhook(*alerts: Mapping[str, Any], truncated: int = 0) -> dict[str, Any]:
    """One webhook of Alertmanager, version 4."""
    return {
        "version": "4",
        "groupKey": '{}:{alertname="LLMErrorRatioHigh"}',
        "truncatedAlerts": truncated,
        "status": "firing" if any(a["status"] == "firing" for a in alerts) else "resolved",
        "receiver": "bot",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example",
        "alerts": list(alerts),
    }


@dataclass
class Night:
    """One night shift. What people and monitors do settles: all that follows has happened when the call returns."""

    bench: Workbench
    config: Config
    clock: HandClock
    app: App = field(init=False)
    afterwards: Afterwards = field(init=False)
    doors: Servers = field(init=False)

    def __post_init__(self) -> None:
        self.start_bot()

    # -- the bot --------------------------------------------------------------------------------------------------

    def start_bot(self) -> None:
        self.afterwards = Afterwards()
        self.app = App(self.config, self.clock, self.afterwards)
        port = self.config.doors.port
        self.doors = Servers([Site(self.app.doors.app, bind(port, "--doors-port"))])
        self.doors.start()
        if self.app.slack:
            self.app.slack.learn()

    def stop_bot(self) -> None:
        self.doors.stop()
        self.app.close()

    def crash(self) -> None:
        """The process dies and comes back: only what is on disk survives."""
        self.stop_bot()
        self.start_bot()
        self.app.engine.take_over()

    def settle(self) -> None:
        for _ in range(500):
            done = self.afterwards.run() + self.app.engine.turn() + self.bench.workspace.deliver_events()
            self.bench.pagerduty.advance()
            if not done and not self.afterwards.waiting:
                return
        raise AssertionError("the bot never came to rest")

    def after(self, **span: float) -> "Night":
        self.clock.now += timedelta(**span)
        if self.app.slack:
            self.app.slack.learn()
        self.bench.pagerduty.advance()
        self.settle()
        return self

    # -- monitors -------------------------------------------------------------------------------------------------

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        url = f"{self.bench.ports.url('doors')}{path}"
        request = urllib.request.Request(url, body, dict(headers), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def alerts(self, *alerts: Mapping[str, Any], truncated: int = 0) -> None:
        token = self.bench.secrets.alertmanager_token
        body = json.dumps(webhook(*alerts, truncated=truncated)).encode()
        status, answer = self.post("/hooks/alertmanager", body, {"Authorization": f"Bearer {token}"})
        assert status == 200, answer
        self.clock.now += timedelta(seconds=1)
        self.settle()

    # -- people ---------------------------------------------------------------------------------------------------

    def types(self, user: str, text: str, channel: str = INTAKE) -> None:
        self.bench.workspace.command(user, channel, text)
        self.settle()

    def clicks(
        self, user: str, message: Message, action_id: str, channel: str = INTAKE, value: str | None = None
    ) -> None:
        self.bench.workspace.click(user, channel, message.ts, action_id, value)
        self.settle()

    def fills_in(self, user: str, **values: Any) -> Any:
        (view,) = self.bench.workspace.open_views(user)
        outcome = self.bench.workspace.submit(user, view.id, values)
        self.settle()
        return outcome

    def whispers(self, user: str) -> list[str]:
        """What only this person was told, in order."""
        return [told(message) for message in self.bench.workspace.ephemerals(user)]

    # -- what can be seen -----------------------------------------------------------------------------------------

    @property
    def incident(self) -> Incident:
        return self.app.journal.recent(1)[0]

    def messages(self, channel: str = "") -> list[Message]:
        name = channel or self.incident.channel
        return [m for m in self.bench.workspace.channel(name).messages if m.subtype is None]

    @property
    def card(self) -> Message:
        """The incident's card in its own channel."""
        place = self.incident.cards["incident"]
        return next(m for m in self.messages() if m.ts == place.ts)

    def pages(self) -> list[tuple[str, str]]:
        """Every page in PagerDuty: its dedup key's round, and where it stands."""
        return [(i.key.rsplit(":", 1)[-1], i.status) for i in self.bench.pagerduty.incidents]


def told(message: Message) -> str:
    """Everything a message shows, as text."""
    return f"{message.text} {json.dumps(message.blocks, ensure_ascii=False)}"


@contextmanager
def open_night(folder: Path, *, socket_mode: bool = False) -> Iterator[Night]:
    clock = HandClock()
    options = Options(
        ports=ANY_PORTS,
        directory=folder,
        bot=False,
        monitoring=False,
        paced=False,
        live=False,
        socket_mode=socket_mode,
        clock=clock.seconds,
    )
    with Workbench(options) as bench:
        config, faults = load(bench.bot_config, bench.secrets.bot_environment().get)
        assert config is not None, faults
        night = Night(bench, config, clock)
        try:
            yield night
        finally:
            night.stop_bot()
