"""A night under fire: servers are killed and hung, the database crashes, everything outside fails, and work goes on."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from bot.journal.database import open_engine
from bot.journal.servers import DEAD_AFTER, LEASE
from bot.outbox import SURE_FOR_S
from bot.workbench.launch import Workbench
from tests.chaos.people import Responder, responders, somebody_acts_in_pagerduty
from tests.chaos.plant import Plant
from tests.chaos.servers import READY_S, Servers
from tests.chaos.traffic import Echo, Monitor

SETTLED_S: Final = 150.0
"""Longer than what a dead server had claimed stays its own, with two pauses of a page after it."""
SETTLED_A_KILL_S: Final = 3.0
"""So much longer for each kill: a night leaves the more to be said in Slack the longer it was."""
LIFE_S: Final = 3.0
"""Twice as long as a start takes: who dies in each start does nothing that could be lost."""
PATIENCE: Final = 5
"""So many times the kills there may be, until a night has also seen something happen that cannot be taken back: how far
runbooks come between two kills is the machine's to say."""
HANG_S: Final = DEAD_AFTER.total_seconds() + 3.0
"""So long a server is stopped: the others have taken it for dead by then, and have taken over what it had in hand."""
LONG_HANG_S: Final = LEASE.total_seconds() + 5.0
"""So long where even a lease of somebody alive would have ended."""
HANG_ALONE_S: Final = SURE_FOR_S + 0.5
"""So long one that is alone: it must ask whether what it had in hand is still its own. Nobody takes over meanwhile."""
FAULTS: Final = 0.2
"""The share of the calls to Slack, PagerDuty and the plant that fail."""
ACKNOWLEDGE_S: Final = 4
ESCALATIONS: Final = 4
DEADLINES: Final = f"""
[deadlines]
acknowledge = "{ACKNOWLEDGE_S}s"
escalations = {ESCALATIONS}
"""
"""Short ones, so that many fall due while servers are dead."""


@dataclass(frozen=True)
class Plan:
    """How much fire: at least so many kills. One server on SQLite, or as many on PostgreSQL as `servers` says, of which
    up to `hanging` hang at a time, the first of each `long_every` for longer than a lease. `seed` makes kills, faults
    and traffic what they are, though not to the instruction.
    """

    kills: int
    seed: int
    servers: int = 0
    hangs: int = 0
    hanging: int = 1
    long_every: int = 0
    crashes: int = 0
    every_s: float = 0.1
    models_every: int = 12


@dataclass
class Fought:
    """What was done to the servers, and by whom they were kept busy. Bad weather lasted for `seconds`; `met` tells for
    each of the outside how many calls it got then, by how they failed (None: not). `ended_at` is when all was at rest.
    """

    plan: Plan
    servers: Servers
    plant: Plant
    echo: Echo
    monitor: Monitor
    people: list[Responder]
    kills: int = 0
    crashes: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    met: dict[str, Counter[Any]] = field(default_factory=dict)
    seconds: float = 0.0
    ended_at: datetime | None = None

    @property
    def hangs(self) -> int:
        return self.servers.hangs

    def failed(self, whom: str) -> int:
        """How many calls to that one failed on purpose."""
        return self.met[whom].total() - self.met[whom][None]


def fight(servers: Servers, plant: Plant, echo: Echo, plan: Plan) -> Fought:
    """Carries the plan out, lets the weather clear and everything come to rest, and ends the servers."""
    bench, began = servers.bench, time.monotonic()
    servers.start()
    bench.workspace.faults.steadily(FAULTS, plan.seed)
    bench.pagerduty.steadily(FAULTS, plan.seed)
    plant.weather.turns(FAULTS, plan.seed)
    monitor = Monitor(bench, plan.seed, plan.every_s, plan.models_every)
    fought = Fought(plan, servers, plant, echo, monitor, responders(bench, plan.seed))
    with ThreadPoolExecutor(plan.hanging) as hanging:
        ended = [hanging.submit(_hang, fought, number) for number in range(plan.hangs)]
        try:
            _kill(fought)
            for one in ended:
                one.result(plan.hangs * (LONG_HANG_S + READY_S))
        finally:
            fought.over.set()
    servers.wait_ready()
    fought.seconds = time.monotonic() - began
    fought.met = {
        "Slack": Counter(bench.workspace.faults.weather.met),
        "PagerDuty": Counter(bench.pagerduty.weather.met),
        "plant": Counter(plant.weather.met),
    }
    bench.workspace.faults.clear()
    bench.pagerduty.steadily(0.0, plan.seed)
    plant.weather.turns(0.0, plan.seed)
    monitor.ebb()
    for person in fought.people:
        person.go_home()
    settled = SETTLED_S + SETTLED_A_KILL_S * fought.kills
    eventually(lambda: all_told(bench), settled, "PagerDuty has told all it had to tell", every=0.05)
    eventually(lambda: at_rest(servers.database), settled, "everything is delivered", every=0.2)
    if plan.servers:
        eventually(lambda: no_job_is_left(servers.database), settled, "the queue is empty", every=0.2)
    fought.ended_at = datetime.now(UTC)
    servers.stop()
    return fought


