"""What keeps runbooks from doing too much: the brake, and how often a kind of step may be carried out."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.brake import Begun, Brake, Cap, was_refused
from bot.incident.people import Refused
from bot.incident.policy import Policy
from tests.core.case import START, Case, act
from tests.core.test_runs import previewed, start

ONE_AN_HOUR = {"k8s.drain": Cap(1, timedelta(hours=1))}


@pytest.fixture
def asking() -> Case:
    """A drain waits for its approval."""
    case = Case(Policy(caps=ONE_AN_HOUR)).alerts(firing=1, new=1).do(cmd.Acknowledge)
    return previewed(start(case, act("drain", kind="k8s.drain")), "drain")


def approves(case: Case) -> bool:
    case.do(cmd.ApproveStep, run="r1", step="drain", digest="d1")
    return any(isinstance(event, ev.StepStarted) for event in case.events)


def begun(case: Case, *ago: timedelta, kind: str = "k8s.drain") -> None:
    case.policy = replace(case.policy, begun=tuple(Begun(kind, case.now - span, "INC-7") for span in ago))


def test_a_kind_of_step_is_carried_out_so_often_and_no_more(asking: Case) -> None:
    begun(asking, timedelta(minutes=59, seconds=30))
    with pytest.raises(Refused, match=r"At most 1 step of the kind k8s\.drain in 60 min here, and INC-7"):
        approves(asking)
    begun(asking, timedelta(minutes=60))
    assert approves(asking)


def test_the_sentence_says_from_when_on_there_is_room(asking: Case) -> None:
    asking.policy = replace(asking.policy, caps={"k8s.drain": Cap(2, timedelta(hours=1))})
    begun(asking, timedelta(minutes=40), timedelta(minutes=50), timedelta(minutes=10))
    with pytest.raises(Refused, match=f"room again from {START + timedelta(minutes=20):%H:%M:%S} UTC on"):
        approves(asking)


def test_other_kinds_do_not_count_and_kinds_without_a_cap_have_none(asking: Case) -> None:
    begun(asking, *[timedelta(minutes=1)] * 9, kind="k8s.cordon")
    assert approves(asking)
    free = previewed(start(Case().alerts(firing=1, new=1).do(cmd.Acknowledge), act("drain", kind="k8s.scale")), "drain")
    begun(free, *[timedelta(minutes=1)] * 9, kind="k8s.scale")
    assert approves(free)


def test_while_the_brake_is_on_nobody_approves_and_everybody_may_undo(asking: Case) -> None:
    asking.policy = replace(asking.policy, brake=Brake(START, "Maya", "drains the wrong nodes"))
    with pytest.raises(Refused, match=r"stopped since 2026-11-21 03:00 UTC by Maya: drains the wrong nodes\."):
        approves(asking)
    asking.policy = replace(asking.policy, brake=None)
    assert approves(asking)
    asking.receipt(ev.StepApplied("r1", "drain", 1))
    asking.policy = replace(asking.policy, brake=Brake(START, "Maya", ""))
    asking.do(cmd.UndoStep, run="r1", step="drain")
    assert asking.caused(ev.UndoStarted)


def test_what_the_other_side_refused_takes_nobody_elses_place(asking: Case) -> None:
    approves(asking)
    asking.receipt(ev.StepFailed("r1", "drain", "cordon the node first"))
    assert was_refused(asking.inc.runs["r1"].step("drain"))


def test_what_was_begun_and_failed_later_counts(asking: Case) -> None:
    approves(asking)
    asking.receipt(ev.StepApplied("r1", "drain", 1)).receipt(ev.StepFailed("r1", "drain", "not proven"))
    assert not was_refused(asking.inc.runs["r1"].step("drain"))


def test_what_may_have_been_done_counts(asking: Case) -> None:
    approves(asking)
    asking.receipt(ev.StepInterrupted("r1", "drain", "the answer never came"))
    assert not was_refused(asking.inc.runs["r1"].step("drain"))
