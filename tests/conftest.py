"""What all tests share: a missing real part is a skip on a laptop, named at the end; on a build machine a failure."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, expect, sync_playwright

from tests.databases import PostgreSQL, postgresql

APT_LINE = (
    "apt-get install -y prometheus prometheus-alertmanager chromium fonts-noto-color-emoji openssl strace faketime "
    "redis-server haproxy prometheus-pushgateway"
)
# How long an example takes says more of what else the machine does than of us.
settings.register_profile("here", deadline=None)
settings.load_profile("here")
ON_BUILD_MACHINE = os.environ.get("CI") == "true"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--reference", type=Path, help="a folder of reference data to hold the project against")


def pytest_configure(config: pytest.Config) -> None:
    folder: Path | None = config.getoption("--reference")
    if folder is not None:
        from tests.reference.slack import Reference
        from tests.story.night import further_audits

        reference = Reference(folder)
        further_audits.append(
            lambda night: {
                "what the reference does not know": reference.faults(night.bench.workspace.calls, night.wire.heard)
            }
        )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The reference data lies beside the project, where it does: `make reference`."""
    return True if collection_path.name == "reference" and config.getoption("--reference") is None else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file is run by one process. Tests in the browser come last: Playwright's loop, once running, lets nobody else
    on its thread run one."""
    items.sort(key=_in_browser)
    for item in items:
        last = " in the browser" if _in_browser(item) else ""
        item.add_marker(pytest.mark.xdist_group(f"{item.path}{last}"))


def _in_browser(item: pytest.Item) -> bool:
    return "browser" in getattr(item, "fixturenames", ())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """On a build machine nothing may be left out."""
    report = yield
    if ON_BUILD_MACHINE and report.skipped and not hasattr(report, "wasxfail"):
        reason = call.excinfo.value if call.excinfo else "skipped"
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was left out on a build machine: {reason}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what was left out, and the one line that adds it."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    reasons = sorted(
        {str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr) for report in skipped}
    )
    terminalreporter.section("left out on this machine")
    for reason in reasons:
        terminalreporter.write_line(f"- {reason.removeprefix('Skipped: ')}")
    terminalreporter.write_line(f"To run everything: {APT_LINE}")


CHROMIUM = Path("/usr/bin/chromium")
SEEN_WITHIN_MS = 30_000
"""Only against waiting for ever; Playwright's own five seconds are short for a busy machine."""
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    """A real PostgreSQL server, started when the first test asks for it."""
    with postgresql() as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests: Playwright allows one of its own kind in a process."""
    if not CHROMIUM.exists():
        pytest.skip("needs chromium")
    expect.set_options(timeout=SEEN_WITHIN_MS)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=list(CHROMIUM_FLAGS))
        yield started
        started.close()
