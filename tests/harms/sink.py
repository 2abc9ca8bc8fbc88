"""A server on loopback that takes every request, writes it down, and answers as badly as it is told."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


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


def drips(call: Call) -> None:
    """An answer begins, goes on by a byte every now and then, and never comes to its end."""
    call.close_connection = True
    with suppress(OSError):  # whoever asked has given up, as it should
        call.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not call.sink.over.wait(0.02):
            call.wfile.write(b"x")


def breaks_off(call: Call) -> None:
    """The answer ends before its end."""
    call.close_connection = True
    call.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")


@contextmanager
def sink(treat: Callable[[Call], None], certificate: Path | None = None) -> Iterator[Sink]:
    """A server that treats every request so; over TLS with a certificate and its key in one file."""
    one = Sink()
    handler = type("Treated", (Call,), {"sink": one, "treat": staticmethod(treat)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        one.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield one
        finally:
            one.over.set()
            server.shutdown()
            thread.join()
