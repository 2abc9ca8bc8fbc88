"""Connections to Slack that end in time: a socket's own time-out begins anew with every byte that drips in."""

import math
import socket
import ssl
import time
from typing import Any


class InTime(ssl.SSLSocket):
    """Reads up to a fixed moment of `time.monotonic()`. Raises TimeoutError after it."""

    over_by = math.inf

    def recv_into(self, *arguments: Any) -> int:
        left = self.over_by - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.settimeout(left)
        return super().recv_into(*arguments)


class InTimeContext(ssl.SSLContext):
    """What is answered on a connection is over when the connection's time-out has passed once.

    Every call has a connection of its own: the client's library keeps none.
    """

    sslsocket_class = InTime

    def wrap_socket(self, sock: socket.socket, *arguments: Any, **named: Any) -> ssl.SSLSocket:
        began, timeout = time.monotonic(), sock.gettimeout()
        wrapped = super().wrap_socket(sock, *arguments, **named)
        if isinstance(wrapped, InTime) and timeout is not None:
            wrapped.over_by = began + timeout
        return wrapped


def in_time() -> ssl.SSLContext:
    """For the clients' `ssl`. It trusts what the machine trusts, `SSL_CERT_FILE` too."""
    context = InTimeContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    return context
