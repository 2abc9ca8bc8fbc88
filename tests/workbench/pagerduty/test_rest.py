"""The REST API: reading and changing incidents, and PagerDuty's own error codes."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def opened(rig: Any) -> Any:
    rig.send()
    return rig


def put(rig: Any, **change: Any) -> Any:
    return rig.http.put(f"/incidents/{rig.incident_id}", json={"incident": {"type": "incident_reference", **change}})


def error(answer: Any) -> tuple[int, int]:
    return answer.status_code, answer.json()["error"]["code"]


def test_acknowledging_names_who_did_it(opened: Any) -> None:
    incident = put(opened, status="acknowledged").json()["incident"]
    assert incident["status"] == "acknowledged"
    assert incident["acknowledgements"][0]["acknowledger"]["summary"] == "Maya Okafor"


def test_what_is_done_already_says_so(opened: Any) -> None:
    put(opened, status="acknowledged")
    assert error(put(opened, status="acknowledged")) == (400, 1002)
    put(opened, status="resolved")
    assert error(put(opened, status="resolved")) == (400, 1001)
    assert error(put(opened, status="acknowledged")) == (400, 1001)


def test_several_incidents_are_changed_in_one_call(opened: Any) -> None:
    opened.send(key="k2")
    wanted = [{"id": i.id, "type": "incident_reference", "status": "resolved"} for i in opened.account.incidents]
    answer = opened.http.put("/incidents", json={"incidents": wanted})
    assert [incident["status"] for incident in answer.json()["incidents"]] == ["resolved", "resolved"]


def test_the_escalation_level_pages_the_second_person(opened: Any) -> None:
    incident = put(opened, escalation_level=2).json()["incident"]
    assert incident["assignments"][0]["assignee"]["summary"] == "Jonas Weber"
    assert error(put(opened, escalation_level=3)) == (400, 2001)


def test_incidents_are_found_by_key_and_status(opened: Any) -> None:
    opened.send(key="k2")
    opened.send("resolve", key="k2")

    def found(query: str) -> list[str]:
        return [incident["incident_key"] for incident in opened.http.get(f"/incidents?{query}").json()["incidents"]]

    assert found("incident_key=k1") == ["k1"]
    assert found("statuses[]=resolved") == ["k2"]
    assert found("statuses[]=triggered&statuses[]=resolved") == ["k2", "k1"]
    assert error(opened.http.get("/incidents?statuses[]=open")) == (400, 2001)


def test_a_long_list_comes_in_pages(rig: Any) -> None:
    for number in range(5):
        rig.send(key=f"k{number}")
    first = rig.http.get("/incidents?limit=3").json()
    second = rig.http.get("/incidents?limit=3&offset=3").json()
    assert (len(first["incidents"]), first["more"]) == (3, True)
    assert (len(second["incidents"]), second["more"]) == (2, False)


def test_a_note_needs_words(opened: Any) -> None:
    path = f"/incidents/{opened.incident_id}/notes"
    assert (
        opened.http.post(path, json={"note": {"content": "Rolling back"}}).json()["note"]["content"] == "Rolling back"
    )
    assert error(opened.http.post(path, json={"note": {"content": " "}})) == (400, 2001)
    assert len(opened.http.get(path).json()["notes"]) == 1


def test_a_change_without_a_known_requester_is_refused(opened: Any) -> None:
    opened.http.headers["from"] = "stranger@example.com"
    assert error(put(opened, status="resolved")) == (400, 1008)
    del opened.http.headers["from"]
    assert error(put(opened, status="resolved")) == (400, 2016)
    assert opened.account.incidents[0].status == "triggered"


def test_a_wrong_token_and_an_unknown_id_have_their_codes(opened: Any) -> None:
    assert error(opened.http.get("/incidents/QNONE")) == (404, 2100)
    opened.http.headers["authorization"] = "Token token=wrong"
    assert error(opened.http.get("/incidents")) == (401, 2006)


def test_the_961st_request_of_a_minute_is_throttled(rig: Any) -> None:
    answers = [rig.http.get("/abilities") for _ in range(961)]
    assert answers[959].headers["ratelimit-remaining"] == "0"
    assert error(answers[960]) == (429, 2020)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/abilities", "abilities"),
        ("/users", "users"),
        ("/services", "services"),
        ("/escalation_policies", "escalation_policies"),
        ("/oncalls", "oncalls"),
        ("/webhook_subscriptions", "webhook_subscriptions"),
    ],
)
def test_the_account_can_be_read(rig: Any, path: str, name: str) -> None:
    assert rig.http.get(path).json()[name]


def test_a_person_who_follows_the_link_is_told_where_to_look(rig: Any) -> None:
    assert "panel" in rig.http.get("/").text


def test_on_call_names_both_levels(rig: Any) -> None:
    oncalls = rig.http.get("/oncalls").json()["oncalls"]
    assert [(entry["escalation_level"], entry["user"]["summary"]) for entry in oncalls] == [
        (1, "Maya Okafor"),
        (2, "Jonas Weber"),
    ]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"incident": 3}'])
def test_a_body_of_another_shape_is_invalid_input(opened: Any, body: bytes) -> None:
    answer = opened.http.put(f"/incidents/{opened.incident_id}", content=body)
    assert error(answer) == (400, 2001)
