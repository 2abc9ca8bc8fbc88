"""The programs the workbench starts beside itself: begun, waited for, and ended by their process id."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

STOP_S = 8.0  # how long a child may take to end after SIGTERM before it is killed
POLL_S = 0.05


class StartFailed(Exception):
    """A child did not come up; the message says which and shows the end of its log."""


def is_up(url: str, timeout: float = 1.0) -> bool:
    """Whether `url` (plain http) answers 2xx within `timeout` seconds."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        connection.request("GET", parts.path or "/")
        return 200 <= connection.getresponse().status < 300
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class Child:
    """One program with its log file and the URL that tells when it is ready."""

    def __init__(
        self, name: str, argv: list[str], *, log: Path, ready_url: str, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        self.ready_url = ready_url
        self._argv = argv
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin the program. Its own session, so that a Ctrl-C in the terminal ends it through us, in order."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the argument list is ours, no shell reads it
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._env,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id, None before the start."""
        return self._process.pid if self._process else None

    def wait_ready(self, timeout: float) -> None:
        """Return when `ready_url` answers; StartFailed when the process ends first or `timeout` seconds pass."""
        deadline = time.monotonic() + timeout
        while not is_up(self.ready_url):
            if not self.running:
                raise StartFailed(f"{self.name} ended while starting.\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise StartFailed(f"{self.name} was not ready after {timeout:.0f} s.\n{self.log_tail()}")
            time.sleep(POLL_S)

    def log_tail(self, lines: int = 12) -> str:
        """The last lines it wrote, and where the rest is."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join([*text.splitlines()[-lines:], f"(log: {self.log})"])

    def stop(self) -> None:
        """End the process we started, and only that: SIGTERM, then SIGKILL after STOP_S."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
