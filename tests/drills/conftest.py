"""A fleet on a clock that a drill moves, seen by a real Prometheus and repaired through real doors.

Only time is ours: samples carry the clock's, and every question to Prometheus is asked as of then. So minutes of
windows and waiting pass in milliseconds, however fast the machine is.
"""

import http.client
import http.server
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
import yaml
from starlette.applications import Starlette

import bot.workbench.monitoring as monitoring_package
from bot.app import runbook_parts
from bot.config import Config, load
from bot.quality.canary import figures
from bot.quality.exposition import text
from bot.runbook.preview import Parts
from bot.workbench.fleet import Fleet, fleet_app
from bot.workbench.server import Servers, Site, bind
from bot.workbench.settings import FLAGS, Ports, Secrets, write_bot_files
from tests.drills.ingest import Scraper
from tests.servers import free_port, program, running, wait_for

EVERY_S = 5.0
"""Between two scrapes."""
APART_S = 70 * 60.0
"""Between two drills: longer than any window, so that none sees the one before."""


@dataclass
class Clock:
    """Wall time that stands still until somebody moves it.

    It begins three days ago: Prometheus takes no tomorrow, and all drills together last for more than one day.
    """

    now: float = field(default_factory=lambda: float(int(time.time()) - 3 * 86_400))

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Past:
    """A real Prometheus on `port`; who asks at `asks` is answered as of the clock's time."""

    clock: Clock
    port: int
    asks: int

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The vector that an expression gives at the clock's time."""
        status, body = fetch(self.asks, f"/api/v1/query?query={quote(expression)}")
        assert status == 200, body
        found: list[dict[str, Any]] = json.loads(body)["data"]["result"]
        return found


def fetch(port: int, path: str) -> tuple[int, str]:
    """One GET on loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def relay(clock: Clock, port: int) -> http.server.ThreadingHTTPServer:
    """Hands questions on to Prometheus, with the time of the clock."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = urlencode([*parse_qsl(parts.query), ("time", f"{clock.now:.3f}")])
            status, body = fetch(port, f"{parts.path}?{asked}")
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    """One Prometheus for all drills of a file."""
    binary, folder, clock = program("prometheus", "prometheus"), tmp_path_factory.mktemp("past"), Clock()
    port = free_port()
    (folder / "prometheus.yml").write_text("global: {}\n")
    command = [
        binary,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=7d",
        "--web.enable-remote-write-receiver",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = folder / "log"
    with running(command, port, log) as process:
        wait_for(lambda: fetch(port, "/-/ready")[0] == 200, "Prometheus is not ready", process, log)
        with relay(clock, port) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield Past(clock, port, server.server_address[1])
            finally:
                server.shutdown()
                thread.join()
    shutil.rmtree(folder / "data")


@dataclass
class World:
    """A fleet behind its real door, the bot's configuration for it, and what its runbooks are carried out by."""

    fleet: Fleet
    past: Past
    config: Config
    parts: Parts
    port: int
    scraper: Scraper
    flies: bool = False
    """Whether the bot's canaries ask the fleet; only what is about them waits for their answers."""

    @property
    def now(self) -> float:
        return self.past.clock.now

    def passes(self, seconds: float) -> None:
        """Time goes by, scrape by scrape. Where canaries fly, the bot's own metrics are scraped too."""
        for _ in range(round(seconds / EVERY_S)):
            self.past.clock.now += EVERY_S
            status, page = fetch(self.port, "/metrics")
            assert status == 200
            self.scraper.take(page + self.asked(), self.now)

    def asked(self) -> str:
        """What the canaries of the configuration tell now, as the bot's own metrics have it."""
        if not self.flies:
            return ""
        rounds = [canary.round(lambda: datetime.fromtimestamp(self.now, UTC)) for canary in self.config.canaries]
        return text(figures([one for one in rounds if one is not None]))


@contextmanager
def world_of(past: Past, folder: Path) -> Iterator[World]:
    """A new fleet, well and in its stride."""
    past.clock.now += APART_S
    secrets, listener = Secrets.new(), bind(0, "--fleet-port")
    port = int(listener.getsockname()[1])
    path = write_bot_files(folder, Ports(fleet=port, prometheus=past.asks), secrets)
    fleet = Fleet(past.clock, flags=folder / FLAGS)
    servers = Servers([Site(Starlette(routes=fleet_app(fleet, secrets.fleet_token)), listener)])
    servers.start()
    config, faults = load(path, secrets.bot_environment().get)
    assert faults == []
    assert config is not None
    scraper = Scraper(past.port, {"job": "inference"})
    try:
        world = World(fleet, past, config, runbook_parts(config), port, scraper)
        world.passes(90)
        yield world
    finally:
        scraper.end(past.clock.now + 1)
        servers.stop()


@pytest.fixture
def world(past: Past, tmp_path: Path) -> Iterator[World]:
    with world_of(past, tmp_path) as made:
        yield made


def rules() -> dict[str, dict[str, Any]]:
    """The workbench's alerts by name."""
    path = Path(monitoring_package.__file__).parent / "rules.yml"
    groups = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}
