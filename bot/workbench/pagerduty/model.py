"""What a PagerDuty account holds: people, one service with its escalation policy, incidents and their log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Status = Literal["triggered", "acknowledged", "resolved"]
SERVICE_ID = "PINFER1"
POLICY_ID = "PNIGHT1"
SCHEDULE_ID = "PROTA01"
SUBSCRIPTION_ID = "PWEBHK1"


@dataclass(frozen=True)
class Person:
    """A PagerDuty user. `alias` is the id of the same person in the workbench's chat."""

    id: str
    name: str
    email: str
    alias: str


PEOPLE = (
    Person("PMAYA01", "Maya Okafor", "maya@night-shift.example", "U0MAYA"),
    Person("PJONAS1", "Jonas Weber", "jonas@night-shift.example", "U0JONAS"),
    Person("PPRIYA1", "Priya Raman", "priya@night-shift.example", "U0PRIYA"),
)


@dataclass(frozen=True)
class PagerDutyConfig:
    """One account. `secrets`: one or two webhook secrets, the newest first; two while they are rotated.

    escalate_after_s: seconds without an acknowledgement until the next level is paged.
    events_per_minute: per integration key; rest_per_minute: per API token (PagerDuty's own limits).
    web_url: where a person sees the incidents, for `html_url`. second_routing_key: of an integration whose pages go
    to the second level at once, empty for none.
    """

    routing_key: str
    api_token: str
    webhook_url: str = ""
    secrets: tuple[str, ...] = ()
    people: tuple[Person, ...] = PEOPLE
    levels: tuple[str, ...] = ("PMAYA01", "PJONAS1")
    escalate_after_s: float = 120.0
    service: str = "GPU inference"
    policy: str = "Night shift"
    events_per_minute: int = 120
    rest_per_minute: int = 960
    web_url: str = "http://127.0.0.1:8066"
    second_routing_key: str = ""


@dataclass(frozen=True)
class LogEntry:
    """One line of an incident's log; `at` in seconds since the epoch."""

    at: float
    what: str


@dataclass(frozen=True)
class Note:
    """What a person wrote on an incident."""

    id: str
    at: float
    by: Person
    content: str


@dataclass
class Incident:
    """One incident. Times are seconds since the epoch; `level` counts from 1. `second`: by the second integration."""

    id: str
    number: int
    title: str
    key: str
    urgency: str
    created_at: float
    changed_at: float
    status: Status = "triggered"
    level: int = 1
    assigned_to: str = ""
    acknowledged_by: str | None = None
    acknowledged_at: float | None = None
    reopened_at: float | None = None
    changed_by: str | None = None
    resolution: str | None = None
    escalates_at: float | None = None
    alerts: int = 1
    second: bool = False
    details: dict[str, object] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    log: list[LogEntry] = field(default_factory=list)


@dataclass(frozen=True)
class Call:
    """One request that reached PagerDuty and how it was answered; body is the parsed JSON (None: none).

    `trouble` is what it suffered: with `silent-after` nobody was told the `status`.
    """

    at: float
    method: str
    path: str
    body: object
    status: int
    trouble: str = "none"


class ApiError(Exception):
    """A REST answer that is not a success: HTTP status, PagerDuty's error code and its words."""

    def __init__(self, status: int, code: int, message: str, errors: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.errors = errors


def not_found() -> ApiError:
    """404 as PagerDuty words it."""
    return ApiError(404, 2100, "Not Found")


def invalid(*errors: str) -> ApiError:
    """400 as PagerDuty words it."""
    return ApiError(400, 2001, "Invalid Input Provided", errors)
