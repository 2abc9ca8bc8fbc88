"""The two listeners: bound before anything is started, served from one event loop, closed when the process is told."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from bot.web.patience import Watch, patience

KEEP_ALIVE_S: Final = 75
"""How long an idle connection is kept: a monitor in a storm finds it open, and one that has gone costs little."""
WAITING: Final = 1024
"""Connections that the kernel keeps until we come to take them."""


class Server(uvicorn.Server):
    """A uvicorn server among others in one process: the process, not the server, answers to signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class PortTaken(Exception):
    """A listener's address cannot be had; the message names the setting that changes it."""


def bind(name: str, host: str, port: int) -> socket.socket:
    """The listener's socket, taken before anything is started. Raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=WAITING)
    except OSError as error:
        raise PortTaken(
            f"{host}:{port} cannot be had ({os.strerror(error.errno or 0)}); set {name}.host or {name}.port"
        ) from error
    # Inherited by every connection. asyncio does so only for sockets it made itself; without, each answer on a kept
    # connection waits 40 ms for the client's delayed acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def server(app: ASGIApp, watch: Watch) -> Server:
    """What serves an app to one listener's connections, which `watch` bounds."""
    return Server(
        uvicorn.Config(
            app,
            http=patience(watch),
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=5,
        )
    )


async def listen(servers: Mapping[socket.socket, Server]) -> None:
    """Serves until a signal to end comes."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        for server in servers.values():
            server.should_exit = True

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    await asyncio.gather(*(server.serve([listener]) for listener, server in servers.items()))
