"""What the nights under fire are held to lets nothing pass that it should not; by invented rows."""

from datetime import UTC, datetime, timedelta

import pytest

from bot.incident import events as ev
from bot.incident.entry import Entry
from bot.incident.events import Precision, Severity
from bot.incident.people import Actor, ActorKind
from bot.incident.policy import Policy
from tests.chaos.rules import (
    News,
    Round,
    Search,
    Sent,
    Span,
    rounds,
    spans,
    was_heeded,
    was_hindered,
    was_never_seen_burning,
    without_cause,
    wrong_with_page,
)

START = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
MAYA = Actor(ActorKind.MEMBER, "U0MAYA", "Maya")
POLICY = Policy(ack_within=timedelta(seconds=4), max_escalations=2)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def told(*story: tuple[float, ev.Event]) -> list[Entry]:
    """The entries of one incident that opened at second 0."""
    opened = ev.IncidentOpened(1, "it answers with errors", Severity.SEV1, START, group_key="g")
    return [
        Entry("e", "w", "i", seq, at(when), at(when), Precision.EXACT, MAYA, "slack", "", f"k{seq}", event)
        for seq, (when, event) in enumerate([(0.0, opened), *story], 1)
    ]


ACK, OVER, AGAIN = ev.Acknowledged(), ev.Resolved("it is over"), ev.Reopened(2, 1)


def test_a_group_that_always_ended_before_it_was_worked_in_opens_nothing() -> None:
    assert was_never_seen_burning(0, [])
    together = [News(at(1), at(3), 1, 0), News(at(2), at(3), 0, 1)]
    assert was_never_seen_burning(2, together)
    assert was_never_seen_burning(4, [*together, News(at(8), at(9), 0, 1), News(at(7), at(9), 1, 0)])


def test_an_end_that_came_in_between_two_glances_of_one_look_was_seen_by_it() -> None:
    assert was_never_seen_burning(2, [News(at(2), at(3), 1, 0), News(at(3), at(3.03), 0, 1)])


@pytest.mark.parametrize(
    "news",
    [
        pytest.param([], id="news that were lost"),
        pytest.param([News(at(1), at(3), 1, 0)], id="the end's news that were lost"),
        pytest.param(
            [News(at(1), at(3), 1, 0), News(at(4), at(5), 0, 1)], id="news of a fire that were worked in while it burnt"
        ),
        pytest.param([News(at(1), at(3), 1, 0), News(at(2), None, 0, 1)], id="news that were never worked in"),
    ],
)
def test_any_other_group_without_an_incident_is_a_loss(news: list[News]) -> None:
    assert not was_never_seen_burning(2, news)


def test_a_round_is_taken_by_whoever_was_first_and_each_has_its_own() -> None:
    accepted = ev.PageAccepted("PagerDuty", 2)
    story = told((3.0, ACK), (5.0, OVER), (7.0, AGAIN), (8.0, accepted))
    assert rounds(story) == [Round(1, at(0), at(3)), Round(2, at(7), None, accepted=True)]


NEVER, SOON, LATE = Round(1, at(0)), Round(1, at(0), at(9)), Round(1, at(0), at(30))


def test_nobody_need_be_paged_for_what_is_taken_at_once() -> None:
    assert wrong_with_page(SOON, Sent(1, at(9.1)), is_there=False) == ""
    assert wrong_with_page(NEVER, Sent(1, at(1)), is_there=True) == ""


def test_a_page_that_was_still_tried_when_somebody_took_it_was_hindered() -> None:
    assert wrong_with_page(LATE, Sent(3, at(31)), is_there=False) == ""
    assert was_hindered(LATE, Sent(3, at(31)))
    assert not was_hindered(SOON, Sent(3, at(31)))


@pytest.mark.parametrize(
    ("one", "page"),
    [
        pytest.param(NEVER, Sent(1, at(1)), id="nobody took it"),
        pytest.param(LATE, None, id="no page was ever to be sent"),
        pytest.param(LATE, Sent(1, at(31)), id="first tried when it was too late"),
        pytest.param(LATE, Sent(2, at(3)), id="called done before anybody took it"),
        pytest.param(LATE, Sent(2, None), id="never done"),
        pytest.param(Round(1, at(0), at(2), accepted=True), Sent(1, at(1)), id="accepted on record alone"),
    ],
)
def test_a_page_that_is_not_there_is_lost(one: Round, page: Sent | None) -> None:
    assert wrong_with_page(one, page, is_there=False)


def test_a_second_alert_is_excused_only_by_a_last_search_without_an_answer() -> None:
    assert without_cause([1.0, 5.0], [Search(3.0, answered=False)]) == []
    assert without_cause([5.0, 1.0], [Search(2.0, answered=True), Search(3.0, answered=False)]) == []
    assert without_cause([1.0, 5.0], []) == [5.0]
    assert without_cause([1.0, 5.0], [Search(3.0, answered=True)]) == [5.0]
    assert without_cause([1.0, 5.0], [Search(2.0, answered=False), Search(3.0, answered=True)]) == [5.0]
    assert without_cause([1.0, 5.0, 9.0], [Search(3.0, answered=False)]) == [9.0]


def test_every_span_counts_also_those_that_nobody_noticed() -> None:
    missed = [(4.5, ev.AckDeadlineMissed(1)), (8.6, ev.AckDeadlineMissed(2))]
    assert [(s.due, s.ended, s.missed) for s in spans(told(*missed), POLICY, at(60))] == [
        (at(4), at(4.5), True),
        (at(8.5), at(8.6), True),
    ]
    (taken,) = spans(told((60.0, ACK)), POLICY, at(90))
    assert (taken.late(), taken.missed) == (timedelta(seconds=56), False)
    (forgotten,) = spans(told(), POLICY, at(90))
    assert (forgotten.late(), forgotten.missed) == (timedelta(seconds=86), False)
    first, second = spans(told((2.0, ACK), (3.0, OVER), (10.0, AGAIN)), POLICY, at(11))
    assert (first.late(), second.late()) == (timedelta(seconds=-2), timedelta(seconds=-3))


def test_nobody_notices_a_deadline_while_the_only_server_stands_still() -> None:
    missed = Span(at(4), at(16), missed=True)
    assert missed.late([(at(0), at(7)), (at(10), at(12)), (at(20), at(30))]) == timedelta(seconds=7)


def test_what_was_answered_must_be_so_by_then() -> None:
    story = told((3.0, ACK), (5.0, OVER), (7.0, AGAIN))
    assert was_heeded(story, 1, at(3), over=False)
    assert not was_heeded(story, 1, at(2.9), over=False)
    assert not was_heeded(story, 1, at(4), over=True)
    assert was_heeded(story, 1, at(5), over=True)
    assert was_heeded(story, 1, at(8), over=True)
    assert not was_heeded(story, 2, at(8), over=False)
