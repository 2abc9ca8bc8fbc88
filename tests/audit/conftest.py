"""A workspace whose engine is at rest, so that what waits goes on waiting; and a night that is audited."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.audit.service import Service, open_service
from tests.story.night import Night, open_night
from tests.web.site import Site


@pytest.fixture(params=["sqlite", "postgresql"])
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """On both databases."""
    url = request.getfixturevalue("postgres").new() if request.param == "postgresql" else ""
    site = Site(tmp_path, url)
    yield site
    site.journal.close()


@pytest.fixture
def service() -> Iterator[Service]:
    """Somebody outside who waits for our heartbeat."""
    with open_service() as service:
        yield service


@pytest.fixture
def night(tmp_path: Path, service: Service) -> Iterator[Night]:
    """A night on which the bot has a heartbeat."""
    with open_night(
        tmp_path, settings={"[prometheus]": f'[heartbeat]\nurl = "{service.url}"\n\n[prometheus]'}
    ) as night:
        night.settle()
        yield night
