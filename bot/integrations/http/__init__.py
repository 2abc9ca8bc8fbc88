"""Outside systems with an HTTP API of their own: named endpoints, and the step kind that calls them."""

from bot.integrations.http.act import HttpRequest
from bot.integrations.http.endpoint import Endpoint, Observe, Undo

__all__ = ["Endpoint", "HttpRequest", "Observe", "Undo"]
