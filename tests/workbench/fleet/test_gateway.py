"""What the gateway is told at run time, by Envoy's admin interface and by a file of flags, and who is served then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from bot.workbench.fleet import Fleet, fleet_app
from bot.workbench.fleet.gateway import flag_file


class Clock(Protocol):
    now: float

    def __call__(self) -> float: ...


class Rig(Protocol):
    fleet: Fleet
    clock: Clock

    def wait(self, seconds: float) -> None: ...
    def samples(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]: ...
    def total(self, name: str, **labels: str) -> float: ...


@pytest.fixture
def envoy(rig: Rig) -> Iterator[TestClient]:
    """Its admin interface asks nobody for a token."""
    with TestClient(Starlette(routes=fleet_app(rig.fleet, "token"))) as http:
        yield http


def served(rig: Rig, model: str, seconds: float = 20) -> dict[str, float]:
    """How many answers each source gave in the next seconds."""

    def counted() -> dict[str, float]:
        sources = ("model", "shed", "fallback", "canary")
        return {source: rig.total("gateway_requests_total", model=model, source=source) for source in sources}

    before = counted()
    rig.wait(seconds)
    return {source: count - before[source] for source, count in counted().items()}


def test_a_key_holds_from_the_admin_layer_until_it_is_taken_out(envoy: TestClient) -> None:
    key = "gateway.llama-70b.batch.shed"
    assert envoy.post(f"/runtime_modify?{key}=40").text == "OK\n"
    told = envoy.get("/runtime").json()
    assert told["layers"] == ["base", "admin"]
    assert told["entries"][key] == {"final_value": "40", "layer_values": ["0", "40"]}
    envoy.post(f"/runtime_modify?{key}=")
    assert envoy.get("/runtime").json()["entries"][key] == {"final_value": "0", "layer_values": ["0", ""]}
    assert envoy.post("/runtime_modify").status_code == 400
    assert envoy.get("/runtime_modify?a=1").status_code == 405


def test_shedding_turns_batch_requests_away_and_nobody_else(envoy: TestClient, rig: Rig) -> None:
    envoy.post("/runtime_modify?gateway.llama-70b.batch.shed=100")
    found = served(rig, "llama-70b")
    assert found["shed"] / sum(found.values()) == pytest.approx(0.25, abs=0.03), "a quarter of it is batch traffic"
    assert rig.total("gateway_requests_total", model="llama-70b", source="shed", code="429") > 0


def test_half_of_the_traffic_goes_to_the_smaller_model_which_feels_it(envoy: TestClient, rig: Rig) -> None:
    before = rig.total("vllm:num_requests_running", model_name="mistral-small")
    envoy.post("/runtime_modify?gateway.llama-70b.smaller.main=50&gateway.llama-70b.smaller.other=50")
    served(rig, "llama-70b")
    found = served(rig, "llama-70b")
    assert found["fallback"] / sum(found.values()) == pytest.approx(0.5, abs=0.03)
    assert rig.total("vllm:num_requests_running", model_name="mistral-small") > before + 10
    own = served(rig, "mistral-small")
    assert own["model"] == pytest.approx(60 * 20, rel=0.1), "guests are counted where they came from"


def test_nobody_is_served_by_a_smaller_model_that_is_down(envoy: TestClient, rig: Rig) -> None:
    rig.fleet.set_fault("model-down", True)
    envoy.post("/runtime_modify?gateway.llama-70b.smaller.main=50&gateway.llama-70b.smaller.other=50")
    rig.wait(10)
    assert rig.total("gateway_requests_total", model="llama-70b", source="fallback", code="503") > 50


def test_a_candidate_serves_its_share_once_it_has_replicas(envoy: TestClient, rig: Rig) -> None:
    envoy.post("/runtime_modify?gateway.mistral-small.canary.main=90&gateway.mistral-small.canary.other=10")
    rig.wait(10)
    assert rig.total("gateway_requests_total", model="mistral-small", source="canary", code="503") > 30
    with rig.fleet.held() as view:
        view.canaries["mistral-small"].scale(1, view.now, 5.0)
    rig.wait(10)
    found = served(rig, "mistral-small")
    assert found["canary"] / sum(found.values()) == pytest.approx(0.1, abs=0.02)
    assert rig.samples("vllm:num_requests_running", model_name="mistral-small", track="canary")


def test_a_cap_ends_runaway_answers(rig: Rig) -> None:
    def rate() -> float:
        before = rig.total("vllm:generation_tokens_total", model_name="mistral-small")
        rig.wait(10)
        return (rig.total("vllm:generation_tokens_total", model_name="mistral-small") - before) / 10

    rig.fleet.set_fault("token-spike", True)
    rig.wait(10)
    assert rate() > 15_000
    rig.fleet.set_token_cap("mistral-small", 512)
    rig.wait(10)
    assert rate() < 10_000


def test_the_guard_keeps_strange_inputs_away_as_soon_as_its_flag_is_on(rig: Rig, tmp_path: Path) -> None:
    file = tmp_path / "flags.json"
    file.write_text(flag_file(rig.fleet.spec.models))
    fleet = Fleet(rig.clock, flags=file)
    fleet.set_fault("drift", True)
    rig.wait(10)
    drifted = max(fleet.render(lambda view: view.deployments["mistral-small"].drift).values())
    assert drifted > 0.2
    flags = json.loads(file.read_text())
    flags["flags"]["drift-guard-mistral-small"]["defaultVariant"] = "on"
    file.write_text(json.dumps(flags))
    rig.wait(10)
    assert max(fleet.render(lambda view: view.deployments["mistral-small"].drift).values()) < 0.1


@pytest.mark.parametrize("content", ["", "[]", '{"flags": []}', '{"flags": {"a": 1}}'])
def test_a_file_that_is_none_switches_nothing_on(rig: Rig, tmp_path: Path, content: str) -> None:
    (tmp_path / "flags.json").write_text(content)
    fleet = Fleet(rig.clock, flags=tmp_path / "flags.json")
    rig.wait(3)
    assert {model["state"] for model in fleet.model_panel()} == {"ok"}
