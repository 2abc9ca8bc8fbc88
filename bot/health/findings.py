"""What a health report says, as plain data that the incident's journal keeps."""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from bot.health.capacity import Drain
from bot.health.observation import Observation
from bot.health.scope import FLEET, Scope
from bot.health.slo import Standing
from bot.health.versions import Comparison
from bot.incident.timeline import count

Certainty = Literal["high", "medium", "low", ""]


class Verdict(StrEnum):
    """How it is for users. BLIND: nobody can say, which is never good news."""

    OUTAGE = "OUTAGE"
    DEGRADED = "DEGRADED"
    OK = "OK"
    BLIND = "BLIND"


@dataclass(frozen=True, slots=True)
class Report:
    """The health report, as data.

    model: the model asked about, or None for the fleet. cause_id: see CAUSES; `none` when nothing explains it. agree of
    signals: how many of the signals that have a say on the cause speak for it. second: the next cause
    that would hold, or "". runbooks: ids to propose, the best first; the bot may not have them all. not_advised: what a
    person may be tempted to do, with the reason against. unknowns: what was not seen, and why, each reason once. scope:
    what was asked about; its model is `model`. certainty: how sure we are of the cause; "" without one. headline_cause:
    the cause in a few words, for a title. second_id: the second cause's id. drains: what draining the faulty nodes
    would do to each model there. versions: where a model is served in several versions at once, each beside the others.
    slos: how the objectives stand.
    """

    at: datetime
    model: str | None
    verdict: Verdict
    impact: str
    cause_id: str
    cause: str
    agree: int
    signals: int
    second: str
    runbooks: tuple[str, ...]
    not_advised: tuple[str, ...]
    unknowns: tuple[str, ...]
    checks: tuple[Observation, ...] = field(repr=False)
    scope: Scope = FLEET
    certainty: Certainty = ""
    headline_cause: str = ""
    second_id: str = ""
    drains: tuple[Drain, ...] = ()
    versions: tuple[Comparison, ...] = ()
    slos: tuple[Standing, ...] = field(default=(), repr=False)

    @property
    def about(self) -> str:
        """What it is about, as a title has it: the model, node or GPU, or `fleet`."""
        return self.model or self.scope.name

    @property
    def runbook(self) -> str | None:
        """The one to propose, were every runbook there."""
        return self.runbooks[0] if self.runbooks else None

    def propose(self, available: Container[str]) -> str:
        """The best of those that are there, or ""."""
        return next((runbook for runbook in self.runbooks if runbook in available), "")

    @property
    def confidence(self) -> str:
        """`high, 4 of 5 signals`; "" where there is no cause to be sure of."""
        counted = f"{self.agree} of {count(self.signals, 'signal')}" if self.signals else ""
        return ", ".join(part for part in (self.certainty, counted) if part)

    @property
    def headline(self) -> str:
        """One line that stands alone, for a phone: the verdict first, in words."""
        return f"[{self.verdict}] {self.about}: {self.impact}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, for the incident's journal."""
        return {
            "at": self.at.isoformat(),
            "model": self.model,
            "verdict": str(self.verdict),
            "impact": self.impact,
            "cause_id": self.cause_id,
            "cause": self.cause,
            "agree": self.agree,
            "signals": self.signals,
            "second": self.second,
            "runbooks": list(self.runbooks),
            "not_advised": list(self.not_advised),
            "unknowns": list(self.unknowns),
            "checks": [check.to_dict() for check in self.checks],
            "scope": self.scope.to_dict(),
            "certainty": self.certainty,
            "headline_cause": self.headline_cause,
            "second_id": self.second_id,
            "drains": [drain.to_dict() for drain in self.drains],
            "versions": [comparison.to_dict() for comparison in self.versions],
            "slos": [standing.to_dict() for standing in self.slos],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Report":
        """What `to_dict` wrote, now or by an older version, whose reports had fewer fields."""
        scope = Scope.from_dict(data["scope"]) if "scope" in data else Scope(model=data["model"] or "")
        return cls(
            **{
                **data,
                "at": datetime.fromisoformat(data["at"]),
                "verdict": Verdict(data["verdict"]),
                "runbooks": tuple(data["runbooks"]),
                "not_advised": tuple(data["not_advised"]),
                "unknowns": tuple(data["unknowns"]),
                "checks": tuple(Observation.from_dict(check) for check in data["checks"]),
                "scope": scope,
                "drains": tuple(Drain.from_dict(drain) for drain in data.get("drains", ())),
                "versions": tuple(Comparison.from_dict(one) for one in data.get("versions", ())),
                "slos": tuple(Standing.from_dict(standing) for standing in data.get("slos", ())),
            }
        )
