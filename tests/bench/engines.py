"""What the queue adds on PostgreSQL: three real servers, with and without it, in the same minutes on the same machine.

    python -m tests.bench.engines [polling | notify | queue] ...

`polling` is `queue = false`; `notify` is LISTEN and NOTIFY by hand (notified.py); `queue` is what is shipped. About two
minutes each, loopback only, and it cleans up after itself. The figures of docs/decisions/0014 are from here.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from bot.desk import Desk
from bot.engine.leaving import Leaving
from bot.incident.events import AckDeadlineMissed, Severity
from bot.incident.policy import Policy
from bot.intake.alerts import Delivery, Message
from bot.intake.reading import Reading
from bot.journal import Journal
from bot.journal.database import DatabaseClock, open_engine
from bot.journal.errands import HandOn
from bot.workbench.server import Servers, Site, bind
from tests.bench import house, outside, traffic
from tests.bench.load import closed_loop
from tests.bench.measure import SETTLE_S, warm_up
from tests.bench.notified import Notifying
from tests.databases import PostgreSQL, postgresql
from tests.servers import free_port

SERVERS: Final = 3
IDLE_S: Final = 8.0
ACKNOWLEDGE_S: Final = 4
SELDOM, SELDOM_S = 20, 1.37
"""So seldom that every server is at rest in between, and by turns at another moment of its second."""
OFTEN, OFTEN_S = 40, 0.27
COMMANDS: Final = 80
LOAD_S: Final = 4.0
KILLS: Final = 3
STEADY_S: Final = 9.5
"""After a start a server judges nobody for eight seconds (bot/journal/servers.py)."""
READY_S: Final = 60.0
POLICY: Final = f'[deadlines]\nacknowledge = "{ACKNOWLEDGE_S}s"\nescalations = 1\n'
PROGRAMS: Final = {"polling": "bot.cli", "notify": "tests.bench.notified", "queue": "bot.cli"}
HANDS_ON: Final[dict[str, HandOn | None]] = {
    "polling": None,
    "notify": Notifying("default"),
    "queue": Leaving("default"),
}


@dataclass
class World:
    """Slack and PagerDuty, and when what came in; the page of `hangs` does so once, and we know from which port."""

    pages: dict[str, float] = field(default_factory=dict)
    hangs: str = ""
    hangs_at: int = 0

    def app(self) -> Starlette:
        rest = outside.app()

        async def page(request: Request) -> Response:
            found = outside.LONE.search(await request.body())
            number = found[1].decode() if found else ""
            if self.hangs and self.hangs == number and request.client:
                self.hangs, self.hangs_at = "", request.client.port
                while not await request.is_disconnected():
                    await asyncio.sleep(0.05)
                return Response(status_code=504)
            self.pages.setdefault(number, time.monotonic())
            return JSONResponse({"status": "success", "message": "Event processed", "dedup_key": "d"}, 202)

        return Starlette(routes=[Route("/v2/enqueue", page, methods=["POST"]), Mount("/", rest)])


class Server:
    """One `fixfirst serve`, which can be killed and begun again."""

    def __init__(self, folder: Path, variant: str, outside_port: int, database: str) -> None:
        folder.mkdir(parents=True)
        self._folder, self._variant, self._database = folder, variant, database
        self.port = free_port()
        names = {"team": traffic.TEAM, "channel": traffic.CHANNEL, "group": traffic.GROUP, "person": traffic.PERSON}
        text = house.CONFIG.format(doors=self.port, pages=free_port(), outside=outside_port, **names)
        queue = f"queue = {str(variant != 'polling').lower()}\n"
        (folder / "fixfirst.toml").write_text(queue + text + POLICY)
        self.start()

    def start(self) -> None:
        environment = {**os.environ, **house.SECRETS, "FIXFIRST_DATABASE": self._database}
        program = ["-m", PROGRAMS[self._variant], "serve", "--json", "--config", str(self._folder / "fixfirst.toml")]
        with (self._folder / "output.log").open("ab") as log:
            self._process = subprocess.Popen([sys.executable, *program], env=environment, stdout=log, stderr=log)
        until(self._answers, READY_S)

    def _answers(self) -> bool:
        with contextlib.suppress(house.NotReady):
            house.wait_for(self.port, traffic.first_of_its_group(0))
            return True
        return False

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        self._process.send_signal(how)
        self._process.wait(20)

    def resident_mb(self) -> float:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    def calls_from(self, port: int) -> bool:
        """Whether one of its connections has this port on our side."""
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        inodes = {f"socket:[{line[9]}]" for line in lines if int(line[1].split(":")[1], 16) == port}
        held = set()
        for handle in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                held.add(os.readlink(handle))
        return bool(inodes & held)


class Elsewhere:
    """A process that commits news and does nothing about them, as one that dies right after would."""

    def __init__(self, database: str, variant: str) -> None:
        engine = open_engine(database)
        self.journal = Journal(engine, "default", DatabaseClock(engine), lambda _: None, HANDS_ON[variant])
        self._desk = Desk(self.journal, Policy(), Reading(), lambda: None)

    def fires(self, number: int) -> float:
        """An alert that opens an incident of its own; gives when it was committed."""
        name = f"lone-{number}"
        alert = Delivery(
            fingerprint=name,
            firing=True,
            name="LLMErrorRatioHigh",
            title=f"{name} fails",
            severity=Severity.SEV1,
            service=name,
            model=name,
            runbook="",
            labels={"service": name},
            starts_at=self.journal.clock(),
            ends_at=None,
        )
        self._desk.receive([Message("alertmanager", (alert,), 0)]).result()
        return time.monotonic()


def quantiles(waits: Sequence[float]) -> str:
    ordered = sorted(waits)
    return f"{1e3 * ordered[len(ordered) // 2]:.0f} / {1e3 * ordered[int(len(ordered) * 0.99)]:.0f} ms"


def until(happened: Callable[[], bool], within_s: float) -> None:
    limit = time.monotonic() + within_s
    while not happened():
        if time.monotonic() > limit:
            raise house.NotReady("it never happened")
        time.sleep(0.005)


def idle(postgres: PostgreSQL) -> str:
    """Statements a second that all servers together send, by PostgreSQL's own log."""
    with postgres.statements() as count:
        time.sleep(IDLE_S)
        return f"{count().total() / IDLE_S:.1f}/s"


