"""Signed V3 webhooks, escalation by the clock, and people acting in the panel."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from bot.workbench.pagerduty.model import ApiError


def test_each_secret_signs_the_raw_body(rig: Any) -> None:
    rig.send()
    rig.wait(0)
    [(headers, body)] = rig.receiver.requests
    expected = [hmac.new(s.encode(), body, hashlib.sha256).hexdigest() for s in ("new-secret", "old-secret")]
    assert headers["X-PagerDuty-Signature"] == f"v1={expected[0]},v1={expected[1]}"


def test_a_life_is_told_in_order(rig: Any) -> None:
    rig.send()
    ident = rig.incident_id
    rig.account.act("U0MAYA", ident, "acknowledge")
    rig.account.act("U0MAYA", ident, "note", "Looks like Xid 79")
    rig.account.act("U0JONAS", ident, "resolve")
    rig.account.act("U0PRIYA", ident, "reopen")
    rig.wait(0)
    assert rig.receiver.types == [
        "incident.triggered",
        "incident.acknowledged",
        "incident.annotated",
        "incident.resolved",
        "incident.reopened",
    ]
    agents = [event["agent"] and event["agent"]["summary"] for event in rig.receiver.events]
    assert agents == [None, "Maya Okafor", "Maya Okafor", "Jonas Weber", "Priya Raman"]


def test_an_incident_event_carries_the_incident_as_it_was_then(rig: Any) -> None:
    rig.send()
    rig.account.act("U0MAYA", rig.incident_id, "acknowledge")
    rig.wait(0)
    assert [event["data"]["status"] for event in rig.receiver.events] == ["triggered", "acknowledged"]
    data = rig.receiver.events[0]["data"]
    assert (data["type"], data["incident_key"], data["title"]) == ("incident", "k1", "GPU off the bus")


@pytest.mark.parametrize("failure", [None, 500, 503, 429])
def test_a_failed_webhook_is_sent_again_with_the_same_id_and_bytes(rig: Any, failure: int | None) -> None:
    rig.receiver.answers = [failure, failure]
    rig.send()
    for _ in range(8):
        rig.wait(1)
    sent = {(headers["X-Webhook-Id"], body) for headers, body in rig.receiver.requests}
    assert (len(rig.receiver.requests), len(sent)) == (3, 1)


def test_a_failing_webhook_holds_back_its_own_incident_only(rig: Any) -> None:
    rig.receiver.answers = [503]
    rig.send()
    rig.wait(0)
    rig.account.act("U0MAYA", rig.incident_id, "acknowledge")
    rig.send(key="k2")
    rig.wait(0)
    keys = [(event["event_type"], event["data"]["incident_key"]) for event in rig.receiver.events]
    assert keys == [("incident.triggered", "k1"), ("incident.triggered", "k2")]
    rig.wait(1)
    assert [event["event_type"] for event in rig.receiver.events[2:]] == ["incident.triggered", "incident.acknowledged"]


def test_a_refused_webhook_is_dropped_and_three_disable_the_subscription_for_a_day(rig: Any) -> None:
    rig.receiver.answers = [401, 401, 401]
    for number in range(4):
        rig.send(key=f"k{number}")
    rig.wait(0)
    rig.wait(3600)
    assert len(rig.receiver.requests) == 3
    assert rig.http.get("/webhook_subscriptions").json()["webhook_subscriptions"][0]["active"] is False
    rig.wait(24 * 3600)
    assert len(rig.receiver.requests) > 3


def test_after_48_hours_a_webhook_is_given_up(rig: Any) -> None:
    rig.receiver.answers = [500] * 10_000
    rig.account.event_resolve("nothing")
    rig.send()
    rig.send("acknowledge")
    rig.wait(0)
    rig.wait(49 * 3600)
    assert rig.account.subscription.history[0].outcome == "given up after 48 h"


def test_a_ping_reaches_the_receiver(rig: Any) -> None:
    assert rig.http.post("/webhook_subscriptions/PWEBHK1/ping").status_code == 202
    rig.wait(0)
    assert rig.receiver.types == ["pagey.ping"]


def test_nobody_acknowledges_and_the_second_level_is_paged(rig: Any) -> None:
    rig.send()
    rig.wait(119)
    assert rig.account.incidents[0].assigned_to == "PMAYA01"
    rig.wait(1)
    incident = rig.account.incidents[0]
    assert incident.assigned_to == "PJONAS1"
    assert incident.log[-1].what == "Not acknowledged in 2 min: escalated to Jonas Weber."
    assert rig.receiver.types == ["incident.triggered", "incident.escalated"]
    rig.wait(3600)
    assert len(rig.receiver.types) == 2


def test_an_acknowledged_incident_does_not_escalate(rig: Any) -> None:
    rig.send()
    rig.send("acknowledge")
    rig.wait(3600)
    assert rig.account.incidents[0].assigned_to == "PMAYA01"


def test_the_panel_shows_newest_first_with_the_log(rig: Any) -> None:
    rig.send()
    rig.send(key="k2", summary="Queue grows")
    [newest, oldest] = rig.account.pages()
    assert (newest["title"], oldest["title"]) == ("Queue grows", "GPU off the bus")
    assert newest["log"][0]["what"] == "Triggered by the integration. Maya Okafor was paged."


@pytest.mark.parametrize(("user", "action"), [("U0SAM", "acknowledge"), ("U0MAYA", "dance"), ("U0MAYA", "reopen")])
def test_what_a_person_cannot_do_is_refused(rig: Any, user: str, action: str) -> None:
    rig.send()
    with pytest.raises(ApiError):
        rig.account.act(user, rig.incident_id, action)
    assert rig.account.incidents[0].status == "triggered"


def test_copies_of_incidents_change_nothing(rig: Any) -> None:
    rig.send()
    rig.account.incidents[0].status = "resolved"
    assert json.loads(json.dumps(rig.account.pages()))[0]["status"] == "triggered"
