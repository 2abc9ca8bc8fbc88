"""To resolve takes a proof: what is asked, what comes of the answer, and what of none."""

from datetime import timedelta
from typing import Any

import pytest

from bot.incident import commands as cmd
from bot.incident import effects as ef
from bot.incident import events as ev
from bot.incident.events import Severity
from bot.incident.people import Refused
from bot.incident.policy import Policy
from bot.incident.state import Status
from bot.incident.timeline import line
from tests.core.case import JONAS, MAYA, Case, act

PROVING = Policy(proof_over=timedelta(minutes=5))
FINE = "errors 0.1% (limit 1.0%)"
BAD = "errors 4.2% (limit 1.0%)"


@pytest.fixture
def quiet() -> Case:
    """Maya has it and its alerts have recovered."""
    return Case(PROVING).alerts(firing=3, new=3).do(cmd.Acknowledge).alerts(firing=0, resolved=3)


def asked(case: Case, **fields: Any) -> str:
    """Maya wants it resolved; the id of the entry that says so."""
    case.do(cmd.Resolve, reason="rolled back", **fields)
    assert case.caused(ev.ResolveAsked)
    return case.entries[-1].id


def proven(case: Case, ask: str) -> Case:
    return case.after(seconds=2).receipt(ev.HealthProven(ask, FINE, {}))


def doubted(case: Case, ask: str) -> Case:
    return case.after(seconds=2).receipt(ev.HealthDoubted(ask, BAD, {}))


def last_line(case: Case) -> str:
    return line(case.entries[-1], case.inc) or ""


def test_a_resolve_asks_the_telemetry_and_its_proof_resolves_in_the_name_of_who_asked(quiet: Case) -> None:
    ask = asked(quiet)
    assert quiet.effects == [ef.RefreshCard(), ef.ProveHealth(ask)]
    assert quiet.stands(Status.ACKNOWLEDGED)
    proven(quiet, ask)
    assert quiet.caused(ev.HealthProven, ev.Resolved)
    assert quiet.stands(Status.RESOLVED)
    assert quiet.inc.resolved is not None
    assert quiet.inc.resolved.by == MAYA
    assert last_line(quiet) == f"Maya resolved it: rolled back (proven: {FINE})"


def test_a_doubt_keeps_it_open_and_tells_who_asked(quiet: Case) -> None:
    doubted(quiet, asked(quiet))
    assert quiet.caused(ev.HealthDoubted)
    assert quiet.stands(Status.ACKNOWLEDGED)
    assert quiet.calls_for(ef.Tell)
    assert quiet.inc.asks is None, "nobody waits any more"


def test_a_person_resolves_all_the_same_and_the_numbers_stay_beside_the_reason(quiet: Case) -> None:
    doubted(quiet, asked(quiet))
    quiet.do(cmd.Resolve, reason="a batch job of ours", despite_doubt=True)
    assert quiet.caused(ev.Resolved)
    assert last_line(quiet) == f"Maya resolved it: a batch job of ours (not proven: {BAD})"


def test_an_old_doubt_is_not_written_as_one_of_now(quiet: Case) -> None:
    doubted(quiet, asked(quiet))
    quiet.after(hours=3).do(cmd.Resolve, reason="a batch job of ours", despite_doubt=True)
    assert last_line(quiet) == f"Maya resolved it: a batch job of ours (not proven: at 03:00 UTC {BAD})"


def test_a_doubt_of_another_day_has_its_day(quiet: Case) -> None:
    doubted(quiet, asked(quiet))
    quiet.after(days=2).do(cmd.Resolve, reason="a batch job of ours", despite_doubt=True)
    assert f"(not proven: at 2026-11-21 03:00 UTC {BAD})" in last_line(quiet)


def test_a_proof_that_is_too_old_is_named_with_its_time(quiet: Case) -> None:
    quiet.receipt(ev.HealthProven("", FINE, {})).after(hours=1)
    quiet.do(cmd.Resolve, reason="long over", despite_doubt=True)
    told = "the telemetry was not asked again, and the last proof was of 03:00 UTC"
    assert last_line(quiet) == f"Maya resolved it: long over (not proven: {told})"


