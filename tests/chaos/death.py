"""A process that dies at a chosen commit or call: of what it begins after that nothing is kept, and nobody hears it."""

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from slack_sdk import WebClient
from sqlalchemy.exc import OperationalError

from bot.integrations import wire
from bot.integrations.kubernetes.transport import Bounded
from bot.integrations.pagerduty.wire import Transport
from bot.journal.writer import Writer
from tests.story.night import Night

T = TypeVar("T")


class Died(BaseException):
    """The process is gone, in the middle of a call."""


class Death:
    """Lets a number of commits, or of calls, through. Then the process is as good as dead: whatever it begins, nothing
    is kept, and nobody outside hears of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: Counter[str] = Counter()
        self.what = ""
        self.at = 0
        self.keeps_the_last = False
        self.came = False
        commit: Callable[..., Any] = Writer._commit

        def watched(writer: Writer, hand: Any, jobs: Any) -> Any:
            if self.came:
                raise OperationalError("", {}, Exception("the process is dead"))
            comes = self._comes("commit")
            if comes and not self.keeps_the_last:
                raise OperationalError("", {}, Exception("the process died before it"))
            answers = commit(writer, hand, jobs)
            if comes:
                raise OperationalError("", {}, Exception("the process died after it"))
            return answers

        monkeypatch.setattr(Writer, "_commit", watched)
        monkeypatch.setattr(WebClient, "api_call", self._outside(WebClient.api_call))
        monkeypatch.setattr(wire.Call, "_exchange", self._outside(wire.Call._exchange))
        for transport in (Transport, Bounded):  # PagerDuty's and Kubernetes'
            monkeypatch.setattr(transport, "handle_request", self._outside(transport.handle_request))

    def _comes(self, what: str) -> bool:
        self.done[what] += 1
        self.came = self.what == what and self.done[what] == self.at
        return self.came

    def _outside(self, real: Callable[..., T]) -> Callable[..., T]:
        def watched(*args: Any, **named: Any) -> T:
            if self.came:
                raise Died("the process is dead")
            comes = self._comes("call")
            if comes and not self.keeps_the_last:
                raise Died("the process died before it")
            answer = real(*args, **named)
            if comes:
                raise Died("the process died after it")
            return answer

        return watched

    def comes(self, what: str, at: int, *, keeps_the_last: bool) -> None:
        """It comes with this commit or call, counted from now."""
        self.done.clear()
        self.what, self.at, self.keeps_the_last, self.came = what, at, keeps_the_last, False

    def is_over(self) -> None:
        """The process begins anew and lives."""
        self.at, self.came = 0, False


def survives(night: Night, death: Death, act: Callable[[], object]) -> None:
    """Does the act; when the process dies in it, it is begun anew, and the act repeated."""
    try:
        act()
    except (Exception, Died):
        if not death.came:
            raise
    if death.came:
        death.is_over()
        night.crash()
        night.logs.clear()
        night.wire.heard.clear()
        night.wire.responses.clear()
        night.after(minutes=2)
        act()
