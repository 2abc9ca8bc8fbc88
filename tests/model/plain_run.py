"""A run of a runbook in the plainest words: a check without which it stops, an act on loan, and a look by a person."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

LEASE = timedelta(hours=1)
APPROVAL_LASTS = timedelta(minutes=15)
THROUGH = ("done", "skipped", "undoing", "undone")
REMIND_EVERY = timedelta(minutes=15)
UNDER_WAY = ("running", "going", "verifying")
COUNTS_IN = {
    "planned": ("waiting", "failed", "interrupted"),
    "applied": ("running",),
    "begun": ("running",),
    "progressed": ("waiting", "going", "verifying"),
    "completed": ("going",),
    "interrupted": ("running",),
    "succeeded": ("waiting", "running", "going", "verifying"),
    "failed": ("waiting", "running", "going", "verifying"),
    "undone": ("undoing",),
    "undo_failed": ("undoing",),
    "undo_unclear": ("undoing",),
}
"""Where a step must stand for a courier's report to be news; anywhere else the story has moved on."""


class NoStep(Exception):
    """A person is told that this cannot be done with the step."""


@dataclass
class PlainStep:
    name: str
    status: str = "waiting"
    attempt: int = 0
    preview: str = ""
    asked_at: datetime | None = None
    lease_until: datetime | None = None
    reminded_at: datetime | None = None
    applied: bool = False

    @property
    def lent(self) -> bool:
        return self.applied and self.lease_until is not None


@dataclass
class PlainRun:
    goes: bool = True
    goes_back: bool = False
    mitigates: bool = False
    steps: dict[str, PlainStep] = field(
        default_factory=lambda: {name: PlainStep(name) for name in ("check", "act", "look")}
    )

    def at_hand(self) -> PlainStep | None:
        return next((step for step in self.steps.values() if step.status not in THROUGH), None)

    def _goes_on(self, at: datetime) -> list[str]:
        """What follows when a step was started on or is through. A run that proves an act ends in a mitigation."""
        if not self.goes:
            return []
        step = self.at_hand()
        if step is None:
            self.goes = False
            self.mitigates = self.steps["act"].status == "done"
            return ["run.finished"]
        if step.name == "look" and step.status == "waiting":
            step.status, step.asked_at = "asking", at
            return ["run.step_asked"]
        return []

    # What people do

    def _must_be_at_hand(self, step: PlainStep) -> None:
        if not self.goes or self.at_hand() is not step:
            raise NoStep

    def approve(self, name: str, at: datetime, preview: str) -> list[str]:
        step = self.steps[name]
        if step.status in (*UNDER_WAY, "done"):
            return []
        self._must_be_at_hand(step)
        if step.status != "asking" or step.asked_at is None:
            raise NoStep
        if name == "look":
            step.status = "done"
            return ["run.step_succeeded", *self._goes_on(at)]
        if preview != step.preview:
            raise NoStep
        if at - step.asked_at > APPROVAL_LASTS:
            return self._begins_again(step, at)
        step.attempt += 1
        step.status, step.lease_until, step.reminded_at = "running", at + LEASE, None
        return ["run.step_approved", "run.step_started"]

    def skip(self, name: str, at: datetime) -> list[str]:
        step = self.steps[name]
        self._must_be_at_hand(step)
        if step.status in UNDER_WAY:
            raise NoStep
        step.status = "skipped"
        return ["run.step_skipped", *self._goes_on(at)]

    def retry(self, name: str, at: datetime) -> list[str]:
        step = self.steps[name]
        self._must_be_at_hand(step)
        if step.status in UNDER_WAY:
            raise NoStep
        return self._begins_again(step, at)

    def _begins_again(self, step: PlainStep, at: datetime) -> list[str]:
        step.status, step.preview = "waiting", ""
        return ["run.step_retried", *self._goes_on(at)]

    def undo(self, name: str) -> list[str]:
        step = self.steps[name]
        if step.status in ("undoing", "undone"):
            return []
        if name != "act" or step.status == "running" or not (step.applied or step.status == "interrupted"):
            raise NoStep
        return self._takes_back(step)

    def undo_all(self) -> list[str]:
        act = self.steps["act"]
        if act.status in ("running", "undoing"):
            if self.goes_back:
                return []
            raise NoStep
        if act.status == "undone" or not (act.applied or act.status == "interrupted"):
            raise NoStep
        self.goes_back = True
        return [*self.stop(), *self._takes_back(act)]

    def renew(self, name: str, at: datetime) -> list[str]:
        step = self.steps[name]
        if step.lease_until is None:
            raise NoStep
        step.lease_until = at + LEASE
        return ["run.lease_renewed"]

    def stop(self) -> list[str]:
        if not self.goes:
            return []
        self.goes = False
        return ["run.finished"]

    # What couriers report

    def hears(self, name: str, report: str, at: datetime, preview: str) -> list[str]:
        step = self.steps[name]
        if step.status not in COUNTS_IN[report]:
            return []
        names = {"undo_failed": "run.undo_failed", "undo_unclear": "run.undo_failed", "begun": "run.step_applied"}
        word = [names.get(report, f"run.step_{report}")]
        match report:
            case "planned":
                step.status, step.preview, step.asked_at = "asking", preview, at
            case "applied":
                step.status, step.applied, step.lease_until = "verifying", True, at + LEASE
            case "begun":
                step.status, step.applied, step.lease_until = "going", True, at + LEASE
            case "completed":
                step.status = "verifying"
            case "interrupted":
                step.status = "interrupted"
            case "succeeded":
                step.status = "done"
                return word + self._goes_on(at)
            case "failed":
                step.status = "failed"
                step.lease_until = step.lease_until if step.applied else None
                return word + (self.stop() if name == "check" else [])
            case "undone":
                step.status, step.applied = "undone", False
                return word + self._goes_on(at)
            case "undo_failed":
                step.status, self.goes_back = "failed" if step.applied else "interrupted", False
            case "undo_unclear":
                step.status, self.goes_back = "interrupted", False
        return word

    def next_report(self, good: bool) -> tuple[str, str]:
        """Of which step a courier reports next, and what, when it goes well or not."""
        act = self.steps["act"]
        if act.status == "undoing":
            return "act", "undone" if good else "undo_failed"
        if self.steps["check"].status not in THROUGH:
            return "check", "succeeded" if good else "failed"
        ways = {
            "running": ("interrupted", "applied"),
            "going": ("failed", "completed"),
            "verifying": ("failed", "succeeded"),
        }
        return "act", ways.get(act.status, ("planned", "planned"))[good]

    # What time does

    def leases(self) -> list[datetime]:
        """When what is on loan goes back; what is under way is waited for."""
        return [
            step.lease_until
            for step in self.steps.values()
            if step.lease_until is not None and step.status not in ("running", "undoing", "undone")
        ]

    def reminders(self) -> list[tuple[datetime, PlainStep]]:
        """When people hear again of what is on loan."""
        due = []
        for step in self.steps.values():
            if step.lent and step.lease_until is not None and step.status not in ("running", "undoing", "undone"):
                at = (step.reminded_at or step.lease_until - LEASE) + REMIND_EVERY
                due += [(at, step)] if at < step.lease_until else []
        return due

    def lease_ends(self) -> list[str]:
        return self._takes_back(self.steps["act"])

    @staticmethod
    def _takes_back(step: PlainStep) -> list[str]:
        step.status, step.lease_until = "undoing", None
        return ["run.undo_started"]
