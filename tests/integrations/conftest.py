"""A mail server and a bridge for what goes out where the first pager does not take it."""

from collections.abc import Iterator

import pytest

from bot.integrations.fallback import Voice
from tests.integrations.bridge import Bridge, open_bridge
from tests.integrations.fallbacks import MAIL, voice
from tests.integrations.postbox import Postbox, open_postbox


@pytest.fixture
def postbox() -> Iterator[Postbox]:
    with open_postbox(Postbox()) as postbox:
        yield postbox


@pytest.fixture
def mail(postbox: Postbox) -> Voice:
    return voice(MAIL, port=postbox.port, security="none")


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    with open_bridge() as bridge:
        yield bridge
