"""Events API v2: what it accepts, what becomes of it, and how it refuses."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bot.workbench.pagerduty.service import WEATHER

ROUTING_KEY = "r" * 32


def test_a_trigger_opens_an_incident_and_pages_the_first_level(rig: Any) -> None:
    answer = rig.send()
    assert answer.status_code == 202
    assert answer.json() == {"status": "success", "message": "Event processed", "dedup_key": "k1"}
    [incident] = rig.account.incidents
    assert (incident.status, incident.urgency, incident.assigned_to) == ("triggered", "high", "PMAYA01")


def test_the_same_key_joins_the_open_incident(rig: Any) -> None:
    rig.send()
    rig.send()
    [incident] = rig.account.incidents
    assert incident.alerts == 2


def test_the_key_of_a_resolved_incident_opens_a_new_one(rig: Any) -> None:
    rig.send()
    rig.send("resolve")
    rig.send()
    assert [incident.status for incident in rig.account.incidents] == ["resolved", "triggered"]


def test_a_missing_key_is_made_and_returned(rig: Any) -> None:
    key = rig.send(key=None).json()["dedup_key"]
    assert rig.account.incidents[0].key == key
    assert len(key) == 32


def test_acknowledge_and_resolve_follow_the_key(rig: Any) -> None:
    rig.send()
    assert rig.send("acknowledge").status_code == 202
    assert rig.account.incidents[0].status == "acknowledged"
    rig.send("resolve")
    assert rig.account.incidents[0].status == "resolved"


@pytest.mark.parametrize("action", ["acknowledge", "resolve"])
def test_an_event_for_nothing_open_is_taken_and_does_nothing(rig: Any, action: str) -> None:
    assert rig.send(action, key="unknown").status_code == 202
    assert rig.account.incidents == []


@pytest.mark.parametrize("severity", ["warning", "info"])
def test_a_mild_severity_is_low_urgency(rig: Any, severity: str) -> None:
    rig.send(severity=severity)
    assert rig.account.incidents[0].urgency == "low"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"routing_key": "short"}, "Length of 'routing_key' is incorrect (should be 32 characters)"),
        ({"routing_key": "x" * 32}, "Invalid routing key"),
        ({"routing_key": None}, "'routing_key' is missing or blank"),
        ({"event_action": "shout"}, "'event_action' is missing or invalid"),
        ({"dedup_key": "k" * 256}, "'dedup_key' is too long (maximum is 255 characters)"),
        ({"payload": None}, "'payload' is missing or blank"),
        ({"payload": {"source": "s", "severity": "info"}}, "'payload.summary' is missing or blank"),
        ({"payload": {"summary": "s" * 1025, "source": "s", "severity": "info"}}, "'payload.summary' is too long"),
        ({"payload": {"summary": "s", "source": "s", "severity": "loud"}}, "'payload.severity' is invalid"),
        ({"event_action": "resolve", "dedup_key": ""}, "'dedup_key' is missing or blank"),
    ],
)
def test_an_invalid_event_is_refused_with_every_reason(rig: Any, change: dict[str, Any], words: str) -> None:
    good = {
        "routing_key": ROUTING_KEY,
        "event_action": "trigger",
        "dedup_key": "k1",
        "payload": {"summary": "s", "source": "s", "severity": "info"},
    }
    answer = rig.http.post("/v2/enqueue", json={**good, **change})
    assert answer.status_code == 400
    assert answer.json()["status"] == "invalid event"
    assert any(words in error for error in answer.json()["errors"])
    assert rig.account.incidents == []


def test_the_longest_allowed_summary_and_key_are_accepted(rig: Any) -> None:
    assert rig.send(key="k" * 255, summary="s" * 1024).status_code == 202


def test_the_121st_event_of_a_minute_is_throttled(rig: Any) -> None:
    statuses = [rig.send(key=f"k{number}").status_code for number in range(121)]
    assert (statuses[119], statuses[120]) == (202, 429)
    rig.now += 61
    assert rig.send(key="later").status_code == 202


def test_an_outage_can_do_the_work_and_still_answer_500(rig: Any) -> None:
    rig.account.outage = "500-after"
    assert rig.send().status_code == 500
    assert len(rig.account.incidents) == 1


@pytest.mark.parametrize("outage", ["500", "429"])
def test_an_outage_does_nothing(rig: Any, outage: str) -> None:
    rig.account.outage = outage
    assert rig.send().status_code == int(outage)
    assert rig.http.get("/incidents").status_code == int(outage)
    assert rig.account.incidents == []


def test_in_bad_weather_a_part_of_the_events_fails_and_half_of_those_are_done_all_the_same(rig: Any) -> None:
    rig.account.steadily(0.5, seed=3)
    troubles = [rig.account.trouble() for _ in range(200)]
    assert set(troubles) == {"none", *WEATHER}
    assert 80 <= troubles.count("none") <= 120
    often = [troubles.count(way) for way in WEATHER]
    assert max(often) - min(often) <= 1  # none is left out by chance
    assert rig.account.weather.met.total() == 200
    rig.account.steadily(0.0, seed=3)
    assert rig.account.is_well
    assert {rig.account.trouble() for _ in range(200)} == {"none"}


def test_an_outage_can_do_the_work_and_answer_nothing_until_it_ends(rig: Any) -> None:
    rig.account.outage = "silent-after"
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(rig.send)
        deadline = time.monotonic() + 30
        while not rig.account.incidents and time.monotonic() < deadline:
            time.sleep(0.005)
        assert len(rig.account.incidents) == 1
        assert not hanging.done()
        rig.account.outage = "none"
        assert hanging.result(30).status_code == 202
    assert [(call.status, call.trouble) for call in rig.account.calls] == [(202, "silent-after")]


def test_every_call_is_remembered_with_its_answer(rig: Any) -> None:
    rig.send()
    rig.send("shout")
    assert [(call.method, call.path, call.status) for call in rig.account.calls] == [
        ("POST", "/v2/enqueue", 202),
        ("POST", "/v2/enqueue", 400),
    ]
