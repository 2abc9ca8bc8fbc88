"""What happened, in the past tense. These are stored for ever: a field may be added with a default, never renamed.

`EVENTS` maps stored names to classes; a name never changes and never derives from a module path. A field typed `Text`
(or `Document`, JSON that quotes such text) was written by people or outside systems: the journal keeps it apart, so
that it can be redacted without breaking the chain of hashes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

FREE_TEXT: Final = "free text"
Text = Annotated[str, FREE_TEXT]
Document = Annotated[Mapping[str, Any], FREE_TEXT]
Documents = Annotated[tuple[Mapping[str, Any], ...], FREE_TEXT]


class Severity(StrEnum):
    """SEV1 is the worst. The order of the members is the order of badness."""

    SEV1 = "SEV1"
    SEV2 = "SEV2"
    SEV3 = "SEV3"
    SEV4 = "SEV4"

    def worse_than(self, other: "Severity") -> bool:
        return self.value < other.value


class Role(StrEnum):
    """The three seats of an incident."""

    COMMANDER = "incident commander"
    COMMUNICATIONS = "communications"
    SCRIBE = "scribe"


class Precision(StrEnum):
    """How exactly the time of an entry is known."""

    EXACT = "exact"
    MINUTE = "minute"
    ABOUT = "about"


@dataclass(frozen=True, slots=True)
class Event:
    """Base of everything that is stored about an incident."""


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
    """Nobody acknowledged in time; `level` counts the escalations of this generation from 1."""

    level: int


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
class HealthProven(Event):
    """The telemetry says that it is over: `text` holds the numbers with their limits, `report` all that was measured.

    `ask` is the id of the entry that asked for it, empty when nobody did.
    """

    ask: str
    text: Text
    report: Document


@dataclass(frozen=True, slots=True)
class HealthDoubted(Event):
    """The telemetry does not say that it is over: `text` tells what is not well, or was not seen.

    `ask` and `report` are as in HealthProven; a telemetry that gave no answer leaves the report empty. `closed` says
    that the incident was over before it was asked about, by a pager's word or a person's.
    """

    ask: str
    text: Text
    report: Document
    closed: bool = False


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
class EvidenceCollected(Event):
    """What the telemetry said, as the health report's own JSON. `verdict`, `impact`, `cause` are its headline.

    `evidence` is the id under which it is cited and its series are kept, empty before there were any.
    """

    verdict: str
    impact: Text
    cause: Text
    runbook: str
    report: Document
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class EvidenceFrozen(Event):
    """What was kept of the telemetry before its own memory ends: `parts` are the kept pieces with their sha256.

    `points` counts the samples of all series. `since` is when users began to feel it, as the series show it; None when
    they do not. `missing` says what could not be kept and why.
    """

    evidence: str
    parts: Mapping[str, str]
    points: int = 0
    since: datetime | None = None
    missing: Text = ""


@dataclass(frozen=True, slots=True)
class VerdictRated(Event):
    """A person says whether the telemetry's verdict was right; `cause` is what it named.

    When it was wrong, `actual` is the cause as the person knows it, empty while unknown, and `text` their words.
    """

    evidence: str
    right: bool
    verdict: str
    cause: str
    actual: str = ""
    text: Text = ""


@dataclass(frozen=True, slots=True)
class EvidenceFailed(Event):
    """The telemetry could not be read."""

    reason: Text


@dataclass(frozen=True, slots=True)
class ChangeFound(Event):
    """Something was changed at `at`, known to `precision`; its entry has that time, whenever we learned of it.

    `id` is its name at its source, `change` the rest of it (`bot.incident.change`) as JSON. `live`: it came up while
    the incident was on, not when it opened.
    """

    id: str
    at: datetime
    precision: Precision
    change: Document
    live: bool = False


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
    """Something could not be told to the outside for good; shown to people."""

    courier: str
    effect: str
    reason: Text


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """`steps` are `StepSpec`s as JSON, values filled in, as the runbook stood at `source_digest` (sha256)."""

    run: str
    runbook: str
    title: str
    source_digest: str
    target: str
    params: Mapping[str, str]
    steps: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class StepPlanned(Event):
    """The preview: what the step would do to the world as it is now. `plan` is `contracts.Plan` as JSON."""

    run: str
    step: str
    plan: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True)
class StepAsked(Event):
    """A step that only people can answer is at hand."""

    run: str
    step: str


@dataclass(frozen=True, slots=True)
class StepApproved(Event):
    run: str
    step: str
    digest: str


@dataclass(frozen=True, slots=True)
class SecondCalled(Event):
    """Somebody alone at a step wants a second person; the next on call is woken, as escalation `level`."""

    run: str
    step: str
    level: int


@dataclass(frozen=True, slots=True)
class StepOverridden(Event):
    """Nobody came, and one person alone goes on with what takes two. Follows `SecondCalled`, before the approval."""

    run: str
    step: str
    reason: Text


@dataclass(frozen=True, slots=True)
class StepStarted(Event):
    """Committed before the act. Found without an outcome, the step counts as interrupted."""

    run: str
    step: str
    attempt: int


@dataclass(frozen=True, slots=True)
class StepApplied(Event):
    """The act was carried out; a lease, where the step has one, runs until `lease_until`.

    One that is `lasting` was only begun, and goes on until `StepCompleted`. `said` is what it had to say.
    """

    run: str
    step: str
    attempt: int
    lease_until: datetime | None = None
    lasting: bool = False
    said: Text = ""


@dataclass(frozen=True, slots=True)
class StepProgressed(Event):
    """How far a step is that takes its time: what has moved, what was measured last."""

    run: str
    step: str
    text: Text


@dataclass(frozen=True, slots=True)
class StepCompleted(Event):
    """An act that goes on by itself has ended; whether it helped is measured next."""

    run: str
    step: str


@dataclass(frozen=True, slots=True)
class StepSucceeded(Event):
    """Verified by measurement, or answered by a person; `text` holds the numbers."""

    run: str
    step: str
    text: Text


@dataclass(frozen=True, slots=True)
class StepSaid(Event):
    """A step that only tells: its words go to the incident's channel, and wake the next on call where `level` is set.

    `level` is that of an escalation, 0 for none.
    """

    run: str
    step: str
    text: Text
    level: int = 0


@dataclass(frozen=True, slots=True)
class StepFailed(Event):
    """Refused by the other side, or not proven in time. `inconclusive` when there was nothing to measure."""

    run: str
    step: str
    text: Text
    inconclusive: bool = False


@dataclass(frozen=True, slots=True)
class StepInterrupted(Event):
    """We cannot tell whether the act happened; a person decides."""

    run: str
    step: str
    text: Text


@dataclass(frozen=True, slots=True)
class StepRetried(Event):
    """A person wants a fresh preview (or measurement) of a step that did not succeed."""

    run: str
    step: str


@dataclass(frozen=True, slots=True)
class StepSkipped(Event):
    run: str
    step: str
    reason: Text


@dataclass(frozen=True, slots=True)
class UndoStarted(Event):
    """`why` is "asked" when a person wanted it, "all" when somebody wants everything of the run undone, "lease" when a
    lease ran out unrenewed, "failed" by the step's rule."""

    run: str
    step: str
    why: str


