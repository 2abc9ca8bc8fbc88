"""From rows to what they mean, and back: entries, alerts, outbox jobs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.incident.effects import Effect
from bot.incident.entry import Entry
from bot.incident.events import Precision
from bot.journal.codec import actor_in, effect_in, event_in, time_out


@dataclass(frozen=True, slots=True)
class Job:
    """One effect to carry out. `claim` is ours for as long as nobody else has claimed it after our lease ran out."""

    id: str
    incident: str
    effect: Effect
    attempts: int
    claim: str
    created_at: datetime
    progress: Mapping[str, Any]
    warned: bool


@dataclass(frozen=True, slots=True)
class Archived:
    """What is left of an incident whose `entries` were moved to `file`, below the folder for archives."""

    number: int
    status: str
    entries: int
    head_hash: str
    detected_at: datetime
    resolved_at: datetime
    archived_at: datetime
    file: str

    def __str__(self) -> str:
        return (
            f"INC-{self.number} of {self.detected_at:%Y-%m-%d} was archived on {self.archived_at:%Y-%m-%d}; "
            f"its {self.entries} entries are in {self.file}"
        )


def job_from_row(row: Mapping[str, Any]) -> Job:
    return Job(
        id=row["id"],
        incident=row["incident"],
        effect=effect_in(row["kind"], row["body"]),
        attempts=row["attempts"],
        claim=row["claim"] or "",
        created_at=row["created_at"],
        progress=row["progress"],
        warned=row["warned"],
    )


def entry_from_row(row: Mapping[str, Any], texts: Mapping[str, str]) -> Entry:
    """`texts` maps digests to the free texts that still exist."""
    return Entry(
        id=row["id"],
        workspace=row["workspace"],
        incident=row["incident"],
        seq=row["seq"],
        at=row["at"],
        recorded_at=row["recorded_at"],
        precision=Precision(row["precision"]),
        by=actor_in(row["by"]),
        source=row["source"],
        source_id=row["source_id"],
        key=row["key"],
        event=event_in(row["kind"], row["body"], texts.get),
        prev_hash=row["prev_hash"],
        hash=row["hash"],
    )


def envelope(row: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry's hash covers: every stored column but the hashes themselves."""
    covered = {name: value for name, value in row.items() if name not in ("hash", "prev_hash")}
    return {name: time_out(value) if isinstance(value, datetime) else value for name, value in covered.items()}
