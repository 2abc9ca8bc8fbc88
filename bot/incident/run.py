"""A runbook run as data: its steps, where it stands, and what was measured on the way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

APPROVAL_LASTS: Final = timedelta(minutes=15)
"""A preview or an approval older than this counts no more: the world has moved on."""
SECOND_WITHIN: Final = timedelta(minutes=5)
"""So long a second person has to answer before one alone may go on, with a reason."""
TRIES: Final = 5
"""How often a step's other side is asked where the runbook states no `retry`."""


class Risk(StrEnum):
    """What a step may cost. Reading runs at once; the rest asks a person first."""

    READ = "read"
    REVERSIBLE = "reversible"
    DESTRUCTIVE = "destructive"


class Sample(StrEnum):
    """What one measurement says. No data and NaN are INCONCLUSIVE: never success, never an automatic undo."""

    HOLDS = "holds"
    FAILS = "fails"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Reading:
    """One measurement with the numbers a person needs to believe it: the value and what was wanted of it."""

    sample: Sample
    text: str


class OnFail(StrEnum):
    """What follows when a step fails: the run stops, a person is asked, it goes on, or the step is undone."""

    STOP = "stop"
    ASK = "ask"
    CONTINUE = "continue"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class Verify:
    """The proof that an act helped: `query` must meet `expect` for `hold` without a break, inside `within`."""

    query: str
    expect: str
    hold: timedelta
    within: timedelta


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step with every value filled in, as it stood in the runbook when the run began.

    `kind` is a registered step kind, `ask.approve` or `manual`. `undo` is "auto", another step's id, or None with the
    reason in `no_undo`.
    """

    id: str
    title: str
    kind: str
    args: Mapping[str, Any]
    risk: Risk
    prose: str = ""
    warning: str = ""
    checklist: tuple[str, ...] = ()
    timeout: timedelta = timedelta(seconds=60)
    retry: int = TRIES - 1
    verify: Verify | None = None
    undo: str | None = None
    no_undo: str = ""
    lease: timedelta | None = None
    on_fail: OnFail = OnFail.STOP


class StepStatus(StrEnum):
    """Where one step stands. RUNNING is being begun; GOING has begun and goes on by itself, as a drain does."""

    WAITING = "waiting"
    PLANNING = "planning"
    ASKING = "asking"
    RUNNING = "running"
    GOING = "going"
    VERIFYING = "verifying"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    SKIPPED = "skipped"
    UNDOING = "undoing"
    UNDONE = "undone"


@dataclass(frozen=True, slots=True)
class StepRun:
    """One step of one run, folded from its events. `channel` and `ts` are where it is shown.

    `started_at` is when the act was approved and begun; `applied` when it was carried out and has not been undone.
    `outcome` is how it ended, or how far it is. `alone` says that nobody came when a second person was called
    (`second_called_at`), and that one goes on by themselves. `reminded_at` is when people last heard that it is lent.
    """

    spec: StepSpec
    status: StepStatus = StepStatus.WAITING
    attempt: int = 0
    plan: Mapping[str, Any] = field(default_factory=dict)
    plan_digest: str = ""
    first_plan: Mapping[str, Any] = field(default_factory=dict)
    asked_at: datetime | None = None
    approved_by: str = ""
    lease_until: datetime | None = None
    outcome: str = ""
    started_at: datetime | None = None
    applied: bool = False
    second_called_at: datetime | None = None
    alone: bool = False
    reminded_at: datetime | None = None
    channel: str = ""
    ts: str = ""

    @property
    def way_back(self) -> Mapping[str, Any]:
        """The plan that undo goes by: the first one of several for the same act."""
        return self.first_plan or self.plan

    @property
    def lent(self) -> bool:
        """Whether it is in force for a time only, which hides a service that is not well without it."""
        return self.applied and self.lease_until is not None

    @property
    def may_be_in_force(self) -> bool:
        """Whether there is something to undo, as far as anybody knows."""
        return self.applied or self.status is StepStatus.INTERRUPTED


class RunStatus(StrEnum):
    """Where the whole run stands."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one runbook inside an incident. `target` is the runbook's lock: one run per target at a time."""

    id: str
    runbook: str
    title: str
    source_digest: str
    target: str
    params: Mapping[str, str]
    steps: tuple[StepRun, ...]
    started_at: datetime
    status: RunStatus = RunStatus.RUNNING
    started_by: str = ""
    goes_back: bool = False
    """All of it is being undone, one step after the other."""

    def step(self, step_id: str) -> StepRun:
        """The step with that id; KeyError when the run has none."""
        for step in self.steps:
            if step.spec.id == step_id:
                return step
        raise KeyError(step_id)
