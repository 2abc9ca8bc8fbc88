"""What a fail-over of the database stops, until a person has confirmed: pure.

A standby that takes over may lack the last seconds, and a backup all that came after it. What is missing then cannot
be told from what never happened, so while the record is in doubt the bot wakes people and tells them, but neither acts
on the world nor closes anything.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bot.incident import commands as cmd
from bot.incident import effects as ef
from bot.incident import events as ev
from bot.incident.logbook import HOW_TO_CONFIRM, Kind, Record
from bot.incident.people import Refused

HELD: Final = (ef.ApplyStep, ef.ContinueStep, ef.UndoStep)
"""What is not carried out meanwhile; to preview, check and measure only reads."""
CLOSES: Final = (ev.Resolved, ev.ResolveAsked, ev.UndoStarted)
"""What the passing of time does not bring about meanwhile; escalations, handovers and reminders it does."""
ASKS: Final = (cmd.ApproveStep, cmd.UndoStep, cmd.UndoRun, cmd.CheckTimers)
"""Commands for which it matters."""
WHY: Final = "the database failed over or was restored, and nobody has confirmed yet"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of the database under us.

    `epoch` names its history; empty when nobody can tell. `frozen_since` is when another history was noticed that
    nobody has confirmed. `previews_from`: an older preview was made on a record that may have been another.
    """

    epoch: str = ""
    frozen_since: datetime | None = None
    previews_from: datetime | None = None

    @property
    def frozen(self) -> bool:
        return self.frozen_since is not None

    def holds(self, effect: ef.Effect) -> bool:
        """Whether the effect has to wait."""
        return self.frozen and isinstance(effect, HELD)


def standing(latest: Record | None) -> Standing:
    """What the latest record about the database says, leaving those apart that only report."""
    if latest is None:
        return Standing()
    match latest.kind:
        case Kind.FAILED_OVER | Kind.RESTORED:
            return Standing(latest.body["epoch"], frozen_since=latest.at)
        case Kind.CONFIRMED:
            return Standing(latest.body["epoch"], previews_from=latest.at)
        case _:
            return Standing(latest.body["epoch"])


def require_thawed(frozen: bool) -> None:
    """Raises Refused while automation is frozen."""
    if frozen:
        raise Refused(f"Nothing is carried out now: {WHY}. Let a responder do so, by {HOW_TO_CONFIRM}.")
