"""The switchboard: everything outside that the bot can talk to, in plain tables. A new one is a file and a line."""

from collections.abc import Callable, Mapping
from typing import Final

from bot.intake.alerts import Message
from bot.intake.reading import Reading
from bot.integrations import alertmanager

Parse = Callable[[bytes, Reading], Message]
"""The raw body of a webhook and the reading of labels, to the message it brought. Pure; raises Malformed."""

SOURCES: Final[Mapping[str, Parse]] = {
    "alertmanager": alertmanager.parse,
}
"""Alert sources by name: `POST /hooks/NAME`, with a bearer token of FIXFIRST_NAME_TOKENS."""
