"""A runbook run: preview, approve, act, verify, undo, and what happens when the bot is cut off in between."""

from datetime import timedelta

import pytest

from bot.incident import commands as cmd
from bot.incident import effects as ef
from bot.incident import events as ev
from bot.incident.events import Severity
from bot.incident.people import Refused
from bot.incident.run import OnFail, RunStatus, StepSpec, StepStatus
from bot.incident.runs import all_of, spec_from_json, spec_to_json, undoable
from bot.incident.state import Status
from bot.incident.timeline import line
from tests.core.case import JONAS, SAM, Case, act, ask, check

PLAN = {
    "lines": ["r42 -> r41"],
    "request": {},
    "before": {},
    "risk": "reversible",
    "undo": "back to r42",
    "warnings": [],
}


def start(case: Case, *steps: StepSpec) -> Case:
    return case.do(
        cmd.StartRun,
        run="r1",
        runbook="rollback",
        title="Roll back a model deploy",
        source_digest="0" * 64,
        target="model/llama-70b",
        steps=steps,
    )


def status(case: Case, step: str) -> StepStatus:
    return case.inc.runs["r1"].step(step).status


def previewed(case: Case, step: str = "rollback", digest: str = "d1") -> Case:
    return case.receipt(ev.StepPlanned("r1", step, PLAN, digest))


def applied(case: Case) -> Case:
    previewed(start(case, act())).do(cmd.ApproveStep, run="r1", step="rollback", digest="d1")
    lease = case.now + timedelta(hours=1)
    return case.receipt(ev.StepApplied("r1", "rollback", 1, lease))


def test_reading_steps_run_at_once_and_people_are_asked_in_turn(taken: Case) -> None:
    start(taken, check(), ask(), act())
    assert ef.CheckStep("r1", "check") in taken.effects
    taken.receipt(ev.StepSucceeded("r1", "check", "0.31 (want > 0.01)"))
    assert taken.caused(ev.StepSucceeded, ev.StepAsked)
    taken.do(cmd.ApproveStep, run="r1", step="look")
    assert ef.PlanStep("r1", "rollback") in taken.effects


def test_nothing_is_done_before_somebody_has_seen_and_approved_the_plan(taken: Case) -> None:
    previewed(start(taken, act()))
    assert status(taken, "rollback") is StepStatus.ASKING
    assert not taken.calls_for(ef.ApplyStep)
    taken.do(cmd.ApproveStep, run="r1", step="rollback", digest="d1")
    assert taken.caused(ev.StepApproved, ev.StepStarted)
    assert ef.ApplyStep("r1", "rollback", 1) in taken.effects


def test_two_clicks_on_run_it_do_it_once(taken: Case) -> None:
    previewed(start(taken, act())).do(cmd.ApproveStep, run="r1", step="rollback", digest="d1")
    taken.do(cmd.ApproveStep, by=JONAS, run="r1", step="rollback", digest="d1")
    assert taken.events == []


def test_a_changed_plan_voids_the_approval(taken: Case) -> None:
    previewed(start(taken, act()))
    with pytest.raises(Refused, match="changed"):
        taken.do(cmd.ApproveStep, run="r1", step="rollback", digest="an older one")


def test_the_approval_of_an_old_preview_only_brings_a_new_one(taken: Case) -> None:
    previewed(start(taken, act())).after(minutes=16)
    taken.do(cmd.ApproveStep, run="r1", step="rollback", digest="d1")
    assert taken.caused(ev.StepRetried)
    assert ef.PlanStep("r1", "rollback") in taken.effects


def test_only_responders_approve(taken: Case) -> None:
    previewed(start(taken, act()))
    with pytest.raises(Refused, match="Only responders"):
        taken.do(cmd.ApproveStep, by=SAM, run="r1", step="rollback", digest="d1")


