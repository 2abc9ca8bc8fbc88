"""The limits of the pack: those of the health report, so that an alert and the report never disagree."""

from dataclasses import dataclass

from bot.health.catalogue import catalogue
from bot.health.checks import Check
from bot.health.promql import Settings


@dataclass(frozen=True, slots=True)
class Limits:
    """`settings` are the report's; `whole_answer` is the time, in seconds, in which a whole answer is promised."""

    settings: Settings
    whole_answer: float = 30.0

    @property
    def first_token(self) -> float:
        return self.settings.sla_seconds

    def warn(self, check: str) -> float:
        """Where the report turns to warn."""
        limit = self._check(check).warn
        assert limit is not None, f"{check} has no such limit"
        return limit

    def crit(self, check: str) -> float:
        """Where the report turns critical."""
        limit = self._check(check).crit
        assert limit is not None, f"{check} has no such limit"
        return limit

    def _check(self, check: str) -> Check:
        return next(one for one in catalogue(self.settings) if one.id == check)