def probes(world: World, numbers: range, every_s: float, fire: Callable[[int], float]) -> str:
    """From the commit, or the request, to the page at PagerDuty."""
    at = {}
    for number in numbers:
        at[str(number)] = fire(number)
        time.sleep(every_s)
    until(lambda: at.keys() <= world.pages.keys(), 20)
    return quantiles([world.pages[number] - sent for number, sent in at.items()])


def knock(port: int) -> Callable[[int], float]:
    def fire(number: int) -> float:
        began = time.monotonic()
        house.wait_for(port, traffic.first_of_its_group(number))
        return began

    return fire


def processor_time(postgres: PostgreSQL, servers: Sequence[Server]) -> float:
    """Seconds that all of them have worked so far."""
    ticks = 0
    for pid in [server.pid for server in servers] + postgres.processes():
        with contextlib.suppress(OSError):
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(after_name[11]) + int(after_name[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def deadlines(journal: Journal) -> str:
    late = []
    for incident in journal.recent(500):
        for entry in journal.entries(incident.id):
            if isinstance(entry.event, AckDeadlineMissed) and entry.event.level == 1:
                late.append((entry.recorded_at - incident.opened_at).total_seconds() - ACKNOWLEDGE_S)
    return f"{quantiles(late)} of {len(late)}"


def load(port: int) -> tuple[str, str]:
    """Webhooks of one alert nobody has seen, sixteen at a time; then commands with nothing else to do."""
    result = asyncio.run(closed_loop(port, traffic.news(1), concurrency=16, seconds=LOAD_S))
    time.sleep(SETTLE_S)
    clicks = asyncio.run(closed_loop(port, traffic.commands(), concurrency=1, count=COMMANDS))
    return f"{result.rate:.0f}/s, p99 {1e3 * result.quantile(0.99):.0f} ms", quantiles(clicks.latencies)


def kills(world: World, servers: Sequence[Server], elsewhere: Elsewhere, first: int) -> str:
    """From kill -9 of the server that has a page in hand until PagerDuty has it from another."""
    waits = []
    for number in range(first, first + KILLS):
        time.sleep(STEADY_S)
        world.hangs_at, world.hangs = 0, str(number)
        elsewhere.fires(number)
        until(lambda: world.hangs_at > 0, 10)
        victim = holder(servers, world.hangs_at)
        killed = time.monotonic()
        victim.stop(signal.SIGKILL)
        until(lambda number=number: str(number) in world.pages, 60)  # type: ignore[misc]
        waits.append(world.pages[str(number)] - killed)
        victim.start()
    return f"{sorted(waits)[len(waits) // 2]:.1f} s, at most {max(waits):.1f} s"


def holder(servers: Sequence[Server], port: int) -> Server:
    """Whose connection it is; the kernel's table is not read at once, so a look may miss it."""
    for _ in range(100):
        for server in servers:
            if server.calls_from(port):
                return server
    raise house.NotReady("no server holds that connection")


@contextlib.contextmanager
def together(folder: Path, variant: str, outside_port: int, database: str) -> Iterator[list[Server]]:
    with ThreadPoolExecutor(SERVERS) as pool:
        makes = lambda number: Server(folder / f"{variant}-{number}", variant, outside_port, database)  # noqa: E731
        servers = list(pool.map(makes, range(SERVERS)))
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()


def measured(postgres: PostgreSQL, variant: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Each figure of one variant with its name, as soon as it is known."""
    world = World()
    listener = bind(0, "--outside-port")
    rest = Servers([Site(world.app(), listener)])
    rest.start()
    database = postgres.new()
    with together(folder, variant, listener.getsockname()[1], database) as servers:
        elsewhere = Elsewhere(database, variant)
        warm_up(servers[0].port)
        time.sleep(2 * ACKNOWLEDGE_S)  # every escalation of the warm-up is over
        yield "statements of three idle servers", idle(postgres)
        yield "memory of a server, threads", f"{servers[1].resident_mb():.0f} MB, {servers[1].threads()}"
        yield "connections of three servers", f"{postgres.connections(database)}"
        yield (
            "committed elsewhere to page, p50 / p99",
            probes(world, range(1_000, 1_000 + SELDOM), SELDOM_S, elsewhere.fires),
        )
        before = processor_time(postgres, servers)
        yield "webhook to page, p50 / p99", probes(world, range(2_000, 2_000 + OFTEN), OFTEN_S, knock(servers[0].port))
        spent = processor_time(postgres, servers) - before
        yield "processor time for an incident, servers and PostgreSQL", f"{1e3 * spent / OFTEN:.0f} ms"
        time.sleep(ACKNOWLEDGE_S + 2)
        yield "deadlines late, p50 / p99", deadlines(elsewhere.journal)
        alerts, clicks = load(servers[0].port)
        yield "new alerts at c=16", alerts
        yield "slash command, p50 / p99", clicks
        yield "page of a killed server, p50", kills(world, servers, elsewhere, 3_000)
        elsewhere.journal.close()
    rest.stop()


def main(variants: Sequence[str]) -> None:
    """A Markdown table, one column for each variant."""
    rows: dict[str, list[str]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="fixfirst-bench-") as name, postgresql() as postgres:
        for variant in variants:
            for figure, found in measured(postgres, variant, Path(name)):
                sys.stderr.write(f"{variant}: {figure}: {found}\n")
                rows[figure].append(found)
    lines = ["| | " + " | ".join(variants) + " |", "|---|" + "---|" * len(variants)]
    lines += [f"| {figure} | " + " | ".join(found) + " |" for figure, found in rows.items()]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:] or list(PROGRAMS))
