"""One house for the tests that change nothing, a fresh one for those that do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doors.house import House, open_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path) as house:
        yield house


@pytest.fixture(scope="module")
def quiet_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """For requests that leave nothing behind."""
    with open_house(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house without a single secret."""
    with open_house(tmp_path_factory.mktemp("bare"), bare=True) as house:
        yield house
