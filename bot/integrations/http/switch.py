"""What a drill breaks: one address that takes `{"on": true}` and `{"on": false}`, each as often as one likes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.integrations.http.endpoint import wrong_url
from bot.integrations.wire import Call
from bot.settings import Secret, Table, call_timeout


@dataclass(frozen=True, slots=True)
class Switch:
    """One switch of a fault. `timeout` is in seconds and covers the whole exchange."""

    name: str
    url: str
    token: Secret
    timeout: float

    @classmethod
    def from_table(cls, name: str, table: Table, secret: Callable[[str], str | None]) -> "Switch | None":
        """The switch; None where the table has no `url`. Faults go to the table."""
        url = table.text("url")
        wrong = wrong_url(url) if url else ""
        if "{" in url:
            wrong = "holds a {, but nothing is filled in here"
        if wrong:
            table.fault("url", wrong)
        made = cls(name, url, table.secret("token_env", secret), call_timeout(table))
        return made if url else None

    def turn(self, *, on: bool) -> None:
        """Breaks it, or makes it whole. Raises Transient, Permanent."""
        body: Mapping[str, Any] = {"on": on}
        Call(self).tell(self.url, body, f"{self.name}:{on}")