def test_an_act_is_done_only_when_measured_and_then_the_run_is(taken: Case) -> None:
    applied(taken)
    assert ef.VerifyStep("r1", "rollback") in taken.effects
    taken.receipt(ev.StepSucceeded("r1", "rollback", "0.002 (want < 0.01)"))
    assert taken.caused(ev.StepSucceeded, ev.RunFinished, ev.Mitigated)
    assert taken.inc.mitigated is not None
    assert taken.inc.mitigated.what == "Roll back a model deploy: 0.002 (want < 0.01)"
    assert taken.inc.runs["r1"].status is RunStatus.DONE


def test_a_lease_that_nobody_renews_is_undone_by_the_bot(taken: Case) -> None:
    applied(taken).receipt(ev.StepSucceeded("r1", "rollback", "ok"))
    assert taken.inc.runs["r1"].step("rollback").lease_until is not None
    taken.after(minutes=59).clock_strikes()
    assert not taken.calls_for(ef.UndoStep)
    taken.do(cmd.RenewLease, run="r1", step="rollback").after(minutes=30).clock_strikes()
    assert not taken.calls_for(ef.UndoStep), "renewed"
    taken.after(minutes=30).clock_strikes()
    assert ef.UndoStep("r1", "rollback") in taken.effects
    taken.receipt(ev.StepUndone("r1", "rollback"))
    assert status(taken, "rollback") is StepStatus.UNDONE


def test_a_lease_ends_even_after_the_incident_is_resolved(taken: Case) -> None:
    applied(taken).receipt(ev.StepSucceeded("r1", "rollback", "ok"))
    taken.alerts(firing=0, resolved=3).do(cmd.Resolve, reason="resolved in PagerDuty", despite_fallback=True)
    taken.after(hours=2).clock_strikes()
    assert taken.calls_for(ef.UndoStep)


def test_a_lease_ends_even_if_its_step_was_skipped_or_its_outcome_is_unknown(taken: Case) -> None:
    applied(taken).receipt(ev.StepFailed("r1", "rollback", "0.2"))
    taken.do(cmd.SkipStep, run="r1", step="rollback").after(hours=1).clock_strikes()
    assert ef.UndoStep("r1", "rollback") in taken.effects
    other = Case().alerts(firing=1, new=1).do(cmd.Acknowledge)
    previewed(start(other, act())).do(cmd.ApproveStep, run="r1", step="rollback", digest="d1")
    other.receipt(ev.StepInterrupted("r1", "rollback", "cut off")).after(hours=1).clock_strikes()
    assert ef.UndoStep("r1", "rollback") in other.effects


def test_what_was_refused_is_not_undone_by_rule(taken: Case) -> None:
    previewed(start(taken, act(on_fail=OnFail.UNDO))).do(cmd.ApproveStep, run="r1", step="rollback", digest="d1")
    taken.receipt(ev.StepFailed("r1", "rollback", "404: no such model"))
    assert taken.caused(ev.StepFailed)


def test_undo_on_request_happens_once(taken: Case) -> None:
    applied(taken).receipt(ev.StepSucceeded("r1", "rollback", "ok"))
    taken.do(cmd.UndoStep, run="r1", step="rollback")
    assert taken.calls_for(ef.UndoStep)
    taken.do(cmd.UndoStep, by=JONAS, run="r1", step="rollback")
    assert taken.events == []


def listed(case: Case) -> str:
    """What the button lists now."""
    return all_of(undoable(case.inc.runs["r1"]))


def three_in_force(case: Case) -> Case:
    """A run of three acts, each carried out and proven; nothing takes the second back."""
    start(case, act("shed"), act("purge", undo=None, no_undo="the cache refills"), act("shift"))
    for step in ("shed", "purge", "shift"):
        previewed(case, step).do(cmd.ApproveStep, by=JONAS, run="r1", step=step, digest="d1")
        case.receipt(ev.StepApplied("r1", step, 1, None), ev.StepSucceeded("r1", step, "ok"))
    return case


