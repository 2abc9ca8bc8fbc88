"""What takes two people, what only tells people, what goes on by itself, and what is on loan."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.incident import commands as cmd
from bot.incident import effects as ef
from bot.incident import events as ev
from bot.incident.people import Refused
from bot.incident.run import Risk, RunStatus, StepStatus
from bot.incident.state import Status
from tests.core.case import JONAS, Case, act, check
from tests.core.test_runs import PLAN, applied, start, status

DRAIN = act("drain", risk=Risk.DESTRUCTIVE, undo=None, no_undo="pods stay where they went", lease=None)
CALL = check("owner", kind="page.oncall", args={"text": "llama-70b is down"})
TELL = check("told", kind="notify.post", args={"text": "Draining node-2."})


@pytest.fixture
def previewed(taken: Case) -> Case:
    """Maya has begun what takes two, and is alone with it."""
    return start(taken, DRAIN, check()).receipt(ev.StepPlanned("r1", "drain", {**PLAN, "risk": "destructive"}, "d1"))


def approves(case: Case, alone: str = "", **who: Any) -> Case:
    return case.do(cmd.ApproveStep, run="r1", step="drain", digest="d1", alone=alone, **who)


def test_alone_one_may_only_call_a_second_person(previewed: Case) -> None:
    with pytest.raises(Refused, match="Call a second person; if nobody comes within 5 min"):
        approves(previewed, alone="it burns")
    previewed.do(cmd.CallSecond, run="r1", step="drain")
    assert previewed.effects[:1] == [ef.CallSecond(1, 1)]
    assert previewed.inc.escalations == 1


def test_the_second_person_who_comes_approves(previewed: Case) -> None:
    previewed.do(cmd.CallSecond, run="r1", step="drain").after(minutes=1)
    approves(previewed, by=JONAS)
    assert previewed.caused(ev.StepApproved, ev.StepStarted)


def test_when_nobody_comes_one_may_go_on_alone_with_a_reason_that_is_kept(previewed: Case) -> None:
    previewed.do(cmd.CallSecond, run="r1", step="drain").after(minutes=4, seconds=59)
    with pytest.raises(Refused, match="you may go on alone"):
        approves(previewed, alone="node-3 is failing too")
    previewed.after(seconds=1)
    with pytest.raises(Refused, match="why it cannot wait"):
        approves(previewed, alone="  ")
    approves(previewed, alone="node-3 is failing too")
    assert previewed.events[0] == ev.StepOverridden("r1", "drain", "node-3 is failing too")
    assert previewed.caused(ev.StepOverridden, ev.StepApproved, ev.StepStarted)


def test_going_on_alone_holds_for_the_plan_that_was_seen(previewed: Case) -> None:
    approves(previewed.do(cmd.CallSecond, run="r1", step="drain").after(minutes=5), alone="it burns")
    previewed.receipt(ev.StepFailed("r1", "drain", "changed since the preview"))
    previewed.do(cmd.RetryStep, run="r1", step="drain")
    previewed.receipt(ev.StepPlanned("r1", "drain", {**PLAN, "risk": "destructive"}, "d2"))
    assert not previewed.inc.runs["r1"].step("drain").alone


def test_a_call_is_good_for_the_plan_it_was_made_under(previewed: Case) -> None:
    previewed.do(cmd.CallSecond, run="r1", step="drain").do(cmd.RetryStep, run="r1", step="drain").after(minutes=6)
    previewed.receipt(ev.StepPlanned("r1", "drain", {**PLAN, "risk": "destructive"}, "d1"))
    with pytest.raises(Refused, match="Call a second person"):
        approves(previewed, alone="it burns")


def test_a_second_person_is_called_once_in_a_while_however_often_one_presses(previewed: Case) -> None:
    previewed.do(cmd.CallSecond, run="r1", step="drain")
    assert previewed.after(minutes=1).do(cmd.CallSecond, run="r1", step="drain").events == []
    assert previewed.after(minutes=5).do(cmd.CallSecond, run="r1", step="drain").effects[:1] == [ef.CallSecond(1, 2)]


def test_a_step_that_tells_people_asks_nobody_and_the_run_goes_on(taken: Case) -> None:
    start(taken, TELL, CALL, check())
    assert [type(event) for event in taken.events] == [ev.RunStarted, ev.StepSaid, ev.StepSaid]
    told, called = taken.events[1:]
    assert told == ev.StepSaid("r1", "told", "Draining node-2.")
    assert called == ev.StepSaid("r1", "owner", "llama-70b is down", 1)
    assert [effect for effect in taken.effects if isinstance(effect, ef.CallSecond)] == [ef.CallSecond(1, 1)]
    assert len([effect for effect in taken.effects if isinstance(effect, ef.Tell)]) == 3
    assert taken.calls_for(ef.CheckStep)


def test_who_was_called_for_the_first_time_is_not_called_again_by_the_next_runbook(taken: Case) -> None:
    start(taken, CALL)
    taken.do(cmd.StartRun, run="r2", runbook="b", title="B", source_digest="0" * 64, target="other", steps=(CALL,))
    assert [effect for effect in taken.effects if isinstance(effect, ef.CallSecond)] == [ef.CallSecond(1, 2)]


def lasting(case: Case) -> Case:
    """The drain has begun, and goes on by itself."""
    approves(case, by=JONAS)
    return case.receipt(ev.StepApplied("r1", "drain", 1, lasting=True))


def test_what_goes_on_by_itself_is_looked_after_and_measured_only_when_it_has_ended(previewed: Case) -> None:
    lasting(previewed)
    assert status(previewed, "drain") is StepStatus.GOING
    assert ef.ContinueStep("r1", "drain") in previewed.effects
    assert not previewed.calls_for(ef.VerifyStep)
    previewed.receipt(ev.StepProgressed("r1", "drain", "3 of 5 pods moved"))
    assert previewed.inc.runs["r1"].step("drain").outcome == "3 of 5 pods moved"
    assert ef.ShowStep("r1", "drain") in previewed.effects
    previewed.receipt(ev.StepCompleted("r1", "drain"))
    assert status(previewed, "drain") is StepStatus.VERIFYING
    assert ef.VerifyStep("r1", "drain") in previewed.effects


def test_what_goes_on_can_neither_be_skipped_nor_begun_anew_but_stopped(previewed: Case) -> None:
    lasting(previewed)
    for kind in (cmd.SkipStep, cmd.RetryStep):
        with pytest.raises(Refused, match="approved and has no result yet"):
            previewed.do(kind, run="r1", step="drain")
    previewed.do(cmd.StopRun, run="r1")
    previewed.receipt(ev.StepFailed("r1", "drain", "stopped at 3 of 5 pods"))
    assert status(previewed, "drain") is StepStatus.FAILED
    assert previewed.inc.runs["r1"].status is RunStatus.STOPPED


def test_news_of_what_is_over_changes_nothing(previewed: Case) -> None:
    lasting(previewed).receipt(ev.StepCompleted("r1", "drain")).receipt(ev.StepSucceeded("r1", "drain", "0"))
    previewed.receipt(ev.StepProgressed("r1", "drain", "4 of 5 pods moved"), ev.StepCompleted("r1", "drain"))
    assert previewed.events == []


def test_while_something_is_on_loan_nobody_resolves_and_everybody_hears_of_it(taken: Case) -> None:
    applied(taken).receipt(ev.StepSucceeded("r1", "rollback", "ok")).alerts(firing=0, resolved=3)
    assert taken.stands(Status.MITIGATED)
    with pytest.raises(Refused, match=r"Still on loan: \*Roll back\*"):
        taken.do(cmd.Resolve, reason="it is quiet")
    taken.after(minutes=14).clock_strikes()
    assert not taken.calls_for(ef.Tell)
    reminded = []
    for _ in range(4):
        taken.after(minutes=15).clock_strikes()
        reminded += [event for event in taken.events if isinstance(event, ev.FallbackReminded)]
    assert reminded == [ev.FallbackReminded("r1", "rollback")] * 3, "each quarter of an hour, until it ends"
    assert taken.caused(ev.UndoStarted), "then its time is up"
    taken.receipt(ev.StepUndone("r1", "rollback")).do(cmd.Resolve, reason="well without it")
    assert taken.stands(Status.RESOLVED)


def test_a_renewed_loan_is_reminded_of_anew(taken: Case) -> None:
    applied(taken).receipt(ev.StepSucceeded("r1", "rollback", "ok")).after(minutes=50).clock_strikes()
    taken.do(cmd.RenewLease, run="r1", step="rollback").after(minutes=15).clock_strikes()
    assert taken.caused(ev.FallbackReminded)


def test_what_is_kept_for_good_stops_nobody(taken: Case) -> None:
    kept = replace(act(), lease=None)
    start(taken, kept).receipt(ev.StepPlanned("r1", "rollback", PLAN, "d1"))
    taken.do(cmd.ApproveStep, run="r1", step="rollback", digest="d1").receipt(ev.StepApplied("r1", "rollback", 1))
    taken.receipt(ev.StepSucceeded("r1", "rollback", "ok")).after(hours=5)
    assert taken.clock_strikes().events != [ev.FallbackReminded("r1", "rollback")]
    taken.alerts(firing=0, resolved=3).do(cmd.Resolve, reason="well")
    assert taken.stands(Status.RESOLVED)


def test_a_pager_whose_people_closed_it_is_believed(taken: Case) -> None:
    applied(taken).alerts(firing=0, resolved=3)
    taken.do(cmd.Resolve, reason="resolved in PagerDuty", despite_firing=True, despite_fallback=True)
    assert taken.stands(Status.RESOLVED)
    assert taken.inc.runs["r1"].step("rollback").lease_until == taken.now + timedelta(hours=1)
