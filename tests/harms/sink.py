"""A server on loopback that takes every request, writes it down, and answers as badly as it is told."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Sink:
    """`asked` holds the method and path of each request that arrived whole; `over` lets silent answers end."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


class Call(BaseHTTPRequestHandler):
    """One request, read whole, with the ways to treat it badly."""

    sink: Sink
    treat: Callable[["Call"], None]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.sink.asked.append(f"{self.command} {self.path.partition('?')[0]}")
        type(self).treat(self)

    do_GET = do_POST

    def handle(self) -> None:
        with suppress(ConnectionError):  # whoever asked has given up, as it should
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        """Nothing."""


def slow_down(call: Call) -> None:
    """429, and the wish for one second of peace."""
    call.send_response(429)
    call.send_header("Retry-After", "1")
    call.send_header("Content-Type", "application/json")
    call.send_header("Content-Length", "2")
    call.end_headers()
    call.wfile.write(b"{}")


def cut(call: Call) -> None:
    """The request was taken; the connection breaks before its answer."""
    call.close_connection = True
    call.connection.shutdown(socket.SHUT_RDWR)


def silent(call: Call) -> None:
    """The connection stands, and nothing comes."""
    call.close_connection = True
    call.sink.over.wait(60)


@contextmanager
def sink(treat: Callable[[Call], None]) -> Iterator[Sink]:
    """A server that treats every request so."""
    one = Sink()
    handler = type("Treated", (Call,), {"sink": one, "treat": staticmethod(treat)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        one.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield one
        finally:
            one.over.set()
            server.shutdown()
            thread.join()
