"""The processes that are measured: the real `fixfirst serve`, the floor and the outside world, as children."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.bench import traffic
from tests.bench.load import LOOPBACK
from tests.servers import free_port

READY_WITHIN_S: Final = 20.0
POLL_S: Final = 0.005

CONFIG: Final = """\
data_dir = "data"
postmortems_dir = "postmortems"
[doors]
port = {doors}
[pages]
port = {pages}
[slack]
api_url = "http://127.0.0.1:{outside}/api/"
team_id = "{team}"
intake_channel = "{channel}"
[access]
responders = ["{group}"]
[[oncall.rota]]
users = ["{person}"]
handover = "2026-01-05T09:00:00Z"
[pagerduty]
api_url = "http://127.0.0.1:{outside}"
events_url = "http://127.0.0.1:{outside}"
[prometheus]
url = "http://127.0.0.1:{outside}"
"""
SECRETS: Final = {
    "FIXFIRST_SLACK_BOT_TOKEN": "xoxb-bench",
    "FIXFIRST_SLACK_SIGNING_SECRET": traffic.SLACK_SECRET,
    "FIXFIRST_PAGERDUTY_ROUTING_KEY": "0123456789abcdef0123456789abcdef",
    "FIXFIRST_ALERTMANAGER_TOKENS": traffic.ALERT_TOKEN,
}


class NotReady(Exception):
    """A child did not come up, or did not answer as it must."""


@contextmanager
def child(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """A Python child with its output in `folder`; gives its process id, and ends it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments], env={**os.environ, **(env or {})}, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(port: int, request: bytes) -> None:
    """Returns with the first 2xx answer to the request. Raises NotReady."""
    limit = time.monotonic() + READY_WITHIN_S
    answer = b""
    while time.monotonic() < limit:
        try:
            with socket.create_connection((LOOPBACK, port), timeout=READY_WITHIN_S) as connection:
                connection.sendall(request)
                answer = connection.recv(4096)
        except OSError:
            time.sleep(POLL_S)
            continue
        if answer[9:10] == b"2":
            return
        raise NotReady(answer.decode("utf-8", "replace"))
    raise NotReady(f"port {port} was not ready within {READY_WITHIN_S:.0f} s; last answer {answer!r}")


@contextmanager
def outside(folder: Path) -> Iterator[int]:
    """The outside world; gives its port."""
    port = free_port()
    with child(folder, "-m", "tests.bench.outside", str(port)):
        wait_for(port, b"GET /posted HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        yield port


def came_in(port: int, what: str) -> dict[str, float]:
    """When what was `posted` or `paged` of each lone incident came in, by its number; on the monotonic clock."""
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/{what}", timeout=5) as answer:
        return dict(json.load(answer))


@contextmanager
def floor(folder: Path, *where: str) -> Iterator[int]:
    """The floor, which keeps alerts in this new database, or does nothing with them; gives its port."""
    port = free_port()
    with child(folder, "-m", "tests.bench.floor", str(port), *where):
        wait_for(port, traffic.command("list"))
        yield port


@contextmanager
def product(folder: Path, outside_port: int, database: str = "") -> Iterator["Product"]:
    """The real `fixfirst serve`, connected to the outside world. What `folder` holds already is what it finds.

    `database` is the URL of one with the schema; without it, a file of SQLite in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "fixfirst.toml"
    names = {"team": traffic.TEAM, "channel": traffic.CHANNEL, "group": traffic.GROUP, "person": traffic.PERSON}
    config.write_text(CONFIG.format(doors=port, pages=free_port(), outside=outside_port, **names))
    env = {**SECRETS, "FIXFIRST_DATABASE": database} if database else SECRETS
    began = time.monotonic()
    with child(folder, "-m", "bot.cli", "serve", "--json", "--config", str(config), env=env) as pid:
        wait_for(port, next(traffic.repeats()))
        yield Product(port, pid, time.monotonic() - began)


class Product:
    """A running bot: its port, its process, and the seconds from process start to the first accepted webhook."""

    def __init__(self, port: int, pid: int, cold_start: float) -> None:
        self.port = port
        self.cold_start = cold_start
        self._pid = pid

    def resident(self) -> int:
        """Resident memory in bytes."""
        pages = int(Path(f"/proc/{self._pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
