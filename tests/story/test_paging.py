"""PagerDuty is dead and somebody has to be woken all the same: the page goes by webhook and mail, and people see it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.incident import events as ev
from bot.incident.state import Status
from bot.integrations.pagerduty import Integration
from bot.settings import Secret
from bot.slack.actions import Do
from tests.story.night import MAYA, Night, told
from tests.story.outage import FALLBACKS, Outage, open_outage

SPARE_KEY = "f" * 32
MAIL = "mail to oncall@example.com"


@pytest.fixture
def outage(tmp_path: Path) -> Iterator[Outage]:
    with open_outage(tmp_path) as outage:
        yield outage


def paged_by_mail(outage: Outage) -> Night:
    """The bridge is down as well, so it is the mail that gets through."""
    outage.bridge.answer = (503, b"down")
    outage.night.burns()
    return outage.night.through(minutes=2, seconds=5)


def test_after_a_minute_the_page_goes_by_the_webhook_and_channel_and_card_say_so(outage: Outage) -> None:
    night = outage.night
    night.burns()
    night.through(seconds=55)
    assert outage.bridge.accepted == []
    night.through(seconds=10)
    (body,) = outage.bridge.accepted
    assert (body["action"], body["incident"], body["severity"], body["round"]) == ("trigger", "INC-1", "SEV1", 1)
    assert body["title"] == "llama-70b answers with errors"
    assert body["link"].endswith("/incidents/INC-1")
    (handed,) = night.said("INC-1: PagerDuty has not accepted the page for 60 s; it goes by bridge too")
    assert f"<@{MAYA}>" in told(handed), "whoever is on call and reads chat is called there once more"
    assert night.said("accepted the page")
    assert f"PagerDuty has not accepted the page for 60 s; paged by webhook to 127.0.0.1:{outage.bridge.port}" in told(
        night.card
    )
    night.through(minutes=3)
    assert outage.mail.mails == [], "one pager has accepted, so nobody else is asked"


def test_with_the_webhook_down_too_the_mail_gets_out(outage: Outage) -> None:
    night = paged_by_mail(outage)
    (mail,) = outage.mail.mails
    assert mail["To"] == "oncall@example.com"
    assert mail["Subject"] == "SEV1 INC-1 llama-70b answers with errors"
    assert "/incidents/INC-1" in mail.get_content()
    assert f"PagerDuty and bridge have not accepted the page for 60 s; paged by {MAIL}" in told(night.card)
    assert "Could not deliver page by pager: PagerDuty answered 500; still trying" in told(night.card)
    timeline = night.types(MAYA, "/incident timeline", night.incident.channel)
    assert f"Paged by {MAIL}" in timeline


def test_whoever_accepted_hears_who_has_it_and_that_it_is_over(outage: Outage) -> None:
    night = paged_by_mail(outage)
    outage.bridge.answer = (200, b"ok")
    night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
    night.recovers()
    night.types(MAYA, "/incident resolve rolled back", night.incident.channel)
    night.through(minutes=1)
    paged, taken, over = outage.mail.mails
    assert "Maya Okafor has it." in taken.get_content()
    assert "It is over: rolled back" in over.get_content()
    assert taken["In-Reply-To"] == over["In-Reply-To"] == paged["Message-ID"]
    assert outage.bridge.accepted == [], "it never accepted, and now there is nothing to accept"


def test_pagerduty_goes_on_being_tried_and_takes_over_when_it_is_back(outage: Outage) -> None:
    night = outage.night
    night.burns()
    night.through(minutes=2)
    night.bench.pagerduty.outage = "none"
    night.through(seconds=15)
    assert night.pages() == [("1", "triggered")]
    assert "has not accepted" not in told(night.card)
    assert "Paged by webhook to" in told(night.card)
    night.bench.pagerduty.act(MAYA, night.bench.pagerduty.incidents[0].id, "acknowledge", "")
    night.after(seconds=5)
    assert night.stands(Status.ACKNOWLEDGED)
    assert [body["action"] for body in outage.bridge.accepted] == ["trigger", "acknowledge"], (
        "what PagerDuty tells us, the other one hears"
    )


def test_when_nobody_comes_whoever_stands_in_for_pagerduty_calls_the_next_too(outage: Outage) -> None:
    night = outage.night
    night.burns()
    night.through(minutes=5, seconds=10)
    assert [(body["action"], body["level"]) for body in outage.bridge.accepted] == [("trigger", 0), ("trigger", 1)]
    assert outage.bridge.accepted[1]["news"] == "Nobody has it yet; escalation 1."
    assert outage.mail.mails == [], "it was never asked"
    timeline = night.types(MAYA, "/incident timeline", night.incident.channel)
    assert "Nobody acknowledged in time (escalation 1); asking bridge to call the next person" in timeline
    assert "policy of PagerDuty" not in timeline, "it has no page to go by"


def test_with_everything_dead_people_are_told_that_nobody_was_paged(outage: Outage) -> None:
    outage.mail.answers[""] = "421 closed for the night"
    night = paged_by_mail(outage)
    night.through(minutes=1, seconds=20)
    assert night.said("INC-1: oncall-mail has not accepted the page for 60 s; there is no other pager to ask")
    assert "PagerDuty, bridge and oncall-mail have not accepted the page for 60 s" in told(night.card)
    assert "Could not deliver page by pager oncall-mail" in told(night.card)
    outage.mail.answers.clear()
    night.through(minutes=1)
    assert len(outage.mail.mails) == 1, "and nobody gives up"
    assert f"paged by {MAIL}" in told(night.card)


def test_a_mail_that_the_one_on_call_did_not_get_wakes_the_next_in_the_chain(tmp_path: Path) -> None:
    webhook, mail = FALLBACKS.split("\n\n")
    team = mail.replace('["oncall@example.com"]', '["oncall@example.com", "archive@example.com"]')
    with open_outage(tmp_path, f"{team}\n{webhook}\n") as outage:
        night = outage.night
        outage.mail.refuses["oncall"] = "550 5.1.1 no such mailbox"
        night.burns()
        night.through(minutes=4)
        assert outage.mail.recipients == [["archive@example.com"]], "once, for whom it was taken"
        assert [body["action"] for body in outage.bridge.accepted] == ["trigger"]
        assert "answered 550 for oncall: 5.1.1 no such mailbox; archive has it" in told(night.card)
        assert "oncall-mail have not accepted the page" in told(night.card)
        assert not night.said("Paged by mail")


def test_acknowledged_in_chat_nobody_is_woken_any_more(outage: Outage) -> None:
    night = outage.night
    night.burns()
    night.through(seconds=30)
    night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
    night.through(minutes=3)
    assert (outage.bridge.heard, outage.mail.mails) == ([], [])
    assert night.events(ev.PageUnanswered) == []


def test_a_crash_between_two_pagers_loses_nothing_and_pages_once(outage: Outage) -> None:
    outage.bridge.answer = (503, b"down")
    night = outage.night
    night.burns()
    night.through(seconds=65)
    night.crash()
    night.through(seconds=65)
    night.crash()
    night.through(minutes=1)
    assert len(outage.mail.mails) == 1
    assert [event.pager for event in night.events(ev.PageUnanswered)] == ["bridge", "oncall-mail"]


def revoked(night: Night) -> None:
    """Our integration key is not valid any more; another service of the same account stands in."""
    config, account = night.config, night.bench.pagerduty
    assert config.pagerduty is not None
    account.config = replace(account.config, second_routing_key=SPARE_KEY)
    spare = Integration("spare", Secret(SPARE_KEY), night.bench.ports.url("pagerduty"), timeout=3.0)
    night.config = replace(
        config,
        pagerduty=replace(config.pagerduty, routing_key=Secret("0" * 32)),
        fallbacks={"spare": spare},
        policy=replace(config.policy, pagers=("PagerDuty", "spare")),
    )
    night.crash()


def test_a_key_that_was_revoked_is_stood_in_for_by_another_service(night: Night) -> None:
    revoked(night)
    night.burns()
    assert "PagerDuty refused it with 400" in told(night.card)
    assert night.pages() == []
    night.through(seconds=65)
    assert night.pages() == [("1", "triggered")]
    assert night.said("INC-1: PagerDuty has not accepted the page for 60 s; it goes by spare too")
    assert "Paged by PagerDuty (spare) too" in told(night.card)
    assert night.bench.pagerduty.incidents[0].id in told(night.card), "its webhook brought the link"
    night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
    assert night.pages() == [("1", "acknowledged")]
    night.recovers()
    night.types(MAYA, "/incident resolve rolled back", night.incident.channel)
    assert night.pages() == [("1", "resolved")]


def test_without_any_fallback_the_channel_is_told_that_the_page_did_not_get_out(night: Night) -> None:
    night.bench.pagerduty.outage = "500"
    night.burns()
    night.through(seconds=70)
    (said,) = night.said("INC-1: PagerDuty has not accepted the page for 60 s; there is no other pager to ask")
    assert f"<@{MAYA}>" in told(said)
    night.through(minutes=3)
    assert len(night.events(ev.PageUnanswered)) == 1
