"""The dead man's switch: a service outside hears from us for as long as all is well, and calls people when it does not.

[heartbeat]
url = "https://hc-ping.com/0f8fad5b-d9cb-469f-a165-70867728950e"
timeout = "5s"
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import structlog

from bot.settings import Table

log = structlog.get_logger()

LONGEST_TIMEOUT: Final = timedelta(seconds=10)
"""As for any call outside; an audit waits for it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `[heartbeat]`. `url` is fetched by GET; `timeout` is in seconds."""

    url: str
    timeout: float = 5.0

    @classmethod
    def from_toml(cls, values: Mapping[str, Any]) -> "tuple[Settings | None, list[str]]":
        """The settings, or every fault as "key: what is wrong; what to do"."""
        faults: list[str] = []
        table = Table("heartbeat", values, faults)
        url = table.url("url", required=True)
        timeout = table.span("timeout", timedelta(seconds=5))
        if not timedelta(0) < timeout <= LONGEST_TIMEOUT:
            table.fault("timeout", f"must be longer than nothing and at most {LONGEST_TIMEOUT.seconds}s")
        table.done()
        return (None if faults else cls(url, timeout.total_seconds())), faults


class Heartbeat:
    """Tells the service outside. `sent` and `missed` count since the start; for one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._fails = False
        self.sent = 0
        self.missed = 0

    def beat(self) -> None:
        """One sign of life. What goes wrong is logged when it begins and when it is over: the service calls people."""
        trouble = self._fetch()
        if not trouble:
            self.sent += 1
            if self._fails:
                log.info("heartbeat_heard_again")
        else:
            self.missed += 1
            if not self._fails:
                log.warning("heartbeat_not_heard", reason=trouble)
        self._fails = bool(trouble)

    def _fetch(self) -> str:
        """What went wrong, in a few words without the address, which whoever knows could use; empty when nothing."""
        # A tenth of a second to import, and the bot must accept its first webhook within two.
        from requests.exceptions import RequestException

        from bot.punctual import Punctual

        try:
            with Punctual() as session:
                session.headers["User-Agent"] = "FixFirst"
                with session.get(self._settings.url, timeout=self._settings.timeout, stream=True) as answer:
                    return "" if answer.ok else f"it answered {answer.status_code}"
        except (RequestException, ValueError) as failure:  # a ValueError: it sends us on to no address at all
            return type(failure).__name__
