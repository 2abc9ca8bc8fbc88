"""What the nights under fire counted is told at the end, so that it can be read and kept."""

from typing import Final

import pytest

REPORT: Final = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> list[str]:
    """Lines put here are shown after the last test."""
    return request.config.stash.setdefault(REPORT, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(REPORT, [])
    if lines:
        terminalreporter.section("under fire")
        for line in lines:
            terminalreporter.write_line(line)
