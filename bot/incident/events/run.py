"""A runbook run and its steps: asked, approved, carried out, proven, undone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.incident.events.event import Event, Text


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """`steps` are `StepSpec`s as JSON, values filled in, as the runbook stood at `source_digest` (sha256)."""

    run: str
    runbook: str
    title: str
    source_digest: str
    target: str
    params: Mapping[str, str]
    steps: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class StepPlanned(Event):
    """The preview: what the step would do to the world as it is now. `plan` is `contracts.Plan` as JSON."""

    run: str
    step: str
    plan: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True)
class StepAsked(Event):
    """A step that only people can answer is at hand."""

    run: str
    step: str


@dataclass(frozen=True, slots=True)
class StepApproved(Event):
    run: str
    step: str
    digest: str


@dataclass(frozen=True, slots=True)
class SecondCalled(Event):
    """Somebody alone at a step wants a second person; the next on call is woken, as escalation `level`."""

    run: str
    step: str
    level: int


@dataclass(frozen=True, slots=True)
class StepOverridden(Event):
    """Nobody came, and one person alone goes on with what takes two. Follows `SecondCalled`, before the approval."""

    run: str
    step: str
    reason: Text


@dataclass(frozen=True, slots=True)
class StepStarted(Event):
    """Committed before the act. Found without an outcome, the step counts as interrupted."""

    run: str
    step: str
    attempt: int


@dataclass(frozen=True, slots=True)
class StepApplied(Event):
    """The act was carried out; a lease, where the step has one, runs until `lease_until`.

    One that is `lasting` was only begun, and goes on until `StepCompleted`. `said` is what it had to say.
    """

    run: str
    step: str
    attempt: int
    lease_until: datetime | None = None
    lasting: bool = False
    said: Text = ""


@dataclass(frozen=True, slots=True)
class StepProgressed(Event):
    """How far a step is that takes its time: what has moved, what was measured last."""

    run: str
    step: str
    text: Text


@dataclass(frozen=True, slots=True)
class StepCompleted(Event):
    """An act that goes on by itself has ended; whether it helped is measured next."""

    run: str
    step: str


@dataclass(frozen=True, slots=True)
class StepSucceeded(Event):
    """Verified by measurement, or answered by a person; `text` holds the numbers."""

    run: str
    step: str
    text: Text


@dataclass(frozen=True, slots=True)
class StepSaid(Event):
    """A step that only tells: its words go to the incident's channel, and wake the next on call where `level` is set.

    `level` is that of an escalation, 0 for none.
    """

    run: str
    step: str
    text: Text
    level: int = 0


@dataclass(frozen=True, slots=True)
class StepFailed(Event):
    """Refused by the other side, or not proven in time. `inconclusive` when there was nothing to measure."""

    run: str
    step: str
    text: Text
    inconclusive: bool = False


@dataclass(frozen=True, slots=True)
class StepInterrupted(Event):
    """We cannot tell whether the act happened; a person decides."""

    run: str
    step: str
    text: Text


@dataclass(frozen=True, slots=True)
class StepRetried(Event):
    """A person wants a fresh preview (or measurement) of a step that did not succeed."""

    run: str
    step: str


@dataclass(frozen=True, slots=True)
class StepSkipped(Event):
    run: str
    step: str
    reason: Text


@dataclass(frozen=True, slots=True)
class UndoStarted(Event):
    """`why` is "asked" when a person wanted it, "all" when somebody wants everything of the run undone, "lease" when a
    lease ran out unrenewed, "failed" by the step's rule."""

    run: str
    step: str
    why: str


@dataclass(frozen=True, slots=True)
class StepUndone(Event):
    run: str
    step: str


@dataclass(frozen=True, slots=True)
class UndoFailed(Event):
    """`unclear` when nobody can tell whether it was taken back all the same."""

    run: str
    step: str
    text: Text
    unclear: bool = False


@dataclass(frozen=True, slots=True)
class LeaseRenewed(Event):
    run: str
    step: str
    until: datetime


@dataclass(frozen=True, slots=True)
class FallbackReminded(Event):
    """What a step lent is still in force, and the responders were reminded that it hides a service that is not well."""

    run: str
    step: str


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """`outcome` is "done" or "stopped"."""

    run: str
    outcome: str
