"""A second person is wanted: somebody wakes, whatever PagerDuty knows of the round, and no page waits for that."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.contracts import Again, Attempt, Permanent
from bot.incident import commands as cmd
from bot.incident import effects as ef
from bot.incident import events as ev
from bot.incident.people import Actor, ActorKind, Right
from bot.incident.state import Status
from bot.integrations.pagerduty import Courier
from bot.journal.ids import new_id
from bot.settings import Secret
from tests.core.case import check
from tests.servers import free_port
from tests.story.night import JONAS, MAYA, Night, open_night, told

BY_MAYA = Actor(ActorKind.MEMBER, MAYA, "Maya", frozenset({Right.RESPOND}))
CALL = check("owner", kind="page.oncall", args={"text": "llama-70b needs two"})
SECOND_KEY = "f" * 32


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    """PagerDuty's own policy calls nobody further while these stories last."""
    with open_night(tmp_path) as night:
        account = night.bench.pagerduty
        account.config = replace(account.config, escalate_after_s=86_400.0, second_routing_key=SECOND_KEY)
        yield night


def wants_a_second(night: Night) -> None:
    """A runbook of Maya's comes to a step that calls the next person."""
    run = new_id()
    common: dict[str, Any] = {"incident": night.incident.id, "by": BY_MAYA, "at": night.clock(), "source": "slack"}
    steps: dict[str, Any] = {"runbook": "two", "title": "Takes two", "source_digest": "0", "steps": (CALL,)}
    night.app.desk.handle(cmd.StartRun(**common, **steps, key=run, run=run, target=f"llama-70b/{run}"))
    night.settle()


def connected(night: Night, **changes: Any) -> None:
    """The bot comes back with other settings of PagerDuty."""
    assert night.config.pagerduty is not None
    night.config = replace(night.config, pagerduty=replace(night.config.pagerduty, **changes))
    night.crash()


def loses_the_rest_api(night: Night) -> None:
    """PagerDuty takes events, but nobody answers where its REST API should be."""
    connected(night, api_url=f"http://127.0.0.1:{free_port()}")


def troubles(night: Night) -> list[tuple[str, str]]:
    return [(event.effect, event.reason) for event in night.events(ev.DeliveryFailed)]


def test_where_nobody_was_paged_the_call_pages_and_a_page_that_comes_later_joins_it(night: Night) -> None:
    night.burns(severity="info")
    assert night.pages() == []
    wants_a_second(night)
    night.through(seconds=10)
    (page,) = night.bench.pagerduty.incidents
    assert (page.status, page.assigned_to) == ("triggered", "PJONAS1"), "the second, and not only the first"
    assert night.events(ev.PageAccepted)
    night.types(MAYA, "/incident sev 1", night.incident.channel)
    night.through(minutes=2)
    assert night.pages() == [("1", "triggered")]
    assert night.pager_calls("trigger") == ["trigger", "trigger"]
    assert night.events(ev.PageUnanswered) == []


def test_a_call_that_cannot_be_made_now_holds_up_no_page(night: Night) -> None:
    night.burns(severity="info")
    loses_the_rest_api(night)
    wants_a_second(night)
    night.through(seconds=20)
    night.types(MAYA, "/incident sev 1", night.incident.channel)
    assert night.pages() == [("1", "triggered")], "at once"
    night.through(minutes=1)
    ((what, why),) = troubles(night)
    assert what == "call_second"
    assert "does not answer" in why
    assert "Could not deliver call second by pager" in told(night.card)


def test_acknowledged_before_pagerduty_took_the_page_the_second_person_is_called_all_the_same(night: Night) -> None:
    night.bench.pagerduty.outage = "500"
    night.burns()
    night.types(MAYA, "/incident ack", night.incident.channel)
    wants_a_second(night)
    night.through(seconds=40)
    night.bench.pagerduty.outage = "none"
    night.through(seconds=40)
    (page,) = night.bench.pagerduty.incidents
    assert (page.status, page.assigned_to) == ("triggered", "PJONAS1"), "no acknowledgement came after the call"
    night.recovers()
    night.types(MAYA, "/incident resolve rolled back", night.incident.channel)
    night.after(minutes=5)
    night.burns()
    assert night.pages() == [("1", "resolved"), ("2", "triggered")]


def test_the_acknowledgement_goes_first_and_does_not_silence_who_is_called(night: Night) -> None:
    night.burns()
    night.bench.pagerduty.outage = "500"
    night.types(MAYA, "/incident ack", night.incident.channel)
    wants_a_second(night)
    night.through(seconds=40)
    night.bench.pagerduty.outage = "none"
    night.through(seconds=40)
    assert night.pager_calls("acknowledge")[-1:] == ["acknowledge"]
    (page,) = night.bench.pagerduty.incidents
    assert (page.status, page.assigned_to) == ("triggered", "PJONAS1")


