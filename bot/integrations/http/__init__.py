"""Outside systems with an HTTP API: named endpoints, the step kinds that call and ask them, and pages as webhooks."""

from bot.integrations.http.act import HttpRequest
from bot.integrations.http.endpoint import Endpoint, Observe, Undo
from bot.integrations.http.get import Get
from bot.integrations.http.webhook import Webhook

__all__ = ["Endpoint", "Get", "HttpRequest", "Observe", "Undo", "Webhook"]
