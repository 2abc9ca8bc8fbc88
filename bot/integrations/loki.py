"""Loki: the last lines of a container that tell how it ended.

    [loki]
    url = "http://loki.monitoring:3100"
    token_env = "LOKI_TOKEN"                   # optional, the name of an environment variable
    org_id = "team-a"                          # optional, the tenant

https://grafana.com/docs/loki/latest/reference/loki-http-api/#query-logs-within-a-range-of-time
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from bot.contracts import Container, Permanent
from bot.integrations.wire import Call
from bot.settings import Secret, Table, call_timeout

PATH: Final = "/loki/api/v1/query_range"
SELECTOR: Final = '{namespace="{{ namespace }}",pod="{{ pod }}"}'
"""The labels that Promtail and Alloy give. What OpenTelemetry sends has k8s_namespace_name and k8s_pod_name."""
BACK: Final = timedelta(minutes=20)
"""Restarts are counted over the last minutes; a container that does not come up ends some minutes after its start."""
LARGEST: Final = 512 * 1024
"""Bytes of an answer: twenty lines, each at most 256 KB by Loki's default, and seldom more than a few hundred."""
_PLACEHOLDER: Final = re.compile(r"\{\{ (namespace|pod|container) \}\}")
_SELECTOR: Final = re.compile(r"\{.+\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Settings:
    """The table `[loki]`. `timeout` is in seconds; `query` selects a container's log."""

    url: str
    timeout: float = 5.0
    token: Secret = field(default_factory=lambda: Secret(""))
    org_id: str = ""
    query: str = SELECTOR

    @property
    def name(self) -> str:
        """How people are told who does not answer."""
        return "Loki"

    @classmethod
    def from_toml(
        cls, table: Mapping[str, Any], secret: Callable[[str], str | None]
    ) -> "tuple[Settings | None, list[str]]":
        """The settings, or every fault as "loki.key: what is wrong; what to do"."""
        faults: list[str] = []
        top = Table("loki", table, faults)
        url = top.url("url", required=True).rstrip("/")
        if urlsplit(url).username is not None or urlsplit(url).query:
            top.fault("url", "must hold neither a password nor a query; use token_env")
        query = top.text("query", SELECTOR)
        if not _SELECTOR.match(query) or "{{" in _PLACEHOLDER.sub("", query):
            known = "{{ namespace }}, {{ pod }} and {{ container }}"
            top.fault("query", f"must begin with a selector in braces, with no placeholders but {known}")
        settings = cls(url, call_timeout(top), top.secret("token_env", secret), top.text("org_id"), query)
        if not settings.org_id.isascii() or not settings.org_id.replace(" ", "").isprintable():
            top.fault("org_id", "holds what no header can carry; use letters, digits, - and _")
        top.done()
        return (None if faults else settings), faults


@dataclass(frozen=True, slots=True)
class Loki:
    """`bot.contracts.Tail`. Each call has a connection of its own: use from any thread.

    words: a regular expression (RE2, without a backtick) for the lines that are wanted; most: how many of them.
    """

    settings: Settings
    words: str
    most: int

    def tail(self, container: Container, now: datetime) -> Sequence[str]:
        """The last lines that tell something, the oldest first; where none does, the last line of all.

        Raises Transient, and Permanent also where it has no line at all: a selector that fits nothing looks like that.
        """
        selector = self._selector(container)
        lines = self._last(f"{selector} |~ `{self.words}`", self.most, now) or self._last(selector, 1, now)
        if not lines:
            whose, minutes = f"{container.namespace}/{container.pod}", int(BACK.total_seconds()) // 60
            raise Permanent(f"Loki has no line of {whose} in the last {minutes} min; see whether loki.query selects it")
        return lines

    def _last(self, query: str, most: int, now: datetime) -> Sequence[str]:
        asked = {
            "query": query,
            "start": _nanoseconds(now - BACK),
            "end": _nanoseconds(now),
            "limit": str(most),
            "direction": "backward",
        }
        headers = {"X-Scope-OrgID": self.settings.org_id} if self.settings.org_id else {}
        call = Call(self.settings, largest=LARGEST)
        answer = call.look(f"{self.settings.url}{PATH}?{urlencode(asked)}", headers)
        try:
            entries = [(int(at), str(line)) for stream in answer["data"]["result"] for at, line, *_ in stream["values"]]
        except (KeyError, TypeError, ValueError) as error:
            raise Permanent(f"what answers at {self.settings.url} does not speak Loki's API") from error
        return [line for _, line in sorted(entries)]

    def _selector(self, container: Container) -> str:
        values = {"namespace": container.namespace, "pod": container.pod, "container": container.name}
        return _PLACEHOLDER.sub(lambda found: _escaped(values[found[1]]), self.settings.query)


def _escaped(value: str) -> str:
    """A label's value inside LogQL's double quotes."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _nanoseconds(at: datetime) -> str:
    return f"{int(at.timestamp())}000000000"
