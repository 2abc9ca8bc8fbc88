"""What the cards are made with."""

import pytest

from bot.incident.policy import Policy
from bot.slack.cards import Context


@pytest.fixture
def context() -> Context:
    return Context(
        Policy(),
        "https://fixfirst.example",
        {"rollback-model-deploy": "Roll back a model deploy", "serve-from-cache": "Serve from the cache"},
    )