def test_all_of_a_runbook_is_undone_the_latest_first_and_what_has_no_way_back_stays(taken: Case) -> None:
    three_in_force(taken).do(cmd.UndoRun, run="r1", shown=listed(taken))
    assert taken.effects.count(ef.UndoStep("r1", "shift")) == 1
    taken.do(cmd.UndoRun, by=JONAS, run="r1", shown=listed(taken))
    assert taken.events == [], "it is being done"
    taken.receipt(ev.StepUndone("r1", "shift"))
    assert ef.UndoStep("r1", "shed") in taken.effects
    taken.receipt(ev.StepUndone("r1", "shed"))
    assert not taken.calls_for(ef.UndoStep)
    assert [status(taken, step) for step in ("shed", "purge", "shift")] == ["undone", "done", "undone"]
    with pytest.raises(Refused, match="Nothing of this run is in force that has a way back"):
        taken.do(cmd.UndoRun, run="r1", shown=listed(taken))


def test_a_button_that_listed_fewer_steps_undoes_none_of_them(taken: Case) -> None:
    start(taken, act("shed"), act("shift"))
    previewed(taken, "shed").do(cmd.ApproveStep, by=JONAS, run="r1", step="shed", digest="d1")
    taken.receipt(ev.StepApplied("r1", "shed", 1, None), ev.StepSucceeded("r1", "shed", "ok"))
    before = listed(taken)
    previewed(taken, "shift").do(cmd.ApproveStep, by=JONAS, run="r1", step="shift", digest="d1")
    taken.receipt(ev.StepApplied("r1", "shift", 1, None), ev.StepSucceeded("r1", "shift", "ok"))
    with pytest.raises(Refused, match="Other steps are in force by now"):
        taken.do(cmd.UndoRun, run="r1", shown=before)


def test_while_another_step_goes_back_by_itself_the_next_one_waits_for_it(taken: Case) -> None:
    three_in_force(taken).do(cmd.UndoRun, run="r1", shown=listed(taken))
    taken.do(cmd.UndoStep, run="r1", step="shed")
    taken.receipt(ev.StepUndone("r1", "shift"))
    assert not taken.calls_for(ef.UndoStep)
    assert status(taken, "shed") is StepStatus.UNDOING


def test_a_step_that_is_planned_anew_while_in_force_goes_back_to_what_was_before_the_first_time(taken: Case) -> None:
    wanted = {**PLAN, "request": {"variant": "on"}, "before": {"variant": "off"}}
    start(taken, act()).receipt(ev.StepPlanned("r1", "rollback", wanted, "d1"))
    taken.do(cmd.ApproveStep, run="r1", step="rollback", digest="d1").receipt(ev.StepApplied("r1", "rollback", 1, None))
    taken.receipt(ev.StepFailed("r1", "rollback", "not proven")).do(cmd.RetryStep, run="r1", step="rollback")
    taken.receipt(ev.StepPlanned("r1", "rollback", {**wanted, "before": {"variant": "on"}}, "d2"))
    step = taken.inc.runs["r1"].step("rollback")
    assert step.plan["before"] == {"variant": "on"}, "what is approved"
    assert step.way_back["before"] == {"variant": "off"}, "what undo restores"


def test_a_way_back_that_fails_leaves_what_lies_below_it_as_it_is(taken: Case) -> None:
    three_in_force(taken).do(cmd.UndoRun, run="r1", shown=listed(taken))
    taken.receipt(ev.UndoFailed("r1", "shift", "409: somebody else has changed it"))
    assert not taken.calls_for(ef.UndoStep)
    taken.do(cmd.UndoStep, run="r1", step="shift").receipt(ev.StepUndone("r1", "shift"))
    assert not taken.calls_for(ef.UndoStep), "a person asked for this one alone"


def test_to_undo_all_of_a_run_under_way_ends_it(taken: Case) -> None:
    applied(taken).do(cmd.UndoRun, run="r1", shown=listed(taken))
    assert taken.caused(ev.RunFinished, ev.UndoStarted)
    taken.receipt(ev.StepUndone("r1", "rollback"))
    assert taken.inc.runs["r1"].status is RunStatus.STOPPED


