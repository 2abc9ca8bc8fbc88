"""The life of an incident, from its alert to its postmortem."""

from dataclasses import dataclass
from datetime import datetime

from bot.incident.events.event import Documents, Event, Role, Severity, Text


@dataclass(frozen=True, slots=True)
class IncidentOpened(Event):
    """`detected_at` is when a monitor or person noticed; `started_at` when users were first hit, None while unknown.

    `group_key` is the alert group it was born from, empty when a person declared it. `recurs` is the id of an earlier
    incident of the same group. `announced_with` is the id of the one in whose announcement it is shown, empty when it
    has its own. `drill` says that it is practice, `drill_id` of which drill.
    """

    number: int
    title: Text
    severity: Severity
    detected_at: datetime
    started_at: datetime | None = None
    service: str = ""
    model: str = ""
    group_key: str = ""
    runbook: str = ""
    recurs: str = ""
    drill: bool = False
    announced_with: str = ""
    drill_id: str = ""


@dataclass(frozen=True, slots=True)
class AlertsReported(Event):
    """One batch of alert transitions of the incident's group.

    `firing`, `resolved` are totals of the group after the batch, `new` the alerts first seen in it. `samples` are at
    most five of them as {"title", "name", "labels"}; `truncated` counts alerts the sender left out.
    """

    firing: int
    resolved: int
    new: int
    samples: Documents = ()
    truncated: int = 0


@dataclass(frozen=True, slots=True)
class Acknowledged(Event):
    """A person took it."""


@dataclass(frozen=True, slots=True)
class GlassBroken(Event):
    """Somebody acts on it past the chat, with the break-glass key of this id, which is good until then."""

    glass: str
    reason: Text
    until: datetime


@dataclass(frozen=True, slots=True)
class SeverityChanged(Event):
    before: Severity
    after: Severity


@dataclass(frozen=True, slots=True)
class RoleAssigned(Event):
    role: Role
    user: str


@dataclass(frozen=True, slots=True)
class ImpactStated(Event):
    """Which users, how badly; `started_at` when the person also knew since when."""

    text: Text
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NoteAdded(Event):
    text: Text


@dataclass(frozen=True, slots=True)
class MessagePinned(Event):
    """A chat message a person marked for the timeline; the entry's time is the message's, not the marking's."""

    text: Text
    author: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class TextRedacted(Event):
    """The free text of an earlier entry was taken out of the journal: `entry` is its id, `number` its `seq`."""

    entry: str
    number: int
    reason: Text


@dataclass(frozen=True, slots=True)
class UpdatePosted(Event):
    """What stakeholders were told."""

    text: Text


@dataclass(frozen=True, slots=True)
class UpdateReminded(Event):
    """Nobody told the stakeholders anything for too long; people were asked to."""


@dataclass(frozen=True, slots=True)
class AckDeadlineMissed(Event):
    """Nobody acknowledged in time; `level` counts the escalations of this generation from 1.

    `asked` are the pagers that are told to call the next person, and `left_to` those that have the page and call by a
    policy of their own, both by name. Without a pager there is neither, nor is it known of what is older than them.
    """

    level: int
    asked: tuple[str, ...] = ()
    left_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mitigated(Event):
    text: Text = ""


@dataclass(frozen=True, slots=True)
class Relapsed(Event):
    """Alerts fire again although it was called mitigated."""

    firing: int


@dataclass(frozen=True, slots=True)
class ResolveAsked(Event):
    """Somebody wants it resolved; first the telemetry is asked whether it is over. `despite_firing`: they were warned
    that alerts still burn."""

    reason: Text
    despite_firing: bool = False


@dataclass(frozen=True, slots=True)
class Resolved(Event):
    """`firing` alerts still burned; then `snoozed_until` is when they page again, else None.

    `proof` holds the numbers that prove it; without them `unproven` says why not. `asked_by` is the id of the actor in
    whose name the proof resolves it, empty when that is the entry's own.
    """

    reason: Text
    firing: int = 0
    snoozed_until: datetime | None = None
    proof: Text = ""
    unproven: Text = ""
    asked_by: str = ""


@dataclass(frozen=True, slots=True)
class Cancelled(Event):
    """It was no incident."""

    reason: Text


@dataclass(frozen=True, slots=True)
class Reopened(Event):
    """The same alerts fire again, under a new `generation` and page; or people reopened its page, which keeps both."""

    generation: int
    firing: int


@dataclass(frozen=True, slots=True)
class PostmortemDrafted(Event):
    """`path` is relative to the postmortems folder."""

    path: str
