"""One alert as the ledger knows it: not an incident, only what some monitor keeps saying."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from bot.incident.events import Severity

WORDLESS: Final = " [redacted]"
"""Stands behind the name of an alert's rule where its title was taken out: whoever is paged still knows what burns."""


class AlertStatus(StrEnum):
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Alert:
    """A row of the alert ledger, one per (`source`, `fingerprint`) for ever.

    `group_key` is ours and sticks for as long as the alert fires, so that its end finds the incident its start made.
    `times` counts every delivery, `changes` only transitions. `incident` is the one it was last worked into.
    """

    source: str
    fingerprint: str
    status: AlertStatus
    group_key: str
    name: str
    title: str
    severity: Severity
    service: str
    model: str
    runbook: str
    labels: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None
    first_seen: datetime
    last_seen: datetime
    times: int = 1
    changes: int = 1
    incident: str | None = field(default=None)

    @property
    def was_redacted(self) -> bool:
        """Whether its words were taken out, and are not to come back with the next delivery."""
        return self.title == f"{self.name}{WORDLESS}" and not self.labels


@dataclass(frozen=True, slots=True)
class GroupState:
    """A group of alerts as the ledger has it now. `firing` are at most five samples, the worst and newest first."""

    group_key: str
    firing: int
    resolved: int
    worst: Severity
    samples: tuple[Alert, ...]
    started_at: datetime | None
