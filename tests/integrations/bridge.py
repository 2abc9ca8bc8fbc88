"""A bridge on the loopback that takes pages by webhook, for what is sent there: it keeps what it gets."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.servers import Answering, http_server


@dataclass
class Bridge:
    """`answer` is its status and body; `heard` what it was sent: headers, raw body, and the status it answered."""

    port: int = 0
    answer: tuple[int, bytes] = (200, b"ok")
    heard: list[tuple[Mapping[str, str], bytes, int]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/page"

    @property
    def accepted(self) -> list[dict[str, Any]]:
        """The pages, and what followed them, that it answered with 200."""
        return [json.loads(body) for _, body, status in self.heard if status == 200]


@contextmanager
def open_bridge() -> Iterator[Bridge]:
    """A bridge that listens until the test is over."""
    bridge = Bridge()

    class Handler(Answering):
        def do_POST(self) -> None:
            bridge.heard.append((dict(self.headers), self.sent(), bridge.answer[0]))
            self.reply(*bridge.answer)

    with http_server(Handler) as bridge.port:
        yield bridge
