"""A node is drained, and the process dies at every commit and call between the first preview and the last proof.

The drain cannot be taken back and goes on for a while: begun by one call, and every eviction is one of its own.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from bot.incident import events as ev
from bot.incident.run import RunStatus, StepStatus
from tests.chaos.death import Death, survives
from tests.chaos.test_every_commit import answers_its_steps, run
from tests.story.night import MAYA, Night, alert, measuring, open_night

RUNBOOK: Final = "gpu-off-the-bus"
NODE: Final = "node-1"
"""Two replicas of one model are on it, and its budget lets one go at a time."""
MEASURED: Final = {
    "DCGM_FI_DEV_XID_ERRORS": 79.0,
    "kube_node_status_allocatable": 2.0,
    "kube_pod_info": 0.0,
    "kube_node_spec_unschedulable": 1.0,
    "kube_deployment_status_replicas_available": 0.0,
}
"""What a Prometheus must say for the runbook's steps to count as done, by the first of these words in the query."""
COMMITS: Final = 115
CALLS: Final = 110
"""More than the run has of each."""
MOVED: Final = 2
"""What the fleet counts for one move at most: a pod's end, and the beginning of the one in its place, if there is
room."""
WHOLE: Final = os.environ.get("CHAOS") == "all"
POINTS: Final = [
    *(("commit", at) for at in range(1, COMMITS, 1 if WHOLE else 15)),
    *(("call", at) for at in range(1, CALLS, 1 if WHOLE else 15)),
]


@pytest.fixture
def death(monkeypatch: pytest.MonkeyPatch) -> Death:
    return Death(monkeypatch)


@contextmanager
def at_the_incident(folder: Path) -> Iterator[Night]:
    """Somebody has an incident; nothing has been done about it."""
    with open_night(folder / "bench") as night, measuring(night, MEASURED):
        night.alerts(alert())
        night.types(MAYA, "/incident ack", night.incident.channel)
        yield night


def starts(night: Night) -> None:
    if run(night) is not None:
        return
    for left in night.bench.workspace.open_views(MAYA):
        night.bench.workspace.close_view(MAYA, left.id)
    night.types(MAYA, f"/incident run {RUNBOOK}", night.incident.channel)
    night.fills_in(MAYA, **{"runbook": RUNBOOK, "param.node": NODE, "param.ns": "inference"})


def acts(night: Night) -> list[Callable[[], object]]:
    return [lambda: starts(night), lambda: answers_its_steps(night), lambda: night.through(minutes=2)]


def moved(night: Night) -> Counter[str]:
    """How often each replica of the fleet was begun anew, by its place in it."""
    return Counter(
        {
            f"{deployment.spec.name}-{replica.ordinal}": replica.restarts
            for deployment in night.bench.fleet.view().deployments.values()
            for replica in deployment.replicas
        }
    )


@pytest.mark.parametrize("keeps_the_last", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("what", "at"), POINTS)
def test_a_death_at_any_commit_or_call_moves_no_pod_twice_and_reports_nothing_done_that_was_not(
    tmp_path: Path, death: Death, what: str, at: int, keeps_the_last: bool
) -> None:
    with at_the_incident(tmp_path) as night:
        on_it = set(night.bench.fleet.node(NODE)["replicas"])
        before = moved(night)
        death.comes(what, at, keeps_the_last=keeps_the_last)
        for act in acts(night):
            survives(night, death, act)
        going = run(night)
        assert going is not None
        assert going.status is RunStatus.DONE
        drained, left = going.step("drain"), night.bench.fleet.node(NODE)["replicas"]
        assert drained.status in (StepStatus.DONE, StepStatus.SKIPPED)
        if drained.status is StepStatus.DONE:
            assert left == [], "reported done, and it is"
            assert not night.bench.fleet.node(NODE)["schedulable"]
        begun_anew = moved(night) - before
        assert max(begun_anew.values(), default=0) <= MOVED, "nobody was moved twice"
        assert len(begun_anew) <= len(on_it), "and nobody who was not there"
        starts_of = Counter((go.step, go.attempt) for go in night.events(ev.StepStarted))
        assert set(starts_of.values()) == {1}
        assert len(night.events(ev.StepSucceeded)) == len({one.step for one in night.events(ev.StepSucceeded)})
        assert set(night.app.journal.numbers()["outbox"]["states"]) == {"done"}


def test_the_run_has_no_more_commits_and_calls_than_are_tried(tmp_path: Path, death: Death) -> None:
    with at_the_incident(tmp_path) as night:
        death.comes("commit", 10_000, keeps_the_last=True)
        for act in acts(night):
            act()
        going = run(night)
        assert going is not None
        assert [step.status for step in going.steps] == [StepStatus.DONE] * 6
        assert 0.7 * COMMITS < death.done["commit"] < COMMITS, death.done
        assert 0.7 * CALLS < death.done["call"] < CALLS, death.done
