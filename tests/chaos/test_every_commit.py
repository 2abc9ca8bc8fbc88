"""The process dies at every commit of a night, and at every call to the outside: once just before it, once just after.

Nobody can tell afterwards. People and monitors do what they do then: they try again. A step that cannot be taken back
is in the middle of it.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from bot.incident.events import AckDeadlineMissed, Acknowledged, Mitigated, Resolved, StepStarted
from bot.incident.run import Run, RunStatus, StepStatus
from bot.incident.runs import current_step
from bot.incident.state import Status
from bot.slack.actions import StepDo
from tests.chaos.death import Death, survives
from tests.chaos.plant import MEASURED, RUNBOOK, Plant, served, settings
from tests.chaos.reckoning import again
from tests.story.night import INTAKE, JONAS, MAYA, Night, action_ids, alert, measuring, open_night

COMMITS: Final = 175
CALLS: Final = 100
"""More than the night has of each."""
WHOLE: Final = os.environ.get("CHAOS") == "all"
POINTS: Final = [
    *(("commit", at) for at in range(1, COMMITS, 1 if WHOLE else 20)),
    *(("call", at) for at in range(1, CALLS, 1 if WHOLE else 20)),
]


@pytest.fixture
def death(monkeypatch: pytest.MonkeyPatch) -> Death:
    return Death(monkeypatch)


@contextmanager
def night_with_a_plant(folder: Path) -> Iterator[tuple[Night, Plant]]:
    plant = Plant()
    with served(plant) as address:
        found = settings(folder / "runbooks", address)
        with open_night(folder / "bench", settings=found) as night, measuring(night, MEASURED):
            night.foretold |= {"name_taken", "already_in_channel"}  # a channel opened but not recorded is adopted
            yield night, plant


def acts(night: Night) -> list[Callable[[], object]]:
    """The night, act by act; each may be repeated by whoever got no answer."""

    def says(words: str) -> Callable[[], object]:
        return lambda: night.types(MAYA, f"/incident {words}", night.incident.channel or INTAKE)

    return [
        lambda: night.alerts(alert()),
        lambda: night.after(minutes=6),
        says("ack"),
        lambda: starts_a_run(night),
        lambda: answers_its_steps(night),
        says("update It is up again."),
        says("mitigated It is up again."),
        lambda: night.alerts(alert(firing=False)),
        says("resolve It is up again, errors are gone."),
        lambda: night.through(minutes=2),
    ]


def run(night: Night) -> Run | None:
    return next(iter(night.incident.runs.values()), None)


def starts_a_run(night: Night) -> None:
    if run(night) is not None:
        return
    for left in night.bench.workspace.open_views(MAYA):
        night.bench.workspace.close_view(MAYA, left.id)
    night.types(MAYA, f"/incident run {RUNBOOK}", night.incident.channel)
    night.fills_in(MAYA, **{"runbook": RUNBOOK, "param.machine": "machine-1"})


def answers_its_steps(night: Night) -> None:
    """Somebody else says go to each step; where nobody knows whether it happened, Maya looks, and leaves it at that."""
    for _ in range(20):
        going = run(night)
        assert going is not None
        step = current_step(going)
        if step is None or going.status is not RunStatus.RUNNING:
            return
        message = next((one for one in night.messages() if one.ts == step.ts), None)
        if message is not None and StepDo.APPROVE in action_ids(message):
            night.clicks(JONAS, message, StepDo.APPROVE, night.incident.channel)
        elif message is not None and StepDo.SKIP in action_ids(message) and step.status is StepStatus.INTERRUPTED:
            night.clicks(MAYA, message, StepDo.SKIP, night.incident.channel)
            night.fills_in(MAYA, reason="looked, and left it")
        else:
            night.after(seconds=20)
    raise AssertionError("the run never came to its end")


@pytest.mark.parametrize("keeps_the_last", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("what", "at"), POINTS)
def test_a_death_at_any_commit_or_call_is_not_seen_afterwards(
    tmp_path: Path, death: Death, what: str, at: int, keeps_the_last: bool
) -> None:
    with night_with_a_plant(tmp_path) as (night, plant):
        death.comes(what, at, keeps_the_last=keeps_the_last)
        for act in acts(night):
            survives(night, death, act)
        (incident,) = night.app.journal.recent()
        assert incident.status is Status.RESOLVED
        assert [len(night.events(kind)) for kind in (Acknowledged, Mitigated, Resolved)] == [1, 1, 1]
        assert night.events(AckDeadlineMissed)
        assert list(again(night.app.journal.entries(incident.id))) == []
        assert night.pages() == [("1", "resolved")]
        assert len([c for c in night.bench.workspace.state.channels.values() if c.name.startswith("inc-")]) == 1
        marks = Counter(
            (mark.get("surface"), mark.get("entry"), mark.get("step"), channel)
            for channel in (INTAKE, incident.channel)
            for message in night.messages(channel)
            if (mark := (message.metadata or {}).get("event_payload"))
        )
        assert {mark: times for mark, times in marks.items() if times > 1} == {}
        assert ("intake", None, None, INTAKE) in marks
        assert ("incident", None, None, incident.channel) in marks
        goes = {f"{go.run}:{go.step}:{go.attempt}" for go in night.events(StepStarted)}
        destroyed = Counter(key for _, key in plant.destroyed())
        assert set(destroyed.values()) == {1}
        assert set(destroyed) <= goes
        assert set(night.app.journal.numbers()["outbox"]["states"]) == {"done"}
        assert night.app.journal.verify(incident.id) is None


def test_the_night_has_no_more_commits_and_calls_than_are_tried(tmp_path: Path, death: Death) -> None:
    with night_with_a_plant(tmp_path) as (night, _):
        death.comes("commit", 10_000, keeps_the_last=True)
        for act in acts(night):
            act()
        assert 0.7 * COMMITS < death.done["commit"] < COMMITS, death.done
        assert 0.7 * CALLS < death.done["call"] < CALLS, death.done
