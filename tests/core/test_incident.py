"""The six steps, told as stories about one incident."""

from datetime import timedelta

import pytest

from bot.incident import commands as cmd
from bot.incident import effects as ef
from bot.incident import events as ev
from bot.incident.events import Role, Severity
from bot.incident.people import Actor, ActorKind, Refused
from bot.incident.policy import Policy
from bot.incident.state import TRANSITIONS, Status
from tests.core.case import ALERTMANAGER, GUEST, JONAS, SAM, Case


def test_an_alert_opens_an_incident_pages_and_shows_a_card(case: Case) -> None:
    case.alerts(firing=3, new=3)
    assert case.caused(ev.IncidentOpened, ev.AlertsReported)
    assert case.stands(Status.OPEN)
    assert case.inc.firing == 3
    for kind in (ef.Page, ef.RefreshCard, ef.OpenChannel, ef.CollectEvidence, ef.Tell):
        assert case.calls_for(kind), kind
    assert isinstance(case.effects[0], ef.Page), "the page goes before chatter"


def test_a_resolve_without_a_beginning_creates_nothing(case: Case) -> None:
    case.alerts(firing=0, resolved=2)
    assert case.incident is None


def test_anybody_who_belongs_here_may_declare(case: Case) -> None:
    case.do(cmd.Declare, by=SAM, title="answers are gibberish", severity=Severity.SEV2, impact="search users")
    assert case.inc.title == "answers are gibberish"
    assert case.inc.impact == "search users"


def test_a_declaration_needs_words(case: Case) -> None:
    with pytest.raises(Refused, match="what is wrong"):
        case.do(cmd.Declare, by=SAM, title="  ", severity=Severity.SEV2)


def test_the_pager_is_told_what_we_did_but_never_what_it_told_us(burning: Case) -> None:
    in_slack = burning.do(cmd.Acknowledge)
    assert in_slack.calls_for(ef.AcknowledgePage)
    other = Case().alerts(firing=1, new=1)
    other.do(cmd.Acknowledge, source="pagerduty")
    assert other.stands(Status.ACKNOWLEDGED)
    assert not other.calls_for(ef.AcknowledgePage)


def test_a_second_acknowledgement_changes_nothing(taken: Case) -> None:
    taken.do(cmd.Acknowledge, by=JONAS)
    assert taken.events == []
    assert taken.inc.acknowledged is not None
    assert taken.inc.acknowledged.by.id == "U0MAYA"


def test_a_late_ack_does_not_reopen_a_resolved_incident(taken: Case) -> None:
    taken.alerts(firing=0, resolved=3).do(cmd.Resolve, reason="rolled back")
    with pytest.raises(Refused, match="already resolved"):
        taken.do(cmd.Acknowledge, by=JONAS)
    assert taken.stands(Status.RESOLVED)


@pytest.mark.parametrize(
    ("actor", "why"),
    [
        (SAM, "Only responders"),
        (GUEST, "Guests"),
        (Actor(ActorKind.APP, "B1"), "apps and bots"),
        (Actor(ActorKind.STRANGER, "U9"), "another organisation"),
    ],
)
def test_who_may_not_acknowledge_is_told_why(burning: Case, actor: Actor, why: str) -> None:
    with pytest.raises(Refused, match=why):
        burning.do(cmd.Acknowledge, by=actor)
    assert burning.stands(Status.OPEN)


def test_unacknowledged_for_five_minutes_calls_the_next_person(burning: Case) -> None:
    assert burning.next_due == timedelta(minutes=5)
    burning.after(minutes=4, seconds=59).clock_strikes()
    assert burning.events == []
    burning.after(seconds=1).clock_strikes()
    assert burning.caused(ev.AckDeadlineMissed)
    assert burning.calls_for(ef.EscalatePage)
    burning.after(minutes=5).clock_strikes()
    assert burning.inc.escalations == 2


def test_escalation_stops_when_everybody_has_been_called(case: Case) -> None:
    case.policy = Policy(max_escalations=2)
    case.alerts(firing=1, new=1)
    for _ in range(5):
        case.after(minutes=5).clock_strikes()
    assert case.inc.escalations == 2


def test_a_late_clock_escalates_once_not_in_a_burst(burning: Case) -> None:
    burning.after(hours=3).clock_strikes()
    assert burning.caused(ev.AckDeadlineMissed)


def test_acknowledged_in_time_nobody_else_is_called(taken: Case) -> None:
    taken.after(minutes=20).clock_strikes()
    assert not taken.calls_for(ef.EscalatePage)