def _kill(fought: Fought) -> None:
    plan, servers = fought.plan, fought.servers
    dice, site = random.Random(plan.seed), Site(fought)
    crash_after = set(dice.sample(range(plan.kills), plan.crashes))
    for number in range(plan.kills * PATIENCE):
        if number >= plan.kills and fought.plant.destroyed():
            return
        site.wait_for_a_moment(dice)
        dead = servers.kill_one(dice)
        fought.kills += 1
        if number in crash_after:
            fought.crashes += servers.crash_database()
        if dice.random() < 0.3:
            somebody_acts_in_pagerduty(servers.bench, dice)
        dead.start()
        if dice.random() < 0.8:  # else the next is killed while this one is still beginning, or this one again
            servers.bring_up(dead)


def _hang(fought: Fought, number: int) -> None:
    servers, dice, site = fought.servers, random.Random(fought.plan.seed + number), Site(fought)
    stopped = None
    while stopped is None and not fought.over.is_set():
        site.wait_for_a_moment(dice)
        stopped = servers.hang_one(dice)
    if stopped is not None:
        time.sleep(_how_long(fought.plan, number))
        servers.wake(stopped)


def _how_long(plan: Plan, number: int) -> float:
    if not plan.servers:
        return HANG_ALONE_S
    return LONG_HANG_S if plan.long_every and number % plan.long_every == 0 else HANG_S


class Site:
    """The outside as a killer sees it: when something new has just come to be there."""

    def __init__(self, fought: Fought) -> None:
        bench, monitor = fought.servers.bench, fought.monitor
        self._bench = bench
        self._seen: list[Callable[[], int]] = [
            lambda: monitor.accepted,
            bench.pagerduty.weather.met.total,
            lambda: len(bench.workspace.state.channels),
            bench.workspace.faults.weather.met.total,
            lambda: sum(fought.plant.asked.values()),
            self._messages,
        ]

    def _messages(self) -> int:
        with self._bench.workspace.state.lock:
            return sum(len(channel.messages) for channel in self._bench.workspace.state.channels.values())

    def wait_for_a_moment(self, dice: random.Random) -> None:
        """Any moment, or one just after something new is seen outside: there a process has most to lose."""
        if dice.random() < 0.4:
            time.sleep(dice.uniform(0.0, LIFE_S))
            return
        seen = dice.choice(self._seen)
        before, deadline = seen(), time.monotonic() + 1.0
        while seen() == before and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(dice.choice((dice.uniform(0.0, 0.03), dice.uniform(0.1, 0.8))))


def eventually(holds: Callable[[], object], within: float, what: str, every: float = 0.005) -> None:
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {within} s"
        time.sleep(every)


def all_told(bench: Workbench) -> bool:
    """PagerDuty waits longer after each failure; here somebody presses "retry now"."""
    subscription = bench.pagerduty.subscription
    with subscription.lock:
        for queue in subscription.queues.values():
            for delivery in queue:
                delivery.due_at = 0.0
        return not any(subscription.queues.values())


def at_rest(url: str) -> bool:
    """Whether nothing is left to do. Killed attempts count as attempts, so a pause may last a minute by now; all but
    pages need not wait it out here. A server that has its hands on the same rows is in the right."""
    try:
        return _hurried(url)
    except OperationalError:
        return False


def _hurried(url: str) -> bool:
    with opened(url) as database:
        database.execute(
            text(
                "UPDATE outbox SET due_at = created_at WHERE state = 'waiting' AND claim IS NULL AND courier <> 'pager'"
            )
        )
        waiting = database.execute(text("SELECT count(*) FROM outbox WHERE state = 'waiting'")).scalar_one()
        news = database.execute(text("SELECT count(*) FROM inbox WHERE drained_at IS NULL")).scalar_one()
    return not waiting and not news


def no_job_is_left(url: str) -> bool:
    """Whether each job of procrastinate's has ended: one that never does keeps all later ones of its lane waiting."""
    with opened(url) as database:
        return not database.execute(text("SELECT count(*) FROM procrastinate_jobs")).scalar_one()


@contextmanager
def opened(url: str) -> Iterator[Connection]:
    engine = open_engine(url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()
