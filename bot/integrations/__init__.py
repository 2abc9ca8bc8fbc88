"""The switchboard: everything outside that the bot can talk to, in plain tables. A new one is a file and a line."""

from collections.abc import Callable, Mapping
from typing import Final

from bot.intake.alerts import Message
from bot.intake.reading import Reading
from bot.integrations import alertmanager

SOURCES: Final[Mapping[str, Callable[[bytes, Reading], Message]]] = {
    "alertmanager": alertmanager.parse,
}
"""Alert sources: the raw body of a webhook and the reading of labels, to the message it brought. Raises Malformed."""
