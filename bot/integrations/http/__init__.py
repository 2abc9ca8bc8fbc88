"""Outside systems with an HTTP API: named endpoints, the step kind that calls them, and pages as webhooks."""

from bot.integrations.http.act import HttpRequest
from bot.integrations.http.endpoint import Endpoint, Observe, Undo
from bot.integrations.http.webhook import Webhook

__all__ = ["Endpoint", "HttpRequest", "Observe", "Undo", "Webhook"]
