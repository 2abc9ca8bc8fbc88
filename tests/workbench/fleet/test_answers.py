"""The fleet's models answer easy questions over OpenAI's wire, and show in their answers what no metric shows."""

import json
from typing import Any

from starlette.testclient import TestClient

from tests.workbench.fleet.conftest import Rig

ASKED = {"model": "llama-70b", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
SYSTEM = {"role": "system", "content": "You answer with the single word READY."}


def said(client: TestClient, **more: Any) -> tuple[str, str]:
    choice = client.post("/v1/chat/completions", json={**ASKED, **more}).json()["choices"][0]
    return choice["message"]["content"], choice["finish_reason"]


def test_an_answer_comes_in_one_piece_or_as_a_stream_with_its_usage(client: TestClient) -> None:
    assert said(client) == ("Paris", "stop")
    asked = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
    answer = client.post("/v1/chat/completions", json=asked)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *chunks, done = answer.text.strip().split("\n\n")
    assert done == "data: [DONE]"
    told = [json.loads(chunk.removeprefix("data: ")) for chunk in chunks]
    deltas = [chunk["choices"][0]["delta"].get("content", "") for chunk in told if chunk["choices"]]
    assert "".join(deltas) == "Paris"
    assert told[-1]["usage"]["total_tokens"] > 1


def test_a_wrong_template_runs_on_and_misses_the_system_message(client: TestClient, rig: Rig) -> None:
    turns = {"messages": [SYSTEM, *ASKED["messages"]]}
    assert said(client, **turns) == ("READY", "stop")
    rig.fleet.set_fault("wrong-template", True)
    rig.wait(60)
    text, finish = said(client, **turns, max_tokens=32)
    assert "<|im_start|>user" in text
    assert "READY" not in text
    assert (len(text), finish) == (4 * 32, "length")
    assert {model["state"] for model in rig.fleet.model_panel()} == {"ok"}
    assert rig.error_ratio("llama-70b", 30) < 0.01


def test_where_no_replica_serves_the_gateway_says_503(client: TestClient, rig: Rig) -> None:
    rig.fleet.set_fault("model-down", True)
    rig.wait(10)
    assert client.post("/v1/chat/completions", json={**ASKED, "model": "mistral-small"}).status_code == 503


def test_what_is_no_question_is_refused(client: TestClient) -> None:
    other = {**ASKED, "model": "gpt-9"}
    for body in ({}, other, {"model": "llama-70b"}, {"model": "llama-70b", "messages": [1]}):
        assert client.post("/v1/chat/completions", json=body).status_code in (400, 404)
    assert client.post("/v1/chat/completions", content=b"[").status_code == 400
    client.headers.pop("authorization")
    assert client.post("/v1/chat/completions", json=ASKED).status_code == 401
