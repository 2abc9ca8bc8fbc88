"""Brings the telemetry's answer into the incident when it opens, so that triage starts from numbers."""

from collections.abc import Callable
from dataclasses import dataclass

from bot.contracts import Attempt, Delivered
from bot.health.findings import Report
from bot.health.scope import Scope
from bot.incident.effects import Effect
from bot.incident.events import EvidenceCollected
from bot.incident.state import Incident


@dataclass(frozen=True, slots=True)
class Courier:
    """`survey` takes at most its own time budget.

    `runbooks` are the ids at hand: what the report would like but we do not have is not proposed.
    """

    survey: Callable[[Scope], Report]
    runbooks: frozenset[str]

    def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:  # noqa: ARG002
        """The report as evidence. A telemetry that does not answer is itself a finding: the verdict is then BLIND."""
        report = self.survey(Scope(model=incident.model))
        return [
            EvidenceCollected(
                verdict=report.verdict,
                impact=report.impact,
                cause=report.cause,
                runbook=report.propose(self.runbooks),
                report=report.to_dict(),
            )
        ]
