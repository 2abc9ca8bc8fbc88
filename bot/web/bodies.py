"""Reads the bodies of requests: each within its limit, and all that are held at once within theirs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

from bot.contracts import Malformed
from bot.journal import Busy


class TooLarge(Exception):
    """The body is over the limit."""


class Bodies:
    """Bodies of at most `limit` bytes each and `room` bytes together. Belongs to one event loop.

    Whoever sends slowly would otherwise fill the memory with what is never complete.
    """

    def __init__(self, limit: int, room: int) -> None:
        self._limit = limit
        self._room = room
        self._held = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """The whole body, read no further than the limit. Raises TooLarge, Malformed; Busy when there is no room;
        ClientDisconnect."""
        limit = self._limit
        if request.headers.get("content-encoding", "identity") != "identity":
            raise Malformed("a compressed body is not accepted; send it plain")
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > limit:
            raise TooLarge(f"the body of {announced} bytes is over the limit of {limit}")
        chunks: list[bytes] = []
        size = 0
        try:
            more = True
            while more:
                part = await request.receive()
                if part["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunk, more = part.get("body", b""), part.get("more_body", False)
                if size + len(chunk) > limit:
                    raise TooLarge(f"the body is over the limit of {limit} bytes")
                if self._held + len(chunk) > self._room:
                    raise Busy("too many large requests at once")
                size += len(chunk)
                self._held += len(chunk)
                chunks.append(chunk)
            body = b"".join(chunks)
            chunks.clear()
            yield body
        finally:
            self._held -= size
