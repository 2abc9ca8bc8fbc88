"""Brings the telemetry's answer into the incident when it opens, so that triage starts from numbers; then keeps them.

First the words, at once: nobody waits for a picture. Then, as an effect of its own, what can be kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from bot.contracts import Again, Attempt, Delivered
from bot.health.chart import Mark
from bot.health.findings import Report
from bot.health.freeze import Frozen, Piece, evidence_id
from bot.health.scope import Scope
from bot.incident.change import Change
from bot.incident.effects import Effect, FreezeEvidence
from bot.incident.entry import Entry
from bot.incident.events import EvidenceCollected, EvidenceFrozen
from bot.incident.state import Incident
from bot.incident.timeline import who

ONCE_MORE: Final = timedelta(seconds=20)
"""A Prometheus that has nothing to give may be restarting. After that a second try would hardly fare better."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How evidence is kept: `entry` finds the entry about a look by its id, `freeze` reads and draws what is behind it,
    `keep` writes that down (once) and gives the pieces' sha256."""

    entry: Callable[[str], Entry | None]
    freeze: Callable[[Report, Sequence[Mark], Sequence[Change]], Frozen]
    keep: Callable[[str, str, Sequence[Piece]], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Courier:
    """`survey` takes at most its own time budget.

    `runbooks` are the ids at hand: what the report would like but we do not have is not proposed.
    """

    survey: Callable[[Scope], Report]
    runbooks: frozenset[str]
    keeping: Keeping

    def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:
        """The report as evidence. A telemetry that does not answer is itself a finding: the verdict is then BLIND."""
        if isinstance(effect, FreezeEvidence):
            return self._keep(effect.evidence, incident, attempt)
        report = self.survey(Scope(model=incident.model))
        looked = EvidenceCollected(
            verdict=report.verdict,
            impact=report.impact,
            cause=report.cause,
            runbook=report.propose(self.runbooks),
            report=report.to_dict(),
            evidence=evidence_id(attempt.key),
        )
        return [looked]

    def _keep(self, evidence: str, incident: Incident, attempt: Attempt) -> Delivered:
        look = incident.looks.get(evidence)
        entry = self.keeping.entry(look.entry) if look else None
        if entry is None or not isinstance(entry.event, EvidenceCollected) or not entry.event.report:
            return []  # taken out by somebody meanwhile, and then what it showed is not kept either
        frozen = self.keeping.freeze(Report.from_dict(entry.event.report), marks_of(incident), incident.changes)
        if not frozen.pieces and not attempt.progress:
            return Again(attempt.now + ONCE_MORE, {"tries": 1})
        parts = self.keeping.keep(incident.id, evidence, frozen.pieces) if frozen.pieces else {}
        return [EvidenceFrozen(evidence, parts, frozen.points, frozen.since, frozen.missing)]


def marks_of(incident: Incident) -> list[Mark]:
    """What of the incident belongs on the picture, beside what was changed."""
    marks = [Mark(incident.detected_at, "alert", "alert" if incident.group_key else "declared")]
    if incident.acknowledged:
        marks.append(Mark(incident.acknowledged.at, "ack", f"{who(incident.acknowledged.by)} has it"))
    if incident.mitigated:
        marks.append(Mark(incident.mitigated.at, "end", "mitigated"))
    return marks
