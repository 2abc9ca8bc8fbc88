"""An Unleash for tests: a real one where there is one (`make test-unleash`), and what it once said where there is none.

Both are behind one small server. It hands requests to the real one and writes down what was said, or answers from what
was written down, and only to the very requests that were made then, in their order.
"""

import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from tests.databases import PostgreSQL
from tests.servers import Answering, free_port, http_server, running

TOKEN = "*:*.canary-7f3a-not-a-secret"
INSTALLED = os.environ.get("FIXFIRST_TEST_UNLEASH", "")
"""A folder into which npm has installed `node` and `unleash-server`; empty where there is none."""
RECORD = Path(__file__).with_name("unleash_exchanges.json")
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def real(postgres: PostgreSQL, folder: Path) -> Iterator[str]:
    """A real server on a new database; gives its address."""
    port, installed = free_port(), Path(INSTALLED).resolve() / "node_modules"
    node = next(path for path in (installed / "node" / "bin" / "node", installed / ".bin" / "node") if path.exists())
    database = postgres.empty().replace("postgresql+psycopg://", "postgres://")
    environment = {
        "DATABASE_URL": database,
        "DATABASE_SSL": "false",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_PORT": str(port),
        "INIT_ADMIN_API_TOKENS": TOKEN,
        "CHECK_VERSION": "false",
        "SEND_TELEMETRY": "false",
    }
    settings = [f"{name}={value}" for name, value in environment.items()]
    server = installed / "unleash-server" / "dist" / "server.js"
    with running(["/usr/bin/env", "-i", *settings, str(node), str(server)], port, folder / "unleash.log"):
        yield f"http://127.0.0.1:{port}"


@dataclass
class Between:
    """What the bot and the tests talk to. `behind` is the real server's address; without it `told` is read from."""

    behind: str
    told: list[list[Any]] = field(default_factory=list)
    address: str = ""
    unexpected: list[str] = field(default_factory=list)
    _next: int = 0

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, str]:
        asked = [method, path, "good" if token == TOKEN else "other", body.decode()]
        if self.behind:
            status, said = self._ask(method, path, token, body)
            self.told.append([*asked, status, said])
            return status, said
        if self._next >= len(self.told) or self.told[self._next][:4] != asked:
            self.unexpected.append(f"{asked} was not what was asked when this was written down")
            return 599, ""
        self._next += 1
        status, said = self.told[self._next - 1][4:]
        return int(status), str(said)

    def _ask(self, method: str, path: str, token: str, body: bytes) -> tuple[int, str]:
        headers = {"Authorization": token, "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.behind}{path}", body or None, headers, method=method)
        try:
            with _OPENER.open(request, timeout=10) as answer:
                return int(answer.status), answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Somebody else at the controls."""
        data = b"" if body is None else json.dumps(body).encode()
        status, said = self.answer(method, path, TOKEN, data)
        assert status < 300, f"{method} {path}: {status} {said}"
        return json.loads(said) if said else None


@contextmanager
def between(behind: str, name: str) -> Iterator[Between]:
    """The small server for one test, by whose name its exchanges are kept."""
    kept = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    middle = Between(behind, [] if behind else kept[name])

    class Handler(Answering):
        def _serve(self) -> None:
            token = self.headers.get("Authorization", "")
            status, said = middle.answer(self.command, self.path, token, self.sent())
            self.reply(status, said.encode())

        do_GET = do_POST = _serve

    with http_server(Handler) as port:
        middle.address = f"http://127.0.0.1:{port}"
        yield middle
    assert middle.unexpected == []
    if behind:
        RECORD.write_text(json.dumps({**kept, name: middle.told}, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    else:
        assert middle._next == len(middle.told), "less was asked than when this was written down"
