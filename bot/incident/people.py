"""Who acts, and who may do what. Rights are decided here and nowhere else."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Refused(Exception):
    """A command is not carried out; the message is one sentence for the person who asked."""


class ActorKind(StrEnum):
    """Who is behind a command. Only MEMBER can hold rights; the last three are the bot's own world."""

    MEMBER = "member"
    GUEST = "guest"
    APP = "app"
    STRANGER = "stranger"
    SOURCE = "source"
    BOT = "bot"


class Right(StrEnum):
    """What a member may do beyond looking, declaring and adding notes."""

    RESPOND = "respond"


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody or something that acts. `id` is stable and never a name: `U0MAYA`, `pagerduty:PXYZ`, `alertmanager`."""

    kind: ActorKind
    id: str
    name: str = ""
    rights: frozenset[Right] = frozenset()

    @property
    def is_person(self) -> bool:
        return self.kind is ActorKind.MEMBER


BOT = Actor(ActorKind.BOT, "fixfirst", "FixFirst")

_WHY_NOT = {
    ActorKind.GUEST: "Guests of the workspace cannot work on incidents; ask a full member.",
    ActorKind.APP: "Other apps and bots cannot work on incidents.",
    ActorKind.STRANGER: "People from another organisation cannot work on incidents here.",
}


def require_member(actor: Actor) -> None:
    """Members, and the bot's own machinery, pass; everybody else is told why not. Raises Refused."""
    if actor.kind in _WHY_NOT:
        raise Refused(_WHY_NOT[actor.kind])


def require_responder(actor: Actor) -> None:
    """As `require_member`, and a person must hold RESPOND. Raises Refused."""
    require_member(actor)
    if actor.is_person and Right.RESPOND not in actor.rights:
        raise Refused("Only responders can do that; ask to be added to a responder user group, or tell a responder.")


BREAK_GLASS: Final = "break-glass:"
"""Before the id of everybody who acts past the chat. Nobody can prove who sits there."""


def one_person(one: str, other: str) -> bool:
    """Whether two actors' ids may be one human being; all who act past the chat count as one."""
    return one == other or (one.startswith(BREAK_GLASS) and other.startswith(BREAK_GLASS))
