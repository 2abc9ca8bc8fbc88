"""The servers that are killed and hung: one on SQLite, or several on one PostgreSQL behind a balancer."""

import contextlib
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from bot.workbench.children import Child, StartFailed
from bot.workbench.launch import Workbench
from tests.databases import PostgreSQL
from tests.servers import free_ports

LOOPBACK: Final = "127.0.0.1"
READY_S: Final = 60.0


class Servers:
    """The bot of a workbench: some processes, of which one after the other is killed and begun again."""

    def __init__(
        self, bench: Workbench, children: list[Child], database: str, crash: Callable[[], None] | None = None
    ) -> None:
        self.bench = bench
        self.children = children
        self.database = database
        self._crash = crash
        self.hangs = 0
        """How often one was stopped in the middle of its work."""
        self.blows: list[datetime] = []
        """When anything of it was killed, stopped or ended."""
        self.standstills: list[tuple[datetime, datetime]] = []
        """From when until when the only server was stopped."""
        self._hung: set[Child] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begins all of them; returns when they are ready."""
        for child in self.children:
            child.start()
        self.wait_ready()

    def wait_ready(self) -> None:
        """Returns when each of them answers."""
        for child in self.children:
            self.bring_up(child)

    def bring_up(self, child: Child) -> None:
        """Returns when it answers. What ends while it starts, because the database is away, is begun anew, as a
        supervisor does."""
        deadline = time.monotonic() + READY_S
        while True:
            try:
                child.wait_ready(deadline - time.monotonic())
            except StartFailed:
                if child.running or time.monotonic() > deadline:
                    raise
                child.start()
            else:
                return

    def kill_one(self, dice: random.Random) -> Child:
        """Kills one that runs, without warning; gives it, to be begun again. While none does, it waits for one."""
        deadline = time.monotonic() + READY_S
        while (victim := self._killed(dice)) is None:
            assert time.monotonic() < deadline, "no server runs"
            time.sleep(0.05)
        return victim

    def _killed(self, dice: random.Random) -> Child | None:
        with self._lock:
            awake = [child for child in self.children if child not in self._hung]
            running = [child for child in awake if child.running]
            for ended in [child for child in awake if child not in running]:
                ended.start()  # by itself, as a server does that finds no database; a supervisor begins it anew
            if not running:
                return None
            victim = dice.choice(running)
            assert victim.pid is not None
            self.blows.append(datetime.now(UTC))
            os.kill(victim.pid, signal.SIGKILL)
            victim.stop()
            return victim

    def crash_database(self) -> bool:
        """Ends the database as a failing machine would; False where there is none of its own."""
        if self._crash is None:
            return False
        self.blows.append(datetime.now(UTC))
        self._crash()
        self.blows.append(datetime.now(UTC))
        return True

    def hang_one(self, dice: random.Random) -> Child | None:
        """Stops one in the middle of whatever it does, so that it wakes up later and believes that no time has passed;
        None while fewer than two others are awake, but for one that is alone anyway."""
        with self._lock:
            awake = [child for child in self.children if child not in self._hung and child.running]
            if len(awake) < min(3, len(self.children)):
                return None
            victim = dice.choice(awake)
            self._hung.add(victim)
            assert victim.pid is not None
            self.blows.append(datetime.now(UTC))
            os.kill(victim.pid, signal.SIGSTOP)
            self.hangs += 1
            return victim

    def wake(self, child: Child) -> None:
        """Lets one that hangs go on."""
        with self._lock:
            assert child.pid is not None
            os.kill(child.pid, signal.SIGCONT)
            self._hung.discard(child)
            if len(self.children) == 1:
                self.standstills.append((self.blows[-1], datetime.now(UTC)))

    def stop(self) -> None:
        """Ends all of them in order."""
        for child in tuple(self._hung):
            self.wake(child)
        for child in self.children:
            child.stop()

    def logged(self) -> list[str]:
        """Every line that any of them wrote."""
        texts = [
            child.log.read_text(encoding="utf-8", errors="replace") for child in self.children if child.log.exists()
        ]
        return [line for text in texts for line in text.splitlines()]


def one_on_sqlite(bench: Workbench) -> Servers:
    return Servers(bench, [bench.bot], f"sqlite:///{bench.directory / 'data' / 'fixfirst.db'}")


@contextlib.contextmanager
def several_on_postgresql(bench: Workbench, postgres: PostgreSQL, number: int) -> Iterator[Servers]:
    """Servers with ports of their own; what the workbench sends to the bot's port goes to any that answers."""
    database = postgres.new()
    ports = list(zip(*[iter(free_ports(2 * number))] * 2, strict=True))
    children = [_server(bench, place, at, database) for place, at in enumerate(ports)]
    with balancer(bench.ports.doors, [doors for doors, _ in ports]):
        servers = Servers(bench, children, database, postgres.crash)
        try:
            yield servers
        finally:
            servers.stop()  # also after a night that ended early: else they keep the database busy for all that follow


def _server(bench: Workbench, number: int, ports: tuple[int, int], database: str) -> Child:
    doors, pages = ports
    text = bench.bot_config.read_text(encoding="utf-8")
    text = text.replace(f"port = {bench.ports.doors}\n", f"port = {doors}\n", 1)
    text = text.replace(f"port = {bench.ports.pages}\n", f"port = {pages}\n", 1)
    config = bench.directory / f"fixfirst-{number}.toml"
    config.write_text(text, encoding="utf-8")
    return Child(
        f"Server {number}",
        [sys.executable, "-m", "bot.cli", "serve", "--config", str(config)],
        log=bench.directory / f"bot-{number}.log",
        ready_url=f"http://{LOOPBACK}:{doors}/healthz",
        env={**bench.secrets.bot_environment(), "FIXFIRST_DATABASE": database},
    )


@contextlib.contextmanager
def balancer(port: int, backends: list[int]) -> Iterator[None]:
    """Passes each connection on to a backend chosen by chance, or to the next that accepts it."""
    dice = random.Random(port)
    ending = threading.Event()
    with socket.create_server((LOOPBACK, port), backlog=256) as door:
        door.settimeout(0.2)

        def take_in() -> None:
            while not ending.is_set():
                with contextlib.suppress(TimeoutError):
                    caller, _ = door.accept()
                    threading.Thread(
                        target=_connect, args=(caller, dice.sample(backends, len(backends))), daemon=True
                    ).start()

        thread = threading.Thread(target=take_in, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()


def _connect(caller: socket.socket, backends: list[int]) -> None:
    with contextlib.closing(caller):
        for port in backends:
            try:
                server = socket.create_connection((LOOPBACK, port), timeout=2)
            except OSError:
                continue
            with contextlib.closing(server):
                server.settimeout(60)
                caller.settimeout(60)
                back = threading.Thread(target=_pour, args=(server, caller), daemon=True)
                back.start()
                _pour(caller, server)
                back.join()
            return


def _pour(source: socket.socket, sink: socket.socket) -> None:
    """Until one side hangs up; then the other is told."""
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
