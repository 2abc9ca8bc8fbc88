"""A load generator in one event loop: keep-alive connections, closed loop or a steady pace, loopback only.

Plain protocols instead of an HTTP client, so that what is measured is the server: a request costs this side some 30 us.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

LOOPBACK: Final = "127.0.0.1"
END_OF_HEAD: Final = b"\r\n\r\n"
LENGTH: Final = b"content-length:"
PATIENCE_S: Final = 20.0
"""How long after the end of a run answers may still come in."""


class Refusal(Exception):
    """The server answered something else than 2xx, or hung up: what would be measured is not the work."""


@dataclass
class Result:
    """What one stream of requests met with: a latency in seconds for each, and how long all of it took."""

    latencies: list[float] = field(default_factory=list)
    took: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.took

    def quantile(self, part: float) -> float:
        """The latency in seconds below which this part of the answers lie."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


class Connection(asyncio.Protocol):
    """One connection, one request at a time. `landed` is called with it after each answer, in the event loop."""

    def __init__(self, landed: Callable[["Connection", float], None], failed: Callable[[Refusal], None]) -> None:
        self._landed = landed
        self._failed = failed
        self.answer = b""
        self._sent_at = 0.0
        self._closing = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, request: bytes) -> None:
        """Sends the next request; only after the answer to the one before."""
        self.answer = b""
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def close(self) -> None:
        """Hangs up."""
        self._closing = True
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self.answer += data
        head, found, body = self.answer.partition(END_OF_HEAD)
        if not found:
            return
        _, _, rest = head.lower().partition(LENGTH)
        if len(body) < int(rest.partition(b"\r\n")[0] or 0):
            return
        if self.answer[9:10] != b"2":
            self._failed(Refusal(self.answer[:400].decode("utf-8", "replace")))
        else:
            self._landed(self, time.perf_counter() - self._sent_at)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._closing:
            self._failed(Refusal(f"the server hung up ({exc})"))


async def connect(port: int, landed: Callable[[Connection, float], None], end: "asyncio.Future[None]") -> Connection:
    """A connection whose failure ends the run."""

    def failed(refusal: Refusal) -> None:
        if not end.done():
            end.set_exception(refusal)

    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection(landed, failed), LOOPBACK, port)
    return connection


async def closed_loop(
    port: int, requests: Iterator[bytes], *, concurrency: int, seconds: float = 0.0, count: int = 0
) -> Result:
    """Each of `concurrency` connections sends as soon as it has its answer, for so many seconds or requests."""
    result, working, sent = Result(), concurrency, 0
    end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    began = time.perf_counter()

    def more() -> bool:
        return sent < count if count else time.perf_counter() - began < seconds

    def landed(connection: Connection, latency: float) -> None:
        nonlocal working, sent
        result.latencies.append(latency)
        if more():
            sent += 1
            connection.send(next(requests))
            return
        working -= 1
        if not working and not end.done():
            end.set_result(None)

    connections = [await connect(port, landed, end) for _ in range(concurrency)]
    began = time.perf_counter()
    for connection in connections:
        sent += 1
        connection.send(next(requests))
    try:
        await asyncio.wait_for(end, seconds + PATIENCE_S)
    finally:
        result.took = time.perf_counter() - began
        for connection in connections:
            connection.close()
    return result


@dataclass(frozen=True)
class Stream:
    """Requests that leave at a steady pace, `rate` a second, whether or not the answers keep up."""

    requests: Iterator[bytes]
    rate: float
    expected: bytes = b""
    """What every answer must hold, so that nothing is measured but the work."""


async def paced(port: int, streams: Sequence[Stream], seconds: float) -> list[Result]:
    """All streams at once; a request that finds no idle connection opens one, so slow answers hold nothing up."""
    end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    results = await asyncio.gather(*(_paced(port, stream, seconds, end) for stream in streams))
    if end.done():
        end.result()
    return list(results)


async def _paced(port: int, stream: Stream, seconds: float, end: "asyncio.Future[None]") -> Result:
    result, idle, everyone = Result(), list[Connection](), list[Connection]()

    def landed(connection: Connection, latency: float) -> None:
        result.latencies.append(latency)
        idle.append(connection)
        if stream.expected not in connection.answer and not end.done():
            end.set_exception(Refusal(connection.answer.decode("utf-8", "replace")))

    loop = asyncio.get_running_loop()
    began, sent = loop.time(), 0
    while not end.done() and (due := sent / stream.rate) < seconds:
        await asyncio.sleep(max(0.0, began + due - loop.time()))
        if not idle:
            everyone.append(connection := await connect(port, landed, end))
        else:
            connection = idle.pop()
        connection.send(next(stream.requests))
        sent += 1
    limit = loop.time() + PATIENCE_S
    while len(result.latencies) < sent and not end.done() and loop.time() < limit:
        await asyncio.sleep(0.01)
    result.took = loop.time() - began
    for connection in everyone:
        connection.close()
    if len(result.latencies) < sent and not end.done():
        raise Refusal(f"{sent - len(result.latencies)} requests were never answered")
    return result
