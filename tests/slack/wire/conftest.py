"""An office for each test: people, a journal, and Slack between them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slack.wire.office import Office, open_office


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """The bot has been up for a moment and knows who is who."""
    with open_office(tmp_path) as office:
        office.learn()
        yield office


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Office]:
    """The bot has just started and knows nobody."""
    with open_office(tmp_path) as office:
        yield office
