"""The measurements: each drives floor and product in the same round, so that a ratio means something on any machine."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from tests.bench import house, traffic
from tests.bench.load import Stream, closed_loop, paced

Traffic = Callable[[int], Iterator[bytes]]

CLICKS_A_SECOND: Final = 50.0
CLICKS_FOR_S: Final = 10.0
SHAPES: Final = {"500 webhooks/s of 1 alert": (500.0, 1), "10 webhooks/s of 50 alerts": (10.0, 50)}
"""Five hundred alerts a second, as single alerts and as grouped ones: webhooks a second, alerts in each."""
INTAKE_FOR_S: Final = 1.5
KINDS: Final[dict[str, Traffic]] = {"repeats": traffic.repeats, "new": traffic.news}
CONCURRENCY: Final = (1, 16, 64)
SETTLE_S: Final = 3.0
STORM: Final = 1_000
STORMS: Final = 4
CARDS: Final = 100
CARDS_EVERY_S: Final = 0.15
SELDOM_S: Final = 0.5
"""For PostgreSQL: the pace above piles up there where its server and the load share two cores with us."""


@dataclass(frozen=True)
class Pair:
    """The same load on both: seconds or rates, whatever the measurement is about."""

    floor: float
    product: float


@dataclass(frozen=True)
class Click:
    """Seconds of a slash command: by a bare door that keeps nothing, by a Bolt listener that does nothing, by us."""

    bare: float
    listener: float
    product: float


def _rendered(requests: Iterator[bytes], count: float) -> Iterator[bytes]:
    """The requests made before the clock runs."""
    return iter(list(itertools.islice(requests, int(count) + 1)))


def warm_up(*ports: int) -> None:
    """Opens the incidents that commands are about, and lets every path run once."""
    for port in ports:
        asyncio.run(closed_loop(port, traffic.repeats(), concurrency=1, count=2 * traffic.SERVICES))
    time.sleep(SETTLE_S)


async def clicks(port: int, rate: float, alerts: int, expected: bytes = b"") -> tuple[float, float]:
    """p50 and p99 in seconds of a slash command's acknowledgement while the alerts come in."""
    commands = _rendered(traffic.commands(), CLICKS_A_SECOND * CLICKS_FOR_S)
    webhooks = _rendered(traffic.mixed(alerts), rate * CLICKS_FOR_S)
    answers, _ = await paced(port, [Stream(commands, CLICKS_A_SECOND, expected), Stream(webhooks, rate)], CLICKS_FOR_S)
    return answers.quantile(0.5), answers.quantile(0.99)


def click(bare: int, keeper: int, product: int, rate: float, alerts: int) -> tuple[Click, Click]:
    """p50 and p99 of a slash command's acknowledgement, from all three in the same minute."""
    nothing = asyncio.run(clicks(bare, rate, alerts))
    idle = asyncio.run(clicks(keeper, rate, alerts))
    real = asyncio.run(clicks(product, rate, alerts, b'"ephemeral"'))
    return Click(nothing[0], idle[0], real[0]), Click(nothing[1], idle[1], real[1])


def intake(floor: int, product: int, kind: Traffic, concurrency: int) -> Pair:
    """Alerts a second, each on disk when it is answered, one alert a webhook."""

    def rate(port: int) -> float:
        return asyncio.run(closed_loop(port, kind(1), concurrency=concurrency, seconds=INTAKE_FOR_S)).rate

    return Pair(rate(floor), rate(product))


def storm(floor: int, product: int) -> Pair:
    """Seconds until one webhook with a thousand new alerts is on disk and answered."""

    def median(port: int) -> float:
        requests = _rendered(traffic.news(STORM), STORMS)
        return asyncio.run(closed_loop(port, requests, concurrency=1, count=STORMS)).quantile(0.5)

    return Pair(median(floor), median(product))


def reach(
    product: int, outside: int, count: int = CARDS, every_s: float = CARDS_EVERY_S
) -> dict[str, tuple[float, float]]:
    """p50 and p99 in seconds from sending the webhook of a new incident to its page's and its card's arrival; what does
    not arrive took for ever. Once for each process of the outside, which knows incidents by their number."""
    sent: dict[str, float] = {}
    for number in range(count):
        sent[str(number)] = time.monotonic()
        house.wait_for(product, traffic.first_of_its_group(number))
        time.sleep(every_s)
    found: dict[str, tuple[float, float]] = {}
    for what in ("paged", "posted"):
        limit = time.monotonic() + 10.0
        while len(arrived := house.came_in(outside, what)) < count and time.monotonic() < limit:
            time.sleep(0.05)
        waits = sorted(arrived.get(number, float("inf")) - at for number, at in sent.items())
        found[what] = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
    return found
