"""PagerDuty: pages out by Events API v2, escalation by REST or a second key, webhooks V3 in."""

from bot.integrations.pagerduty.courier import Courier
from bot.integrations.pagerduty.fallback import Integration
from bot.integrations.pagerduty.settings import NAME, Settings
from bot.integrations.pagerduty.webhook import Inbound, as_alert, as_command, read_webhook, signed
from bot.integrations.pagerduty.wire import dedup_key

__all__ = [
    "NAME",
    "Courier",
    "Inbound",
    "Integration",
    "Settings",
    "as_alert",
    "as_command",
    "dedup_key",
    "read_webhook",
    "signed",
]
