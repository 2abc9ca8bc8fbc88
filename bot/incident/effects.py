"""What must be done outside because of what happened. An effect is an intent on disk; a courier carries it out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar, Final


@dataclass(frozen=True, slots=True)
class Effect:
    """Base of all effects.

    `courier` names who carries it out. Effects of one incident in the same `lane` leave in order; lanes do not wait
    for each other, so a slow chat never delays a page. What lies in a lane also waits for all that was put before it
    into the lane `after`, and nothing there waits for it. An effect with `latest_wins` waits at most once in its lane:
    what it shows is rendered at delivery, so an older one would only say the same. It leaves no sooner than `delay`
    after it was called for.
    """

    courier: ClassVar[str]
    lane: ClassVar[str]
    after: ClassVar[str] = ""
    latest_wins: ClassVar[bool] = False
    delay: ClassVar[timedelta] = timedelta()

    def queue(self) -> str:
        """The lane's name, with whatever else keeps independent things apart."""
        return self.lane

    def carrier(self) -> str:
        """Who of the courier's kind carries it out."""
        return self.courier


@dataclass(frozen=True, slots=True)
class StepEffect(Effect):
    """Base of what is done for one runbook step; every run has a lane of its own."""

    courier = "runbook"
    lane = "run"

    run: str
    step: str

    def queue(self) -> str:
        return f"{self.lane}:{self.run}"


@dataclass(frozen=True, slots=True)
class RefreshCard(Effect):
    """Bring the cards up to date with the incident as it is at delivery."""

    courier = "slack"
    lane = "card"
    latest_wins = True


@dataclass(frozen=True, slots=True)
class OpenChannel(Effect):
    """Create, or find and adopt, the incident's own channel and invite the people on call."""

    courier = "slack"
    lane = "talk"


@dataclass(frozen=True, slots=True)
class Tell(Effect):
    """Post the journal entry with this id; the message carries the id, so that a repeat finds it."""

    courier = "slack"
    lane = "talk"

    entry: str


@dataclass(frozen=True, slots=True)
class TellNumbers(Effect):
    """Post the numbers behind a health report, the journal entry with this id, in the thread under it.

    Not among what is said in the channel: the steps of a runbook must not wait for numbers. Slack takes one message a
    second in a channel, threads included: what people wait for goes first.
    """

    courier = "slack"
    lane = "numbers"
    delay = timedelta(seconds=3)

    entry: str


@dataclass(frozen=True, slots=True)
class ShowPicture(Effect):
    """Put the picture that was kept with this evidence into the report's message.

    Its lane is its own: no word waits for a picture.
    """

    courier = "slack"
    lane = "picture"

    evidence: str


@dataclass(frozen=True, slots=True)
class ShowStep(Effect):
    """Bring a runbook step's own message up to date, or post it: one message for its whole life."""

    courier = "slack"
    lane = "talk"
    latest_wins = True

    run: str
    step: str


def pager_named(fallback: str) -> str:
    """Who carries out what this fallback is told; the first pager for the empty name."""
    return f"{PageEffect.courier} {fallback}" if fallback else PageEffect.courier


@dataclass(frozen=True, slots=True)
class PageEffect(Effect):
    """Base of what pagers are told. `pager` is a fallback's name, empty for the first; none waits for another."""

    courier = "pager"
    lane = "page"

    generation: int
    pager: str = field(default="", kw_only=True)

    def queue(self) -> str:
        return f"{self.lane}:{self.pager}" if self.pager else self.lane

    def carrier(self) -> str:
        return pager_named(self.pager)


@dataclass(frozen=True, slots=True)
class Page(PageEffect):
    """Wake somebody. The dedup key is made of workspace, incident and generation, so twice is once."""


@dataclass(frozen=True, slots=True)
class AcknowledgePage(PageEffect):
    """Somebody has it: wake nobody else."""


@dataclass(frozen=True, slots=True)
class StopPaging(PageEffect):
    """It is over."""


