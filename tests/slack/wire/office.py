"""The Slack side at work: a real journal and desk behind it, the local Slack before it, over loopback.

What Slack sends is signed and goes through our door; what we send goes through Slack's own client over HTTP. Time, the
outbox and what follows an acknowledgement are turned by hand.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import yaml
from starlette.applications import Starlette

from bot.contracts import Attempt, Delivered
from bot.desk import Desk
from bot.incident import commands as cmd
from bot.incident.effects import Effect
from bot.incident.entry import Entry
from bot.incident.events import Event, Severity
from bot.incident.people import BOT, Actor, ActorKind, Refused, Right
from bot.incident.policy import Policy
from bot.incident.run import StepSpec
from bot.incident.state import Incident, Status
from bot.intake.reading import Reading
from bot.journal import Journal
from bot.journal.database import migrate, open_engine, sqlite_url
from bot.journal.ids import new_id
from bot.outbox import Outbox
from bot.settings import Secret
from bot.slack.cards import Context
from bot.slack.client import call, connect
from bot.slack.courier import Courier
from bot.slack.directory import Directory
from bot.slack.door import SlackDoor
from bot.slack.listeners import Listeners
from bot.slack.settings import Settings
from bot.slack.verbs import Verbs
from bot.workbench.slack.app import slack_app
from bot.workbench.slack.config import WorkspaceConfig
from bot.workbench.slack.model import Channel, Message
from bot.workbench.slack.workspace import Workspace
from tests.core.case import act
from tests.hands import START, Afterwards, HandClock
from tests.servers import asgi_server

T = TypeVar("T")
E = TypeVar("E", bound=Event)
MAYA, JONAS, PRIYA, SAM, GUEST = "U0MAYA", "U0JONAS", "U0PRIYA", "U0SAM", "U0GUEST"
INTAKE = "C0INCIDENTS"
SIGNING_SECRET = "a signing secret of the tests"
BOT_TOKEN = "xoxb-tests"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
PAGES = "http://pages.test"
MANIFEST: dict[str, Any] = yaml.safe_load((Path("bot") / "slack" / "manifest.yaml").read_text(encoding="utf-8"))
BURNING: Mapping[str, Any] = {
    "group_key": "v1:model=llama-70b",
    "severity": Severity.SEV1,
    "title": "llama-70b answers 500",
    "model": "llama-70b",
}
MONITOR = Actor(ActorKind.SOURCE, "alertmanager", "Alertmanager")


class Rota:
    """Maya is on call, then Jonas."""

    def __init__(self, *people: str) -> None:
        self.people = people or (MAYA, JONAS)

    def on_call(self, now: datetime) -> tuple[str, ...]:
        return self.people


@dataclass(frozen=True)
class Offer:
    runbook: str
    title: str
    source_digest: str
    target: str
    params: Mapping[str, str]
    steps: tuple[StepSpec, ...]


class Shelf:
    """Two runbooks, one with parameters."""

    def titles(self) -> Mapping[str, str]:
        return {"rollback": "Roll back a model deploy", "drain": "Drain a node"}

    def params(self, runbook_id: str, incident: Incident) -> Mapping[str, str]:
        return {"model": incident.model} if runbook_id == "rollback" else {"node": ""}

    def start(self, runbook_id: str, params: Mapping[str, str]) -> Offer:
        if not all(params.values()):
            raise Refused(f"The runbook needs a value for {next(k for k, v in params.items() if not v)}.")
        target = f"{runbook_id}/{next(iter(params.values()))}"
        return Offer(runbook_id, self.titles()[runbook_id], "0" * 64, target, params, (act(),))


REPORT: Mapping[str, Any] = {
    "at": START.isoformat(),
    "model": "llama-70b",
    "verdict": "OUTAGE",
    "impact": "31 % of requests fail",
    "cause_id": "recent-change",
    "cause": "Recent change: r42 went live 6 min ago",
    "agree": 4,
    "signals": 5,
    "second": "",
    "runbooks": ["rollback"],
    "not_advised": [],
    "unknowns": [],
    "checks": [],
}


@dataclass
class Office:
    """Everything on the Slack side, and the people who use it. `deaf` lets Slack's requests find nobody."""

    workspace: Workspace
    settings: Settings
    folder: Path
    clock: HandClock
    rota: Rota = field(default_factory=Rota)
    journal: Journal = field(init=False)
    desk: Desk = field(init=False)
    door: SlackDoor = field(init=False)
    listeners: Listeners = field(init=False)
    directory: Directory = field(init=False)
    courier: Courier = field(init=False)
    outbox: Outbox = field(init=False)
    afterwards: Afterwards = field(init=False)
    answers: list[tuple[int, bytes]] = field(default_factory=list)
    surveyed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        engine = open_engine(sqlite_url(self.folder))
        migrate(engine)
        self.journal = Journal(engine, "test", self.clock, lambda incident: None)
        self.desk = Desk(self.journal, Policy(), Reading(), lambda: None)
        self.wire()

    def wire(self) -> None:
        """Puts the Slack side together, as a start of the process does: it remembers nothing."""
        client = connect(self.settings)
        self.afterwards = Afterwards()
        self.directory = Directory(client, self.settings, self.clock)
        context = Context(Policy(), PAGES, Shelf().titles())
        verbs = Verbs(self.desk, Shelf(), self.survey, context)
        self.listeners = Listeners(client, self.settings, self.desk, self.directory, verbs, self.afterwards)
        self.door = SlackDoor(self.listeners.app, self.settings.signing_secret, self.clock)
        self.courier = Courier(client, self.settings, context, self.rota, self.journal, picture=lambda *_: PNG)
        self.outbox = Outbox(self.desk, {"slack": self.courier})

    def survey(self, model: str) -> Mapping[str, Any]:
        self.surveyed.append(model)
        return REPORT

    def learn(self) -> None:
        """What the bot does in the background: who it is, and who may respond."""
        self.listeners.bot_user_id = str(call(connect(self.settings).auth_test)["user_id"])
        self.directory.refresh()

    def hear(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> tuple[int, Any, bytes]:
        """Our door as Slack reaches it."""
        status, out, answer = self.door.handle(body, headers)
        self.answers.append((status, answer))
        return status, {name.lower(): value for name, value in out.items()}, answer

    # -- people ---------------------------------------------------------------------------------------------------

    def types(self, user: str, text: str, channel: str = INTAKE) -> str:
        """A slash command; what its answer said at once."""
        before = len(self.answers)
        self.workspace.command(user, channel, text)
        self.afterwards.run()
        return shown(self.answers[before][1])

    def clicks(self, user: str, message: Message, action_id: str, channel: str, value: Any = None) -> None:
        self.workspace.click(user, channel, message.ts, action_id, value)
        self.afterwards.run()

    def fills_in(self, user: str, /, **values: Any) -> Mapping[str, str]:
        """Submits the open form; what stands at its fields as errors."""
        (view,) = self.workspace.open_views(user)
        errors = self.workspace.submit(user, view.id, values).errors
        self.afterwards.run()
        return errors

    def whispers(self, user: str) -> str:
        """Everything that only this person was told."""
        return "\n".join(told(message) for message in self.workspace.ephemerals(user))

    # -- what goes on ---------------------------------------------------------------------------------------------

    def burns(self, firing: int = 3, **fields: Any) -> Incident:
        """Alerts open an incident; nothing is delivered yet."""
        return self.does(
            cmd.ReportAlerts,
            new_id(),
            by=MONITOR,
            source="alertmanager",
            firing=firing,
            resolved=0,
            new=firing,
            **{**BURNING, **fields},
        )

    def does(self, kind: type[cmd.Command], incident_id: str, by: str | Actor = MAYA, **fields: Any) -> Incident:
        """A command at the desk, past Slack."""
        actor = by if isinstance(by, Actor) else Actor(ActorKind.MEMBER, by, by, frozenset({Right.RESPOND}))
        given = {"at": self.clock(), "key": new_id(), "source": "cli", **fields}
        return self.desk.handle(kind(incident=incident_id, by=actor, **given)).incident

    def records(self, incident: Incident, *events: Event) -> Incident:
        """What another courier brings back."""
        return self.does(cmd.RecordReceipt, incident.id, by=BOT, source="courier", events=events)

    def delivers(self) -> None:
        """Empties the outbox, as far as it is due."""
        for _ in range(200):
            ready = self.outbox.ready()
            if not ready:
                return
            for job in ready:
                self.outbox.deliver(job.id)
        raise AssertionError("the outbox never came to rest")

    def after(self, **span: float) -> None:
        self.clock.now += timedelta(**span)

    @property
    def incident(self) -> Incident:
        """The newest one."""
        return self.journal.recent(1)[0]

    @property
    def channel(self) -> Channel:
        """The newest incident's own."""
        return self.workspace.channel(self.incident.channel)

    def card(self, surface: str = "incident") -> Message:
        """Where the newest incident's card is now."""
        place = self.incident.cards[surface]
        found = self.workspace.channel(place.channel).find(place.ts)
        assert found is not None, "the card is gone"
        return found

    def said(self, channel: str = "") -> list[Message]:
        """The messages of ours in a channel (the newest incident's own by default), oldest first."""
        return [m for m in self.workspace.channel(channel or self.incident.channel).messages if m.by_app]

    def calls(self, method: str) -> list[Mapping[str, Any]]:
        """The arguments of every call of a method so far."""
        return [one.args for one in self.workspace.calls if one.method == method]

    def stands(self, status: Status) -> bool:
        return self.incident.status is status

    def entries(self, kind: type[E]) -> list[tuple[Entry, E]]:
        """The newest incident's entries of one kind."""
        return [(e, e.event) for e in self.journal.entries(self.incident.id) if isinstance(e.event, kind)]

    def events_told(self) -> list[str]:
        """The kinds of entries in the newest incident's journal."""
        return [type(entry.event).__name__ for entry in self.journal.entries(self.incident.id)]


def told(message: Message) -> str:
    """Everything a message shows, as text."""
    return f"{message.text} {json.dumps(message.blocks, ensure_ascii=False)}"


def shown(body: bytes) -> str:
    """What an answer in the response itself shows."""
    return json.dumps(json.loads(body), ensure_ascii=False) if body[:1] in (b"{", b"[") else body.decode()


def deliver(office: Office, effect: Effect, number: int = 1) -> Delivered:
    """One try at an effect for the newest incident, without the outbox."""
    return office.courier.deliver(effect, office.incident, Attempt("job", number, office.clock()))


@contextmanager
def open_office(folder: Path, **changes: Any) -> Iterator[Office]:
    """An office with the doors open. `changes` are settings."""
    clock = HandClock()
    hear: list[Callable[..., Any]] = []
    config = WorkspaceConfig(signing_secret=SIGNING_SECRET, bot_token=BOT_TOKEN, manifest=MANIFEST, paced=False)
    workspace = Workspace(config, clock=clock.seconds, post=lambda *args: hear[0](*args))  # noqa: PLW0108 - it is not there yet
    with asgi_server(Starlette(routes=slack_app(workspace))) as port:
        address = f"http://127.0.0.1:{port}"
        workspace.state.public_url = address
        values: dict[str, Any] = {
            "api_url": f"{address}/api/",
            "team_id": config.team_id,
            "intake_channel": INTAKE,
            "pin_reaction": "pushpin",
            "responders": ("S0RESPOND",),
            "owner": "",
            "socket_mode": False,
            "bot_token": Secret(BOT_TOKEN),
            "signing_secret": Secret(SIGNING_SECRET),
            "app_token": Secret(""),
        }
        office = Office(workspace, Settings(**{**values, **changes}), folder, clock)
        hear.append(office.hear)
        try:
            yield office
        finally:
            office.journal.close()
            workspace.stop()
