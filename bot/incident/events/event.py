"""What all events are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final

FREE_TEXT: Final = "free text"
Text = Annotated[str, FREE_TEXT]
Document = Annotated[Mapping[str, Any], FREE_TEXT]
Documents = Annotated[tuple[Mapping[str, Any], ...], FREE_TEXT]


class Severity(StrEnum):
    """SEV1 is the worst. The order of the members is the order of badness."""

    SEV1 = "SEV1"
    SEV2 = "SEV2"
    SEV3 = "SEV3"
    SEV4 = "SEV4"

    def worse_than(self, other: "Severity") -> bool:
        return self.value < other.value


class Role(StrEnum):
    """The three seats of an incident."""

    COMMANDER = "incident commander"
    COMMUNICATIONS = "communications"
    SCRIBE = "scribe"


class Precision(StrEnum):
    """How exactly the time of an entry is known."""

    EXACT = "exact"
    MINUTE = "minute"
    ABOUT = "about"


@dataclass(frozen=True, slots=True)
class Event:
    """Base of everything that is stored about an incident."""
