"""The process dies at every commit of a night, once just before it and once just after, and nobody can tell afterwards.

Between two commits lies everything the bot does outside, so each call of Slack's and PagerDuty's is survived as well:
made but not recorded, recorded but not made. People and monitors do what they do then: they try again.
"""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy.exc import OperationalError

from bot.incident.events import Acknowledged, Mitigated, Resolved
from bot.incident.state import Status
from bot.journal.writer import Writer
from tests.story.night import INTAKE, MAYA, Night, alert, open_night

COMMITS: Final = 75
"""More than the night has."""
WHOLE: Final = os.environ.get("CHAOS") == "all"
POINTS: Final = range(1, COMMITS, 1 if WHOLE else 6)


class Death:
    """Lets a number of commits through. Then the process is as good as dead: whatever it begins, nothing is kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commits = 0
        self.at: int | None = None
        self.keeps_the_last = False
        self.came = False
        commit: Callable[..., Any] = Writer._commit

        def watched(writer: Writer, hand: Any, jobs: Any) -> Any:
            if self.came:
                raise OperationalError("", {}, Exception("the process is dead"))
            self.commits += 1
            self.came = self.commits == self.at
            if self.came and not self.keeps_the_last:
                raise OperationalError("", {}, Exception("the process died before it"))
            answers = commit(writer, hand, jobs)
            if self.came:
                raise OperationalError("", {}, Exception("the process died after it"))
            return answers

        monkeypatch.setattr(Writer, "_commit", watched)

    def comes(self, at: int, *, keeps_the_last: bool) -> None:
        """It comes with this commit, counted from now."""
        self.commits, self.at, self.keeps_the_last, self.came = 0, at, keeps_the_last, False

    def is_over(self) -> None:
        """The process begins anew and lives."""
        self.at, self.came = None, False


@pytest.fixture
def death(monkeypatch: pytest.MonkeyPatch) -> Death:
    return Death(monkeypatch)


def acts(night: Night) -> list[Callable[[], object]]:
    """The night, act by act; each may be repeated by whoever got no answer."""

    def says(words: str) -> Callable[[], object]:
        return lambda: night.types(MAYA, f"/incident {words}", night.incident.channel or INTAKE)

    return [
        lambda: night.alerts(alert()),
        says("ack"),
        says("update We are rolling back."),
        says("mitigated Rolled back."),
        lambda: night.alerts(alert(firing=False)),
        says("resolve Rolled back, errors are gone."),
    ]


def survives(night: Night, death: Death, act: Callable[[], object]) -> None:
    """Does the act; when the process dies in it, it is begun anew, and the act repeated."""
    try:
        act()
    except Exception:
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


@pytest.mark.parametrize("keeps_the_last", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", POINTS)
def test_a_death_at_any_commit_is_not_seen_afterwards(
    tmp_path: Path, death: Death, at: int, keeps_the_last: bool
) -> None:
    with open_night(tmp_path) as night:
        night.foretold |= {"name_taken", "already_in_channel"}  # a channel that was opened but not recorded is adopted
        death.comes(at, keeps_the_last=keeps_the_last)
        for act in acts(night):
            survives(night, death, act)
        night.after(minutes=2)
        (incident,) = night.app.journal.recent()
        assert incident.status is Status.RESOLVED
        assert [len(night.events(kind)) for kind in (Acknowledged, Mitigated, Resolved)] == [1, 1, 1]
        assert night.pages() == [("1", "resolved")]
        assert [channel for channel in night.bench.workspace.state.channels.values() if channel.name.startswith("inc-")]
        marks = Counter(
            (mark.get("surface"), mark.get("entry"), channel)
            for channel in (INTAKE, incident.channel)
            for message in night.messages(channel)
            if (mark := (message.metadata or {}).get("event_payload"))
        )
        assert {mark: times for mark, times in marks.items() if times > 1} == {}
        assert ("intake", None, INTAKE) in marks
        assert ("incident", None, incident.channel) in marks
        assert set(night.app.journal.numbers()["outbox"]["states"]) == {"done"}
        assert night.app.journal.verify(incident.id) is None


def test_the_night_has_no_more_commits_than_are_tried(tmp_path: Path, death: Death) -> None:
    with open_night(tmp_path) as night:
        death.comes(10_000, keeps_the_last=True)
        for act in acts(night):
            act()
        assert 40 < death.commits < COMMITS
