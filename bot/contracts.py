"""What an integration must be able to do: the few Protocols through which the bot reaches the world.

An integration imports this module, `bot.incident`, `bot.settings`, `bot.punctual`, its own client (an alert source also
`bot.intake`), and nothing else of ours. Its failures are of three kinds and no fourth: `Refused` (a sentence for a
person, from `bot.incident`), `Transient` and `Permanent`. Anything else that escapes is a bug and is treated as one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from bot.incident.effects import Effect
from bot.incident.events import Event
from bot.incident.run import Reading, Risk
from bot.incident.state import Incident


class Transient(Exception):
    """It may work later: a time-out, a 429, a 5xx, a refused connection.

    `retry_after` is the other side's own wish in seconds, when it stated one. `ambiguous` is true when the call may
    have been carried out although no answer came, so that the next attempt must look before it acts.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None, ambiguous: bool = False) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.ambiguous = ambiguous


class Permanent(Exception):
    """Trying again cannot help: a revoked token, a missing scope, a refused request. The text is shown to people.

    `ambiguous` is true when it may have been carried out, or a part of it, all the same.
    """

    def __init__(self, reason: str = "", *, ambiguous: bool = False) -> None:
        super().__init__(reason)
        self.ambiguous = ambiguous


@contextmanager
def after_the_act() -> Iterator[None]:
    """Something was sent before: a Permanent in here no longer says that nothing, or no part, was carried out."""
    try:
        yield
    except Permanent as failure:
        raise Permanent(str(failure), ambiguous=True) from failure


class Malformed(Exception):
    """What came in cannot be understood; the message says where and what was expected. The door answers 400."""


class TakenOver(Exception):
    """We stood still for so long that somebody else carries this out by now; nothing more may be done about it here."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to carry an effect out.

    `key` is the same for every attempt of one effect, for idempotency keys and for recognising our own earlier work.
    `number` counts from 1; above 1 an earlier try may already have done it. `progress` is what the last try handed back
    with `Again`.
    """

    key: str
    number: int
    now: datetime
    progress: Mapping[str, Any] = field(default_factory=dict)
    since: datetime | None = None
    """When the effect was first wanted."""
    still_ours: Callable[[], None] = field(default=lambda: None, repr=False, compare=False)
    """To be called right before what is better not done twice. Raises TakenOver."""


@dataclass(frozen=True, slots=True)
class Again:
    """Not finished and not failed: call me once more at `at`, with `progress`. It is no failed attempt.

    `events` are what has happened so far that people want to hear of now.
    """

    at: datetime
    progress: Mapping[str, Any]
    events: Sequence[Event] = ()


Delivered = Sequence[Event] | Again


class Courier(Protocol):
    """Carries effects out. No call may last over 10 s (4 s for pages); raises Transient or Permanent."""

    def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:
        """Does it (or finds it done) and returns what happened, as events for the journal."""


class Observed(StrEnum):
    """What a look at the world says about a step that may or may not have been carried out."""

    DONE = "done"
    NOT_DONE = "not done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a step would do, pinned to what the world looks like now; an approval binds to its digest.

    `lines` are for people. `request` is the rendered act and `before` the snapshot that undo restores; both are plain
    JSON without secrets. Two requests that differ only in `after`, the act they come after, want the same. `undo` says
    in a few words what undo would do, or is None when there is no way back.
    """

    lines: tuple[str, ...]
    request: Mapping[str, Any]
    before: Mapping[str, Any]
    risk: Risk
    undo: str | None = None
    warnings: tuple[str, ...] = ()


class Check(Protocol):
    """A step that only reads (`promql.assert`): it runs without asking."""

    def check(self, args: Mapping[str, Any]) -> Reading:
        """Measures once. No data is `Reading.INCONCLUSIVE`, never success; raises Transient, Permanent."""


class Act(Protocol):
    """A step that changes the world (`http.request`)."""

    def plan(self, args: Mapping[str, Any]) -> Plan:
        """Reads the live state and pins what would be done. Changes nothing."""

    def apply(self, plan: Plan, key: str) -> str | None:
        """Starts it, once; the same `key` again must not do it twice.

        Gives what it said, where that is worth keeping: in brief, and without secrets.
        """

    def observe(self, plan: Plan) -> Observed:
        """Looks whether it has been done. Changes nothing."""

    def undo(self, plan: Plan, key: str) -> None:
        """Restores `plan.before`. Raises Permanent where there is no way back."""


@dataclass(frozen=True, slots=True)
class Going:
    """An act that was begun and has not ended: how far it is, as `3 of 5 pods moved, 2 wait for the budget chat`."""

    text: str


@runtime_checkable
class Lasting(Protocol):
    """An `Act` that goes on for longer than one call may last (a drain, a rollout): begun by `apply`, then asked."""

    def go_on(self, plan: Plan, key: str) -> Going | None:
        """One look, and what is due next; None once it has ended. Twice does no harm.

        Raises Transient, and Permanent when it cannot end.
        """


@dataclass(frozen=True, slots=True)
class Container:
    """Whose log it is, as the labels of its restarts name it; `name` is empty where they do not."""

    namespace: str
    pod: str
    name: str = ""


class Tail(Protocol):
    """Reads the end of a container's log."""

    def tail(self, container: Container, now: datetime) -> Sequence[str]:
        """The last lines as of `now`, the oldest first, or those that tell something; empty only for an empty log.

        Raises Transient, and Permanent also where there is no such log.
        """


class Reversible:
    """Base of a configured target on which every act can be put back, and of which a step names no more than its kind
    takes (`TargetFacts` in bot/runbook/kinds.py)."""

    __slots__ = ()

    @property
    def risk(self) -> Risk:
        """What a step on it costs at least."""
        return Risk.REVERSIBLE

    @property
    def undoable(self) -> bool:
        """Whether `undo: auto` has a way back."""
        return True

    @property
    def needs(self) -> frozenset[str]:
        """Further keys that a step must give."""
        return frozenset()


class OnCall(Protocol):
    """Who is on call."""

    def on_call(self, now: datetime) -> tuple[str, ...]:
        """Slack user ids, the first on call first; empty when nobody is."""
