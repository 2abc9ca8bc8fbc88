"""Where it is shown and who was reached: receipts of chat and pagers, and what could not be told."""

from dataclasses import dataclass
from typing import Final

from bot.incident.events.event import Event, Text

STILL_TRYING: Final = "; still trying"
"""How the reason of a trouble ends that may yet pass."""


@dataclass(frozen=True, slots=True)
class ChannelOpened(Event):
    channel: str
    name: str


@dataclass(frozen=True, slots=True)
class CardPosted(Event):
    """Where something we keep up to date lives; `surface` is `intake`, `incident` or `entry:` and an entry's id."""

    surface: str
    channel: str
    ts: str


@dataclass(frozen=True, slots=True)
class PictureShown(Event):
    """The picture of this evidence is in the chat as `file`; or it is not, and why."""

    evidence: str
    file: str = ""
    reason: Text = ""


@dataclass(frozen=True, slots=True)
class StepShown(Event):
    """The message in which one step of a run is shown through its whole life."""

    run: str
    step: str
    channel: str
    ts: str


@dataclass(frozen=True, slots=True)
class PageAccepted(Event):
    """The pager took the page of this generation. `link` opens it there, empty when the pager gave none.

    `pager` is how people know it; `fallback` its name in the settings, empty for the first pager.
    """

    pager: str
    generation: int
    link: str = ""
    fallback: str = ""


@dataclass(frozen=True, slots=True)
class PageUnanswered(Event):
    """`silent` had `seconds` to accept the page of this generation and did not, so it goes by `pager` too.

    `pager` is empty when there is no other. Nobody gives up: whoever was asked before goes on being tried.
    """

    generation: int
    silent: str
    pager: str
    seconds: int


@dataclass(frozen=True, slots=True)
class DeliveryFailed(Event):
    """Something could not be told to the outside for good, or not yet while it goes on being tried; shown to people."""

    courier: str
    effect: str
    reason: Text
    trying: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether it is still tried; of what is older than `trying` the words alone say so."""
        return self.trying or self.reason.endswith(STILL_TRYING)


@dataclass(frozen=True, slots=True)
class DeliverySettled(Event):
    """What was told as trouble while it was tried got out after all, or nobody needs it any more."""

    courier: str
    effect: str
