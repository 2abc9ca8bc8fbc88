"""What every fallback pager shares: what it is told, when there is still something to say, how long that may take."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from bot.contracts import Attempt, Delivered
from bot.incident import effects as ef
from bot.incident.events import PageAccepted
from bot.incident.state import Incident
from bot.incident.timeline import who
from bot.settings import Table

LONGEST_TIMEOUT: Final = timedelta(seconds=4)
"""A page lane call may last this long at most."""
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,29}")
"""Short and plain, since the card names it and it names a lane of the outbox."""

Action = Literal["trigger", "acknowledge", "resolve"]


@dataclass(frozen=True, slots=True)
class Word:
    """What is said about one round of an incident; a repeat has the same `mark`. `link` may be empty.

    `level` is that of a call for the next person, counted from 1 in each round, and 0 for all else.
    """

    action: Action
    incident: Incident
    generation: int
    at: datetime
    link: str
    level: int = 0

    @property
    def mark(self) -> str:
        """Tells a repeat from what is said anew."""
        return f"{self.key}:{self.action}:{self.level}" if self.level else f"{self.key}:{self.action}"

    @property
    def key(self) -> str:
        """The same for trigger, acknowledge and resolve."""
        return self.incident.page_key(self.generation)

    @property
    def summary(self) -> str:
        """The incident in one line."""
        return " ".join(f"{self.incident.severity} {self.incident.ref} {self.incident.title}".split())

    @property
    def news(self) -> str:
        """What happened, as a sentence."""
        taken, ended = self.incident.acknowledged, self.incident.resolved
        match self.action:
            case "trigger" if self.level and taken:
                return f"{who(taken.by)} has it and wants a second person."
            case "trigger" if self.level:
                return f"Nobody has it yet; escalation {self.level}."
            case "acknowledge":
                return f"{who(taken.by)} has it." if taken else "Somebody has it."
            case "resolve":
                return f"It is over: {ended.what}" if ended and ended.what else "It is over."
            case _:
                return "Nobody has it yet."


@dataclass(frozen=True, slots=True)
class Notice:
    """What concerns no incident and wakes nobody: a sentence or two under a `key` of its own."""

    key: str
    text: str
    at: datetime


class Voice(Protocol):
    """A way to reach people when the first pager does not answer; it is at the same time its own settings."""

    @property
    def label(self) -> str:
        """How people know it: `mail to oncall@example.com`."""

    def say(self, word: Word) -> None:
        """Sends it. Raises Transient, Permanent; is over within its time-out."""

    def tell(self, notice: Notice) -> None:
        """Sends a notice, as `say`."""


class Fallback:
    """`bot.contracts.Courier` over one voice. It speaks of an end only where it was heard to speak of the beginning."""

    def __init__(self, name: str, voice: Voice, link: Callable[[Incident], str]) -> None:
        self._name = name
        self._voice = voice
        self._link = link

    def deliver(self, effect: ef.Effect, incident: Incident, attempt: Attempt) -> Delivered:
        """Pages, calls, acknowledges or resolves; a page or call that nobody needs any more is not sent."""
        match effect:
            case ef.Page(generation=generation):
                if not incident.wants_page(generation) or generation in incident.pages:
                    return []
                self._say("trigger", incident, generation, attempt)
                return [PageAccepted(self._voice.label, generation, fallback=self._name)]
            case ef.EscalatePage(generation=generation, level=level):
                if not self._calls(effect, incident):
                    return []
                self._say("trigger", incident, generation, attempt, level)
                if incident.paged_by(self._name, generation):
                    return []
                return [PageAccepted(self._voice.label, generation, fallback=self._name)]
            case ef.AcknowledgePage(generation=generation) if incident.paged_by(self._name, generation):
                self._say("acknowledge", incident, generation, attempt)
            case ef.StopPaging(generation=generation) if incident.paged_by(self._name, generation):
                self._say("resolve", incident, generation, attempt)
            case ef.AcknowledgePage() | ef.StopPaging():
                """It never woke anybody."""
            case other:
                raise TypeError(f"a fallback pager cannot carry out {type(other).__name__}")
        return []

    def _calls(self, call: ef.EscalatePage, incident: Incident) -> bool:
        """Whether the call is still wanted here: where the first pager has the page and we never paged, it calls."""
        if call.generation in incident.pages and not incident.paged_by(self._name, call.generation):
            return False
        if isinstance(call, ef.CallSecond):
            return incident.is_live and incident.generation == call.generation
        return incident.wants_page(call.generation)

    def _say(self, action: Action, incident: Incident, generation: int, attempt: Attempt, level: int = 0) -> None:
        self._voice.say(Word(action, incident, generation, attempt.now, self._link(incident), level))


def timeout_of(table: Table) -> float:
    """How long one word may take, in seconds."""
    span = table.span("timeout", timedelta(seconds=3))
    if not timedelta(0) < span <= LONGEST_TIMEOUT:
        table.fault("timeout", f"must be longer than nothing and at most {LONGEST_TIMEOUT.seconds}s")
    return span.total_seconds()
