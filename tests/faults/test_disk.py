"""The disk under the journal is full, or fails: the real process refuses what it cannot keep, keeps what it accepted,
and goes on when the disk does."""

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bot.audit.pressure import disk_of
from tests.doors.house import Answer, alert, webhook
from tests.faults.process import Process, eventually, started
from tests.story.night import MAYA

SMALL, ROOMY = "64m", "128m"
WHOLE = os.environ.get("CHAOS") == "all"
FAILURES = {
    "fdatasync answers that the device failed": "fdatasync:error=EIO:when=6+6",
    "now and then a page is not written": "pwrite64:error=EIO:when=40+19",
    "now and then there is no room for a page": "pwrite64:error=ENOSPC:when=40+19",
}


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True, timeout=20)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 64 MiB in memory. Where nothing may be mounted, there is none."""
    folder.mkdir()
    try:
        mount("-t", "tmpfs", "-o", f"size={SMALL}", "tmpfs", str(folder))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs the right to mount a small disk ({error}); as root it has it")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True, timeout=20)


def kept(database: Path) -> set[str]:
    """The fingerprints on disk, in a database that is whole."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {str(row[0]) for row in connection.execute("SELECT fingerprint FROM alert")}


def sends(bot: Process, name: str, severity: str = "info", size: int = 2_000) -> Answer:
    """An alert of its own group, with so much to keep."""
    labels = {"alertname": name, "severity": severity, "service": name, "padding": "x" * size}
    return bot.street.alerts(webhook([alert(name, labels=labels, annotations={"summary": name})]))


def fill(folder: Path, leave: int) -> None:
    """Somebody else writes to the same disk until so many bytes are left."""
    with (folder / "somebody-elses.log").open("ab", buffering=0) as other:
        while (free := disk_of(folder).free) > leave:
            try:
                other.write(b"x" * min(free - leave, 65_536))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return  # the bot was faster


def test_a_disk_that_fills_up_and_is_given_more_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data") as folder, started(tmp_path) as bot:
        assert sends(bot, "burns", "critical").status == 200
        eventually(lambda: bot.paged() == {"burns"})

        fill(folder, leave=2_400_000)
        eventually(lambda: bot.health("/health/engine")[0] == 503)
        assert "Alerts that wake nobody are turned away" in str(bot.health("/health/engine")[1])
        assert sends(bot, "informs").status == 503
        assert sends(bot, "wakes", "critical", 100).status == 200
        eventually(lambda: bot.paged() == {"burns", "wakes"})

        fill(folder, leave=0)
        accepted, refused = {"burns", "wakes"}, 0
        for number in range(200):
            answer = sends(bot, f"more-{number}", "critical")
            assert answer.status in (200, 503), answer
            if answer.status == 200:
                accepted.add(f"more-{number}")
            else:
                assert int(answer.headers["retry-after"]) > 0
                refused += 1
        assert refused > 100
        assert bot.street.post("/healthz", b"", method="GET").status == 200
        eventually(lambda: bot.health("/health/ready")[0] == 503)
        told = bot.types(MAYA, "/incident ack INC-1")
        assert "could not be recorded" in told or "try again" in told, told

        mount("-o", f"remount,size={ROOMY}", str(folder))
        eventually(lambda: bot.health("/health/engine")[0] == 200)
        assert sends(bot, "room-again", "critical").status == 200
        eventually(lambda: bot.paged() == {*accepted, "room-again"})
        assert kept(folder / "fixfirst.db") == {*accepted, "room-again"}
        assert "INC-1" in bot.types(MAYA, "/incident ack INC-1")
        assert bot.child.running


def tracer() -> str:
    found = shutil.which("strace")
    if found is None:
        pytest.skip("needs strace")
    return found


@pytest.mark.parametrize("what", FAILURES if WHOLE else [next(iter(FAILURES))])
def test_a_disk_that_fails(tmp_path: Path, what: str) -> None:
    call = FAILURES[what].partition(":")[0]
    trace = [tracer(), "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
    database = tmp_path / "data" / "fixfirst.db"
    with started(tmp_path) as bot:  # the schema is there before anything fails
        assert sends(bot, "before").status == 200
    accepted = {"before"}
    with started(tmp_path, before=[*trace, "-e", f"inject={FAILURES[what]}"]) as bot:
        pid, answers = bot.pid, list[int]()
        for number in range(24):
            answer = sends(bot, f"more-{number}", "critical" if number % 4 == 0 else "info")
            assert answer.status in (200, 503), answer
            if answer.status == 200:
                accepted.add(f"more-{number}")
            answers.append(answer.status)
        assert 503 in answers, "the fault was never met"
        assert 200 in answers[answers.index(503) :], "the disk answers again, and nobody had to begin the bot anew"
        assert (bot.child.running, bot.pid) == (True, pid)
        paged = bot.paged()
        os.killpg(bot.pid, signal.SIGKILL)
    assert accepted <= kept(database)
    with started(tmp_path) as bot:
        paging = {name for name in kept(database) if name.startswith("more-") and int(name[5:]) % 4 == 0}
        assert paging
        eventually(lambda: paging <= paged | bot.paged())
        assert sends(bot, "after").status == 200
