"""Lines to servers, open by a fixed moment of `time.monotonic()`, whichever of their addresses are dead."""

import socket
import ssl
import time
from http.client import HTTPConnection, HTTPSConnection
from typing import Final

from bot.integrations.names import Names

NAMES: Final = Names()


def open_line(host: str, port: int, deadline: float) -> socket.socket:
    """Connected to the first address that answers; an earlier one that is silent leaves a later one its share of time,
    and what is to be said afterwards too. Raises OSError."""
    failure: OSError = TimeoutError()
    addresses = NAMES.addresses(host, port, left_until(deadline))
    for at, one in enumerate(addresses):
        family, kind, protocol, _, address = one
        line = socket.socket(family, kind, protocol)
        try:
            line.settimeout(left_until(deadline) / (len(addresses) - at + 1))
            line.connect(address)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            line.close()
            failure = error
        else:
            NAMES.answered(host, port, one)
            line.settimeout(left_until(deadline))
            return line
    raise failure


def left_until(deadline: float) -> float:
    """Seconds. Raises TimeoutError when there are none."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class Line(HTTPConnection):
    """Speaks HTTP. `connect` raises OSError, and is over by the deadline."""

    def __init__(self, host: str, port: int | None, deadline: float) -> None:
        super().__init__(host, port)
        self._deadline = deadline

    def connect(self) -> None:
        self.sock = open_line(self.host, self.port, self._deadline)


class TlsLine(HTTPSConnection):
    """Speaks HTTP inside TLS. `connect` raises OSError, and is over by the deadline."""

    def __init__(self, host: str, port: int | None, deadline: float, context: ssl.SSLContext) -> None:
        super().__init__(host, port, context=context)
        self._deadline = deadline
        self._tls = context

    def connect(self) -> None:
        line = open_line(self.host, self.port, self._deadline)
        try:
            self.sock = self._tls.wrap_socket(line, server_hostname=self.host)
            self.sock.settimeout(left_until(self._deadline))
        except BaseException:
            line.close()
            raise


def line_to(
    scheme: str, host: str, port: int | None, deadline: float, context: ssl.SSLContext | None = None
) -> Line | TlsLine:
    """Not yet open. Without a `context` https trusts what the machine trusts."""
    if scheme == "https":
        return TlsLine(host, port, deadline, context or ssl.create_default_context())
    return Line(host, port, deadline)
