"""Several small web servers in one thread: sockets are bound first, so that a taken port is known at once."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

LOOPBACK = "127.0.0.1"
START_S = 10.0
STOP_S = 5.0
LOWEST_PORT = 10_000
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")  # ip(7); other systems begin at 32,768 or above, too
TRIES = 100


class PortTaken(Exception):
    """A port is in use by another program; the message says which option changes it."""


def bind(port: int, option: str) -> socket.socket:
    """A listening socket on loopback; port 0 takes any free one. PortTaken names the command-line `option`."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio only does so for sockets it made itself
    try:
        listener.bind((LOOPBACK, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise PortTaken(f"Port {port} is in use: choose another with {option} PORT (0 takes any free one).") from error
    return listener


def bind_for_later(option: str) -> socket.socket:
    """A listening socket on a free port that can be let go and taken again.

    A port the system chooses lies where it also takes those of outgoing connections, and one of them may have it before
    its owner is back; below that range nobody takes a port unasked.
    """
    highest = int(EPHEMERAL.read_text().split()[0]) if EPHEMERAL.exists() else 32_768
    if highest <= LOWEST_PORT:
        return bind(0, option)
    for _ in range(TRIES):
        try:
            return bind(random.randrange(LOWEST_PORT, highest), option)  # noqa: S311 - a port is no secret
        except PortTaken:
            continue
    return bind(0, option)


@dataclass(frozen=True)
class Site:
    """An ASGI app and the socket it is served on."""

    app: ASGIApp
    listener: socket.socket


class Servers:
    """Serves every site until stopped, on one event loop in a thread of its own."""

    def __init__(self, sites: list[Site]) -> None:
        self._sites = sites
        self._servers = [
            uvicorn.Server(
                uvicorn.Config(
                    site.app,
                    http="httptools",
                    lifespan="off",
                    log_level="warning",
                    access_log=False,
                    timeout_graceful_shutdown=2,
                )
            )
            for site in sites
        ]
        self._thread = threading.Thread(target=self._run, name="workbench-servers", daemon=True)

    def start(self) -> None:
        """Return when every site answers."""
        self._thread.start()
        waiting = threading.Event()
        for _ in range(int(START_S / 0.01)):
            if all(server.started for server in self._servers):
                return
            if not self._thread.is_alive():
                break
            waiting.wait(0.01)
        raise RuntimeError("the workbench's own servers did not start")

    def stop(self) -> None:
        """Close every site and return when the thread has ended."""
        for server in self._servers:
            server.should_exit = True
        self._thread.join(STOP_S)
        for site in self._sites:
            site.listener.close()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        pairs = zip(self._servers, self._sites, strict=True)
        await asyncio.gather(*(server.serve([site.listener]) for server, site in pairs))
