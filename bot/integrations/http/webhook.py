"""A page as a webhook to any address: for when the pager does not answer.

    {"action": "trigger", "key": "inference:0193…:1", "incident": "INC-42", "severity": "SEV1", "title": "…", …}

`action` is `trigger`, `acknowledge` or `resolve`, all three under one `key`; a repeat is told by both. A `notice` has
only `key`, `title` and `at`. The receiver knows us by a bearer token, by `X-FixFirst-Signature` (`v1=` and the
HMAC-SHA256 of the raw body in hex), or by both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from bot.integrations.fallback import Notice, Word, timeout_of
from bot.integrations.http.endpoint import wrong_url
from bot.integrations.wire import Call
from bot.settings import Secret, Table


@dataclass(frozen=True, slots=True)
class Webhook:
    """One `[[pager.fallback]]` of the kind `webhook`. `timeout` is in seconds and covers the whole exchange."""

    name: str
    url: str
    token: Secret
    signing: Secret
    timeout: float

    @classmethod
    def from_table(cls, name: str, table: Table, secret: Callable[[str], str | None]) -> "Webhook":
        """The settings; faults go to the table. `secret` gives a secret by its name."""
        url = table.text("url", required=True)
        wrong = wrong_url(url) if url else ""
        if "{" in url:
            wrong = "holds a {, but nothing is filled in here"
        if wrong:
            table.fault("url", wrong)
        if not {"token_env", "secret_env"} & set(table.values):
            table.fault("token_env", "and secret_env are missing; set one of them, so that the receiver knows us")
        return cls(
            name=name,
            url=url,
            token=table.secret("token_env", secret),
            signing=table.secret("secret_env", secret, blanks=True),
            timeout=timeout_of(table),
        )

    @property
    def label(self) -> str:
        """How people know it."""
        return f"webhook to {urlsplit(self.url).netloc}"

    def say(self, word: Word) -> None:
        """Sends one request. Raises Transient, Permanent."""
        incident = word.incident
        body = {
            "action": word.action,
            "key": word.key,
            "incident": incident.ref,
            "round": word.generation,
            "level": word.level,
            "severity": incident.severity.value,
            "title": incident.title,
            "service": incident.service,
            "model": incident.model,
            "firing": incident.firing,
            "news": word.news,
            "link": word.link,
            "at": word.at.isoformat(),
        }
        Call(self, self.signing).tell(self.url, body, word.mark)

    def tell(self, notice: Notice) -> None:
        """Sends one request with the action `notice`. Raises Transient, Permanent."""
        body = {"action": "notice", "key": notice.key, "title": notice.text, "at": notice.at.isoformat()}
        Call(self, self.signing).tell(self.url, body, notice.key)
