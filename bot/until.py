"""A moment by which one exchange over a socket has to be over, however slowly the other side drips."""

import io
import socket
import time
from typing import Any


class Until(io.RawIOBase):
    """Reads a socket up to a fixed moment of `time.monotonic()`. Raises TimeoutError after it.

    A socket's own time-out begins anew with every byte, so a slow answer would never end. Holds the socket until it is
    closed itself, as what `socket.makefile` gives does: http.client closes its connection when the head of the last
    answer is read.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._socket = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What `HTTPResponse` asks of a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        """Lets go of the socket."""
        self._raw.close()
        super().close()