@dataclass(frozen=True, slots=True)
class StepUndone(Event):
    run: str
    step: str


@dataclass(frozen=True, slots=True)
class UndoFailed(Event):
    run: str
    step: str
    text: Text


@dataclass(frozen=True, slots=True)
class LeaseRenewed(Event):
    run: str
    step: str
    until: datetime


@dataclass(frozen=True, slots=True)
class FallbackReminded(Event):
    """What a step lent is still in force, and the responders were reminded that it hides a service that is not well."""

    run: str
    step: str


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """`outcome` is "done" or "stopped"."""

    run: str
    outcome: str


@dataclass(frozen=True, slots=True)
class PostmortemDrafted(Event):
    """`path` is relative to the postmortems folder."""

    path: str


EVENTS: Final[Mapping[str, type[Event]]] = {
    "incident.opened": IncidentOpened,
    "incident.alerts_reported": AlertsReported,
    "incident.acknowledged": Acknowledged,
    "incident.glass_broken": GlassBroken,
    "incident.severity_changed": SeverityChanged,
    "incident.role_assigned": RoleAssigned,
    "incident.impact_stated": ImpactStated,
    "incident.note_added": NoteAdded,
    "incident.message_pinned": MessagePinned,
    "incident.text_redacted": TextRedacted,
    "incident.update_posted": UpdatePosted,
    "incident.update_reminded": UpdateReminded,
    "incident.ack_deadline_missed": AckDeadlineMissed,
    "incident.mitigated": Mitigated,
    "incident.relapsed": Relapsed,
    "incident.resolve_asked": ResolveAsked,
    "incident.resolved": Resolved,
    "incident.cancelled": Cancelled,
    "incident.reopened": Reopened,
    "evidence.collected": EvidenceCollected,
    "evidence.failed": EvidenceFailed,
    "incident.change_found": ChangeFound,
    "health.proven": HealthProven,
    "health.doubted": HealthDoubted,
    "evidence.frozen": EvidenceFrozen,
    "evidence.rated": VerdictRated,
    "slack.channel_opened": ChannelOpened,
    "slack.card_posted": CardPosted,
    "slack.picture_shown": PictureShown,
    "slack.step_shown": StepShown,
    "pager.page_accepted": PageAccepted,
    "pager.page_unanswered": PageUnanswered,
    "delivery.failed": DeliveryFailed,
    "run.started": RunStarted,
    "run.step_planned": StepPlanned,
    "run.step_asked": StepAsked,
    "run.step_approved": StepApproved,
    "run.second_called": SecondCalled,
    "run.step_overridden": StepOverridden,
    "run.step_started": StepStarted,
    "run.step_applied": StepApplied,
    "run.step_progressed": StepProgressed,
    "run.step_completed": StepCompleted,
    "run.step_said": StepSaid,
    "run.step_succeeded": StepSucceeded,
    "run.step_failed": StepFailed,
    "run.step_interrupted": StepInterrupted,
    "run.step_retried": StepRetried,
    "run.step_skipped": StepSkipped,
    "run.undo_started": UndoStarted,
    "run.step_undone": StepUndone,
    "run.undo_failed": UndoFailed,
    "run.lease_renewed": LeaseRenewed,
    "run.fallback_reminded": FallbackReminded,
    "run.finished": RunFinished,
    "postmortem.drafted": PostmortemDrafted,
}
NAMES: Final[Mapping[type[Event], str]] = {event: name for name, event in EVENTS.items()}
VERSION: Final = 1
