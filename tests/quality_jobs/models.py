"""Models to ask: the workbench's fleet behind its real door, and servers that answer in odd ways."""

import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette

from bot.workbench.fleet import Fleet, fleet_app
from bot.workbench.server import Servers, Site, bind
from tests.servers import Answering, http_server

TOKEN = "fleet-token-0123456789"


@dataclass
class Rig:
    """A fleet on a clock that a test moves, and where it is asked."""

    url: str = ""
    now: float = 1_800_000_000.0
    fleet: Fleet = field(init=False)

    def __post_init__(self) -> None:
        self.fleet = Fleet(lambda: self.now)


@contextmanager
def fleet() -> Iterator[Rig]:
    """The fleet over HTTP."""
    rig, listener = Rig(), bind(0, "port")
    servers = Servers([Site(Starlette(routes=fleet_app(rig.fleet, TOKEN)), listener)])
    servers.start()
    rig.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    try:
        yield rig
    finally:
        servers.stop()


def events(*chunks: Mapping[str, Any]) -> bytes:
    """A stream of OpenAI's chunks."""
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def spoken(text: str, finish: str | None = "stop", **more: Any) -> bytes:
    """An answer in two chunks."""
    half = len(text) // 2
    return events(
        {"choices": [{"delta": {"content": text[:half]}, "finish_reason": None}]},
        {"choices": [{"delta": {"content": text[half:]}, "finish_reason": finish}]},
        *([more] if more else []),
    )


@dataclass
class Scripted:
    """Answers one request after the other with (status, content type, body); what it was asked is in `asked`."""

    url: str = ""
    answers: list[tuple[int, str, bytes]] = field(default_factory=list)
    asked: list[tuple[str, Mapping[str, str], Any]] = field(default_factory=list)

    def stream(self, *bodies: bytes) -> None:
        self.answers += [(200, "text/event-stream", body) for body in bodies]


@contextmanager
def scripted() -> Iterator[Scripted]:
    """A server that says what a test wants; the last answer again when there are no more."""
    script = Scripted()

    class Handler(Answering):
        def do_POST(self) -> None:
            body = json.loads(self.sent())
            script.asked.append((self.path, dict(self.headers), body))
            status, kind, said = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
            self.reply(status, said, {"Content-Type": kind})

    with http_server(Handler) as port:
        script.url = f"http://127.0.0.1:{port}/v1"
        yield script


def dripping(connection: socket.socket) -> None:
    """A stream that goes on for ever, byte by byte, and is no answer."""
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    enough = threading.Event()
    while not enough.wait(0.02):
        connection.sendall(b":")
