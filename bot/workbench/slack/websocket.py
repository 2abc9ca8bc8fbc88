"""The server's half of a WebSocket (RFC 6455) on a plain socket: as much of it as Socket Mode needs."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
from collections.abc import Mapping
from threading import Lock

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_TEXT, _CLOSE, _PING, _PONG, _CONTINUATION = 0x1, 0x8, 0x9, 0xA, 0x0
REQUEST_MAX_BYTES = 16_384
MESSAGE_MAX_BYTES = 4_000_000
HANDSHAKE_S = 5.0


class Closed(ConnectionError):
    """The other side has gone, or does not speak the protocol; nothing more can be said."""


def handshake(line: socket.socket) -> tuple[str, Mapping[str, str]]:
    """Read the client's opening request; returns its target and headers (names in lower case).

    Raises Closed when it is no WebSocket request. The caller then accepts or refuses it.
    """
    line.settimeout(HANDSHAKE_S)
    request = b""
    while b"\r\n\r\n" not in request:
        request += _some(line, 4096)
        if len(request) > REQUEST_MAX_BYTES:
            raise Closed("the opening request is too long")
    first, *rest = request.split(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (part.partition(":") for part in rest)}
    words = first.split(" ")
    if len(words) != 3 or headers.get("upgrade", "").lower() != "websocket":
        raise Closed("not a WebSocket request")
    return words[1], headers


def refuse(line: socket.socket) -> None:
    """Answer an opening request with 403."""
    line.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def accept(line: socket.socket, headers: Mapping[str, str]) -> WebSocket:
    """Answer an opening request with 101 and go on as a WebSocket."""
    key = hashlib.sha1(headers.get("sec-websocket-key", "").encode() + _GUID, usedforsecurity=False).digest()
    line.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(key) + b"\r\n\r\n"
    )
    line.settimeout(None)
    return WebSocket(line)


class WebSocket:
    """Text messages both ways; `send` may be called from any thread, `receive` from one."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._sending = Lock()

    def send(self, text: str) -> None:
        """Send one message; raises Closed."""
        self._frame(_TEXT, text.encode())

    def receive(self) -> str:
        """Wait for the next message, answering pings meanwhile; raises Closed at the end."""
        message = b""
        while True:
            final, kind, content = self._read()
            if kind == _PING:
                self._frame(_PONG, content)
            elif kind == _CLOSE:
                self._frame(_CLOSE, content[:2])
                raise Closed("closed by the client")
            elif kind in (_TEXT, _CONTINUATION):
                message += content
                if len(message) > MESSAGE_MAX_BYTES:
                    raise Closed("the message is too long")
                if final:
                    return message.decode("utf-8", "replace")

    def close(self) -> None:
        """Break the connection off; a waiting `receive` ends."""
        try:
            self._line.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it is gone already
        self._line.close()

    def _frame(self, kind: int, content: bytes) -> None:
        head = bytes([0x80 | kind])
        if len(content) < 126:
            head += bytes([len(content)])
        elif len(content) < 65_536:
            head += struct.pack("!BH", 126, len(content))
        else:
            head += struct.pack("!BQ", 127, len(content))
        with self._sending:
            try:
                self._line.sendall(head + content)
            except OSError as error:
                raise Closed(str(error)) from error

    def _read(self) -> tuple[bool, int, bytes]:
        first, second = self._exactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", self._exactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self._exactly(8))
        if length > MESSAGE_MAX_BYTES or not second & 0x80:
            raise Closed("a client's frame is masked and of a sane length")
        mask = self._exactly(4)
        content = bytes(byte ^ mask[place % 4] for place, byte in enumerate(self._exactly(length)))
        return bool(first & 0x80), first & 0x0F, content

    def _exactly(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            content += _some(self._line, count - len(content))
        return content


def _some(line: socket.socket, most: int) -> bytes:
    try:
        part = line.recv(most)
    except OSError as error:
        raise Closed(str(error)) from error
    if not part:
        raise Closed("the connection ended")
    return part