@pytest.mark.parametrize("by", ["level", "key"])
def test_nobody_is_woken_for_what_is_over(night: Night, by: str) -> None:
    if by == "key":
        connected(night, escalation="key", second_routing_key=Secret(SECOND_KEY))
    night.bench.pagerduty.outage = "500"
    night.burns(severity="info")
    wants_a_second(night)
    night.through(minutes=5)
    night.recovers()
    night.types(MAYA, "/incident resolve rolled back", night.incident.channel)
    assert night.stands(Status.RESOLVED)
    night.through(minutes=2)
    night.bench.pagerduty.outage = "none"
    night.through(minutes=2)
    assert night.pages() == []


def test_without_rest_api_and_second_key_the_call_is_the_page_and_the_next_says_what_to_do(night: Night) -> None:
    connected(night, api_token=Secret(""))
    night.burns(severity="info")
    wants_a_second(night)
    assert night.pages() == [("1", "triggered")]
    assert troubles(night) == []
    night.after(minutes=6)
    wants_a_second(night)
    ((what, why),) = troubles(night)
    assert what == "call_second"
    assert why.endswith("only with PagerDuty's REST API or a second key; call one")
    assert night.pages() == [("1", "triggered")]


@pytest.fixture
def courier(night: Night) -> Iterator[Courier]:
    assert night.config.pagerduty is not None
    courier = Courier(night.config.pagerduty, lambda _: "")
    yield courier
    courier.close()


ABOVE_THE_LAST = ef.CallSecond(1, 2)
"""The policy has two levels; this asks for a third."""


def test_with_nobody_further_up_whoever_is_paged_is_who_comes(night: Night, courier: Courier) -> None:
    incident = night.burns(severity="info")
    first = courier.deliver(ABOVE_THE_LAST, incident, Attempt("job", 1, night.clock()))
    assert isinstance(first, Again)
    assert first.events == [ev.PageAccepted("PagerDuty", 1)]
    assert courier.deliver(ABOVE_THE_LAST, incident, Attempt("job", 1, first.at, first.progress)) == []
    assert night.pages() == [("1", "triggered")]
    with pytest.raises(Permanent, match="nobody further to wake; call somebody yourself"):
        courier.deliver(ABOVE_THE_LAST, incident, Attempt("another", 1, first.at))


def test_what_was_resolved_in_pagerduty_is_not_opened_a_second_time(night: Night, courier: Courier) -> None:
    """Their webhook is on its way, or was never set up."""
    incident = night.burns()
    night.bench.pagerduty.act(JONAS, night.bench.pagerduty.incidents[0].id, "resolve", "")
    with pytest.raises(Permanent, match="is resolved in PagerDuty and wakes nobody any more; call somebody yourself"):
        courier.deliver(ef.CallSecond(1, 1), incident, Attempt("job", 1, night.clock()))
    assert night.pages() == [("1", "resolved")]


def test_an_escalation_of_what_was_resolved_in_pagerduty_says_that_it_wakes_nobody(night: Night) -> None:
    connected(night, escalation="level")
    assert night.config.pagerduty is not None
    courier, incident = Courier(night.config.pagerduty, lambda _: ""), night.burns()
    night.bench.pagerduty.act(JONAS, night.bench.pagerduty.incidents[0].id, "resolve", "")
    try:
        with pytest.raises(Permanent, match="is resolved in PagerDuty and wakes nobody any more"):
            courier.deliver(ef.EscalatePage(1, 1), incident, Attempt("job", 1, night.clock()))
    finally:
        courier.close()


def test_an_earlier_rounds_end_leaves_alone_what_was_born_in_pagerduty_and_is_back(
    night: Night, courier: Courier
) -> None:
    """It has one life there; to end it would come back to us as a word of PagerDuty's people."""
    account = night.bench.pagerduty
    account.trigger("another-integration", {"summary": "Checkout is down", "source": "x", "severity": "critical"})
    account.advance()
    night.settle()
    back = replace(night.incident, generation=2)
    courier.deliver(ef.StopPaging(1), back, Attempt("job", 1, night.clock()))
    assert [page.status for page in account.incidents] == ["triggered"]
    courier.deliver(ef.StopPaging(2), back, Attempt("job", 1, night.clock()))
    assert [page.status for page in account.incidents] == ["resolved"]


def test_an_escalation_of_what_pagerduty_had_refused_pages(night: Night) -> None:
    good = night.config.pagerduty
    assert good is not None
    connected(night, escalation="level", routing_key=Secret("0" * 32))
    night.burns()
    assert night.pages() == []
    connected(night, routing_key=good.routing_key)
    night.through(minutes=5)
    assert night.pages() == [("1", "triggered")]
    night.types(MAYA, "/incident ack", night.incident.channel)
    assert night.pages() == [("1", "acknowledged")], "nothing is stuck before it"
