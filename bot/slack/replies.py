"""What somebody asked for in Slack, and what they get for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bot.incident.people import Actor
from bot.slack import cards

View = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked for something, with what words, where and when. `key` makes it count once."""

    by: Actor
    text: str
    channel: str
    at: datetime
    key: str

    def about(self, incident_id: str) -> dict[str, Any]:
        """What every command says of where it comes from."""
        return {"incident": incident_id, "by": self.by, "at": self.at, "key": self.key, "source": "slack"}


@dataclass(frozen=True, slots=True)
class Reply:
    """What the person gets: a message, a form to fill in, a sentence why not, or something that takes a while.

    `field` is the form field that a problem is about, where there is one.
    """

    message: cards.Message | None = None
    view: View | None = None
    problem: str = ""
    field: str = ""
    slow: "Callable[[], Reply] | None" = None

    def as_message(self) -> cards.Message | None:
        """What to show, if there is anything to show."""
        return sentence(self.problem) if self.problem else self.message


def sentence(text: str) -> cards.Message:
    """A plain sentence of our own; it may hold the mrkdwn of code and emphasis."""
    return cards.Message(text, [{"type": "section", "text": {"type": "mrkdwn", "text": text[:3000]}}])


def said(text: str) -> Reply:
    """A short confirmation."""
    return Reply(message=sentence(text))


NOTHING: Final = Reply()
