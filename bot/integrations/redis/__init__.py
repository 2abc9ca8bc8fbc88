"""Redis: named servers, and the step kind that sets one key."""

from bot.integrations.redis.act import Set
from bot.integrations.redis.target import Target

__all__ = ["Set", "Target"]
