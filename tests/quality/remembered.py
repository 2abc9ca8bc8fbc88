"""A real Prometheus that remembers an invented past."""

import math
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.quality.openmetrics import Page
from tests.servers import free_port, program, running, wait_for

PACKAGE = "Prometheus: apt install prometheus"
BACKFILL_WITHIN_S = 120
DENSE_S = 3 * 3600
# A file that promtool reads has no mark for "this series has ended", which a real scrape leaves behind. Without one a
# series is seen for this long after its last sample: two scrapes of the slowest exporter and the making of the past.
LOOKBACK = "2m"


def backfill(past: Page, folder: Path) -> Path:
    """The blocks that promtool makes of a past; raises CalledProcessError when it cannot read it.

    It reads a file once for every two hours in it, so the long and thin day before comes in a file of its own.
    """
    data = folder / "data"
    split = past.now - DENSE_S
    for name, begin, end in (("day.om", -math.inf, split), ("recent.om", split, math.inf)):
        text = folder / name
        with text.open("w") as file:
            file.writelines(past.lines(begin, end))
        command = [program("promtool", PACKAGE), "tsdb", "create-blocks-from", "openmetrics", str(text), str(data)]
        subprocess.run(command, check=True, capture_output=True, timeout=BACKFILL_WITHIN_S)
        text.unlink()
    return data


@contextmanager
def prometheus(past: Page, folder: Path) -> Iterator[str]:
    """A server over that past, scraping nothing; gives its address once it answers. Killed by its own id at the end."""
    data = backfill(past, folder)
    (folder / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
    port = free_port()
    command = [
        program("prometheus", PACKAGE),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=10y",
        f"--query.lookback-delta={LOOKBACK}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    url = f"http://127.0.0.1:{port}"
    log = folder / "log"
    with running(command, port, log) as process:
        # It listens before it has read its blocks, and answers 503 until then.
        wait_for(lambda: _ready(url), "Prometheus is not ready", process, log)
        yield url


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
