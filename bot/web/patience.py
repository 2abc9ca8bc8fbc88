"""How long the listeners wait for whoever connects, and how many may be connected: nobody holds a place by being slow.

uvicorn waits for ever for the rest of a request, and its own limit of connections turns away whoever comes last, which
among slow senders is everybody else.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final, cast

import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

log = structlog.get_logger()

TELL_EVERY_S: Final = 10.0
"""A flood of slow senders is one line in the log now and then, not a flood there as well."""
SLOW: Final = "slow_{}".format
REPLACED, FULL = "replaced", "full"
TURNED_AWAY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\ncontent-type: application/json\r\n"
    b'content-length: 28\r\n\r\n{"error": "busy, try again"}'
)


class Stage(Enum):
    """What a connection is at."""

    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    IDLE = auto()
    """Between two requests; uvicorn counts that by itself."""


WITHIN_S: Final = {
    Stage.HEAD: 10.0,
    Stage.BODY: 30.0,  # 16 MiB at 5 Mbit/s
    Stage.ANSWER: 60.0,  # a commit may take 10 s, and whoever asks may read slowly
}


WHY: Final = (*(SLOW(stage.name.lower()) for stage in WITHIN_S), REPLACED, FULL)
"""What a connection may be cut or refused for."""


@dataclass(slots=True)
class Watch:
    """What the connections of one listener share: at most `most` of them, and `within_s` seconds for each stage.

    `counts` are the connections that were cut or refused since the start, by why.
    """

    listener: str
    most: int
    within_s: Mapping[Stage, float] = field(default_factory=lambda: WITHIN_S)
    look_every_s: float = 1.0
    counts: Counter[str] = field(default_factory=Counter)
    _told: Counter[str] = field(default_factory=Counter)
    _told_at: float = float("-inf")
    _looks: bool = False

    def begin(self, loop: asyncio.AbstractEventLoop, connections: Collection["Patience"]) -> None:
        """Looks at the connections again and again, for as long as there are any."""
        if not self._looks:
            self._looks = True
            loop.call_later(self.look_every_s, self._look, loop, connections)

    def _look(self, loop: asyncio.AbstractEventLoop, connections: Collection["Patience"]) -> None:
        now = loop.time()
        for one in tuple(connections):
            stage = one.waits_for()
            if now - one.since > self.within_s.get(stage, float("inf")):
                one.cut(SLOW(stage.name.lower()))
        self._looks = False
        if connections:
            self.begin(loop, connections)

    def note(self, why: str, peer: str, now: float) -> None:
        """A connection was cut or refused; `now` is the event loop's."""
        self.counts[why] += 1
        if now - self._told_at >= TELL_EVERY_S:
            log.warning("connections_refused", listener=self.listener, **(self.counts - self._told), last=peer)
            self._told, self._told_at = self.counts.copy(), now


class Patience(HttpToolsProtocol):
    """uvicorn's own protocol, that hangs up on whoever takes too long over a request or over its answer.

    Where as many connections are open as there may be, a new one takes the place of the one that has been waited for
    longest. One whose request is being worked on is never cut for that; if there are only such, the new one hears 503.
    """

    def __init__(
        self,
        watch: Watch,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._watch = watch
        self._is_whole = True
        self._is_cut = False
        self._enter(Stage.IDLE)

    def _enter(self, stage: Stage) -> None:
        self._stage, self.since = stage, self.loop.time()

    def waits_for(self) -> Stage:
        """What it is at. An answer that is not read counts as none, though uvicorn is done with it."""
        return Stage.ANSWER if self.transport.get_write_buffer_size() else self._stage

    def cut(self, why: str) -> None:
        """Hangs up at once: in good order one would wait for what the other side does not read."""
        if not self._is_cut:
            self._is_cut = True
            self._watch.note(why, self.client[0] if self.client else "", self.loop.time())
            self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has connected; the head of a request is due from now."""
        super().connection_made(transport)
        connections = cast("set[Patience]", self.connections)
        if len(connections) > self._watch.most:
            waited_for = (one for one in connections if one is not self and one.can_be_cut())
            slowest = min(waited_for, key=lambda one: one.since, default=None)
            if slowest is None:
                self._watch.note(FULL, self.client[0] if self.client else "", self.loop.time())
                transport.write(TURNED_AWAY)
                transport.close()
                return
            slowest.cut(REPLACED)
        self._enter(Stage.HEAD)
        self._watch.begin(self.loop, connections)

    def can_be_cut(self) -> bool:
        """Whether nobody is at work for it."""
        return self.waits_for() is not Stage.ANSWER and not self.transport.is_closing()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._is_whole = False
        self._enter(Stage.HEAD)

    def on_headers_complete(self) -> None:
        """Its head is here."""
        super().on_headers_complete()
        self._enter(Stage.BODY)

    def on_message_complete(self) -> None:
        """All of it is here; it may have been answered already."""
        super().on_message_complete()
        self._is_whole = True
        self._enter(Stage.IDLE if self.cycle.response_complete else Stage.ANSWER)

    def on_response_complete(self) -> None:
        """An answer is out. Whoever is still sending has no more time for it than before."""
        super().on_response_complete()
        if self._is_whole:
            self._enter(Stage.IDLE if self.cycle.response_complete else Stage.ANSWER)


def patience(watch: Watch) -> type[asyncio.Protocol]:
    """The protocol for a listener of uvicorn's."""

    class Watched(Patience):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(watch, *given, **named)

    return Watched
