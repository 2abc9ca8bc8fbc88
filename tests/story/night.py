"""Stories: the real bot on a real journal, between the workbench's Slack, PagerDuty and fleet, on a hand-driven clock.

What people do goes in by signed requests over HTTP; what the bot does comes out by its own clients over HTTP. Only the
engine is turned by hand, so that a story says when things happen and never sleeps. When a story ends, its night is
audited: nothing may have gone wrong on the wire beyond what the story itself says.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from structlog.testing import capture_logs

from bot.app import App
from bot.config import Config, load
from bot.engine.local import LocalEngine
from bot.incident.events import Event
from bot.incident.state import Incident, Status
from bot.slack.actions import Do
from bot.workbench.launch import MANIFEST, Options, Workbench
from bot.workbench.server import Servers, Site, bind
from bot.workbench.settings import Ports
from bot.workbench.slack.deliver import http_post, sign
from bot.workbench.slack.model import Json, Message, View
from bot.workbench.slack.people import Outcome
from tests.hands import START, Afterwards, HandClock
from tests.story.scopes import SCOPES
from tests.story.wire import Heard, Numbers, Wire

T = TypeVar("T")
E = TypeVar("E", bound=Event)
ANY_PORTS = Ports(**dict.fromkeys(Ports.__dataclass_fields__, 0))
MAYA, JONAS, PRIYA, SAM, GUEST = "U0MAYA", "U0JONAS", "U0PRIYA", "U0SAM", "U0GUEST"
INTAKE, ELSEWHERE = "C0INCIDENTS", "C0INFERENCE"
STEP = timedelta(seconds=5)


def alert(fingerprint: str = "f1", /, *, firing: bool = True, at: datetime = START, **labels: str) -> dict[str, Any]:
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


further_audits: "list[Callable[[Night], Mapping[str, Collection[Any]]]]" = []
"""What else is looked at when a night ends: what was wrong, by what it is."""


@dataclass
class Night:
    """One night shift. What people and monitors do settles: all that follows has happened when the call returns.

    `foretold` are the errors of Slack's Web API that the story itself brings about; any other fails the audit.
    """

    bench: Workbench
    config: Config
    clock: HandClock
    wire: Wire
    logs: list[MutableMapping[str, Any]]
    foretold: set[str] = field(default_factory=set)
    began: dict[str, str] = field(default_factory=dict)
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
        """Time jumps: nobody looked meanwhile."""
        self.clock.now += timedelta(**span)
        if self.app.slack:
            self.app.slack.learn()
        self.bench.pagerduty.advance()
        self.settle()
        return self

    def through(self, **span: float) -> "Night":
        """Time passes: everybody looks every few seconds, as the real engine does."""
        until = self.clock.now + timedelta(**span)
        while self.clock.now < until:
            self.after(seconds=min(STEP, until - self.clock.now).total_seconds())
        return self

    def tidies(self) -> None:
        """The bot forgets what is long over, as it does now and then."""
        assert isinstance(self.app.engine, LocalEngine)
        self.app.engine.work.tidy()

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
        self._accepts(webhook(*alerts, truncated=truncated))
        self.clock.now += timedelta(seconds=1)
        self.settle()

    def _accepts(self, message: Mapping[str, Any]) -> None:
        """What Alertmanager sends is on disk; nobody has looked yet."""
        token = self.bench.secrets.alertmanager_token
        headers = {"Authorization": f"Bearer {token}"}
        status, answer = self.post("/hooks/alertmanager", json.dumps(message).encode(), headers)
        assert status == 200, answer

    def burns(self, fingerprint: str = "f1", **labels: str) -> Incident:
        """An alert begins to fire now; the incident it went into."""
        self.began[fingerprint] = self.clock.now.isoformat()
        self.alerts(self._alert(fingerprint, labels))
        return self.incident

    def arrives(self, fingerprint: str = "f1") -> None:
        """An alert begins to fire now and is accepted, and the bot does not come to it."""
        self.began[fingerprint] = self.clock.now.isoformat()
        self._accepts(webhook(self._alert(fingerprint, {})))

    def recovers(self, fingerprint: str = "f1", **labels: str) -> None:
        """The alert that fired last under this fingerprint is over."""
        over = {"status": "resolved", "endsAt": self.clock.now.isoformat()}
        self.alerts({**self._alert(fingerprint, labels), **over})

    def _alert(self, fingerprint: str, labels: Mapping[str, str]) -> dict[str, Any]:
        sent = alert(fingerprint)
        return {**sent, "startsAt": self.began[fingerprint], "labels": {**sent["labels"], **labels}}

    # -- people ---------------------------------------------------------------------------------------------------

    def types(self, user: str, text: str, channel: str = INTAKE) -> str:
        """A slash command; what the person was told about it."""
        told_before = len(self.whispers(user))
        self.bench.workspace.command(user, channel, text)
        self.settle()
        return "\n".join(self.whispers(user)[told_before:])

    def clicks(
        self, user: str, message: Message, action_id: str, channel: str = INTAKE, value: str | None = None
    ) -> str:
        """A button, or an entry of a menu; what the person was told about it."""
        told_before = len(self.whispers(user))
        self.bench.workspace.click(user, channel, message.ts, action_id, value)
        self.settle()
        return "\n".join(self.whispers(user)[told_before:])

    def presses(self, user: str, do: Do) -> str:
        """The card's button for this, or the entry in its overflow menu; what the person was told about it."""
        if do.value in action_ids(self.card):
            return self.clicks(user, self.card, do.value, self.incident.channel)
        return self.clicks(user, self.card, Do.MORE, self.incident.channel, f"{do.value}:{self.incident.id}")

    def form(self, user: str) -> View:
        """The one form that is open before this person."""
        (view,) = self.bench.workspace.open_views(user)
        return view

    def fills_in(self, user: str, /, **values: Any) -> Outcome:
        outcome = self.bench.workspace.submit(user, self.form(user).id, values)
        self.settle()
        return outcome

    def whispers(self, user: str) -> list[str]:
        """What only this person was told, in order."""
        return [told(message) for message in self.bench.workspace.ephemerals(user)]

    def slack_sends(
        self, fields: Mapping[str, str] | None = None, event: Mapping[str, Any] | None = None, **headers: str
    ) -> tuple[int, str]:
        """Something signed that the workbench's people cannot do: a form post, or an event."""
        body = urlencode(fields or {}).encode() if event is None else json.dumps(event).encode()
        at = int(self.clock.seconds())
        kind = "application/x-www-form-urlencoded" if event is None else "application/json"
        signature = sign(self.bench.secrets.slack_signing_secret, at, body)
        signed = {"Content-Type": kind, "X-Slack-Request-Timestamp": str(at), "X-Slack-Signature": signature}
        answer = self.post("/slack/events", body, {**signed, **headers})
        self.settle()
        return answer

    def again(self, heard: Heard) -> tuple[int, str]:
        """The same delivery once more, a second later, as senders repeat what they believe lost."""
        self.clock.now += timedelta(seconds=1)
        at = int(self.clock.seconds())
        signature = sign(self.bench.secrets.slack_signing_secret, at, heard.body)
        signed = {"X-Slack-Request-Timestamp": str(at), "X-Slack-Signature": signature, "X-Slack-Retry-Num": "1"}
        answer = self.post(heard.path, heard.body, {**heard.headers, **(signed if "slack" in heard.path else {})})
        self.settle()
        return answer

    # -- what can be seen -----------------------------------------------------------------------------------------

    @property
    def incident(self) -> Incident:
        """The newest one."""
        return self.app.journal.recent(1)[0]

    def stands(self, status: Status) -> bool:
        """Whether the newest incident is there now."""
        return self.incident.status is status

    def messages(self, channel: str = "") -> list[Message]:
        """What stands in a channel, by default the newest incident's own."""
        name = channel or self.incident.channel
        return [m for m in self.bench.workspace.channel(name).messages if m.subtype is None]

    def said(self, words: str, channel: str = "") -> list[Message]:
        """The messages in which these words stand."""
        return [message for message in self.messages(channel) if words in told(message)]

    @property
    def card(self) -> Message:
        """The incident's card in its own channel."""
        place = self.incident.cards["incident"]
        return next(m for m in self.messages() if m.ts == place.ts)

    def pages(self) -> list[tuple[str, str]]:
        """Every page in PagerDuty: its dedup key's round, and where it stands."""
        return [(i.key.rsplit(":", 1)[-1], i.status) for i in self.bench.pagerduty.incidents]

    def pager_calls(self, action: str = "") -> list[str]:
        """What reached PagerDuty from us, in order: `trigger`, `acknowledge`, `resolve`, or a REST call's method."""
        heard = []
        for call in self.bench.pagerduty.calls:
            body = call.body if isinstance(call.body, dict) else {}
            heard.append(str(body.get("event_action") or call.method))
        return [one for one in heard if action in ("", one)]

    def events(self, kind: type[E], incident: Incident | None = None) -> list[E]:
        """What the journal holds of one kind, oldest first."""
        entries = self.app.journal.entries((incident or self.incident).id)
        return [entry.event for entry in entries if isinstance(entry.event, kind)]

    # -- the end --------------------------------------------------------------------------------------------------

    def audit(self) -> None:
        """Nothing went wrong between the bot and the world beyond what the story foretold."""
        calls = self.bench.workspace.calls
        people = self.bench.workspace.state.users
        wrong: dict[str, Collection[Any]] = {
            "calls that Slack refused": [
                (call.method, call.answer)
                for call in calls
                if not call.answer.get("ok") and call.answer.get("error") not in self.foretold
            ],
            "methods that are not in the table of scopes": {call.method for call in calls} - SCOPES.keys(),
            "answers that a response_url refused": [answer for answer in self.wire.responses if answer[0] != 200],
            "requests during which Slack was called": [heard.path for heard in self.wire.heard if heard.calls],
            "requests that were not acknowledged": [
                (heard.path, heard.status) for heard in self.wire.heard if not 200 <= heard.status < 300
            ],
            "words of Slack's own": [w for user in people for w in self.whispers(user) if "failed with the" in w],
            "bugs in the log": [line for line in self.logs if str(line["event"]).endswith("_bug")],
        }
        for look in further_audits:
            wrong |= look(self)
        found = {what: which for what, which in wrong.items() if which}
        assert not found, found


