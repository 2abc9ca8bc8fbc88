"""What an audit finds, and what it leaves alone."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from bot.audit.findings import Check, Facts, Unpaged, find, unpaged
from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.events import Severity
from bot.incident.policy import Policy
from bot.intake.alerts import Delivery, Message
from bot.journal import Txn
from bot.journal.audit import Waiting, waiting
from tests.web.site import ALERTMANAGER, PAGER, Site

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
PAGING = Policy(pagers=(PAGER, "mail"))


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def facts(**changes: Any) -> Facts:
    """A bot that has nothing to catch up with, but for these."""
    values: dict[str, Any] = {"turned_at": ago(1), "unpaged": ()}
    held = {"timer": None, "effects": {}, "news": None, **changes}
    for name in list(held.keys() & values.keys()):
        values[name] = held.pop(name)
    return Facts(waiting=Waiting(**held), **values)


def sentences(**changes: Any) -> list[str]:
    return [finding.text for finding in find(facts(**changes), NOW)]


def test_a_bot_that_keeps_up_is_clean() -> None:
    assert sentences() == []


def test_what_is_late_is_said_in_a_sentence() -> None:
    found = sentences(
        turned_at=ago(11),
        timer=(7, ago(45)),
        unpaged=[Unpaged("INC-7", Severity.SEV1, ago(75))],
        effects={"slack": ago(125), "pager": ago(180)},
        news=ago(61),
    )
    assert found == [
        "The engine last completed a turn 11 s ago.",
        "A deadline of INC-7 passed 45 s ago, and nothing came of it.",
        "INC-7 (SEV1) has had no accepted page for 75 s.",
        "An effect for the pager courier could have left 3 min ago, and nobody took it.",
        "An effect for the slack courier could have left 2 min ago, and nobody took it.",
        "Alerts that came in 61 s ago are not worked into an incident.",
    ]


@pytest.mark.parametrize(
    "just_in_time",
    [
        {"turned_at": ago(10)},
        {"timer": (7, ago(30))},
        {"unpaged": [Unpaged("INC-7", Severity.SEV1, ago(60))]},
        {"effects": {"slack": ago(120)}},
        {"news": ago(60)},
    ],
)
def test_what_is_just_in_time_is_no_finding(just_in_time: dict[str, Any]) -> None:
    assert sentences(**just_in_time) == []


def test_an_engine_that_never_turned_is_found_at_once() -> None:
    (finding,) = find(facts(turned_at=None), NOW)
    assert finding.check is Check.ENGINE


# -- which incidents should have a page ---------------------------------------------------------------------------


def owed(site: Site, incident: str = "i1") -> Unpaged | None:
    """The incident as the auditor sees it: None when no page of its is missing."""
    found = site.journal.incident(incident)
    assert found is not None
    return unpaged(found, PAGING)


def test_an_open_incident_awaits_its_page_from_when_it_opened(site: Site) -> None:
    opened = site.now
    site.alerts(1, new=1)
    site.after(seconds=30).alerts(3, new=2)
    assert owed(site) == Unpaged("INC-1", Severity.SEV1, opened)


def test_an_accepted_page_is_enough_until_the_incident_returns(site: Site) -> None:
    site.alerts(1, new=1)
    site.receipt(ev.PageAccepted("PagerDuty", 1, ""))
    assert owed(site) is None
    site.after(minutes=1).alerts(0, resolved=1)
    site.do(cmd.Resolve, reason="gone")
    site.after(minutes=5).alerts(1, new=1)
    assert owed(site) == Unpaged("INC-1", Severity.SEV1, site.now), "the next round needs a page of its own"


def test_a_page_that_another_pager_takes_is_enough_too(site: Site) -> None:
    site.alerts(1, new=1)
    opened = site.now
    site.after(seconds=60).receipt(ev.PageUnanswered(1, PAGER, "mail", 60))
    assert owed(site) == Unpaged("INC-1", Severity.SEV1, opened)
    site.receipt(ev.PageAccepted("mail", 1, "", "mail"))
    assert owed(site) is None


def test_where_no_pager_is_connected_none_has_to_take_a_page(site: Site) -> None:
    assert unpaged(site.alerts(1, new=1), PAGING) is not None
    assert unpaged(site.alerts(1, new=1), Policy()) is None


def test_an_incident_that_somebody_has_needs_no_page(site: Site) -> None:
    site.alerts(1, new=1)
    site.do(cmd.Acknowledge)
    assert owed(site) is None


def test_a_severity_that_wakes_nobody_needs_no_page_until_it_is_raised(site: Site) -> None:
    site.alerts(1, new=1, severity=Severity.SEV4)
    assert owed(site) is None
    site.after(minutes=20).do(cmd.ChangeSeverity, severity=Severity.SEV2)
    assert owed(site) == Unpaged("INC-1", Severity.SEV2, site.now)


def test_what_the_pager_opened_itself_it_need_not_be_told(site: Site) -> None:
    site.alerts(1, new=1, source="pagerduty")
    assert owed(site) is None


# -- what the journal tells ----------------------------------------------------------------------------------------


def held(site: Site) -> Waiting:
    return waiting(site.journal, site.now)


def take_all(site: Site, courier: str, then: str) -> None:
    """A courier takes what is ready for it, and `then` this becomes of it."""

    def work(job_id: str, txn: Txn) -> None:
        job = txn.claim(job_id, txn.now + timedelta(seconds=45))
        assert job is not None
        if then == "done":
            txn.finish(job)
        elif then == "postponed":
            txn.postpone(job, txn.now + timedelta(minutes=10), "503", warned=False)

    for job in site.journal.ready_jobs(site.now):
        if job.effect.courier == courier:
            site.journal.write(partial(work, job.id)).result()


def test_in_an_empty_journal_nothing_waits(site: Site) -> None:
    assert held(site) == Waiting(timer=None, effects={}, news=None)


def test_the_deadline_that_passed_first_is_told_with_its_incident(site: Site) -> None:
    site.alerts(1, new=1)
    site.do(cmd.Acknowledge)
    site.after(seconds=20).alerts(1, new=1, incident="i2")
    first = site.now + Policy().ack_within
    assert held(site).timer is None
    assert held(site.after(minutes=40)).timer == (2, first), "INC-1 only has its stakeholders to tell, after 30 min"


def test_an_effect_waits_from_when_it_was_called_for(site: Site) -> None:
    began = site.now
    site.alerts(1, new=1)
    site.after(seconds=50)
    assert held(site).effects == {"pager": began, "slack": began, "health": began, "changes": began}


def test_an_effect_in_somebodys_hands_is_not_stuck_until_the_lease_is_over(site: Site) -> None:
    site.alerts(1, new=1)
    take_all(site, "pager", then="lost")
    assert "pager" not in held(site.after(seconds=44)).effects
    assert held(site.after(seconds=1)).effects["pager"] == site.now


def test_an_effect_that_is_tried_again_later_is_not_stuck_and_neither_is_what_waits_behind_it(site: Site) -> None:
    site.alerts(1, new=1)
    site.do(cmd.AddNote, text="the queue is long")
    take_all(site, "slack", then="postponed")
    assert "slack" not in held(site.after(minutes=9)).effects


def test_an_effect_is_free_from_when_the_one_ahead_of_it_ended(site: Site) -> None:
    site.alerts(1, new=1)
    site.after(minutes=5)
    take_all(site, "slack", then="done")
    assert held(site.after(seconds=3)).effects["slack"] == site.now - timedelta(seconds=3)


def alert_from(came: datetime) -> Delivery:
    return Delivery(
        fingerprint="f1",
        firing=True,
        name="LLMErrorRatioHigh",
        title="llama-70b fails",
        severity=Severity.SEV1,
        service="chat",
        model="llama-70b",
        runbook="",
        labels={},
        starts_at=came,
        ends_at=None,
    )


def test_news_wait_from_when_they_came_until_they_are_worked_in(site: Site) -> None:
    came = site.now
    site.desk.receive([Message(ALERTMANAGER.id, (alert_from(came),), 0)]).result()
    assert held(site.after(seconds=70)).news == came
    for group_key in site.journal.waiting_groups():
        site.desk.drain(group_key).result()
    assert held(site).news is None


def test_an_alert_that_burns_in_no_incident_and_in_no_news_is_found(site: Site) -> None:
    site.desk.receive([Message(ALERTMANAGER.id, (alert_from(site.now),), 0)]).result()
    assert held(site).homeless == {}, "its news are still to be worked in"
    site.journal.write(lambda txn: [txn.take_news(group) for group in site.journal.waiting_groups()]).result()
    ((group, number),) = held(site).homeless.items()
    assert number == 1
    (finding,) = find(Facts(site.now, held(site), ()), site.now)
    assert finding.text == f"1 alert of the group {group} burns in no incident: declare one."
