"""PagerDuty: pages out by Events API v2, escalation by REST or a second key, webhooks V3 in."""

from bot.integrations.pagerduty.census import ACKNOWLEDGED, PAGES_ASKED, RESOLVED, Paged
from bot.integrations.pagerduty.courier import Courier
from bot.integrations.pagerduty.fallback import Integration
from bot.integrations.pagerduty.settings import NAME, Settings
from bot.integrations.pagerduty.webhook import Inbound, as_alert, as_command, read_webhook, signed
from bot.integrations.pagerduty.wire import dedup_key

__all__ = [
    "ACKNOWLEDGED",
    "NAME",
    "PAGES_ASKED",
    "RESOLVED",
    "Courier",
    "Inbound",
    "Integration",
    "Paged",
    "Settings",
    "as_alert",
    "as_command",
    "dedup_key",
    "read_webhook",
    "signed",
]
