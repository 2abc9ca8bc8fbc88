"""Brings what Kubernetes shows of changes into an incident when it opens or returns."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from bot.contracts import Attempt, Delivered
from bot.health.rollouts import Found
from bot.incident.change import news
from bot.incident.effects import Effect
from bot.incident.state import Incident


@dataclass(frozen=True, slots=True)
class Courier:
    """`find` asks about a model, or everything when it is empty, as of a moment; it takes at most its time budget."""

    find: Callable[[str, datetime], Found]

    def deliver(self, effect: Effect, incident: Incident, attempt: Attempt) -> Delivered:  # noqa: ARG002
        """What the incident does not know yet, the oldest first. That the telemetry is silent, the evidence says."""
        fresh, spoken_for = news(incident.changes, self.find(incident.model, attempt.now).changes)
        noted = [change.event(live=False) for change in spoken_for]
        return noted + [change.event(live=change.at > incident.opened_at) for change in fresh]
