"""Real servers of our own: a process on 127.0.0.1 that ends with the test that asked for it."""

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp

from bot.workbench.server import bind_for_later

STARTS_WITHIN_S = 60.0


def program(name: str, package: str) -> str:
    """Where a program lies; the test is left out, and the package named, when it is not installed."""
    found = shutil.which(name, path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin:/sbin:/bin")
    if found is None:
        pytest.skip(f"needs {package}")
    return found


def certificate_in(folder: Path) -> Path:
    """A certificate for 127.0.0.1 with its key, in one file; the certificate alone beside it, as `.crt`."""
    path = folder / "both.pem"
    made = ["-newkey", "rsa:2048", "-nodes", "-x509", "-days", "2", "-subj", "/CN=nobody"]
    where = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(path.with_suffix(".crt"))]
    subprocess.run([program("openssl", "openssl"), "req", *made, *where], check=True, capture_output=True)
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


@contextmanager
def running(command: Sequence[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process, once it accepts connections on the port; killed by its own id at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: _accepts(port), f"{command[0]} does not listen", process, log)
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(holds: Callable[[], bool], what: str, process: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + STARTS_WITHIN_S
    pause = threading.Event()
    while not holds():
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < limit, f"{what}: {log.read_text(errors='replace')}"
        pause.wait(0.02)


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP server that hands each connection to `talk` and then closes it; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                talk(connection)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


class Answering(BaseHTTPRequestHandler):
    """What an HTTP server of a test does with a request; it says nothing to the terminal."""

    def sent(self) -> bytes:
        """The request's body, empty without one."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """A whole answer. `headers` may also state another length than the true one."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet: pytest shows what matters."""


@contextmanager
def http_server(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """Serves on a loopback port until the test is over; gives the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield int(server.server_port)
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def asgi_server(app: ASGIApp) -> Iterator[int]:
    """Serves the application on a loopback port until the test is over; gives the port."""
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            port=0,
            http="httptools",
            lifespan="off",
            log_level="critical",
            timeout_graceful_shutdown=2,
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    limit = time.monotonic() + STARTS_WITHIN_S
    pause = threading.Event()
    while not server.started:
        assert time.monotonic() < limit, "it does not listen"
        pause.wait(0.005)
    try:
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


def drip(connection: socket.socket, first: bytes = b"", piece: bytes = b"1") -> None:
    """Begins with `first` and goes on a piece at a time while anybody listens; some ten seconds are for ever."""
    connection.recv(65_536)
    connection.sendall(first)
    enough = threading.Event()
    for _ in range(500):
        connection.sendall(piece)
        enough.wait(0.02)


def free_port() -> int:
    """A port on which nobody listens."""
    return free_ports(1)[0]


def free_ports(number: int) -> list[int]:
    """So many ports on which nobody listens, no two the same."""
    with ExitStack() as held:
        return [int(held.enter_context(bind_for_later("port")).getsockname()[1]) for _ in range(number)]
