"""Carries the client's requests over one connection, all of them over by one moment; imported only when needed."""

import re
import socket
import ssl
import time
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import Final, cast

import httpx2

from bot.contracts import Permanent, Transient
from bot.integrations.line import line_to
from bot.until import Until

MAX_ANSWER: Final = 16 * 1024 * 1024
"""Bytes: a list of all pods of a large node is one or two million."""


class Bounded(httpx2.BaseTransport):
    """The client's own time-outs begin anew with every byte, so a slow answer would never end.

    `deadline` is a moment of `time.monotonic()`; `timeout` is how many seconds that were, for the words.
    """

    def __init__(self, where: str, timeout: float, deadline: float, context: ssl.SSLContext) -> None:
        self._where = where
        self._timeout = timeout
        self._deadline = deadline
        self._context = context
        self._connection: HTTPConnection | None = None

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """The whole answer. Raises Transient, Permanent."""
        connection = self._open(request.url)
        writes = request.method != "GET"
        body = request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() != "accept-encoding"}
        try:
            connection.sock.settimeout(self._left())
            connection.request(request.method, request.url.raw_path.decode("ascii"), body or None, headers)
            response = connection.getresponse()
            with closing(response):
                answer = response.read(MAX_ANSWER + 1)
                if response.length and len(answer) <= MAX_ANSWER:
                    raise IncompleteRead(answer, response.length)
        except (OSError, HTTPException) as error:
            # The request was on its way: what could act may have acted.
            self.close()
            raise Transient(f"{self._where}: {self._reason(error)}", ambiguous=writes) from error
        if len(answer) > MAX_ANSWER:
            self.close()
            largest = f"{MAX_ANSWER // 1024 // 1024} MiB"
            raise Permanent(f"{self._where} answered with more than {largest}", ambiguous=writes)
        # The client asks every answer for its kind.
        kind = {"Content-Type": response.getheader("Content-Type", "")}
        wish = response.getheader("Retry-After", "").strip()
        if re.fullmatch(r"[0-9]{1,6}", wish):
            kind["Retry-After"] = wish
        return httpx2.Response(response.status, headers=kind, content=answer)

    def close(self) -> None:
        """Ends the connection; the next request would begin another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _left(self) -> float:
        return max(0.001, self._deadline - time.monotonic())

    def _open(self, url: httpx2.URL) -> HTTPConnection:
        connection = self._connection
        if connection is None:
            connection = line_to(url.scheme, url.host, url.port, self._deadline, self._context)
            connection.response_class = self._response  # type: ignore[assignment]
            self._connection = connection
        if connection.sock is None:
            try:
                connection.connect()
            except ssl.SSLCertVerificationError as error:
                raise Permanent(f"{self._where}: its certificate is not trusted: {error.verify_message}") from error
            except OSError as error:
                raise Transient(f"{self._where} cannot be reached: {self._reason(error)}") from error
        return connection

    def _response(self, sock: socket.socket, method: str | None = None) -> HTTPResponse:
        return HTTPResponse(cast(socket.socket, Until(sock, self._deadline)), method=method)

    def _reason(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer in {self._timeout:g} s"
        return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
