"""For tests whose claim is a time, so soon or not so soon: a machine may stand still for a second or two in between."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Final, ParamSpec, TypeVar

import pytest

P = ParamSpec("P")
T = TypeVar("T")

TRIES: Final = 3


def by_the_clock(test: Callable[P, T]) -> Callable[P, T]:
    """The test, which may fail twice: what is too slow by itself is so each time, what a machine makes so is not.

    Only where the time is the claim, and a wider bound would let a broken behaviour pass. Whoever waits for something
    to happen waits for that instead. The test begins anew with the fixtures that it has.
    """

    @wraps(test)
    def patiently(*given: P.args, **named: P.kwargs) -> T:
        for _ in range(TRIES - 1):
            try:
                return test(*given, **named)
            except (Exception, pytest.fail.Exception):  # noqa: BLE001 - the last try tells
                continue
        return test(*given, **named)

    return patiently


@contextmanager
def patient_slack() -> Iterator[None]:
    """The workbench's Slack gives the app half a minute instead of three seconds, for tests that are about other things
    and have the bot in a process of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bot.workbench.slack.deliver.TIMEOUT_S", 30.0)
        patch.setattr("bot.workbench.slack.modals.TRIGGER_LIFE_S", 30.0)
        yield
