"""What happened, in the past tense. These are stored for ever: a field may be added with a default, never renamed.

`EVENTS` maps stored names to classes; a name never changes and never derives from a module path. A field typed `Text`
(or `Document`, JSON that quotes such text) was written by people or outside systems: the journal keeps it apart, so
that it can be redacted without breaking the chain of hashes.
"""

from collections.abc import Mapping
from typing import Final

from bot.incident.events import event, health, incident, outside, run

# By star, since a second list of the names could get out of step with the files.
from bot.incident.events.event import *  # noqa: F403
from bot.incident.events.health import *  # noqa: F403
from bot.incident.events.incident import *  # noqa: F403
from bot.incident.events.outside import *  # noqa: F403
from bot.incident.events.run import *  # noqa: F403

EVENTS: Final[Mapping[str, type[event.Event]]] = {
    "incident.opened": incident.IncidentOpened,
    "incident.alerts_reported": incident.AlertsReported,
    "incident.acknowledged": incident.Acknowledged,
    "incident.glass_broken": incident.GlassBroken,
    "incident.severity_changed": incident.SeverityChanged,
    "incident.role_assigned": incident.RoleAssigned,
    "incident.impact_stated": incident.ImpactStated,
    "incident.note_added": incident.NoteAdded,
    "incident.message_pinned": incident.MessagePinned,
    "incident.text_redacted": incident.TextRedacted,
    "incident.update_posted": incident.UpdatePosted,
    "incident.update_reminded": incident.UpdateReminded,
    "incident.ack_deadline_missed": incident.AckDeadlineMissed,
    "incident.mitigated": incident.Mitigated,
    "incident.relapsed": incident.Relapsed,
    "incident.resolve_asked": incident.ResolveAsked,
    "incident.resolved": incident.Resolved,
    "incident.cancelled": incident.Cancelled,
    "incident.reopened": incident.Reopened,
    "evidence.collected": health.EvidenceCollected,
    "evidence.failed": health.EvidenceFailed,
    "incident.change_found": health.ChangeFound,
    "health.proven": health.HealthProven,
    "health.doubted": health.HealthDoubted,
    "evidence.frozen": health.EvidenceFrozen,
    "evidence.rated": health.VerdictRated,
    "slack.channel_opened": outside.ChannelOpened,
    "slack.card_posted": outside.CardPosted,
    "slack.picture_shown": outside.PictureShown,
    "slack.step_shown": outside.StepShown,
    "pager.page_accepted": outside.PageAccepted,
    "pager.page_unanswered": outside.PageUnanswered,
    "delivery.failed": outside.DeliveryFailed,
    "delivery.settled": outside.DeliverySettled,
    "run.started": run.RunStarted,
    "run.step_planned": run.StepPlanned,
    "run.step_asked": run.StepAsked,
    "run.step_approved": run.StepApproved,
    "run.second_called": run.SecondCalled,
    "run.step_overridden": run.StepOverridden,
    "run.step_started": run.StepStarted,
    "run.step_applied": run.StepApplied,
    "run.step_progressed": run.StepProgressed,
    "run.step_completed": run.StepCompleted,
    "run.step_said": run.StepSaid,
    "run.step_succeeded": run.StepSucceeded,
    "run.step_failed": run.StepFailed,
    "run.step_interrupted": run.StepInterrupted,
    "run.step_retried": run.StepRetried,
    "run.step_skipped": run.StepSkipped,
    "run.undo_started": run.UndoStarted,
    "run.step_undone": run.StepUndone,
    "run.undo_failed": run.UndoFailed,
    "run.lease_renewed": run.LeaseRenewed,
    "run.fallback_reminded": run.FallbackReminded,
    "run.finished": run.RunFinished,
    "postmortem.drafted": incident.PostmortemDrafted,
}
NAMES: Final[Mapping[type[event.Event], str]] = {kind: name for name, kind in EVENTS.items()}
VERSION: Final = 1
