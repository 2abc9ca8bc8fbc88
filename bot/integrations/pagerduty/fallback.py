"""PagerDuty once more, by another integration key, for when the first one is silent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2
from pagerduty import Error, EventsApiV2Client, HttpError

from bot.integrations.fallback import Notice, Word, timeout_of
from bot.integrations.pagerduty.settings import NAME, Settings
from bot.integrations.pagerduty.wire import TIMEOUT_S, bounded, connection, failure_of, silence_of, trigger
from bot.settings import Secret, Table


@dataclass(frozen=True, slots=True)
class Integration:
    """One `[[pager.fallback]]` of the kind `pagerduty`: another integration key. `timeout` is in seconds."""

    name: str
    routing_key: Secret
    events_url: str
    timeout: float

    @classmethod
    def from_table(cls, name: str, table: Table, secret: Callable[[str], str | None]) -> "Integration":
        """The settings; faults go to the table. `secret` gives a secret by its name."""
        if "routing_key_env" not in table.values:
            table.fault("routing_key_env", "is missing; name the environment variable with the integration key")
        return cls(
            name=name,
            routing_key=table.secret("routing_key_env", secret),
            events_url=table.url("events_url", "https://events.pagerduty.com"),
            timeout=timeout_of(table),
        )

    @classmethod
    def first(cls, settings: Settings) -> "Integration":
        """The first pager, for what is no page."""
        return cls(NAME, settings.routing_key, settings.events_url, TIMEOUT_S)

    @property
    def label(self) -> str:
        """How people know it."""
        return f"{NAME} ({self.name})"

    def say(self, word: Word) -> None:
        """Sends one event. Raises Transient, Permanent."""
        with self._client() as client:
            if word.action == "trigger":
                trigger(client, word.incident, word.generation, word.link)
            else:
                client.send_event(word.action, dedup_key=word.key)

    def tell(self, notice: Notice) -> None:
        """Sends a warning, which PagerDuty treats as the service says. Raises Transient, Permanent."""
        with self._client() as client:
            payload = {"summary": notice.text[:1024], "source": "fixfirst", "severity": "warning"}
            client.send_event("trigger", dedup_key=notice.key, payload=payload)

    @contextmanager
    def _client(self) -> Iterator[EventsApiV2Client]:
        client = bounded(EventsApiV2Client(self.routing_key.reveal(), **connection(self.events_url)))
        client.timeout = self.timeout  # type: ignore[assignment]  # it goes to httpx as it is
        try:
            yield client
        except HttpError as error:
            raise failure_of(error) from error
        except (Error, httpx2.HTTPError) as error:
            raise silence_of(error, self.label) from error
        finally:
            client.close()
