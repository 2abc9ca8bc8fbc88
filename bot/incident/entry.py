"""One line of the journal: an event with everything known about how it came about."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bot.incident.events import Event, Precision
from bot.incident.people import Actor

FIRST_PAGER: Final = "pagerduty"
"""The door of the first pager, the only one that speaks to us too."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The envelope, fixed for ever.

    `at` is when it happened, `recorded_at` when we wrote it down; both UTC. `source` says through which door it came
    (`slack`, `alertmanager`, `pagerduty`, `timer`, `courier`, `cli`) and `source_id` what it was called there. `key`
    makes the command behind it count once. `hash` covers all of this and `prev_hash`, so the chain shows tampering.
    """

    id: str
    workspace: str
    incident: str
    seq: int
    at: datetime
    recorded_at: datetime
    precision: Precision
    by: Actor
    source: str
    source_id: str
    key: str
    event: Event
    prev_hash: str = ""
    hash: str = ""

    @property
    def from_pager(self) -> bool:
        """Whether the first pager itself told us."""
        return self.source == FIRST_PAGER