def test_nothing_is_undone_while_the_next_step_is_being_carried_out(taken: Case) -> None:
    start(taken, act("shed"), act("shift"))
    previewed(taken, "shed").do(cmd.ApproveStep, by=JONAS, run="r1", step="shed", digest="d1")
    taken.receipt(ev.StepApplied("r1", "shed", 1, None), ev.StepSucceeded("r1", "shed", "ok"))
    previewed(taken, "shift").do(cmd.ApproveStep, by=JONAS, run="r1", step="shift", digest="d1")
    with pytest.raises(Refused, match="being worked on right now"):
        taken.do(cmd.UndoRun, run="r1", shown=listed(taken))


def test_what_was_never_done_or_has_no_way_back_is_not_undone(taken: Case) -> None:
    start(taken, act())
    with pytest.raises(Refused, match="never carried out"):
        taken.do(cmd.UndoStep, run="r1", step="rollback")
    other = Case().alerts(firing=1, new=1).do(cmd.Acknowledge)
    start(other, act(undo=None, no_undo="the cache refills"))
    with pytest.raises(Refused, match="the cache refills"):
        other.do(cmd.UndoStep, run="r1", step="rollback")


def test_cut_off_while_acting_asks_a_person_and_never_repeats_by_itself(taken: Case) -> None:
    previewed(start(taken, act())).do(cmd.ApproveStep, run="r1", step="rollback", digest="d1")
    taken.receipt(ev.StepInterrupted("r1", "rollback", "cut off"))
    assert status(taken, "rollback") is StepStatus.INTERRUPTED
    assert not taken.calls_for(ef.ApplyStep)
    taken.receipt(ev.StepInterrupted("r1", "rollback", "cut off"))
    assert taken.events == [], "asked once"
    taken.do(cmd.UndoStep, run="r1", step="rollback").receipt(ev.UndoFailed("r1", "rollback", "403"))
    assert status(taken, "rollback") is StepStatus.INTERRUPTED, "whether it is in force is as unclear as before"
    taken.do(cmd.UndoStep, run="r1", step="rollback")
    assert taken.calls_for(ef.UndoStep)


def test_the_timeline_says_that_it_was_carried_out_when_it_was_and_not_before(taken: Case) -> None:
    previewed(start(taken, act())).do(cmd.ApproveStep, run="r1", step="rollback", digest="d1")
    assert line(taken.entries[-1], taken.inc) == "About to carry out Roll back"
    taken.receipt(ev.StepApplied("r1", "rollback", 1, said="pod-7 drained"))
    assert line(taken.entries[-1], taken.inc) == "Carried out Roll back; it said: pod-7 drained"
    taken.receipt(ev.StepSucceeded("r1", "rollback", "0.1"))
    other = previewed(start(Case().alerts(firing=1, new=1).do(cmd.Acknowledge), act()))
    other.do(cmd.ApproveStep, run="r1", step="rollback", digest="d1")
    other.receipt(ev.StepFailed("r1", "rollback", "not carried out: its approval is too old by now"))
    assert not any("Carried out" in (line(entry, other.inc) or "") for entry in other.entries)
    other.do(cmd.RetryStep, run="r1", step="rollback").receipt(ev.StepPlanned("r1", "rollback", {"lines": []}, "d2"))
    other.do(cmd.ApproveStep, run="r1", step="rollback", digest="d2")
    other.receipt(ev.StepApplied("r1", "rollback", 2, lasting=True))
    assert line(other.entries[-1], other.inc) == "Began Roll back"