def test_recovered_alerts_never_resolve_what_a_person_has_taken(taken: Case) -> None:
    taken.alerts(firing=0, resolved=3).after(hours=1).clock_strikes()
    assert taken.stands(Status.ACKNOWLEDGED)


def test_an_unacknowledged_sev3_resolves_itself_after_quiet(case: Case) -> None:
    case.alerts(firing=1, new=1, severity=Severity.SEV3)
    case.after(minutes=2).alerts(firing=0, resolved=1)
    case.after(minutes=10).clock_strikes()
    assert case.stands(Status.RESOLVED)
    assert case.calls_for(ef.StopPaging)


def test_an_unacknowledged_sev1_does_not_resolve_itself(burning: Case) -> None:
    burning.alerts(firing=0, resolved=3).after(minutes=10).clock_strikes()
    assert burning.stands(Status.OPEN)


def test_resolving_under_fire_asks_first(taken: Case) -> None:
    with pytest.raises(Refused, match="3 alerts still fire"):
        taken.do(cmd.Resolve, reason="looks fine")


def test_resolved_under_fire_is_snoozed_and_pages_again_when_the_snooze_ends(taken: Case) -> None:
    taken.do(cmd.Resolve, reason="known issue", despite_firing=True)
    assert taken.stands(Status.RESOLVED)
    assert taken.next_due == timedelta(minutes=30)
    taken.after(minutes=10).alerts(firing=4, new=1)
    assert taken.stands(Status.RESOLVED), "snoozed alerts stay quiet"
    taken.after(minutes=20).clock_strikes()
    assert taken.stands(Status.OPEN)
    assert taken.inc.generation == 2
    assert ef.Page(2) in taken.effects


def test_a_worse_alert_ends_the_snooze_at_once_and_pages(case: Case) -> None:
    case.alerts(firing=1, new=1, severity=Severity.SEV4).do(cmd.Acknowledge)
    case.do(cmd.Resolve, reason="known issue", despite_firing=True)
    case.after(minutes=5).alerts(firing=2, new=1, severity=Severity.SEV1)
    assert case.caused(ev.AlertsReported, ev.SeverityChanged, ev.Reopened)
    assert ef.Page(2) in case.effects


def test_what_never_pages_never_escalates(case: Case) -> None:
    case.alerts(firing=1, new=1, severity=Severity.SEV4).after(hours=1).clock_strikes()
    assert case.events == []


def test_alerts_that_recover_during_the_snooze_page_nobody(taken: Case) -> None:
    taken.do(cmd.Resolve, reason="known issue", despite_firing=True)
    taken.after(minutes=5).alerts(firing=0, resolved=3)
    assert taken.next_due is None


def test_a_refire_soon_after_the_resolve_reopens_unacknowledged(taken: Case) -> None:
    taken.alerts(firing=0, resolved=3).do(cmd.Resolve, reason="rolled back")
    taken.after(minutes=12).alerts(firing=1, resolved=3, new=1)
    assert taken.caused(ev.AlertsReported, ev.Reopened)
    assert taken.stands(Status.OPEN)
    assert taken.inc.acknowledged is None, "a re-fire does not inherit the old acknowledgement"
    assert taken.next_due == timedelta(minutes=5)


def test_new_alerts_after_mitigation_are_a_relapse(taken: Case) -> None:
    taken.do(cmd.Mitigate).alerts(firing=0, resolved=3)
    assert taken.stands(Status.MITIGATED)
    taken.alerts(firing=2, resolved=3, new=2)
    assert taken.stands(Status.ACKNOWLEDGED)
    assert taken.inc.mitigated is None


def test_worse_alerts_raise_the_severity_and_milder_ones_do_not_lower_it(case: Case) -> None:
    case.alerts(firing=1, new=1, severity=Severity.SEV3)
    case.alerts(firing=2, new=1, severity=Severity.SEV1)
    assert case.inc.severity is Severity.SEV1
    case.alerts(firing=3, new=1, severity=Severity.SEV4)
    assert case.inc.severity is Severity.SEV1


def test_raised_to_a_paging_severity_it_pages(case: Case) -> None:
    case.alerts(firing=1, new=1, severity=Severity.SEV4)
    assert not case.calls_for(ef.Page)
    case.do(cmd.ChangeSeverity, severity=Severity.SEV2)
    assert case.calls_for(ef.Page)


def test_stakeholders_who_hear_nothing_lead_to_a_reminder_and_an_update_ends_it(taken: Case) -> None:
    taken.after(minutes=28).clock_strikes()
    assert taken.caused(ev.UpdateReminded)
    taken.do(cmd.PostUpdate, text="we are rolling back")
    assert taken.next_due == timedelta(minutes=30)


