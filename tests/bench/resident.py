"""What one health report with its picture adds to the memory of a process that has made none: prints it in MB."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from bot.health import Scope, Settings, Telemetry, survey
from bot.health.chart import Picture, draw
from bot.health.series import Recorder


def _peak_mb() -> float:
    """Of this program alone: what `getrusage` says would begin with the size of the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) / 1e3


def main() -> None:
    """The client libraries that a report loads count, since an idle bot has not loaded them."""
    url, model = sys.argv[1:]
    before = _peak_mb()
    scope, settings, now = Scope(model=model), Settings(), datetime.now(UTC)
    report = survey(Telemetry(url), scope, now)
    draw(Picture(report.headline, Recorder(url, settings).record(report), (), settings.sla_seconds))
    sys.stdout.write(f"{_peak_mb() - before:.1f}")


if __name__ == "__main__":
    main()
