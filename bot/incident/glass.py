"""Break-glass: acting past the chat, for an hour, with a reason that is kept."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bot.incident.logbook import Kind, Record
from bot.incident.people import BREAK_GLASS, Actor, ActorKind, Refused, Right

LASTS: Final = timedelta(hours=1)
LONGEST_REASON: Final = 500


@dataclass(frozen=True, slots=True)
class Glass:
    """One broken glass. `opener` is the id of who broke it, `digest` the SHA-256 of its key in hex, empty without."""

    id: str
    opener: str
    name: str
    reason: str
    until: datetime
    digest: str = ""
    shut_by: str = ""

    @property
    def actor(self) -> Actor:
        """Who acts with it."""
        name = f"break-glass: {self.name}"
        return Actor(ActorKind.MEMBER, f"{BREAK_GLASS}{self.id}", name, frozenset({Right.RESPOND}))

    def require_open(self, now: datetime) -> None:
        """Raises Refused when it is over."""
        if self.shut_by:
            raise Refused(f"That break-glass key was taken back by {self.shut_by}.")
        if now >= self.until:
            raise Refused(f"That break-glass key expired at {self.until:%H:%M} UTC; break the glass again.")


class NoReason(Refused):
    """Somebody acts past the chat and does not say why."""


def reason_of(text: str) -> str:
    """The reason as it is kept. Raises NoReason without one."""
    reason = " ".join(text.split())
    if not reason:
        raise NoReason('Say why, for example --reason "Slack is down"; it is kept with your name.')
    return reason[:LONGEST_REASON]


def broken(records: list[Record]) -> list[Glass]:
    """Every glass that these records tell of, the latest first."""
    shut = {record.body["glass"]: record.by.name for record in records if record.kind is Kind.GLASS_SHUT}
    return [
        Glass(
            id=record.body["glass"],
            opener=record.by.id,
            name=record.body["name"],
            reason=record.body["reason"],
            until=datetime.fromisoformat(record.body["until"]),
            digest=record.body["digest"],
            shut_by=shut.get(record.body["glass"], ""),
        )
        for record in reversed(records)
        if record.kind is Kind.GLASS_BROKEN
    ]
