"""Incidents that most stories begin with."""

import pytest

from bot.incident import commands as cmd
from tests.core.case import Case


@pytest.fixture
def case() -> Case:
    return Case()


@pytest.fixture
def burning(case: Case) -> Case:
    """An incident with three alerts firing, just opened."""
    return case.alerts(firing=3, new=3)


@pytest.fixture
def taken(burning: Case) -> Case:
    """The same, acknowledged by Maya two minutes later."""
    return burning.after(minutes=2).do(cmd.Acknowledge)
