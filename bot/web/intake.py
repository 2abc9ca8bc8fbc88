"""The way of alerts from door to disk: what comes in while one commit is under way goes into the next, together.

One wake-up and one commit then serve many webhooks, which is what keeps a storm from crowding out the people in Slack.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

import structlog

from bot.intake.alerts import Message
from bot.journal import Busy

log = structlog.get_logger()

COMMIT_WITHIN_S: Final = 10.0
"""Longer than this for a commit, and the sender had better try again."""
CAPACITY: Final = 4_000
"""Messages that may wait; more than the journal can take in within COMMIT_WITHIN_S would only be waited for in vain."""
MOST_ALERTS: Final = 50_000
"""Alerts in them, which is what takes memory: 40 MB of ordinary ones. A storm of 10,000 is a fifth of it."""
ALERTS_TOGETHER: Final = 256
"""Alerts in one commit, a single larger message aside: milliseconds, since a click may have to wait for it."""
GATHER_S: Final = 0.001
"""Who was answered together sends again at the same time. To wait this long for them costs less than a commit each."""
GATHER_AT_MOST: Final = 64

TELL_EVERY_S: Final = 1.0
"""One line in the log for all that has come in meanwhile; in a storm it would be hundreds a second."""

Receive = Callable[[Sequence[Message]], "Future[list[int]]"]
Waiting = tuple[Message, "asyncio.Future[int]"]


@dataclass(slots=True)
class Flight:
    """A batch on its way to the disk, and the clock that runs for it."""

    batch: list[Waiting]
    late: asyncio.TimerHandle | None = None


class Intake:
    """Hands messages to `receive`, one batch after the other. Belongs to one event loop."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._waiting: deque[Waiting] = deque()
        self._alerts = 0
        """In all that waits."""
        self._under_way = False
        self._expected = 1
        """How many are likely to come in at the same time, by how many did last."""
        self._gathering: asyncio.TimerHandle | None = None
        self._news: Counter[str] = Counter()
        self._told_at = float("-inf")
        self._telling: asyncio.TimerHandle | None = None

    async def take(self, message: Message) -> int:
        """Returns the number of groups with news once the message is on disk. Raises Busy, or why it cannot be kept."""
        alerts = len(message.deliveries)
        # What waits for nobody is taken however large it is: it would be as large the next time.
        if len(self._waiting) >= CAPACITY or (self._waiting and self._alerts + alerts > MOST_ALERTS):
            raise Busy("too many alerts are waiting to be written")
        self._alerts += alerts
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((message, done))
        self._gather()
        return await done

    def _gather(self) -> None:
        """Sends what waits when all are here that can be expected, or have been waited for."""
        if self._under_way:
            return
        if len(self._waiting) >= self._expected:
            self._go()
        elif self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(GATHER_S, self._go)

    def _go(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if self._waiting and not self._under_way:
            self._send(self._next())

    def _next(self) -> list[Waiting]:
        batch = [self._waiting.popleft()]
        alerts = len(batch[0][0].deliveries)
        while self._waiting and alerts + (more := len(self._waiting[0][0].deliveries)) <= ALERTS_TOGETHER:
            batch.append(self._waiting.popleft())
            alerts += more
        self._alerts -= alerts
        return batch

    def _send(self, batch: list[Waiting]) -> None:
        loop = asyncio.get_running_loop()
        try:
            future = self._receive([message for message, _ in batch])
        except Busy as busy:
            self._turn_away(batch, busy)
            return
        self._under_way = True
        flight = Flight(batch)
        self._watch(flight)

        def landed(ended: "Future[list[int]]") -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._landed, flight, ended)

        future.add_done_callback(landed)

    def _watch(self, flight: Flight) -> None:
        """One clock for all in a batch: one for each would cost more than to read what it sent."""
        flight.late = asyncio.get_running_loop().call_later(COMMIT_WITHIN_S, self._give_up, flight)

    def _give_up(self, flight: Flight) -> None:
        """Nobody waits any longer for this batch, nor behind it; whoever comes later has as long again."""
        self._turn_away(flight.batch, Busy("the journal did not answer in time"))
        self._watch(flight)

    def _turn_away(self, batch: list[Waiting], busy: Busy) -> None:
        """Whoever sent these, or waits behind them, tries again."""
        for _, done in (*batch, *self._waiting):
            _fail(done, busy)
        self._waiting.clear()
        self._alerts = 0

    def _landed(self, flight: Flight, ended: "Future[list[int]]") -> None:
        batch = flight.batch
        if flight.late is not None:
            flight.late.cancel()
        self._under_way = False
        error = ended.exception()
        if error is None:
            for (_, done), news in zip(batch, ended.result(), strict=True):
                if not done.done():
                    done.set_result(news)
            if groups := sum(ended.result()):
                self._tell(batch, groups)
        elif len(batch) > 1 and not isinstance(error, Busy):
            # One of them cannot be written. It must not take its neighbours with it.
            for alone in batch:
                self._send([alone])
        else:
            for _, done in batch:
                _fail(done, error)
        self._expected = min(GATHER_AT_MOST, len(batch) + len(self._waiting))
        if self._waiting:
            self._gather()

    def _tell(self, batch: Sequence[Waiting], groups: int) -> None:
        """What has changed. What is merely repeated has no line: that is nearly everything in a storm."""
        messages = [message for message, _ in batch]
        self._news.update(
            webhooks=len(messages),
            alerts=sum(len(message.deliveries) for message in messages),
            groups_with_news=groups,
            truncated=sum(message.truncated for message in messages),
        )
        if self._telling is None:
            loop = asyncio.get_running_loop()
            wait = self._told_at + TELL_EVERY_S - loop.time()
            if wait <= 0:
                self._say()
            else:
                self._telling = loop.call_later(wait, self._say)

    def _say(self) -> None:
        self._telling, self._told_at = None, asyncio.get_running_loop().time()
        log.info("alerts_received", **self._news)
        self._news.clear()


def _fail(done: "asyncio.Future[int]", error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)