@dataclass(frozen=True, slots=True)
class EscalatePage(PageEffect):
    """Wake the next person, in the way the pager is configured to."""

    level: int


@dataclass(frozen=True, slots=True)
class CallSecond(EscalatePage):
    """Wake the next person although somebody has it: they are not to decide alone.

    An acknowledgement that was said before must not silence who is called, so it leaves after it. The first pager has a
    lane of its own for it, since it is asked more than for a page, and no page waits for that.
    """

    lane = "second"
    after = PageEffect.lane

    def queue(self) -> str:
        return f"{self.after}:{self.pager}" if self.pager else self.lane


@dataclass(frozen=True, slots=True)
class CollectEvidence(Effect):
    """Ask the telemetry how users, queues and GPUs are doing."""

    courier = "health"
    lane = "evidence"
    latest_wins = True


@dataclass(frozen=True, slots=True)
class FreezeEvidence(Effect):
    """Read and keep the series behind this evidence, and draw them.

    An effect of its own: the next look must not be taken for the one that waits to be kept, nor wait for it.
    """

    courier = "health"
    lane = "freeze"

    evidence: str


@dataclass(frozen=True, slots=True)
class FindChanges(Effect):
    """Ask Kubernetes, by the telemetry, what was rolled out of late."""

    courier = "changes"
    lane = "changes"
    latest_wins = True


@dataclass(frozen=True, slots=True)
class ProveHealth(Effect):
    """Ask the telemetry whether it is over; `ask` is the id of the entry that wants, or has, it resolved."""

    courier = "proof"
    lane = "proof"

    ask: str


@dataclass(frozen=True, slots=True)
class AwaitHealth(Effect):
    """Ask the telemetry again and again whether it is over, until it is, or nobody waits for that any more."""

    courier = "recovery"
    lane = "recovery"
    latest_wins = True


@dataclass(frozen=True, slots=True)
class PlanStep(StepEffect):
    """Preview what the step would do."""


@dataclass(frozen=True, slots=True)
class CheckStep(StepEffect):
    """Carry out a step that only reads."""


@dataclass(frozen=True, slots=True)
class ApplyStep(StepEffect):
    """Carry it out, once."""

    attempt: int


@dataclass(frozen=True, slots=True)
class ContinueStep(StepEffect):
    """Look after an act that goes on by itself until it has ended or its time is up."""


@dataclass(frozen=True, slots=True)
class VerifyStep(StepEffect):
    """Measure until it is proven or time is up."""


@dataclass(frozen=True, slots=True)
class UndoStep(StepEffect):
    """Put back what was there before. It does not queue behind the run's other work."""

    lane = "undo"


@dataclass(frozen=True, slots=True)
class DraftPostmortem(Effect):
    courier = "postmortem"
    lane = "postmortem"
    latest_wins = True


OPEN_CHANNEL: Final = "open_channel"
EFFECTS: Final[Mapping[str, type[Effect]]] = {
    "refresh_card": RefreshCard,
    OPEN_CHANNEL: OpenChannel,
    "tell": Tell,
    "tell_numbers": TellNumbers,
    "show_picture": ShowPicture,
    "show_step": ShowStep,
    "page": Page,
    "acknowledge_page": AcknowledgePage,
    "stop_paging": StopPaging,
    "escalate_page": EscalatePage,
    "call_second": CallSecond,
    "collect_evidence": CollectEvidence,
    "freeze_evidence": FreezeEvidence,
    "find_changes": FindChanges,
    "prove_health": ProveHealth,
    "await_health": AwaitHealth,
    "plan_step": PlanStep,
    "check_step": CheckStep,
    "apply_step": ApplyStep,
    "continue_step": ContinueStep,
    "verify_step": VerifyStep,
    "undo_step": UndoStep,
    "draft_postmortem": DraftPostmortem,
}
EFFECT_NAMES: Final[Mapping[type[Effect], str]] = {effect: name for name, effect in EFFECTS.items()}
