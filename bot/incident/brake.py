"""What keeps runbooks from doing too much: a brake that anybody on call can pull, and caps on kinds of step. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bot.incident import effects as ef
from bot.incident.failover import WHY
from bot.incident.logbook import HOW_TO_CONFIRM, Kind, Record
from bot.incident.people import Refused
from bot.incident.run import StepRun, StepStatus
from bot.incident.timeline import count, span, who

BRAKED: Final = (ef.ApplyStep, ef.ContinueStep)
"""What is not carried out while the brake is on. To look only reads, and to take back makes the world as it was."""
ABOUT: Final = (Kind.RUNBOOKS_STOPPED, Kind.RUNBOOKS_RELEASED)
HOW_TO_RELEASE: Final = "`/incident runbooks start` or `fixfirst runbooks start`"


@dataclass(frozen=True, slots=True)
class Brake:
    """Who stopped all runbooks, when and why."""

    since: datetime
    by: str
    reason: str
    seq: int = 0
    """Its record in the logbook."""

    @property
    def words(self) -> str:
        """As people are told."""
        why = f": {self.reason}" if self.reason else ""
        return f"All runbooks are stopped since {self.since:%Y-%m-%d %H:%M} UTC by {self.by}{why}"


def brake(latest: Record | None) -> Brake | None:
    """What the latest record about the brake says."""
    if latest is None or latest.kind is not Kind.RUNBOOKS_STOPPED:
        return None
    return Brake(latest.at, who(latest.by), latest.body["reason"], latest.seq)


def require_released(pulled: Brake | None) -> None:
    """Raises Refused while the brake is on."""
    if pulled is not None:
        raise Refused(
            f"{pulled.words}. Nothing is carried out until somebody lets them act again, by {HOW_TO_RELEASE}."
        )


def held_by(pulled: Brake | None, frozen_since: datetime | None) -> list[str]:
    """What keeps runbooks from acting, the brake and a fail-over, a sentence each; empty while they may act."""
    stopped = [f"{pulled.words}."] if pulled else []
    if frozen_since is None:
        return stopped
    ends = f"It ends by {HOW_TO_CONFIRM}."
    return [*stopped, f"Nothing is carried out since {frozen_since:%Y-%m-%d %H:%M} UTC: {WHY}. {ends}"]


@dataclass(frozen=True, slots=True)
class Cap:
    """A kind of step may be carried out `most` times within `within`, on all incidents together."""

    most: int
    within: timedelta


@dataclass(frozen=True, slots=True)
class Begun:
    """A step that was begun, in the incident `ref`."""

    kind: str
    at: datetime
    ref: str


Caps = Mapping[str, Cap]
"""By kind of step."""


def was_refused(step: StepRun) -> bool:
    """Whether the other side refused it, so that nothing was done."""
    return step.status in (StepStatus.FAILED, StepStatus.SKIPPED) and not step.applied


def require_room(kind: str, caps: Caps, begun: Sequence[Begun], now: datetime) -> None:
    """Raises Refused when one more of this kind is too many. `begun` are the latest of any kind."""
    cap = caps.get(kind)
    if cap is None:
        return
    latest = sorted((one for one in begun if one.kind == kind and now - one.at < cap.within), key=lambda one: one.at)
    if len(latest) < cap.most:
        return
    again = latest[-cap.most].at + cap.within
    raise Refused(
        f"At most {count(cap.most, 'step')} of the kind {kind} in {span(cap.within)} here, and {latest[-1].ref} had "
        f"the last at {latest[-1].at:%H:%M} UTC. There is room again from {again:%H:%M:%S} UTC on."
    )
