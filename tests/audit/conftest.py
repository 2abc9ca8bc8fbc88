"""A workspace on disk whose engine is at rest, so that what waits goes on waiting."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.site import Site


@pytest.fixture(params=["sqlite", "postgresql"])
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """On both databases."""
    url = request.getfixturevalue("postgres").new() if request.param == "postgresql" else ""
    site = Site(tmp_path, url)
    yield site
    site.journal.close()