def told(message: Message) -> str:
    """Everything a message shows, as text."""
    return f"{message.text} {json.dumps(message.blocks, ensure_ascii=False)}"


def controls(blocks: list[Json]) -> list[tuple[str, str | None]]:
    """Everything that can be pressed: action id, and the option's value in a menu."""
    found: list[tuple[str, str | None]] = []
    for block in blocks:
        elements = [*block.get("elements", []), *([block["accessory"]] if "accessory" in block else [])]
        for element in elements if block["type"] in ("actions", "section") else []:
            options = element.get("options")
            found += (
                [(element["action_id"], o["value"]) for o in options] if options else [(element["action_id"], None)]
            )
    return found


def action_ids(message: Message) -> set[str]:
    return {action_id for action_id, _ in controls(message.blocks)}


@contextmanager
def open_night(
    folder: Path,
    *,
    settings: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    manifest: Path = MANIFEST,
    socket_mode: bool = False,
    proven: bool = False,
    at: datetime = START,
) -> Iterator[Night]:
    """A night with everything started. `settings` replaces text in fixfirst.toml, `secrets` adds to the environment.

    Nobody answers as Prometheus unless a story brings one; where it is `proven`, no resolve goes without.
    """
    clock, wire = HandClock(at), Wire(http_post)
    options = Options(
        ports=ANY_PORTS,
        directory=folder,
        bot=False,
        monitoring=False,
        paced=False,
        live=False,
        manifest=manifest,
        socket_mode=socket_mode,
        clock=clock.seconds,
        post=wire,
    )
    with Workbench(options) as bench, capture_logs() as logs:
        wire.watch(bench.workspace)
        toml = bench.bot_config.read_text(encoding="utf-8")
        optional = {} if proven else {"[proof]\n": "[proof]\nrequired = false\n"}
        for old, new in ({**optional, **(settings or {})}).items():
            assert old in toml
            toml = toml.replace(old, new)
        bench.bot_config.write_text(toml, encoding="utf-8")
        config, faults = load(bench.bot_config, {**bench.secrets.bot_environment(), **(secrets or {})}.get)
        assert config is not None, faults
        night = Night(bench, config, clock, wire, logs)
        try:
            yield night
            night.audit()
        finally:
            night.stop_bot()


@contextmanager
def measuring(night: Night, numbers: Mapping[str, float]) -> Iterator[dict[str, float]]:
    """A Prometheus for the night: a query that holds one of these words gets its number, any other no data."""
    kept = dict(numbers)
    server = Servers([Site(Numbers(kept).app, bind(night.bench.ports.prometheus, "--prometheus-port"))])
    server.start()
    try:
        yield kept
    finally:
        server.stop()
