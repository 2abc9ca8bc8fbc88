"""How log lines look, and that none of them holds a secret: in no field, no traceback, nor in a library's own words.

What is stored and told is searched for secrets where it comes in. Here, at the last moment, are all the other ways:
what a driver or a client quotes in its error, and what a traceback shows.
"""

import logging
import sys
import threading
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any, Final

import structlog

from bot.incident.redact import redact, redact_named

log = structlog.get_logger()

_PLAIN: Final = (bool, int, float, type(None))
"""What can hold no text."""


def begin(*, plain: bool) -> None:
    """One line on stderr per thing that happened: an event name and its fields, as JSON unless `plain`."""
    renderer: Any = structlog.dev.ConsoleRenderer(colors=False) if plain else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            without_secrets,
            structlog.processors.TimeStamper(fmt="iso", utc=True),  # never the same twice, and no secret
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
    libraries = logging.StreamHandler(sys.stderr)
    libraries.setFormatter(WithoutSecrets(logging.BASIC_FORMAT))
    logging.basicConfig(level=logging.WARNING, handlers=[libraries])
    sys.excepthook = _ended
    threading.excepthook = lambda died: _ended(died.exc_type, died.exc_value, died.exc_traceback)


def without_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """The last look at an event before it is rendered; an exception is a text in it by then."""
    return {name: _without(name, value) for name, value in event.items()}


class WithoutSecrets(logging.Formatter):
    """The same for what libraries log, traceback and all."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, or lines."""
        return redact(super().format(record))


def _without(name: str, value: Any) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, str):
        return redact_named(name, value)
    if isinstance(value, Mapping):
        return {str(key): _without(str(key), one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without(name, one) for one in value]
    return redact_named(name, repr(value))  # as the renderers would have it


def _ended(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    """Python would write what nobody caught to stderr as it is."""
    if not issubclass(kind, (KeyboardInterrupt, SystemExit)):
        log.critical("uncaught", exc_info=(kind, error, traceback))
