"""The night shift that stories are told on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.night import Night, open_night


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    with open_night(tmp_path) as night:
        yield night
