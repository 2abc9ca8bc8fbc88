"""A real Prometheus for the queries: filled with an invented past, or scraping an exporter of ours."""

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError

import pytest

from tests.servers import Answering, free_port, http_server

STEP = 15  # seconds between the samples of the invented past
PAST = 3 * 3600
_THIN = (*range(PAST - 9000, PAST - 1500, 120), *range(PAST - 1500, PAST + 1, 30))


def needed(program: str) -> str:
    """The program's path. Without it the test is skipped, but on CI it fails."""
    path = shutil.which(program)
    if path is None:
        reason = f"{program} is not installed: apt install prometheus"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@dataclass
class Past:
    """A history in OpenMetrics text, from three hours ago until now; a value may be a function of seconds passed.

    series: the name and labels of each. thin: a sample every two minutes, and every half minute in the last 25: for
    pasts of many thousand series.
    """

    families: dict[str, list[str]] = field(default_factory=dict)
    thin: bool = False
    series: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    _ends: float = 0

    @contextmanager
    def ending(self, ago: float) -> Iterator[None]:
        """What is written in here ended at least so many seconds before now."""
        before, self._ends = self._ends, max(ago, self._ends)
        yield
        self._ends = before

    def gauge(
        self, name: str, labels: dict[str, str], value: float | Callable[[float], float], until: float = 0
    ) -> None:
        """One series; `until`: seconds before now at which it ended."""
        self._series(name, labels, value if callable(value) else lambda _: value, 0, PAST - until)

    def appearing(self, name: str, labels: dict[str, str], value: float, ago: float) -> None:
        """One series that began `ago` seconds before now."""
        self._series(name, labels, lambda _: value, PAST - ago, PAST)

    def counter(self, name: str, labels: dict[str, str], per_second: float, until: float = 0) -> None:
        """A counter that grows steadily."""
        self._series(name, labels, lambda t: 1000 + per_second * t, 0, PAST - until)

    def histogram(self, name: str, labels: dict[str, str], per_second: dict[str, float]) -> None:
        """`per_second`: observations per second by the upper edge of the bucket they fall in."""
        total = 0.0
        for edge, rate in per_second.items():
            total += rate
            self.counter(f"{name}_bucket", {**labels, "le": edge}, total)
        self.counter(f"{name}_count", labels, total)

    def during(
        self, name: str, labels: dict[str, str], value: Callable[[float], float] | float, since: float, until: float = 0
    ) -> None:
        """One series from `since` to `until` seconds before now; a value may be a function of seconds before now."""
        said = value if callable(value) else lambda _: value
        self._series(name, labels, lambda t: said(PAST - t), PAST - since, PAST - until)

    def text(self) -> str:
        """The file that promtool reads."""
        return "".join("".join(lines) for lines in self.families.values()) + "# EOF\n"

    def _series(
        self, name: str, labels: dict[str, str], value: Callable[[float], float], begin: float, end: float
    ) -> None:
        lines = self.families.setdefault(name, [f"# TYPE {name} unknown\n"])
        start = int(time.time()) - PAST
        inner = ",".join(f"{key}={json.dumps(text, ensure_ascii=False)}" for key, text in labels.items())
        end = min(end, PAST - self._ends)
        self.series.append((name, labels))
        times = [t for t in _THIN if begin <= t <= end] if self.thin else range(int(begin), int(end) + 1, STEP)
        for t in times:
            lines.append(f"{name}{{{inner}}} {value(t):.6f} {start + t}\n")


@contextmanager
def prometheus(directory: Path, config: str, *flags: str) -> Iterator[str]:
    """A Prometheus over the data in `directory`; yields its address once it is ready. flags: of its command line."""
    (directory / "prometheus.yml").write_text(config)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(
            [
                needed("prometheus"),
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                "--storage.tsdb.retention.time=10y",
                f"--web.listen-address=127.0.0.1:{port}",
                *flags,
            ],
            stdout=log,
            stderr=log,
        )
    try:
        eventually(lambda: answers(f"{url}/-/ready"), 60)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=20)


def answers(url: str) -> bool:
    """Whether a GET is answered 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


def eventually(holds: Callable[[], bool], seconds: float) -> None:
    """Ask until it holds; fail when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.1)


@contextmanager
def remembered(past: Past, directory: Path) -> Iterator[str]:
    """A Prometheus that remembers the given past; yields its address. `directory` is its own."""
    promtool = needed("promtool")
    (directory / "past.om").write_text(past.text())
    files = [str(directory / "past.om"), str(directory / "data")]
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics", *files]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    with prometheus(directory, "global: {scrape_interval: 1h}\n") as url:
        yield url


@pytest.fixture
def remembering(tmp_path: Path) -> Iterator[Callable[[Past], str]]:
    """Gives a function that starts a Prometheus which remembers the given past, and returns its address."""
    with ExitStack() as running:
        yield lambda past: running.enter_context(remembered(past, tmp_path))


@dataclass
class Exporter:
    """Serves `page()` as Prometheus text on a loopback port."""

    page: Callable[[], str] = lambda: ""
    port: int = 0


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    """An exporter whose page a test sets."""
    exporter = Exporter()

    class Handler(Answering):
        def do_GET(self) -> None:
            self.reply(200, exporter.page().encode(), {"Content-Type": "text/plain; version=0.0.4"})

    with http_server(Handler) as exporter.port:
        yield exporter
