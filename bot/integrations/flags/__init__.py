"""Feature flags: named files of flags, and the step kind that switches one."""

from bot.integrations.flags.act import Set
from bot.integrations.flags.target import Target

__all__ = ["Set", "Target"]
