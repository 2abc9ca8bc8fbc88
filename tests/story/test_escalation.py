"""Nobody acknowledges: the next person is called in Slack, and by the pager in the one way that is configured."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bot.incident import events as ev
from bot.slack.actions import Do
from tests.story.night import JONAS, MAYA, Night, action_ids, open_night, told

SECOND_KEY = "f" * 32


def calls(night: Night) -> list[str]:
    """The messages that say that nobody has it."""
    return [told(message) for message in night.said("Nobody has INC-1 yet")]


@contextmanager
def escalating(folder: Path, mode: str) -> Iterator[Night]:
    """A night with one mode of escalation, and a PagerDuty whose own policy does not go on by itself."""
    secrets = {"FIXFIRST_PAGERDUTY_SECOND_ROUTING_KEY": SECOND_KEY} if mode == "key" else {}
    with open_night(folder, settings={'escalation = "policy"': f'escalation = "{mode}"'}, secrets=secrets) as night:
        account = night.bench.pagerduty
        account.config = replace(account.config, escalate_after_s=86_400.0, second_routing_key=SECOND_KEY)
        yield night


def test_after_five_minutes_the_next_person_is_called_by_name(night: Night) -> None:
    night.burns()
    night.after(minutes=4, seconds=50)
    assert calls(night) == []
    night.after(seconds=10)
    (call,) = calls(night)
    assert f"<@{JONAS}>" in call
    assert f"<@{MAYA}>" not in call
    assert Do.ACK in action_ids(night.said("Nobody has INC-1 yet")[0]), "it can be taken from there"


def test_an_acknowledgement_in_time_calls_nobody_else(night: Night) -> None:
    night.burns()
    night.after(minutes=4)
    night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
    night.after(hours=1)
    assert calls(night) == []


def test_people_are_called_at_most_three_times_and_the_card_says_so(night: Night) -> None:
    night.burns()
    night.through(minutes=40)
    assert len(calls(night)) == 3
    assert [event.level for event in night.events(ev.AckDeadlineMissed)] == [1, 2, 3]
    assert "Nobody has it, and it is not escalated any further." in told(night.card)


def test_a_bot_that_slept_through_an_hour_calls_once_not_twelve_times(night: Night) -> None:
    night.burns()
    night.after(hours=1)
    assert len(calls(night)) == 1


def test_by_default_pagerdutys_own_policy_escalates_and_nobody_is_paged_twice(night: Night) -> None:
    night.burns()
    night.through(minutes=16)
    assert night.pager_calls() == ["trigger"], "one page from us, whatever we said in Slack"
    (page,) = night.bench.pagerduty.incidents
    assert page.assigned_to == "PJONAS1", "PagerDuty has gone on by itself"
    assert page.alerts == 1


def test_by_level_pagerduty_is_told_to_page_the_next(tmp_path: Path) -> None:
    with escalating(tmp_path, "level") as night:
        night.burns()
        assert night.bench.pagerduty.incidents[0].assigned_to == "PMAYA01"
        night.after(minutes=5)
        (page,) = night.bench.pagerduty.incidents
        assert page.assigned_to == "PJONAS1"
        assert page.level == 2
        assert night.pager_calls("trigger") == ["trigger"]


def test_by_level_with_nobody_further_up_the_card_says_to_call_somebody_oneself(tmp_path: Path) -> None:
    with escalating(tmp_path, "level") as night:
        night.burns()
        night.through(minutes=6)
        assert "Could not deliver" not in told(night.card)
        night.through(minutes=11)
        assert len(calls(night)) == 3
        assert night.bench.pagerduty.incidents[0].level == 2, "there is no third level"
        assert [trouble.effect for trouble in night.events(ev.DeliveryFailed)] == ["escalate_page"] * 2
        nobody = "the escalation policy has nobody further to wake; call somebody yourself"
        assert told(night.card).count(f"Could not deliver escalate page by pager: {nobody}") == 1


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("policy", "the next call is left to the policy of PagerDuty"),
        ("level", "asking PagerDuty to call the next person"),
        ("key", "asking PagerDuty to call the next person"),
    ],
)
def test_the_timeline_says_who_is_to_call_the_next_person(tmp_path: Path, mode: str, said: str) -> None:
    with escalating(tmp_path, mode) as night:
        night.burns()
        night.after(minutes=5)
        timeline = night.types(MAYA, "/incident timeline", night.incident.channel)
        assert f"Nobody acknowledged in time (escalation 1); {said}" in timeline


def test_by_second_key_another_service_is_paged_once_and_hears_the_end(tmp_path: Path) -> None:
    with escalating(tmp_path, "key") as night:
        night.burns()
        night.through(minutes=12)
        first, second = night.bench.pagerduty.incidents
        assert (first.status, second.status) == ("triggered", "triggered")
        assert second.assigned_to == "PJONAS1"
        night.clicks(JONAS, night.card, Do.ACK, night.incident.channel)
        assert [page.status for page in night.bench.pagerduty.incidents] == ["acknowledged", "acknowledged"]
        night.recovers()
        night.types(JONAS, "/incident resolve fixed", night.incident.channel)
        assert [page.status for page in night.bench.pagerduty.incidents] == ["resolved", "resolved"]


@pytest.mark.parametrize("mode", ["level", "key"])
def test_whoever_acknowledges_while_the_call_waits_is_spared_the_page(tmp_path: Path, mode: str) -> None:
    with escalating(tmp_path, mode) as night:
        night.burns()
        night.bench.pagerduty.outage = "500"
        night.after(minutes=5)
        night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
        night.bench.pagerduty.outage = "none"
        night.after(minutes=2)
        (page,) = night.bench.pagerduty.incidents
        assert (page.status, page.assigned_to) == ("acknowledged", "PMAYA01")
