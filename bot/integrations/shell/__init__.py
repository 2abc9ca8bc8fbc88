"""Programs on the bot's own machine: an allow-list of commands, and the step kind that runs one of them."""

from bot.integrations.shell.act import Look, Run
from bot.integrations.shell.allowed import Allowed, read

__all__ = ["Allowed", "Look", "Run", "read"]