def test_to_resolve_all_the_same_takes_a_reason_too(quiet: Case) -> None:
    with pytest.raises(Refused, match="one sentence"):
        quiet.do(cmd.Resolve, reason=" ", despite_doubt=True)


def test_without_a_prometheus_it_resolves_and_the_timeline_says_so() -> None:
    case = Case().alerts(firing=1, new=1).do(cmd.Acknowledge).alerts(firing=0, resolved=1)
    case.do(cmd.Resolve, reason="fixed")
    assert case.caused(ev.Resolved)
    assert last_line(case) == "Maya resolved it: fixed (not proven: no Prometheus is connected)"


def test_no_answer_within_twenty_seconds_is_a_doubt(quiet: Case) -> None:
    asked(quiet)
    assert quiet.next_due == timedelta(seconds=20)
    quiet.after(seconds=19).clock_strikes()
    assert quiet.events == []
    quiet.after(seconds=1).clock_strikes()
    assert quiet.caused(ev.HealthDoubted)
    assert "no answer within 20 s" in last_line(quiet)


def test_a_late_answer_resolves_nothing_but_counts_for_who_asks_again(quiet: Case) -> None:
    ask = asked(quiet)
    quiet.after(seconds=20).clock_strikes()
    proven(quiet, ask)
    assert quiet.caused(ev.HealthProven)
    assert quiet.stands(Status.ACKNOWLEDGED)
    quiet.after(seconds=30).do(cmd.Resolve, by=JONAS, reason="rolled back")
    assert quiet.caused(ev.Resolved), "it is fresh, so nothing is asked"
    assert last_line(quiet) == f"Jonas resolved it: rolled back (proven: {FINE})"


def test_a_proof_of_more_than_two_minutes_ago_is_asked_for_anew(quiet: Case) -> None:
    quiet.receipt(ev.HealthProven("", FINE, {}))
    quiet.after(minutes=2, seconds=1)
    asked(quiet)


def test_alerts_that_come_after_the_proof_make_it_stale(quiet: Case) -> None:
    quiet.receipt(ev.HealthProven("", FINE, {})).after(seconds=10).alerts(firing=1, new=1)
    asked(quiet, despite_firing=True)


def test_alerts_that_begin_while_the_telemetry_is_asked_are_a_doubt(quiet: Case) -> None:
    ask = asked(quiet)
    quiet.after(seconds=1).alerts(firing=2, new=2)
    proven(quiet, ask)
    assert quiet.caused(ev.HealthProven, ev.HealthDoubted)
    assert "2 alerts still fire meanwhile; besides, errors 0.1%" in last_line(quiet)


def test_who_was_warned_of_alerts_is_resolved_under_fire_and_snoozed(quiet: Case) -> None:
    quiet.alerts(firing=1, new=1)
    proven(quiet, asked(quiet, despite_firing=True))
    assert quiet.stands(Status.RESOLVED)
    assert quiet.inc.snoozed_until == quiet.now + timedelta(minutes=30)


def test_what_is_put_on_loan_meanwhile_is_a_doubt(quiet: Case) -> None:
    spec = act()
    quiet.do(
        cmd.StartRun, run="r1", runbook="cache", title="Cache", source_digest="0", target="llama-70b", steps=(spec,)
    )
    quiet.receipt(ev.StepPlanned("r1", spec.id, {"lines": ["on"]}, "d1"))
    quiet.do(cmd.ApproveStep, run="r1", step=spec.id, digest="d1")
    ask = asked(quiet)
    quiet.receipt(ev.StepApplied("r1", spec.id, 1, quiet.now + timedelta(hours=1)))
    proven(quiet, ask)
    assert quiet.caused(ev.HealthProven, ev.HealthDoubted)
    assert "Still on loan: *Roll back*" in last_line(quiet)


def test_a_second_wish_while_the_first_is_asked_about_changes_nothing(quiet: Case) -> None:
    asked(quiet)
    quiet.do(cmd.Resolve, by=JONAS, reason="me too")
    assert quiet.events == []


