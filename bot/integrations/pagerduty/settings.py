"""The `[pagerduty]` table."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot.incident.entry import FIRST_PAGER
from bot.settings import Secret, Table

SOURCE: Final = FIRST_PAGER
NAME: Final = "PagerDuty"


@dataclass(frozen=True, slots=True)
class Settings:
    """The `[pagerduty]` table.

    `escalation`: `policy` leaves it to PagerDuty's own policy, `level` raises the incident's escalation level by REST,
    `key` pages a second integration key. `users` maps Slack user ids to PagerDuty's (`P...`, as in a profile's link).
    """

    routing_key: Secret
    second_routing_key: Secret
    api_token: Secret
    webhook_secrets: tuple[Secret, ...]
    api_url: str
    events_url: str
    from_email: str
    escalation: str
    users: Mapping[str, str]

    @classmethod
    def from_toml(
        cls, values: Mapping[str, Any], secret: Callable[[str], str | None]
    ) -> tuple["Settings | None", list[str]]:
        """The settings, or None with the faults as sentences. Secrets come by name from `secret`."""
        faults: list[str] = []
        table = Table("pagerduty", values, faults)
        settings = cls(
            routing_key=Secret(secret("FIXFIRST_PAGERDUTY_ROUTING_KEY") or ""),
            second_routing_key=Secret(secret("FIXFIRST_PAGERDUTY_SECOND_ROUTING_KEY") or ""),
            api_token=Secret(secret("FIXFIRST_PAGERDUTY_API_TOKEN") or ""),
            webhook_secrets=tuple(
                Secret(part.strip())
                for part in (secret("FIXFIRST_PAGERDUTY_WEBHOOK_SECRETS") or "").split(",")
                if part.strip()
            ),
            api_url=table.url("api_url", "https://api.pagerduty.com"),
            events_url=table.url("events_url", "https://events.pagerduty.com"),
            from_email=table.text("from"),
            escalation=table.choice("escalation", "policy", ("policy", "level", "key")),
            users={str(user): str(theirs) for user, theirs in table.mapping("users").items()},
        )
        if not settings.routing_key:
            table.fault("routing_key", "is missing; set FIXFIRST_PAGERDUTY_ROUTING_KEY in the environment")
        if settings.escalation == "level" and not (settings.api_token and settings.from_email):
            table.fault("escalation", 'is "level", which needs FIXFIRST_PAGERDUTY_API_TOKEN and pagerduty.from')
        if settings.escalation == "key" and not settings.second_routing_key:
            table.fault("escalation", 'is "key", which needs FIXFIRST_PAGERDUTY_SECOND_ROUTING_KEY')
        table.done()
        return (None if faults else settings), faults
