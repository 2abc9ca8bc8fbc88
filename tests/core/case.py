"""The core without anything around it: commands in, events and effects out, time moved by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.incident import commands as cmd
from bot.incident.decide import decide, follow
from bot.incident.due import next_due_at
from bot.incident.effects import Effect
from bot.incident.entry import Entry
from bot.incident.events import Event, IncidentOpened, Severity
from bot.incident.people import BOT, Actor, ActorKind, Right
from bot.incident.policy import Policy
from bot.incident.react import react
from bot.incident.run import OnFail, Risk, StepSpec, Verify
from bot.incident.state import Incident, Status, evolve

START = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)

MAYA = Actor(ActorKind.MEMBER, "U0MAYA", "Maya", frozenset({Right.RESPOND}))
JONAS = Actor(ActorKind.MEMBER, "U0JONAS", "Jonas", frozenset({Right.RESPOND}))
SAM = Actor(ActorKind.MEMBER, "U0SAM", "Sam")
GUEST = Actor(ActorKind.GUEST, "U0GUEST", "Gus")
ALERTMANAGER = Actor(ActorKind.SOURCE, "alertmanager", "Alertmanager")


class Case:
    """One incident on a time axis. Each method is a moment; `events` and `effects` are what the last one caused."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.now = START
        self.incident: Incident | None = None
        self.entries: list[Entry] = []
        self.events: list[Event] = []
        self.effects: list[Effect] = []

    @property
    def inc(self) -> Incident:
        assert self.incident is not None
        return self.incident

    def after(self, **span: float) -> "Case":
        self.now += timedelta(**span)
        return self

    def do(self, kind: type[cmd.Command], by: Actor = MAYA, source: str = "slack", **fields: Any) -> "Case":
        key = f"test:{len(self.entries)}:{kind.__name__}"
        return self.take(kind(incident="i1", by=by, at=self.now, key=key, source=source, **fields))

    def take(self, command: cmd.Command) -> "Case":
        waiting = decide(self.incident, command, self.policy)
        self.events, self.effects = [], []
        while waiting:
            event = waiting.pop(0)
            if isinstance(event, IncidentOpened):
                event = replace(event, number=42)
            entry = Entry(
                id=f"e{len(self.entries) + 1}",
                workspace="test",
                incident="i1",
                seq=len(self.entries) + 1,
                at=command.at,
                recorded_at=self.now,
                precision=command.precision,
                by=command.by,
                source=command.source,
                source_id=command.source_id,
                key=command.key,
                event=event,
            )
            self.incident = evolve(self.incident, entry)
            self.entries.append(entry)
            self.events.append(event)
            self.effects += react(self.incident, entry, self.policy)
            waiting = [*follow(self.incident, event), *waiting]
        return self

    def alerts(self, firing: int, resolved: int = 0, new: int = 0, **fields: Any) -> "Case":
        values = {"severity": Severity.SEV1, "title": "llama-70b fails", "group_key": "v1:model=llama-70b", **fields}
        return self.do(
            cmd.ReportAlerts,
            by=ALERTMANAGER,
            source="alertmanager",
            firing=firing,
            resolved=resolved,
            new=new,
            **values,
        )

    def receipt(self, *events: Event) -> "Case":
        return self.do(cmd.RecordReceipt, by=BOT, source="courier", events=events)

    def clock_strikes(self) -> "Case":
        return self.do(cmd.CheckTimers, by=BOT, source="timer")

    def stands(self, status: Status) -> bool:
        return self.inc.status is status

    @property
    def next_due(self) -> timedelta | None:
        at = next_due_at(self.inc, self.policy)
        return None if at is None else at - self.now

    def caused(self, *kinds: type[Event]) -> bool:
        return [type(event) for event in self.events] == list(kinds)

    def calls_for(self, kind: type[Effect]) -> bool:
        return any(isinstance(effect, kind) for effect in self.effects)


def act(step_id: str = "rollback", **changes: Any) -> StepSpec:
    """A step that changes the world, takes a lease of an hour and can be undone."""
    values: dict[str, Any] = {
        "id": step_id,
        "title": "Roll back",
        "kind": "http.request",
        "args": {"endpoint": "model-deploy"},
        "risk": Risk.REVERSIBLE,
        "verify": Verify("errors", "< 0.01", timedelta(seconds=15), timedelta(minutes=5)),
        "undo": "auto",
        "lease": timedelta(hours=1),
        "on_fail": OnFail.ASK,
    }
    return StepSpec(**{**values, **changes})


def check(step_id: str = "check", **changes: Any) -> StepSpec:
    """A step that only reads."""
    values: dict[str, Any] = {
        "id": step_id,
        "title": "Are errors up?",
        "kind": "promql.assert",
        "args": {"query": "errors", "expect": "> 0.01"},
        "risk": Risk.READ,
    }
    return StepSpec(**{**values, **changes})


def ask(step_id: str = "look", **changes: Any) -> StepSpec:
    """A step that a person answers."""
    values: dict[str, Any] = {
        "id": step_id,
        "title": "Look at the change",
        "kind": "manual",
        "args": {},
        "risk": Risk.READ,
    }
    return StepSpec(**{**values, **changes})
