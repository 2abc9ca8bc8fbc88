"""The bot as it really runs: `fixfirst serve` as a process of its own, between the workbench's Slack and PagerDuty."""

import http.client
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.workbench.children import Child
from bot.workbench.launch import Options, Workbench
from tests.clocked import patient_slack
from tests.doors.house import NEW_TOKEN, Street
from tests.story.night import ANY_PORTS, INTAKE

READY_S = 60.0


@dataclass
class Process:
    """The bot's process, the world around it, and how one knocks at its doors."""

    bench: Workbench
    child: Child
    street: Street

    @property
    def pid(self) -> int:
        assert self.child.pid is not None
        return self.child.pid

    def logged(self, *events: str) -> list[Mapping[str, Any]]:
        """The log lines of these kinds so far."""
        text = self.child.log.read_text(encoding="utf-8", errors="replace")
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") in events]

    def health(self, path: str) -> tuple[int, Any]:
        """What it says of itself, at the listener of the pages."""
        status, body = self.looks_up(path)
        return status, json.loads(body)

    def counted(self, metric: str) -> float:
        """One of its figures; `metric` with its labels as they stand there."""
        lines = self.looks_up("/metrics")[1].decode().splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{metric} "))

    def looks_up(self, path: str) -> tuple[int, bytes]:
        """What its listener of the pages answers."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.bench.ports.pages, timeout=20)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def types(self, user: str, text: str) -> str:
        """A slash command in the intake channel; what the person was told at once."""
        before = len(self.bench.workspace.ephemerals(user))
        self.bench.workspace.command(user, INTAKE, text)
        told = self.bench.workspace.ephemerals(user)[before:]
        return "\n".join(f"{message.text} {json.dumps(message.blocks, ensure_ascii=False)}" for message in told)

    def paged(self) -> set[str]:
        """What PagerDuty woke somebody for: the last word of each title, which reads `SEV1 INC-1 words`."""
        return {incident.title.split()[-1] for incident in self.bench.pagerduty.incidents}


@contextmanager
def started(
    folder: Path,
    *,
    before: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    more: str = "",
    instead: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """A running bot in `folder`. `before` is put before its command line, `more` is added to its settings, in which
    the words of `instead` take the place of others."""
    options = Options(ports=ANY_PORTS, directory=folder, bot=False, monitoring=False, paced=False)
    with patient_slack(), Workbench(options) as bench:
        settings = bench.bot_config.read_text(encoding="utf-8")
        for old, new in (instead or {}).items():
            assert old in settings
            settings = settings.replace(old, new)
        bench.bot_config.write_text(settings + more, encoding="utf-8")
        child = Child(
            "The bot",
            [*before, sys.executable, "-m", "bot.cli", "serve", "--config", str(bench.bot_config)],
            log=folder / "bot.log",
            ready_url=f"{bench.ports.url('doors')}/healthz",
            env={
                **bench.secrets.bot_environment(),
                "FIXFIRST_ALERTMANAGER_TOKENS": NEW_TOKEN,
                **(environment or {}),
            },
        )
        child.start()
        try:
            child.wait_ready(READY_S)
            yield Process(bench, child, Street(bench.ports.doors))
        finally:
            child.stop()


def eventually(holds: Callable[[], object], within_s: float = 30.0) -> None:
    """Returns as soon as it holds; AssertionError when it does not within so many seconds."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, f"did not come true within {within_s:g} s"
        time.sleep(0.05)