@pytest.mark.parametrize(
    ("rule", "inconclusive", "expected"),
    [
        (OnFail.ASK, False, ()),
        (OnFail.STOP, False, (ev.RunFinished,)),
        (OnFail.CONTINUE, False, (ev.StepSkipped, ev.RunFinished)),
        (OnFail.UNDO, False, (ev.UndoStarted,)),
        (OnFail.UNDO, True, ()),
    ],
)
def test_what_follows_a_failure_is_the_runbooks_choice_but_no_data_never_undoes(
    taken: Case, rule: OnFail, inconclusive: bool, expected: tuple[type[ev.Event], ...]
) -> None:
    applied_case = previewed(start(taken, act(on_fail=rule)))
    applied_case.do(cmd.ApproveStep, run="r1", step="rollback", digest="d1")
    applied_case.receipt(ev.StepApplied("r1", "rollback", 1))
    applied_case.receipt(ev.StepFailed("r1", "rollback", "0.2", inconclusive))
    assert taken.caused(ev.StepFailed, *expected)


def test_one_run_at_a_time_per_target(taken: Case) -> None:
    start(taken, act())
    with pytest.raises(Refused, match="already running on model/llama-70b"):
        taken.do(
            cmd.StartRun, run="r2", runbook="x", title="X", source_digest="", target="model/llama-70b", steps=(act(),)
        )


def test_a_stopped_run_takes_no_more_answers(taken: Case) -> None:
    previewed(start(taken, act())).do(cmd.StopRun, run="r1")
    with pytest.raises(Refused, match="has ended"):
        taken.do(cmd.ApproveStep, run="r1", step="rollback", digest="d1")


def test_a_report_that_comes_too_late_is_dropped(taken: Case) -> None:
    previewed(start(taken, act())).do(cmd.SkipStep, run="r1", step="rollback", reason="not needed")
    taken.receipt(ev.StepSucceeded("r1", "rollback", "late"))
    assert taken.events == []


def test_every_run_has_a_lane_of_its_own() -> None:
    assert ef.PlanStep("r1", "a").queue() != ef.PlanStep("r2", "a").queue()
    assert ef.UndoStep("r1", "a").queue() != ef.VerifyStep("r1", "a").queue()


@pytest.mark.parametrize("spec", [act(), check(), ask(checklist=("look", "think"))])
def test_a_step_survives_storage(spec: StepSpec) -> None:
    assert spec_from_json(spec_to_json(spec)) == spec


def test_a_step_done_anew_over_its_own_mark_is_taken_back_to_what_was_there_first(taken: Case) -> None:
    """What is marked with the act before differs in that alone; the way back is the first plan's."""
    first = {**PLAN, "request": {"node": "n1", "after": ""}, "before": {"cordoned": False}}
    again = {**PLAN, "request": {"node": "n1", "after": "mark-1"}, "before": {"cordoned": True}}
    start(taken, act(lease=None)).receipt(ev.StepPlanned("r1", "rollback", first, "d1"))
    taken.do(cmd.ApproveStep, run="r1", step="rollback", digest="d1").receipt(ev.StepApplied("r1", "rollback", 1))
    taken.receipt(ev.StepFailed("r1", "rollback", "not proven")).do(cmd.RetryStep, run="r1", step="rollback")
    taken.receipt(ev.StepPlanned("r1", "rollback", again, "d2"))
    assert taken.inc.runs["r1"].step("rollback").way_back["before"] == {"cordoned": False}


def test_while_a_runbook_is_under_way_or_on_loan_no_incident_resolves_itself() -> None:
    case = Case().alerts(firing=1, new=1, severity=Severity.SEV3)
    start(case, ask()).alerts(firing=0, resolved=1).after(minutes=11).clock_strikes()
    assert case.stands(Status.OPEN)
    case.do(cmd.StopRun, run="r1").clock_strikes()
    assert case.stands(Status.RESOLVED)


def test_what_is_on_loan_keeps_an_incident_from_being_called_off(taken: Case) -> None:
    applied(taken)
    with pytest.raises(Refused, match="Still on loan"):
        taken.do(cmd.Cancel, reason="a test")
