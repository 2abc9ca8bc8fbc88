"""What somebody asked for in Slack, and what they get for it."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bot.incident.people import Actor, Refused
from bot.journal import Unsure
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

    `field` is the form field that a problem is about, where there is one. `unsure` says that it may have been done.
    """

    message: cards.Message | None = None
    view: View | None = None
    problem: str = ""
    field: str = ""
    slow: "Callable[[], Reply] | None" = None
    unsure: Unsure | None = None

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
BUSY: Final = Reply(problem="The journal is busy and nothing was recorded; please try again in a moment.")
PRESS_AGAIN: Final = (
    "The journal does not answer yet, so nobody knows whether this was kept. Press again in a moment, as it stands: "
    "twice counts once."
)


def not_known(unsure: Unsure) -> Reply:
    """When a journal does not say whether it has kept what somebody did."""
    if unsure.written is None:
        lost = "Nobody knows whether this was kept. Look with `/incident timeline` before you do it again."
        return Reply(problem=lost, unsure=unsure)
    return Reply(
        problem="The journal does not say yet whether this was kept. I tell you here when it does.", unsure=unsure
    )


def came_of(written: "Future[Any]") -> Reply:
    """What to tell, at last, whoever was told that it is not known."""
    error = written.exception()
    if error is None:
        return said("It was kept: you need not do it again.")
    if isinstance(error, Unsure):
        return not_known(error)
    return Reply(problem=str(error)) if isinstance(error, Refused) else BUSY
