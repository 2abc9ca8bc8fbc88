"""The API server as the tests reach it: the real one behind a recorder, or what it said when it was last recorded."""

import json
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from tests.kubernetes.plane import Plane


@dataclass
class Exchange:
    """One request and its answer; both bodies are JSON, or None."""

    method: str
    path: str
    sent: Any
    status: int
    answer: Any

    def asked(self) -> tuple[str, str, Any]:
        return self.method, self.path, self.sent


@dataclass
class Tape:
    """What was said, in order. With a plane it is recorded, without one it is played, and nothing else is answered."""

    plane: Plane | None
    exchanges: list[Exchange] = field(default_factory=list)
    played: int = 0
    wrong: list[str] = field(default_factory=list)
    lose: str = ""
    """The method whose next answer gets lost on its way back."""
    before: dict[str, Callable[[], None]] = field(default_factory=dict)
    """What somebody else does right before the next request of a method."""
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, sent: Any, token: str) -> Exchange:
        self.before.pop(method, lambda: None)()
        with self._turn:
            if self.plane is not None:
                exchange = _asked(self.plane, method, path, sent, token)
                self.exchanges.append(exchange)
                return exchange
            if self.played >= len(self.exchanges) or self.exchanges[self.played].asked() != (method, path, sent):
                due = self.exchanges[self.played].asked() if self.played < len(self.exchanges) else "nothing more"
                self.wrong.append(f"asked {method} {path} {sent}, recorded is {due}")
                return Exchange(method, path, sent, 500, {"kind": "Status", "message": "not recorded", "code": 500})
            self.played += 1
            return self.exchanges[self.played - 1]

    def save(self, file: Path) -> None:
        """One exchange a line, without who manages which field, which is most of every object."""
        lines = [json.dumps(vars(e) | {"answer": _slim(e.answer)}, sort_keys=True) for e in self.exchanges]
        file.write_text("[\n" + ",\n".join(lines) + "\n]\n")

    @classmethod
    def load(cls, file: Path) -> "Tape":
        return cls(None, [Exchange(**exchange) for exchange in json.loads(file.read_text())])


@contextmanager
def served(tape: Tape) -> Iterator[str]:
    """The tape as a server on the loopback; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            sent = json.loads(body) if body else None
            kind = self.headers.get("Content-Type", "")
            token = self.headers.get("Authorization", "")
            exchange = tape.answer(self.command, self.path, sent, f"{token}\n{kind}")
            if tape.lose == self.command:
                tape.lose = ""
                self.close_connection = True
                return
            words = isinstance(exchange.answer, str)
            answer = exchange.answer.encode() if words else json.dumps(exchange.answer).encode()
            self.send_response(exchange.status)
            self.send_header("Content-Type", "text/plain" if words else "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PATCH = do_DELETE = _any

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            """Quiet: pytest shows what matters."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _asked(plane: Plane, method: str, path: str, sent: Any, headers: str) -> Exchange:
    token, _, kind = headers.partition("\n")
    given = {"Authorization": token} | ({"Content-Type": kind} if kind else {})
    body = None if sent is None else json.dumps(sent).encode()
    request = urllib.request.Request(plane.url + path, body, given, method=method)
    context: ssl.SSLContext = plane.tls()
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return Exchange(method, path, sent, answer.status, json.loads(answer.read()))
    except HTTPError as error:
        text = error.read()
        try:
            return Exchange(method, path, sent, error.code, json.loads(text))
        except ValueError:
            return Exchange(method, path, sent, error.code, text.decode())


def _slim(value: Any) -> Any:
    """Of managedFields only who wrote the spec is kept: the bot looks at nothing else of it."""
    if isinstance(value, dict):
        managed = value.get("managedFields", ()) if "generation" in value else ()
        fields = [entry | {"fieldsV1": {"f:spec": {}}} for entry in managed if _spec(entry)]
        kept = {key: _slim(inner) for key, inner in value.items() if key != "managedFields"}
        return kept | ({"managedFields": fields} if fields else {})
    if isinstance(value, list):
        return [_slim(inner) for inner in value]
    return value


def _spec(entry: Any) -> bool:
    return "f:spec" in entry.get("fieldsV1", ())
