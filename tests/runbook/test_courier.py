"""One step in the courier's hands: what takes its time, how often is tried, and when the time is over."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from bot.contracts import Again, Attempt, Going, Observed, Permanent, Plan, Transient
from bot.incident import commands as cmd
from bot.incident import effects as ef
from bot.incident import events as ev
from bot.incident.run import Reading, Risk, Sample, StepRun, StepSpec, StepStatus, Verify
from bot.runbook.courier import Courier, _target
from bot.runbook.kinds import KINDS, Arg
from tests.core.case import JONAS, Case, act, check

HOLDS = Reading(Sample.HOLDS, "0 (want == 0)")
DOWN = Reading(Sample.INCONCLUSIVE, "down")
GONE = Verify("pods on the node", "== 0", timedelta(), timedelta(minutes=5))
DRAIN = act("drain", kind="pods.move", timeout=timedelta(minutes=10), verify=GONE, lease=None)


@dataclass
class Pods:
    """A node whose pods leave it one at a time, each time somebody looks after them."""

    left: int = 3
    moved: list[str] = field(default_factory=list)
    trouble: Callable[[], None] = lambda: None
    looking: Callable[[], None] = lambda: None
    backing: Callable[[], None] = lambda: None
    risk: Risk = Risk.REVERSIBLE

    def plan(self, args: Mapping[str, Any]) -> Plan:
        return Plan((f"move {self.left} pods",), dict(args), {}, self.risk, "pods may come back")

    def apply(self, plan: Plan, key: str) -> None:
        self.moved.append(key)

    def observe(self, plan: Plan) -> Observed:
        self.looking()
        return Observed.DONE if self.moved else Observed.NOT_DONE

    def undo(self, plan: Plan, key: str) -> None:
        self.backing()
        self.moved.clear()

    def go_on(self, plan: Plan, key: str) -> Going | None:
        self.trouble()
        self.left -= 1
        return Going(f"{self.left} pods wait for their budget") if self.left else None


@dataclass
class Samples:
    """What is measured, one after another and then the last one for ever; `down` is no answer at all."""

    readings: tuple[Reading, ...]

    def check(self, args: Mapping[str, Any]) -> Reading:
        return self.measure("", "")

    def measure(self, query: str, expect: str) -> Reading:
        found, *later = self.readings
        self.readings = tuple(later) or self.readings
        if found is DOWN:
            raise Transient("Prometheus does not answer")
        return found


class Shift:
    """A run in the hands of people and the courier: each look is a moment later, and what came of it is kept."""

    def __init__(self, case: Case, pods: Pods, *steps: StepSpec, readings: tuple[Reading, ...] = (HOLDS,)) -> None:
        self.case = case
        self.looks: list[Any] = []
        self.progress: dict[str, Any] = {}
        sample = Samples(readings)
        checks = {"promql.assert": sample, "promql.wait": sample}
        self.courier = Courier({"pods.move": pods}, checks, sample.measure)
        case.do(
            cmd.StartRun, run="r1", runbook="b", title="B", source_digest="0" * 64, target="node/n2", steps=steps
        )  # fmt: skip

    @property
    def step(self) -> Any:
        return self.case.inc.runs["r1"].steps[0]

    def waiting(self) -> ef.StepEffect | None:
        return next((e for e in self.case.effects if isinstance(e, ef.StepEffect)), None)

    def tries(self, effect: ef.StepEffect, number: int = 1, since: timedelta = timedelta()) -> Any:
        """One try of it, as the outbox makes it."""
        case = self.case
        attempt = Attempt("job", number, case.now, self.progress, case.now - since)
        result = self.courier.deliver(effect, case.inc, attempt)
        self.looks.append(result)
        if not isinstance(result, Again):
            self.progress = {}
            case.receipt(*result)
            return result
        self.progress = dict(result.progress)
        if result.events:
            case.receipt(*result.events)
        case.now = result.at
        return result

    def until_it_ends(self, effect: ef.StepEffect) -> list[ev.Event]:
        for _ in range(500):
            result = self.tries(effect)
            if not isinstance(result, Again):
                return list(result)
        raise AssertionError("it never ended")


@pytest.fixture
def taken() -> Case:
    return Case().alerts(firing=3, new=3).do(cmd.Acknowledge)


@pytest.fixture
def pods() -> Pods:
    return Pods()


def begun(taken: Case, pods: Pods, step: StepSpec = DRAIN) -> Shift:
    """The drain has been approved and begun."""
    shift = Shift(taken, pods, step)
    shift.tries(ef.PlanStep("r1", "drain"))
    taken.do(cmd.ApproveStep, by=JONAS, run="r1", step="drain", digest=shift.step.plan_digest)
    shift.tries(ef.ApplyStep("r1", "drain", 1))
    return shift


def test_an_act_that_goes_on_is_looked_after_until_it_has_ended_and_then_measured(taken: Case, pods: Pods) -> None:
    shift = begun(taken, pods)
    assert shift.looks[-1] == [ev.StepApplied("r1", "drain", 1, None, True)]
    began = taken.now
    assert shift.until_it_ends(ef.ContinueStep("r1", "drain")) == [ev.StepCompleted("r1", "drain")]
    assert taken.now - began == timedelta(seconds=10), "two looks, five seconds apart"
    assert shift.until_it_ends(ef.VerifyStep("r1", "drain")) == [ev.StepSucceeded("r1", "drain", "0 (want == 0)")]
    assert len(pods.moved) == 1


def test_people_hear_how_far_it_is_at_most_twice_a_minute(taken: Case, pods: Pods) -> None:
    pods.left = 25
    shift = begun(taken, pods)
    shift.until_it_ends(ef.ContinueStep("r1", "drain"))
    said = [entry for entry in taken.entries if isinstance(entry.event, ev.StepProgressed)]
    assert said[0].event == ev.StepProgressed("r1", "drain", "24 pods wait for their budget")
    assert len(said) == 4
    assert all(later.at - sooner.at >= timedelta(seconds=30) for sooner, later in pairwise(said))


def test_an_act_that_does_not_end_in_its_time_has_failed_and_says_how_far_it_came(taken: Case, pods: Pods) -> None:
    pods.left = 10_000
    shift = begun(taken, pods)
    (failed,) = shift.until_it_ends(ef.ContinueStep("r1", "drain"))
    assert isinstance(failed, ev.StepFailed)
    assert failed.text.startswith("not finished within 10 min: 98")
    assert shift.step.applied, "what was begun can be taken back"


def test_what_was_held_up_beyond_its_time_is_not_taken_further(taken: Case, pods: Pods) -> None:
    shift = begun(taken, pods)
    taken.after(hours=3)
    (failed,) = shift.tries(ef.ContinueStep("r1", "drain"))
    assert failed.text.startswith("not finished within 10 min")
    assert pods.left == 3, "nobody was moved after that"


def test_an_earlier_try_that_nobody_can_look_at_is_unclear_and_never_failed(taken: Case, pods: Pods) -> None:
    shift = Shift(taken, pods, DRAIN)
    shift.tries(ef.PlanStep("r1", "drain"))
    taken.do(cmd.ApproveStep, by=JONAS, run="r1", step="drain", digest=shift.step.plan_digest)

    def refused() -> None:
        raise Permanent("401: the token was revoked")

    pods.looking = refused
    (unclear,) = shift.tries(ef.ApplyStep("r1", "drain", 1), 2)
    assert isinstance(unclear, ev.StepInterrupted)
    assert shift.step.may_be_in_force, "so it can be taken back"


def test_a_way_back_that_cannot_itself_be_taken_back_is_not_gone_by_itself(taken: Case, pods: Pods) -> None:
    shift = Shift(taken, pods, replace(DRAIN, undo="wipe"), act("wipe", kind="pods.move", lease=None))
    shift.tries(ef.PlanStep("r1", "drain"))
    taken.do(cmd.ApproveStep, by=JONAS, run="r1", step="drain", digest=shift.step.plan_digest)
    shift.tries(ef.ApplyStep("r1", "drain", 1))
    taken.do(cmd.UndoStep, run="r1", step="drain")
    pods.risk = Risk.DESTRUCTIVE
    (failed,) = shift.tries(ef.UndoStep("r1", "drain"))
    assert isinstance(failed, ev.UndoFailed)
    assert "takes two people" in failed.text
    assert len(pods.moved) == 1


def taking_back(taken: Case, pods: Pods, refuses: Exception) -> Shift:
    """The drain is in force and being taken back, by something that fails that way."""
    shift = begun(taken, pods)
    taken.do(cmd.StopRun, run="r1")
    shift.tries(ef.ContinueStep("r1", "drain"))
    taken.do(cmd.UndoStep, run="r1", step="drain")

    def fails() -> None:
        raise refuses

    pods.backing = fails
    return shift


@pytest.mark.parametrize(
    ("failure", "number", "unclear"),
    [
        (Permanent("409: somebody else has changed it"), 1, False),
        (Permanent("409: somebody else has changed it"), 2, True),
        (Permanent("answered 200 with text/html", ambiguous=True), 1, True),
        (Transient("no answer in 5 s", ambiguous=True), 9, True),
    ],
)
def test_a_way_back_that_may_have_got_through_is_not_said_to_have_failed(
    taken: Case, pods: Pods, failure: Exception, number: int, unclear: bool
) -> None:
    shift = taking_back(taken, pods, failure)
    (failed,) = shift.tries(ef.UndoStep("r1", "drain"), number)
    assert (type(failed), failed.unclear) == (ev.UndoFailed, unclear)
    assert shift.step.status is (StepStatus.INTERRUPTED if unclear else StepStatus.FAILED)
    taken.do(cmd.UndoStep, run="r1", step="drain")
    assert taken.calls_for(ef.UndoStep), "a person may have it taken back again"


def test_whoever_stops_the_run_stops_what_goes_on(taken: Case, pods: Pods) -> None:
    shift = begun(taken, pods)
    shift.tries(ef.ContinueStep("r1", "drain"))
    taken.do(cmd.StopRun, run="r1")
    (failed,) = shift.tries(ef.ContinueStep("r1", "drain"))
    assert failed.text == "the runbook was stopped while it was going on: 2 pods wait for their budget"
    assert pods.left == 2


def test_a_cluster_that_does_not_answer_for_a_moment_ends_nothing(taken: Case, pods: Pods) -> None:
    shift = begun(taken, pods)

    def down() -> None:
        raise Transient("the API server does not answer")

    pods.trouble = down
    for _ in range(4):
        assert isinstance(shift.tries(ef.ContinueStep("r1", "drain")), Again)
    assert shift.step.outcome == "cannot be looked at: the API server does not answer"
    pods.trouble = lambda: None
    assert shift.until_it_ends(ef.ContinueStep("r1", "drain")) == [ev.StepCompleted("r1", "drain")]


def test_what_cannot_end_has_failed_at_once(taken: Case, pods: Pods) -> None:
    shift = begun(taken, pods)

    def stuck() -> None:
        raise Permanent("progress deadline exceeded")

    pods.trouble = stuck
    assert shift.until_it_ends(ef.ContinueStep("r1", "drain")) == [
        ev.StepFailed("r1", "drain", "progress deadline exceeded")
    ]


def test_an_undo_in_between_is_obeyed(taken: Case, pods: Pods) -> None:
    shift = begun(taken, pods)
    taken.do(cmd.UndoStep, run="r1", step="drain")
    assert shift.tries(ef.ContinueStep("r1", "drain")) == []
    assert pods.left == 3


@pytest.mark.parametrize(("retry", "tries"), [(0, 1), (2, 3), (None, 5)])
def test_a_measurement_that_gets_no_answer_is_tried_as_often_as_the_runbook_says(
    taken: Case, pods: Pods, retry: int | None, tries: int
) -> None:
    step = check(timeout=timedelta(minutes=5)) if retry is None else check(retry=retry, timeout=timedelta(minutes=5))
    shift = Shift(taken, pods, step, readings=(DOWN,))
    for number in range(1, tries):
        with pytest.raises(Transient):
            shift.tries(ef.CheckStep("r1", "check"), number)
    (failed,) = shift.tries(ef.CheckStep("r1", "check"), tries)
    assert failed == ev.StepFailed(
        "r1", "check", f"tried {tries} {'times' if tries > 1 else 'time'}: Prometheus does not answer", True
    )


def test_no_try_is_made_once_the_steps_time_is_over(taken: Case, pods: Pods) -> None:
    shift = Shift(taken, pods, check(retry=5, timeout=timedelta(seconds=20)), readings=(DOWN,))
    with pytest.raises(Transient):
        shift.tries(ef.CheckStep("r1", "check"), 2, timedelta(seconds=19))
    (failed,) = shift.tries(ef.CheckStep("r1", "check"), 3, timedelta(seconds=20))
    assert isinstance(failed, ev.StepFailed)


def test_a_wait_says_what_it_measures_and_can_be_left_out(taken: Case, pods: Pods) -> None:
    wait = replace(check(timeout=timedelta(minutes=10)), kind="promql.wait")
    shift = Shift(taken, pods, wait, DRAIN, readings=(Reading(Sample.FAILS, "12 (want < 5)"),))
    shift.tries(ef.CheckStep("r1", "check"))
    assert shift.step.outcome == "12 (want < 5)"
    assert shift.step.status is StepStatus.WAITING
    taken.do(cmd.SkipStep, run="r1", step="check", reason="the queue is another team's")
    assert shift.tries(ef.CheckStep("r1", "check")) == []
    assert isinstance(shift.waiting(), ef.PlanStep) or shift.case.inc.runs["r1"].steps[1].status is StepStatus.WAITING


@pytest.mark.parametrize("kind", sorted(kind for kind, rule in KINDS.items() if rule.table))
def test_what_does_not_answer_is_left_alone_by_its_own_name_and_not_by_that_of_prometheus(kind: str) -> None:
    (key,) = (name for name, what in KINDS[kind].args.items() if what is Arg.TARGET)
    step = StepRun(StepSpec("a", "A", kind, {key: "one-of-them"}, KINDS[kind].risk))
    assert _target(step) == f"{KINDS[kind].table}.one-of-them"
