"""Slack slows an app down and sometimes fails: by method, by channel, and on purpose."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.workbench.slack.faults import WEATHER, Fault
from bot.workbench.slack.pace import Pace
from bot.workbench.slack.workspace import Workspace

from .conftest import Called, HandClock

INCIDENTS = "C0INCIDENTS"


def test_the_21st_call_of_a_tier_2_method_in_a_minute_has_to_wait(
    workspace: Workspace, api: Called, clock: HandClock
) -> None:
    for number in range(20):
        api.fine("conversations.create", name=f"inc-{number}")
        clock.pass_(1)
    reply = workspace.api("conversations.create", {"name": "inc-20"})
    assert (reply.status, reply.body["error"], reply.headers["Retry-After"]) == (429, "ratelimited", "40")
    api.fine("conversations.setTopic", channel=INCIDENTS, topic="another method has its own count")
    clock.pass_(40)
    api.fine("conversations.create", name="inc-20")


def test_a_channel_takes_a_short_burst_then_a_message_a_second(
    workspace: Workspace, api: Called, clock: HandClock
) -> None:
    api.fine("conversations.create", name="inc-1")
    for _ in range(5):
        api.fine("chat.postMessage", channel=INCIDENTS, text="x")
    reply = workspace.api("chat.postMessage", {"channel": INCIDENTS, "text": "x"})
    assert (reply.status, reply.headers["Retry-After"]) == (429, "1")
    api.fine("chat.postMessage", channel=workspace.channel("inc-1").id, text="another channel has its own pace")
    clock.pass_(1)
    api.fine("chat.postMessage", channel=INCIDENTS, text="x")


def test_a_refused_message_is_not_posted(workspace: Workspace, api: Called) -> None:
    for _ in range(10):
        api("chat.postMessage", channel=INCIDENTS, text="x")
    assert len(workspace.channel("incidents").messages) == 5


def test_limits_can_be_turned_off_and_down(workspace: Workspace, api: Called) -> None:
    workspace.pace.enabled = False
    for _ in range(30):
        api.fine("chat.postMessage", channel=INCIDENTS, text="x")
    workspace.pace.enabled = True
    workspace.pace.factor = 0.05
    api.fine("users.list")
    assert api.error("users.list") == "ratelimited"
    workspace.pace.reset()
    api.fine("users.list")


@given(st.lists(st.floats(0, 30), min_size=1, max_size=120), st.integers(1, 30))
@settings(max_examples=80, deadline=None)
def test_no_minute_ever_holds_more_calls_than_the_tier_allows(gaps: list[float], per_minute: int) -> None:
    pace, now, passed = Pace(), 0.0, []
    for gap in gaps:
        now += gap
        if pace.wait("m", per_minute, now) is None:
            passed.append(now)
    for start in passed:
        assert sum(1 for at in passed if start <= at < start + 60) <= per_minute


@given(st.integers(1, 50), st.floats(0, 59))
@settings(max_examples=80, deadline=None)
def test_who_waits_as_long_as_told_may_go_on(per_minute: int, spread: float) -> None:
    pace, now = Pace(), 0.0
    for _ in range(per_minute):
        assert pace.wait("m", per_minute, now) is None
        now += spread / per_minute
    seconds = pace.wait("m", per_minute, now)
    assert seconds is not None
    assert pace.wait("m", per_minute, now + seconds) is None


@pytest.mark.parametrize(
    ("fault", "status", "error", "posted"),
    [
        (Fault.SERVER_ERROR, 500, "internal_error", 0),
        (Fault.RATELIMITED, 429, "ratelimited", 0),
        (Fault.ERROR, 200, "fatal_error", 0),
        (Fault.LOST_ANSWER, 500, "fatal_error", 1),
        (Fault.DROP, 500, "internal_error", 0),
    ],
)
def test_a_planned_fault_hits_once_and_does_or_does_not_do_the_work(
    workspace: Workspace, fault: Fault, status: int, error: str, posted: int
) -> None:
    workspace.faults.plan(fault, "chat.postMessage", retry_after=7, error="fatal_error")
    assert workspace.api("auth.test").status == 200
    reply = workspace.api("chat.postMessage", {"channel": INCIDENTS, "text": "x"})
    assert (reply.status, reply.body["error"]) == (status, error)
    assert len(workspace.channel("incidents").messages) == posted
    assert workspace.api("chat.postMessage", {"channel": INCIDENTS, "text": "x"}).body["ok"]


def test_a_fault_for_every_method_lasts_as_long_as_planned(workspace: Workspace) -> None:
    workspace.faults.plan(Fault.RATELIMITED, times=2, retry_after=30)
    assert workspace.api("auth.test").headers["Retry-After"] == "30"
    assert workspace.api("users.list").status == 429
    assert workspace.api("users.list").status == 200


def test_in_bad_weather_a_part_of_the_calls_fails_in_every_way_there_is(workspace: Workspace) -> None:
    workspace.faults.steadily(0.2, seed=1)
    replies = [workspace.api("auth.test") for _ in range(400)]
    suffered = workspace.faults.suffered
    assert set(suffered) == set(WEATHER)
    assert 60 <= suffered.total() <= 100
    assert sum(reply.status != 200 or reply.hang for reply in replies) == suffered.total()
    workspace.faults.clear()
    assert all(workspace.api("auth.test").status == 200 for _ in range(50))


def test_a_call_may_be_done_without_an_answer(workspace: Workspace) -> None:
    workspace.faults.plan(Fault.DONE_HANG, "chat.postMessage")
    assert workspace.api("chat.postMessage", {"channel": INCIDENTS, "text": "x"}).hang
    assert len(workspace.channel("incidents").messages) == 1


def test_the_same_seed_brings_the_same_weather(workspace: Workspace) -> None:
    def told(seed: int) -> list[int]:
        workspace.faults.steadily(0.5, seed)
        return [workspace.api("auth.test").status for _ in range(30)]

    assert told(7) == told(7) != told(8)


def test_slack_is_down_until_it_is_up(workspace: Workspace) -> None:
    workspace.faults.down = True
    assert workspace.api("auth.test").status == 503
    assert workspace.respond("any", b"{}")[0] == 503
    workspace.faults.clear()
    assert workspace.api("auth.test").status == 200
