"""The control API over HTTP: who may use it, what it answers, and that a repeated key acts once."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from .conftest import TOKEN, Rig


def test_metrics_are_open_and_declared_as_prometheus_text(client: TestClient) -> None:
    del client.headers["authorization"]
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "# TYPE vllm:time_to_first_token_seconds histogram\n" in answer.text


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"{TOKEN}"])
def test_the_control_api_wants_its_token(client: TestClient, header: str) -> None:
    answer = client.get("/v1/models", headers={"authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "Authorization: Bearer" in answer.json()["error"]["hint"]


def test_a_deploy_is_accepted_and_seen_done_after_the_warm_up(client: TestClient, rig: Rig) -> None:
    rig.fleet.set_fault("bad-deploy", True)
    started = client.post("/v1/models/llama-70b/deploy", json={"revision": "r41"})
    assert (started.status_code, started.json()["rolling_to"]) == (202, "r41")
    rig.wait(6)
    assert client.get("/v1/models/llama-70b").json()["revision"] == "r41"
    again = client.post("/v1/models/llama-70b/deploy", json={"revision": "r41"})
    assert (again.status_code, again.json()["rolling_to"]) == (200, None)


def test_the_same_key_acts_once_and_answers_the_same(client: TestClient, rig: Rig) -> None:
    rig.fleet.set_fault("bad-deploy", True)
    headers = {"Idempotency-Key": "run-1/step-3"}
    first = client.post("/v1/models/llama-70b/deploy", json={"revision": "r41"}, headers=headers)
    rig.wait(6)
    rig.fleet.deploy("llama-70b", "r42")
    rig.wait(6)
    second = client.post("/v1/models/llama-70b/deploy", json={"revision": "r41"}, headers=headers)
    assert (second.status_code, second.json()) == (first.status_code, first.json())
    assert second.headers["idempotency-replayed"] == "true"
    rig.wait(6)
    assert client.get("/v1/models/llama-70b").json()["revision"] == "r42"


def test_a_key_used_for_something_else_is_refused(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k"}
    client.put("/v1/models/llama-70b/fallback", json={"mode": "cache"}, headers=headers)
    answer = client.put("/v1/models/llama-70b/fallback", json={"mode": "off"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "key_reused")
    assert client.get("/v1/models/llama-70b").json()["fallback"] == "cache"


def test_a_refused_request_may_be_corrected_under_the_same_key(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k"}
    assert client.put("/v1/models/llama-70b/fallback", json={"mode": "x"}, headers=headers).status_code == 422
    assert client.put("/v1/models/llama-70b/fallback", json={"mode": "cache"}, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "not_json"),
        (b"[]", 422, "missing_field"),
        (b"{}", 422, "missing_field"),
        (b'{"revision": 41}', 422, "missing_field"),
        (b'{"revision": "r99"}', 422, "unknown_revision"),
        (b"x" * 20_000, 413, "too_large"),
    ],
)
def test_bad_bodies_are_named(client: TestClient, body: bytes, status: int, code: str) -> None:
    answer = client.post("/v1/models/llama-70b/deploy", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["hint"]


def test_a_node_can_be_drained_and_given_back(client: TestClient) -> None:
    drained = client.post("/v1/nodes/node-2/drain")
    assert (drained.status_code, drained.json()["schedulable"]) == (202, False)
    assert client.post("/v1/nodes/node-2/uncordon").json()["schedulable"] is True
    assert [node["node"] for node in client.get("/v1/nodes").json()["nodes"]] == ["node-1", "node-2", "node-3"]


def test_scaling_wants_a_whole_number(client: TestClient) -> None:
    assert client.post("/v1/models/llama-70b/scale", json={"replicas": True}).status_code == 422
    scaled = client.post("/v1/models/llama-70b/scale", json={"replicas": 4})
    assert (scaled.status_code, scaled.json()["replicas"]) == (202, 4)


def test_a_fault_is_switched_by_whoever_has_the_token(client: TestClient, rig: Rig) -> None:
    listed = client.get("/v1/faults").json()["faults"]
    assert len(listed) == 15
    on = client.post("/v1/faults/thermal", json={"on": True})
    assert (on.status_code, on.json()["on"], on.json()["runbook"]) == (200, True, "gpu-thermal-throttling")
    assert client.post("/v1/faults/thermal", json={"on": True}).status_code == 200, "as often as one likes"
    assert client.post("/v1/faults/thermal", json={"on": 1}).status_code == 422
    assert client.post("/v1/faults/fire", json={"on": True}).status_code == 404
    assert client.post("/v1/faults/thermal", json={"on": False}, headers={"authorization": ""}).status_code == 401
    assert [fault["id"] for fault in rig.fleet.faults() if fault["on"]] == ["thermal"]


def test_a_cap_on_answers_is_set_and_taken_away(client: TestClient) -> None:
    assert client.put("/v1/models/mistral-small/token-cap", json={"max_tokens": 512}).json()["token_cap"] == 512
    assert client.put("/v1/models/mistral-small/token-cap", json={"max_tokens": 0}).json()["token_cap"] == 0
    refused = client.put("/v1/models/mistral-small/token-cap", json={"max_tokens": -1})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "bad_cap")
