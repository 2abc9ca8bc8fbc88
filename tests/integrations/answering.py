"""A server that answers whatever is asked with what it was told to, and remembers the questions."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.servers import Answering, http_server


@dataclass
class Server:
    """Answers the first GETs with `earlier`, one each, then every GET with `answer`; remembers what was asked."""

    status: int = 200
    answer: bytes = b""
    kind: str = "application/json"
    earlier: list[bytes] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def says(self, *streams: dict[str, Any]) -> None:
        """As Loki answers a query for lines: every stream with its values, the newest first."""
        data = {"resultType": "streams", "result": list(streams), "stats": {}}
        self.answer = json.dumps({"status": "success", "data": data}).encode()


@contextmanager
def answering() -> Iterator[Server]:
    """A server of ours on loopback."""
    server = Server()

    class Handler(Answering):
        def do_GET(self) -> None:
            server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            answer = server.earlier.pop(0) if server.earlier else server.answer
            self.reply(server.status, answer, {"Content-Type": server.kind})

    with http_server(Handler) as server.port:
        yield server
