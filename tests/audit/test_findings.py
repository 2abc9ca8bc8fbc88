"""What an audit finds, and what it leaves alone."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from bot.audit.findings import Check, Facts, Unpaged, find, unpaged
from bot.contracts import Delivered, Transient
from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.effects import RefreshCard
from bot.incident.events import Severity
from bot.incident.policy import Policy
from bot.intake.alerts import Delivery, Message
from bot.journal import Txn
from bot.journal.audit import EFFECT_WITHIN, Waiting, waiting
from bot.outbox import Outbox
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


def test_a_message_behind_a_queue_that_is_worked_off_in_order_is_not_stuck() -> None:
    waits = {"slack": ago(600), "health": ago(600)}
    reached = {"slack": ago(480), "health": None}
    assert sentences(effects=waits, at_work=reached) == [], "what is tried in vain is no finding either"


def test_a_message_is_stuck_once_only_what_fell_due_well_after_it_is_worked_at() -> None:
    (found,) = sentences(effects={"slack": ago(600)}, at_work={"slack": ago(479)})
    assert found == "An effect for the slack courier could have left 10 min ago, and nobody took it."


@pytest.mark.parametrize("courier", ["pager", "runbook"])
def test_a_page_or_a_step_has_to_be_taken_up_whatever_else_its_courier_is_at(courier: str) -> None:
    assert len(sentences(effects={courier: ago(121)}, at_work={courier: ago(125)})) == 1


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


def many(site: Site, number: int = 30) -> None:
    for n in range(number):
        site.alerts(1, new=1, incident=f"i{n}")


def stuck(site: Site) -> list[str]:
    """The couriers whose queues nobody works off."""
    found = find(Facts(site.now, held(site), ()), site.now)
    return [finding.about for finding in found if finding.check is Check.OUTBOX]


class Slow:
    """A service of which every call takes its time, and then ends in `trouble`."""

    def __init__(self, site: Site, lasts: float, trouble: Exception | None = None) -> None:
        self.site, self.lasts, self.trouble = site, lasts, trouble

    def deliver(self, *_: object) -> Delivered:
        self.site.after(seconds=self.lasts)
        if self.trouble:
            raise self.trouble
        return ()


@pytest.mark.parametrize(
    ("courier", "trouble"),
    [
        ("health", None),
        ("slack", None),
        ("slack", Transient("Slack does not answer (TimeoutError)", ambiguous=True)),
        ("slack", Transient("Slack asks for patience", retry_after=30)),
    ],
    ids=["a hung Prometheus", "a slow Slack", "a hung Slack", "a Slack that asks for patience"],
)
def test_a_queue_behind_a_slow_service_is_no_finding_while_it_is_worked_off(
    site: Site, courier: str, trouble: Exception | None
) -> None:
    many(site)
    outbox = Outbox(site.desk, {courier: Slow(site, 8, trouble)})
    began = site.now
    while site.now - began < timedelta(minutes=10):
        for job in outbox.ready():
            if job.effect.courier == courier:
                outbox.deliver(job.id)
                assert courier not in stuck(site), site.now - began
                break
        else:
            site.after(seconds=1)
    assert stuck(site), "the couriers that nobody works for are found"


def test_a_queue_that_nobody_works_at_any_more_is_found(site: Site) -> None:
    many(site)
    outbox = Outbox(site.desk, {"slack": Slow(site, 8)})
    for job in outbox.ready()[:20]:
        outbox.deliver(job.id)
    take_all(site, "slack", then="lost")
    died = site.now
    while "slack" not in stuck(site):
        site.after(seconds=1)
    assert site.now - died == timedelta(seconds=45) + EFFECT_WITHIN, "after the lease of what was in hand"


def test_an_effect_that_is_left_lying_while_its_courier_goes_on_with_others_is_found(site: Site) -> None:
    many(site, 2)
    outbox = Outbox(site.desk, {"slack": Slow(site, 1)})
    began = site.now
    while "slack" not in stuck(site):
        assert site.now - began < timedelta(minutes=10)
        for job in outbox.ready():
            if job.effect.courier == "slack" and job.incident == "i1":
                outbox.deliver(job.id)
        site.journal.write(lambda txn: txn.enqueue("i1", [RefreshCard()])).result()
        site.after(seconds=5)
    assert site.now - began > 2 * EFFECT_WITHIN, "once all it was at for two minutes fell due two minutes after it"


def test_what_was_let_go_before_the_clock_was_set_back_can_be_taken_at_once(site: Site) -> None:
    site.alerts(1, new=1)
    take_all(site, "slack", then="postponed")
    site.after(hours=-1)
    site.journal.write(lambda txn: txn.hasten(txn.now)).result()
    assert [job for job in site.journal.ready_jobs(site.now) if job.effect.courier == "slack"]


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