def test_the_five_key_times_are_kept_apart(case: Case) -> None:
    case.alerts(firing=1, new=1, detected_at=case.now - timedelta(seconds=40))
    case.after(minutes=1).do(cmd.Acknowledge)
    case.do(cmd.StateImpact, text="31 % errors", started_at=case.now - timedelta(minutes=9))
    case.after(minutes=4).do(cmd.Mitigate)
    case.alerts(firing=0, resolved=1).after(minutes=2).do(cmd.Resolve, reason="quiet")
    inc = case.inc
    assert inc.started_at is not None
    assert inc.acknowledged is not None
    assert inc.mitigated is not None
    assert inc.resolved is not None
    times = [inc.started_at, inc.detected_at, inc.acknowledged.at, inc.mitigated.at, inc.resolved.at]
    assert times == sorted(times)
    assert len(set(times)) == 5


def test_roles_severity_and_notes_are_remembered(taken: Case) -> None:
    taken.do(cmd.AssignRole, role=Role.COMMANDER, user="U0PRIYA")
    taken.do(cmd.AddNote, by=SAM, text="customers call")
    assert taken.inc.roles == {Role.COMMANDER: "U0PRIYA"}
    assert taken.caused(ev.NoteAdded)


def test_resolving_drafts_the_postmortem_and_a_false_alarm_does_not(taken: Case) -> None:
    other = Case().alerts(firing=1, new=1).do(cmd.Cancel, reason="test rule")
    assert other.stands(Status.CANCELLED)
    assert not other.calls_for(ef.DraftPostmortem)
    taken.alerts(firing=0, resolved=3).do(cmd.Resolve, reason="rolled back")
    assert taken.calls_for(ef.DraftPostmortem)


def test_alerts_that_flap_are_looked_at_once_in_five_minutes(taken: Case) -> None:
    def looked(evidence: str) -> None:
        taken.receipt(ev.EvidenceCollected("OK", "users are served", "", "", {}, evidence))

    looked("EV-WHENTAKEN")
    taken.after(minutes=1).alerts(firing=0, resolved=3)
    assert taken.calls_for(ef.CollectEvidence), "what was seen while they fired says nothing of the recovery"
    looked("EV-RECOVERED")
    for _ in range(3):
        taken.after(minutes=1).alerts(firing=3, new=0)
        taken.alerts(firing=0, resolved=3)
        assert not taken.calls_for(ef.CollectEvidence)
        assert taken.calls_for(ef.RefreshCard)
    taken.after(minutes=3).alerts(firing=3, new=0).alerts(firing=0, resolved=3)
    assert taken.calls_for(ef.CollectEvidence)
    looked("EV-LATER")
    taken.do(cmd.Mitigate, text="rolled back")
    assert taken.calls_for(ef.CollectEvidence), "something has changed"


def test_what_a_look_found_is_remembered_and_the_pages_of_queries_behind_it_are_not(taken: Case) -> None:
    check = {"check": "U1", "status": "crit", "text": "31 %"}
    report = {"at": "2026-03-02T03:00:00+00:00", "checks": [{**check, "query": "sum(rate(errors[5m]))"}]}
    taken.receipt(ev.EvidenceCollected("OUTAGE", "31 % fail", "", "", report, "EV-WHENTAKEN"))
    for kept in (taken.inc.evidence, taken.inc.worst):
        assert kept is not None
        assert kept.report == {**report, "checks": [check]}


def test_a_failure_of_the_chat_is_not_told_in_the_chat(burning: Case) -> None:
    burning.receipt(ev.DeliveryFailed("slack", "refresh_card", "missing scope"))
    assert burning.effects == []
    burning.receipt(ev.DeliveryFailed("pager", "page", "no answer; still trying"))
    assert burning.effects == [ef.RefreshCard()]


def test_an_impossible_step_is_a_bug_not_a_silent_change(taken: Case) -> None:
    taken.alerts(firing=0, resolved=3).do(cmd.Resolve, reason="done")
    with pytest.raises(ValueError, match="cannot go from resolved"):
        taken.receipt(ev.Mitigated())


def test_every_status_says_where_it_leads() -> None:
    assert set(TRANSITIONS) == set(Status)


def test_alertmanager_itself_needs_no_rights(case: Case) -> None:
    case.do(
        cmd.ReportAlerts,
        by=ALERTMANAGER,
        source="alertmanager",
        group_key="v1:x",
        firing=1,
        resolved=0,
        new=1,
        title="x",
    )
    assert case.inc.source == "alertmanager"
