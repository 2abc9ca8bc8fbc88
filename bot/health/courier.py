"""Brings the telemetry's answer into the incident when it opens, so that triage starts from numbers; then keeps them.

First the words, at once: nobody waits for a picture. Then, as a second try of the same effect, what can be kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bot.contracts import Again, Attempt, Delivered
from bot.health.chart import Mark
from bot.health.findings import Report
from bot.health.freeze import Frozen, Piece, evidence_id
from bot.health.scope import Scope
from bot.incident.effects import Effect
from bot.incident.events import EvidenceCollected, EvidenceFrozen
from bot.incident.state import Incident
from bot.incident.timeline import who


@dataclass(frozen=True, slots=True)
class Keeping:
    """How evidence is kept: `freeze` reads and draws it, `keep` writes it down (once) and gives the pieces' sha256."""

    freeze: Callable[[Report, Sequence[Mark]], Frozen]
    keep: Callable[[str, str, Sequence[Piece]], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Courier:
    """`survey` takes at most its own time budget.

    `runbooks` are the ids at hand: what the report would like but we do not have is not proposed.
    """

    survey: Callable[[Scope], Report]
    runbooks: frozenset[str]
    keeping: Keeping

    def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:  # noqa: ARG002
        """The report as evidence. A telemetry that does not answer is itself a finding: the verdict is then BLIND."""
        evidence = str(attempt.progress.get("evidence", ""))
        if evidence:
            return self._keep(evidence, incident)
        evidence = evidence_id(attempt.key)
        report = self.survey(Scope(model=incident.model))
        looked = EvidenceCollected(
            verdict=report.verdict,
            impact=report.impact,
            cause=report.cause,
            runbook=report.propose(self.runbooks),
            report=report.to_dict(),
            evidence=evidence,
        )
        return Again(attempt.now, {"evidence": evidence}, [looked])

    def _keep(self, evidence: str, incident: Incident) -> Delivered:
        looked = incident.evidence
        if looked is None or looked.evidence != evidence or not looked.report:
            return []  # taken out by somebody meanwhile, and then what it showed is not kept either
        frozen = self.keeping.freeze(Report.from_dict(looked.report), marks_of(incident))
        if not frozen.pieces:
            return []
        parts = self.keeping.keep(incident.id, evidence, frozen.pieces)
        return [EvidenceFrozen(evidence, parts, frozen.points, frozen.since, frozen.missing)]


def marks_of(incident: Incident) -> list[Mark]:
    """What of the incident belongs on the picture."""
    marks = [Mark(incident.detected_at, "alert", "alert" if incident.group_key else "declared")]
    if incident.acknowledged:
        marks.append(Mark(incident.acknowledged.at, "ack", f"{who(incident.acknowledged.by)} has it"))
    if incident.mitigated:
        marks.append(Mark(incident.mitigated.at, "end", "mitigated"))
    return marks
