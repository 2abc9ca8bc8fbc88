"""Drills: practice on purpose. Which incidents belong to one, and how well it went. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from bot.incident.logbook import Kind, Record
from bot.incident.run import StepStatus
from bot.incident.state import Incident
from bot.incident.timeline import count, span

LABEL: Final = "fixfirst_drill"
"""The label by which alerts that we fire ourselves say to which drill they belong."""
ABOUT: Final = (Kind.DRILL_STARTED, Kind.DRILL_ENDED)


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill under way. `id` is the scenario and some random characters; `until` is when it is ended at the latest.

    `alerts` are the names of the alerts that its fault raises and `labels` what such an alert must say, for a fault
    that real monitors see; both are empty where the alerts are our own.
    """

    id: str
    scenario: str
    until: datetime
    started_at: datetime
    by: str
    alerts: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    def takes(self, samples: Sequence[Mapping[str, Any]]) -> bool:
        """Whether an incident with these alerts is part of it."""
        return any(sample["labels"].get(LABEL) == self.id or self._raised(sample) for sample in samples)

    def _raised(self, sample: Mapping[str, Any]) -> bool:
        said = sample["labels"]
        return sample["name"] in self.alerts and all(said.get(name) == value for name, value in self.labels.items())


def under_way(records: Iterable[Record]) -> list[Drill]:
    """The drills that these records begin and do not end, the oldest first.

    One whose time is up goes on until its end is on record: what it broke may be broken still.
    """
    drills: dict[str, Drill] = {}
    for record in records:
        body = record.body
        if record.kind is Kind.DRILL_ENDED:
            drills.pop(body["drill"], None)
        elif record.kind is Kind.DRILL_STARTED:
            drills[body["drill"]] = Drill(
                id=body["drill"],
                scenario=body["scenario"],
                until=datetime.fromisoformat(body["until"]),
                started_at=record.at,
                by=record.by.name or record.by.id,
                alerts=tuple(body["alerts"]),
                labels=body["labels"],
            )
    return list(drills.values())


def scenario_of(drill: str) -> str:
    """The scenario's name from a drill's id."""
    return drill.rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class Score:
    """How a drill went. Times are from when the alert fired; None for what nobody did."""

    to_acknowledge: timedelta | None
    to_mitigate: timedelta | None
    to_resolve: timedelta | None
    steps: Mapping[StepStatus, int]

    @property
    def lines(self) -> tuple[str, ...]:
        """As people read it."""
        acts = ", ".join(f"{number} {status}" for status, number in self.steps.items()) or "none"
        return (
            f"acknowledged {_after(self.to_acknowledge)}",
            f"mitigated {_after(self.to_mitigate)}",
            f"resolved {_after(self.to_resolve)}",
            f"{count(sum(self.steps.values()), 'runbook step')} taken: {acts}",
        )


def score(incident: Incident) -> Score:
    """What counts in a drill, from its incident."""
    began = incident.opened_at if incident.declared_by.is_person else incident.detected_at
    marks = (incident.acknowledged, incident.mitigated, incident.resolved)
    acknowledged, mitigated, resolved = (mark.at - began if mark else None for mark in marks)
    idle = (StepStatus.WAITING, StepStatus.PLANNING, StepStatus.ASKING)
    taken = Counter(s.status for run in incident.runs.values() for s in run.steps if s.status not in idle)
    return Score(acknowledged, mitigated, resolved, dict(sorted(taken.items())))


def _after(length: timedelta | None) -> str:
    return "never" if length is None else f"after {span(length)}"
