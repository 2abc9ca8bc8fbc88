"""The page gets out: what one pager does not accept in a minute goes by the next, and people are told."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.incident import commands as cmd
from bot.incident import effects as ef
from bot.incident import events as ev
from bot.incident.events import Severity
from bot.incident.policy import Policy
from bot.incident.react import Call, calls
from bot.incident.timeline import line
from tests.core.case import Case
from tests.core.test_company import CALL
from tests.core.test_runs import start

TWO = Policy(pagers=("PagerDuty", "bridge", "oncall-mail"))
BY_BRIDGE = ev.PageUnanswered(1, "PagerDuty", "bridge", 60)
BY_MAIL = ev.PageUnanswered(1, "bridge", "oncall-mail", 60)
NOBODY_ELSE = ev.PageUnanswered(1, "oncall-mail", "", 60)
MAIL_TOOK_IT = ev.PageAccepted("mail to oncall@example.com", 1, fallback="oncall-mail")


@pytest.fixture
def case() -> Case:
    return Case(TWO)


@pytest.fixture
def by_mail(burning: Case) -> Case:
    """PagerDuty and the bridge are silent; the mail is sent."""
    burning.after(minutes=1).clock_strikes()
    burning.after(minutes=1).clock_strikes()
    return burning.receipt(MAIL_TOOK_IT)


def test_a_page_not_accepted_for_a_minute_goes_by_the_next_pager_and_into_the_channel(burning: Case) -> None:
    burning.after(seconds=59).clock_strikes()
    assert burning.events == []
    assert burning.next_due == timedelta(seconds=1)
    burning.after(seconds=1).clock_strikes()
    assert burning.events == [BY_BRIDGE]
    assert burning.effects == [ef.Page(1, pager="bridge"), ef.RefreshCard(), ef.Tell(burning.entries[-1].id)]
    assert calls(BY_BRIDGE) is Call.ON_CALL


def test_each_pager_has_its_own_minute_and_the_last_word_is_said_once(burning: Case) -> None:
    happened: list[ev.Event] = []
    for _ in range(48):
        burning.after(seconds=5).clock_strikes()
        happened += burning.events
    assert happened == [BY_BRIDGE, BY_MAIL, NOBODY_ELSE]
    assert burning.effects == []


def test_with_nobody_else_to_ask_people_are_told_and_nobody_is_paged() -> None:
    case = Case(Policy(pagers=("PagerDuty",))).alerts(firing=1, new=1)
    case.after(minutes=1).clock_strikes()
    assert case.events == [ev.PageUnanswered(1, "PagerDuty", "", 60)]
    assert not case.calls_for(ef.Page)
    assert case.calls_for(ef.Tell)
    assert line(case.entries[-1], case.inc) == (
        "PagerDuty has not accepted the page for 60 s; there is no other pager to ask"
    )


def test_where_nobody_is_paged_nobody_is_waited_for() -> None:
    case = Case(Policy(pagers=())).alerts(firing=1, new=1)
    case.after(minutes=1).clock_strikes()
    assert case.events == []


def test_a_page_that_is_accepted_goes_nowhere_else(burning: Case) -> None:
    burning.receipt(ev.PageAccepted("PagerDuty", 1))
    burning.after(minutes=2).clock_strikes()
    assert burning.events == []


def test_a_fallback_that_accepts_ends_the_search_and_is_told_in_the_channel(by_mail: Case) -> None:
    assert by_mail.calls_for(ef.Tell)
    assert line(by_mail.entries[-1], by_mail.inc) == "Paged by mail to oncall@example.com"
    by_mail.after(minutes=2).clock_strikes()
    assert by_mail.events == []
    assert by_mail.inc.pages == {}, "PagerDuty itself has not accepted yet"


def test_once_somebody_has_it_nobody_else_is_paged(burning: Case) -> None:
    burning.after(seconds=30).do(cmd.Acknowledge).after(minutes=1).clock_strikes()
    assert burning.events == []


def test_acknowledge_and_resolve_go_to_every_pager_that_was_asked(by_mail: Case) -> None:
    by_mail.do(cmd.Acknowledge)
    told = [effect for effect in by_mail.effects if isinstance(effect, ef.AcknowledgePage)]
    assert [effect.pager for effect in told] == ["", "bridge", "oncall-mail"]
    assert len({effect.queue() for effect in told}) == 3, "none waits for another"
    by_mail.alerts(firing=0, resolved=3).do(cmd.Resolve, reason="rolled back")
    ended = [effect.pager for effect in by_mail.effects if isinstance(effect, ef.StopPaging)]
    assert ended == ["", "bridge", "oncall-mail"]


def test_whoever_was_asked_is_also_called_when_nobody_comes_and_when_a_second_is_wanted(by_mail: Case) -> None:
    by_mail.after(minutes=3).clock_strikes()
    everybody = ["", "bridge", "oncall-mail"]
    assert [effect for effect in by_mail.effects if isinstance(effect, ef.EscalatePage)] == [
        ef.EscalatePage(1, 1, pager=pager) for pager in everybody
    ]
    by_mail.do(cmd.Acknowledge)
    start(by_mail, CALL)
    called = [effect for effect in by_mail.effects if isinstance(effect, ef.CallSecond)]
    assert called == [ef.CallSecond(1, 2, pager=pager) for pager in everybody]
    assert [effect.queue() for effect in called] == ["second", "page:bridge", "page:oncall-mail"]


def test_what_the_first_pager_tells_us_the_others_hear(by_mail: Case) -> None:
    by_mail.do(cmd.Acknowledge, source="pagerduty")
    told = [effect.pager for effect in by_mail.effects if isinstance(effect, ef.AcknowledgePage)]
    assert told == ["bridge", "oncall-mail"]


def test_the_next_round_begins_with_the_first_pager_again(by_mail: Case) -> None:
    by_mail.alerts(firing=0, resolved=3).do(cmd.Resolve, reason="rolled back")
    by_mail.after(minutes=5).alerts(firing=1, resolved=3, new=1)
    assert by_mail.caused(ev.AlertsReported, ev.Reopened)
    by_mail.receipt(ev.PageAccepted("mail to oncall@example.com", 1, fallback="oncall-mail"))
    by_mail.after(minutes=1).clock_strikes()
    assert by_mail.events == [ev.PageUnanswered(2, "PagerDuty", "bridge", 60)]
    assert by_mail.inc.paged_by("oncall-mail", 1)
    assert not by_mail.inc.paged_by("oncall-mail", 2)


def test_raised_to_a_paging_severity_the_minute_begins_then(case: Case) -> None:
    case.alerts(firing=1, new=1, severity=Severity.SEV4)
    case.after(minutes=3).do(cmd.ChangeSeverity, severity=Severity.SEV2)
    assert case.calls_for(ef.Page)
    assert case.next_due is not None
    case.after(seconds=59).clock_strikes()
    assert not case.calls_for(ef.Page)
    case.after(seconds=1).do(cmd.CheckTimers, source="timer")
    assert [event for event in case.events if isinstance(event, ev.PageUnanswered)] == [BY_BRIDGE]


def test_what_pagerduty_opened_itself_is_paged_already() -> None:
    case = Case(TWO).do(
        cmd.ReportAlerts,
        source="pagerduty",
        group_key="v1:pagerduty=P1",
        firing=1,
        resolved=0,
        new=1,
        title="x",
        severity=Severity.SEV1,
    )
    case.after(minutes=2).clock_strikes()
    assert case.events == []
    case.do(cmd.ChangeSeverity, severity=Severity.SEV4).do(cmd.ChangeSeverity, severity=Severity.SEV2)
    assert case.calls_for(ef.Page), "raised here, it is a page of ours"
    case.after(minutes=1).clock_strikes()
    assert case.events == [BY_BRIDGE]


def test_whoever_slept_through_hands_on_once_not_in_a_burst(burning: Case) -> None:
    burning.after(hours=1).clock_strikes()
    assert [event for event in burning.events if isinstance(event, ev.PageUnanswered)] == [BY_BRIDGE]


def test_an_incident_that_resolves_itself_pages_nobody_on_its_way_out(case: Case) -> None:
    case.alerts(firing=1, new=1, severity=Severity.SEV3).after(seconds=5).alerts(firing=0, resolved=1)
    case.after(minutes=11).clock_strikes()
    assert case.caused(ev.Resolved)


def missed(case: Case) -> str:
    """What the timeline says of the next deadline that passes."""
    case.after(minutes=5).clock_strikes()
    entry = next(entry for entry in case.entries[::-1] if isinstance(entry.event, ev.AckDeadlineMissed))
    return line(entry, case.inc) or ""


OWN = frozenset({"PagerDuty"})
BY_PAGERDUTY = ev.PageAccepted("PagerDuty", 1)


def test_without_a_pager_a_missed_deadline_claims_no_call() -> None:
    case = Case(Policy(pagers=())).alerts(firing=1, new=1)
    assert missed(case) == "Nobody acknowledged in time (escalation 1)"


@pytest.mark.parametrize(
    ("policy", "accepted", "said"),
    [
        (TWO, [], "; asking PagerDuty, bridge and oncall-mail to call the next person"),
        (TWO, [BY_PAGERDUTY], "; asking PagerDuty to call the next person"),
        (TWO, [MAIL_TOOK_IT, BY_PAGERDUTY], "; asking PagerDuty and oncall-mail to call the next person"),
        (replace(TWO, self_escalating=OWN), [], "; asking bridge and oncall-mail to call the next person"),
        (replace(TWO, self_escalating=OWN), [BY_PAGERDUTY], "; the next call is left to the policy of PagerDuty"),
        (
            replace(TWO, self_escalating=OWN),
            [MAIL_TOOK_IT, BY_PAGERDUTY],
            "; asking oncall-mail to call the next person; the next call is left to the policy of PagerDuty",
        ),
        (replace(TWO, pagers=("PagerDuty",), self_escalating=OWN), [], ""),
    ],
)
def test_a_missed_deadline_says_who_is_to_call_the_next_person(
    policy: Policy, accepted: list[ev.PageAccepted], said: str
) -> None:
    case = Case(policy).alerts(firing=1, new=1)
    for _ in range(2):
        case.after(minutes=1).clock_strikes()
    case.receipt(*accepted)
    assert missed(case) == f"Nobody acknowledged in time (escalation 1){said}"


def test_a_missed_deadline_of_an_older_version_claims_no_call(burning: Case) -> None:
    burning.receipt(ev.AckDeadlineMissed(2))
    assert line(burning.entries[-1], burning.inc) == "Nobody acknowledged in time (escalation 2)"


WAITS = ev.DeliveryFailed("pager", "stop_paging", "no answer; still trying", trying=True)
SETTLED = ev.DeliverySettled("pager", "stop_paging")


@pytest.mark.parametrize("waits", [WAITS, replace(WAITS, trying=False)], ids=["now", "of an older version"])
def test_what_got_out_after_all_is_no_trouble_any_more(burning: Case, waits: ev.DeliveryFailed) -> None:
    refused = replace(WAITS, reason="401", trying=False)
    burning.receipt(refused).receipt(waits).receipt(replace(waits, courier="pager bridge"))
    burning.receipt(SETTLED)
    assert burning.inc.troubles == (refused, replace(waits, courier="pager bridge")), "for good, and another's"
    assert burning.effects == [ef.RefreshCard()]
    assert line(burning.entries[-1], burning.inc) == "The trouble with stop paging by pager is over"
    assert burning.receipt(SETTLED).events == [], "and is over once"


def test_what_is_given_up_is_not_said_to_be_tried_any_more(burning: Case) -> None:
    given_up = replace(WAITS, reason="gave up after a day of trying: no answer", trying=False)
    burning.receipt(WAITS).receipt(given_up)
    assert burning.inc.troubles == (given_up,)


def test_a_card_that_is_shown_makes_good_whatever_kept_it_from_being_shown(burning: Case) -> None:
    burning.receipt(ev.DeliveryFailed("slack", "refresh_card", "in the intake channel: is_archived"))
    burning.receipt(ev.DeliverySettled("slack", "refresh_card"))
    assert burning.inc.troubles == ()


def test_a_pager_that_accepts_has_no_trouble_any_more_and_the_first_ones_word_ends_all(burning: Case) -> None:
    burning.after(minutes=1).clock_strikes()
    burning.receipt(ev.DeliveryFailed("pager", "page", "no answer; still trying"))
    burning.receipt(ev.DeliveryFailed(ef.pager_named("bridge"), "page", "refused"))
    burning.receipt(ev.DeliveryFailed("slack", "tell", "missing scope"))
    burning.receipt(ev.PageAccepted("webhook bridge", 1, fallback="bridge"))
    assert [trouble.courier for trouble in burning.inc.troubles] == ["pager", "slack"]
    burning.receipt(ev.PageAccepted("PagerDuty", 1))
    assert [trouble.courier for trouble in burning.inc.troubles] == ["slack"]
