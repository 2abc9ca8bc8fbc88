"""What is asked of an incident: frozen, imperative. Every click, slash command, webhook, timer and receipt is one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bot.incident.change import Change
from bot.incident.events import Event, Precision, Role, Severity
from bot.incident.people import Actor
from bot.incident.run import StepSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Base of all commands.

    `key` makes the command count once, whatever the number of deliveries; it is stable over retries (a Slack trigger,
    event or view id, a PagerDuty event id, an outbox row) and at most 200 characters. `at` is when it was asked;
    `source` the door it came through, `source_id` its name there.
    """

    incident: str
    by: Actor
    at: datetime
    key: str
    source: str
    source_id: str = ""
    precision: Precision = Precision.EXACT


@dataclass(frozen=True, slots=True, kw_only=True)
class Declare(Command):
    """A person opens an incident; `incident` is a fresh id."""

    title: str
    severity: Severity
    service: str = ""
    model: str = ""
    impact: str = ""
    started_at: datetime | None = None
    channel: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAlerts(Command):
    """One drained batch of a group of alerts. Totals are the group's after the batch.

    `recurs` is the latest ended incident of the group, if any; the rest describes an incident to open if there is none.
    `title` is free text from the alerts. `paged_elsewhere` is true when the sender itself has woken people (PagerDuty).
    """

    group_key: str
    firing: int
    resolved: int
    new: int
    samples: tuple[Mapping[str, Any], ...] = ()
    truncated: int = 0
    title: str = ""
    severity: Severity = Severity.SEV3
    service: str = ""
    model: str = ""
    runbook: str = ""
    started_at: datetime | None = None
    detected_at: datetime | None = None
    recurs: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteChange(Command):
    """A change that may have to do with the incident. `live`: it came in while the incident was on."""

    change: Change
    live: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge(Command):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakGlass(Command):
    """Put on the incident's record that somebody acts on it past the chat, and why; `glass` is the key's id."""

    glass: str
    reason: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeSeverity(Command):
    severity: Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignRole(Command):
    role: Role
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateImpact(Command):
    text: str
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AddNote(Command):
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RedactText(Command):
    """Put on record that the text of entry `number`, whose id is `entry`, was taken out."""

    entry: str
    number: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PinMessage(Command):
    text: str
    author: str
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostUpdate(Command):
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateVerdict(Command):
    """Say whether the verdict of this evidence was right, and if not, what it was."""

    evidence: str
    right: bool
    actual: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mitigate(Command):
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolve(Command):
    """`despite_firing` says that the person was warned that alerts still burn and resolves nevertheless.

    `despite_doubt` says so of a telemetry that does not prove that it is over. `despite_fallback` is for a pager whose
    people have closed it there already, whatever is on loan or not proven here.
    """

    reason: str
    despite_firing: bool = False
    despite_doubt: bool = False
    despite_fallback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel(Command):
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopen(Command):
    """The pager's people reopened it there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckTimers(Command):
    """Do what is due at `at`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordReceipt(Command):
    """What a courier reports back; `events` are facts about the outside."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun(Command):
    run: str
    runbook: str
    title: str
    source_digest: str
    target: str
    params: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[StepSpec, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRun(Command):
    run: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCommand(Command):
    """Base of what people say about one step."""

    run: str
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproveStep(StepCommand):
    """`digest` is that of the preview the person saw; a changed plan voids it.

    `alone` is the reason why one person goes on with what takes two, after a second was called and did not come.
    """

    digest: str = ""
    alone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSecond(StepCommand):
    """Wake the next on call: somebody at this step wants not to be alone with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipStep(StepCommand):
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryStep(StepCommand):
    """Preview it again after it failed, was interrupted, or the world moved on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoStep(StepCommand):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoRun(Command):
    """Everything of a run that is in force and has a way back, the latest first; a run under way ends with it.

    `shown` is what the person was shown as all of it (`bot.incident.runs.all_of`).
    """

    run: str
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewLease(StepCommand):
    pass