def test_a_resolve_at_the_pager_counts_and_is_measured_afterwards(quiet: Case) -> None:
    quiet.do(
        cmd.Resolve, source="pagerduty", reason="resolved in PagerDuty", despite_firing=True, despite_fallback=True
    )
    assert quiet.caused(ev.Resolved)
    assert "(not proven: the telemetry was not asked)" in last_line(quiet)
    assert quiet.calls_for(ef.ProveHealth)
    quiet.after(seconds=2).receipt(ev.HealthDoubted(quiet.entries[-1].id, BAD, {}, closed=True))
    assert quiet.stands(Status.RESOLVED), "their word counts"
    assert quiet.calls_for(ef.Tell), "but people hear"
    assert quiet.inc.tested is not None
    assert not quiet.inc.tested.holds


@pytest.fixture
def small() -> Case:
    """Something small that nobody took, and that has been quiet for nine minutes."""
    case = Case(PROVING).alerts(firing=1, new=1, severity=Severity.SEV4)
    return case.alerts(firing=0, resolved=1, severity=Severity.SEV4).after(minutes=9)


def test_what_resolves_itself_needs_a_proof_too(small: Case) -> None:
    small.after(minutes=1).clock_strikes()
    assert small.caused(ev.ResolveAsked)
    proven(small, small.entries[-1].id)
    assert small.stands(Status.RESOLVED)
    assert last_line(small).startswith("FixFirst resolved it: The alerts stopped")


def test_what_does_not_prove_itself_stays_open_and_says_so_once(small: Case) -> None:
    told = []
    for minutes in (10, 10, 60):
        small.after(minutes=minutes).clock_strikes()
        assert small.caused(ev.ResolveAsked)
        doubted(small, small.entries[-1].id)
        told.append(small.calls_for(ef.Tell))
    assert small.stands(Status.OPEN)
    assert told == [True, False, False]
    lines = [one for one in (line(entry, small.inc) for entry in small.entries) if one]
    assert len([one for one in lines if "the telemetry is asked first" in one]) == 1
    assert len([one for one in lines if one.startswith("Not proven healthy")]) == 1


def test_the_longer_it_is_doubted_the_later_it_is_asked_again_until_its_alerts_move(small: Case) -> None:
    small.after(minutes=1)
    for pause in (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6), timedelta(hours=6)):
        small.clock_strikes()
        asked_at = small.now
        doubted(small, small.entries[-1].id)
        assert small.next_due is not None
        assert small.now + small.next_due == asked_at + pause
        small.after(seconds=small.next_due.total_seconds())
    small.alerts(firing=1, new=1, severity=Severity.SEV4).alerts(firing=0, resolved=1, severity=Severity.SEV4)
    assert small.next_due == timedelta(minutes=10)


def test_a_doubt_that_nobody_asked_for_does_not_silence_the_first_that_somebody_did(small: Case) -> None:
    """The recovery was watched for half an hour, in vain, before the quiet was long enough to ask."""
    small.receipt(ev.HealthDoubted("", BAD, {}))
    assert not small.calls_for(ef.Tell)
    small.after(minutes=1).clock_strikes()
    doubted(small, small.entries[-1].id)
    assert small.calls_for(ef.Tell)


def test_nobody_is_called_while_the_telemetry_is_asked_whether_it_is_over() -> None:
    case = Case(PROVING).alerts(firing=1, new=1, severity=Severity.SEV3)
    case.alerts(firing=0, resolved=1, severity=Severity.SEV3).after(minutes=11).clock_strikes()
    assert case.caused(ev.ResolveAsked), "and no escalation, though one was due with it"
    assert case.next_due == timedelta(seconds=20)
    case.after(seconds=19).clock_strikes()
    assert case.events == []
    case.after(seconds=1).clock_strikes()
    assert case.caused(ev.HealthDoubted, ev.AckDeadlineMissed)


def test_recovery_is_watched_without_being_asked_for(quiet: Case) -> None:
    assert quiet.calls_for(ef.AwaitHealth)
    quiet.receipt(ev.HealthProven("", FINE, {}))
    assert quiet.stands(Status.ACKNOWLEDGED), "people resolve what people have taken"
    assert not quiet.calls_for(ef.Tell), "it stands on the card"


def test_another_round_starts_without_proof_and_without_doubt(quiet: Case) -> None:
    proven(quiet, asked(quiet))
    quiet.after(minutes=5).alerts(firing=1, new=1)
    assert quiet.stands(Status.OPEN)
    assert (quiet.inc.tested, quiet.inc.ask, quiet.inc.doubts) == (None, None, 0)
