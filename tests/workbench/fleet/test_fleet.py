"""The fleet breaks the way real fleets do, and the control API repairs it."""

from __future__ import annotations

from typing import Protocol

import pytest

from bot.workbench.fleet import FAULTS, Fleet, Refusal
from bot.workbench.fleet.exposition import metrics


class Clock(Protocol):
    now: float

    def __call__(self) -> float: ...


class Rig(Protocol):
    fleet: Fleet
    clock: Clock

    def wait(self, seconds: float) -> None: ...
    def scrape(self) -> list[tuple[str, dict[str, str], float]]: ...
    def samples(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]: ...
    def total(self, name: str, **labels: str) -> float: ...
    def error_ratio(self, model: str, seconds: float) -> float: ...


def model(rig: Rig, name: str) -> dict[str, object]:
    return next(dict(entry) for entry in rig.fleet.model_panel() if entry["name"] == name)


def test_a_new_fleet_is_healthy_and_in_its_stride(rig: Rig) -> None:
    rig.wait(20)
    for entry in rig.fleet.model_panel():
        assert entry["state"] == "ok"
        assert entry["error_rate"] < 0.01
        assert 0.2 < entry["kv"] < 0.8
        assert entry["ttft_p99"] is not None
        assert entry["ttft_p99"] < 2.5


def test_the_same_clock_gives_the_same_numbers_however_often_it_is_read(rig: Rig) -> None:
    other = Fleet(lambda: rig.clock.now)
    for _ in range(40):
        rig.wait(0.5)
    assert rig.fleet.render(metrics) == other.render(metrics)


def test_counters_never_shrink(rig: Rig) -> None:
    before = {
        (name, tuple(labels.items())): value
        for name, labels, value in rig.scrape()
        if name.endswith(("_total", "_bucket", "_count"))
    }
    rig.wait(7.3)
    after = {(name, tuple(labels.items())): value for name, labels, value in rig.scrape()}
    assert before
    assert all(after[key] >= value for key, value in before.items())


def test_every_histogram_ends_with_its_count(rig: Rig) -> None:
    rig.wait(10)
    for labels, count in rig.samples("vllm:time_to_first_token_seconds_count"):
        assert rig.samples("vllm:time_to_first_token_seconds_bucket", le="+Inf", **labels)[0][1] == count


@pytest.mark.parametrize("fault", [fault.id for fault in FAULTS])
def test_each_fault_can_be_switched_on_and_off_again(rig: Rig, fault: str) -> None:
    def is_on() -> bool:
        return next(entry["on"] for entry in rig.fleet.faults() if entry["id"] == fault)

    assert not is_on()
    rig.fleet.set_fault(fault, True)
    assert is_on()
    rig.fleet.set_fault(fault, False)
    assert not is_on()
    rig.wait(60)
    assert {entry["state"] for entry in rig.fleet.model_panel()} == {"ok"}


def test_a_bad_deploy_fails_three_requests_in_ten_and_delays_the_first_token(rig: Rig) -> None:
    rig.fleet.set_fault("bad-deploy", True)
    assert rig.error_ratio("llama-70b", 30) == pytest.approx(0.31, abs=0.03)
    late = model(rig, "llama-70b")["ttft_p99"]
    assert isinstance(late, float)
    assert late > 5
    assert rig.error_ratio("mistral-small", 10) < 0.01


def test_a_bad_deploy_shows_as_a_young_replicaset_that_has_replicas(rig: Rig) -> None:
    rig.fleet.set_fault("bad-deploy", True)
    now = rig.clock.now
    young = [labels["replicaset"] for labels, made in rig.samples("kube_replicaset_created") if now - made < 1800]
    assert young == ["llama-70b-r42"]
    assert rig.total("kube_replicaset_spec_replicas", replicaset="llama-70b-r42") == 3


def test_rolling_back_takes_the_warm_up_time_and_ends_the_errors(rig: Rig) -> None:
    rig.fleet.set_fault("bad-deploy", True)
    rig.wait(10)
    before = rig.fleet.model("llama-70b")
    assert (before["revision"], before["previous"]) == ("r42", "r41")

    rolling = rig.fleet.deploy("llama-70b", before["previous"])
    assert (rolling["revision"], rolling["rolling_to"]) == ("r42", "r41")
    rig.wait(2)
    assert rig.fleet.model("llama-70b")["ready"] < 3

    rig.wait(3.1)
    done = rig.fleet.model("llama-70b")
    assert (done["revision"], done["previous"], done["ready"]) == ("r41", "r42", 3)
    assert done["rolling_to"] is None
    assert rig.error_ratio("llama-70b", 15) < 0.01
    assert not next(entry["on"] for entry in rig.fleet.faults() if entry["id"] == "bad-deploy")


def test_previous_is_always_the_revision_that_ran_before(rig: Rig) -> None:
    rig.fleet.set_fault("bad-deploy", True)
    rig.fleet.deploy("llama-70b", "r41")
    rig.wait(6)
    rig.fleet.deploy("llama-70b", "r42")
    rig.wait(6)
    undone = rig.fleet.model("llama-70b")
    assert (undone["revision"], undone["previous"]) == ("r42", "r41")


def test_deploying_what_is_already_rolling_out_does_not_start_it_again(rig: Rig) -> None:
    rig.fleet.set_fault("bad-deploy", True)
    rig.fleet.deploy("llama-70b", "r41")
    rig.wait(4)
    rig.fleet.deploy("llama-70b", "r41")
    rig.wait(1.1)
    assert rig.fleet.model("llama-70b")["revision"] == "r41"


def test_the_second_bad_deploy_is_another_revision(rig: Rig) -> None:
    rig.fleet.set_fault("bad-deploy", True)
    rig.fleet.set_fault("bad-deploy", False)
    rig.wait(6)
    rig.fleet.set_fault("bad-deploy", True)
    assert rig.fleet.model("llama-70b")["revision"] == "r43"
    assert rig.fleet.model("llama-70b")["previous"] == "r41"


def test_a_gpu_off_the_bus_vanishes_and_leaves_only_its_last_xid(rig: Rig) -> None:
    before = rig.samples("DCGM_FI_DEV_GPU_TEMP")
    assert rig.samples("DCGM_FI_DEV_XID_ERRORS") == []
    rig.fleet.set_fault("gpu-off-bus", True)
    after = {labels["UUID"] for labels, _ in rig.samples("DCGM_FI_DEV_GPU_TEMP")}
    lost = {labels["UUID"] for labels, _ in before} - after
    assert len(before) == 12
    assert len(lost) == 1
    [(labels, xid)] = rig.samples("DCGM_FI_DEV_XID_ERRORS")
    assert (labels["UUID"], labels["Hostname"], xid) == (lost.pop(), "node-2", 79)
    assert rig.fleet.model("llama-70b")["ready"] == 2


def test_draining_the_node_of_a_lost_gpu_brings_the_capacity_back(rig: Rig) -> None:
    rig.fleet.set_fault("gpu-off-bus", True)
    rig.fleet.drain("node-2")
    rig.wait(6)
    assert [(entry["model"], entry["ready"]) for entry in rig.fleet.models()] == [
        ("llama-70b", 3),
        ("mistral-small", 2),
    ]
    assert rig.fleet.node("node-2")["replicas"] == []
    assert rig.total("kube_node_spec_unschedulable", node="node-2") == 1


def test_a_drain_does_not_saturate_what_stays_behind(rig: Rig) -> None:
    rig.fleet.drain("node-2")
    for _ in range(10):
        rig.wait(0.5)
        assert all(entry["kv"] < 0.95 for entry in rig.fleet.model_panel() if entry["name"] == "mistral-small")


def test_a_cordoned_node_gets_nothing_until_it_is_uncordoned(rig: Rig) -> None:
    for node in ("node-1", "node-2", "node-3"):
        rig.fleet.drain(node)
    rig.wait(6)
    assert rig.fleet.model("llama-70b")["ready"] == 0
    assert rig.error_ratio("llama-70b", 10) == 1.0
    rig.fleet.uncordon("node-1")
    rig.wait(6)
    assert rig.fleet.model("llama-70b")["ready"] == 2


def test_threefold_traffic_fills_the_cache_and_grows_the_queue(rig: Rig) -> None:
    rig.fleet.set_fault("kv-saturation", True)
    rig.wait(10)
    first = model(rig, "llama-70b")
    rig.wait(5)
    second = model(rig, "llama-70b")
    assert isinstance(first["kv"], float)
    assert first["kv"] > 0.95
    assert second["queue"] > first["queue"] > 50  # type: ignore[operator]
    assert rig.total("vllm:num_preemptions_total", model_name="llama-70b") > 0
    assert rig.total("http_requests_total", model_name="llama-70b", status="5xx") < 20


def test_scaling_out_adds_capacity_where_gpus_are_free(rig: Rig) -> None:
    rig.fleet.scale("llama-70b", 5)
    rig.wait(6)
    scaled = rig.fleet.model("llama-70b")
    assert (scaled["replicas"], scaled["ready"]) == (5, 4)
    assert len(rig.samples("kube_pod_status_phase", phase="Pending")) == 1
    rig.fleet.scale("llama-70b", 3)
    assert rig.fleet.model("llama-70b")["ready"] == 3


def test_the_cache_answers_while_the_model_is_down(rig: Rig) -> None:
    rig.fleet.set_fault("model-down", True)
    assert rig.error_ratio("mistral-small", 10) == 1.0
    rig.fleet.set_fallback("mistral-small", "cache")
    cached = rig.total("gateway_requests_total", model="mistral-small", source="cache", code="200")
    assert rig.error_ratio("mistral-small", 10) == 0.0
    assert rig.total("gateway_requests_total", model="mistral-small", source="cache", code="200") > cached + 300
    assert model(rig, "mistral-small")["state"] == "cache"


def test_a_crashing_container_is_started_again_and_again(rig: Rig) -> None:
    assert rig.total("kube_pod_container_status_restarts_total") == 0
    rig.fleet.set_fault("model-down", True)
    rig.wait(20)
    assert rig.total("kube_pod_container_status_restarts_total", model_name="mistral-small") == 6
    assert rig.total("kube_pod_container_status_restarts_total", model_name="llama-70b") == 0
    assert len(rig.samples("kube_pod_container_status_last_terminated_reason", reason="Error")) == 2


def test_a_pod_leads_to_its_deployment_as_kube_state_metrics_says_it(rig: Rig) -> None:
    [(pod, gpus), *_] = rig.samples("kube_pod_container_resource_requests", model_name="llama-70b")
    [(owned, _)] = rig.samples("kube_pod_owner", pod=pod["pod"])
    [(set_owned, _)] = rig.samples("kube_replicaset_owner", replicaset=owned["owner_name"])
    assert (set_owned["owner_name"], pod["resource"], gpus) == ("llama-70b", "nvidia_com_gpu", 2)


def test_drift_raises_the_score_of_the_features_of_one_model(rig: Rig) -> None:
    rig.fleet.set_fault("drift", True)
    rig.wait(6)
    assert {value > 0.2 for _, value in rig.samples("model_drift_score", model_name="mistral-small")} == {True}
    assert {value < 0.1 for _, value in rig.samples("model_drift_score", model_name="llama-70b")} == {True}


def test_a_token_spike_generates_twelve_times_as_many_tokens(rig: Rig) -> None:
    def generated(seconds: float) -> float:
        before = rig.total("vllm:generation_tokens_total", model_name="mistral-small")
        rig.wait(seconds)
        return rig.total("vllm:generation_tokens_total", model_name="mistral-small") - before

    usual = generated(20)
    rig.fleet.set_fault("token-spike", True)
    assert generated(20) == pytest.approx(12 * usual, rel=0.15)


def test_a_laptop_that_slept_finds_the_fleet_as_it_was(rig: Rig) -> None:
    rig.wait(9 * 3600)
    assert {entry["state"] for entry in rig.fleet.model_panel()} == {"ok"}


@pytest.mark.parametrize(
    ("ask", "status", "words"),
    [
        (lambda fleet: fleet.model("gpt"), 404, "llama-70b, mistral-small"),
        (lambda fleet: fleet.deploy("llama-70b", "r99"), 422, "r40, r41"),
        (lambda fleet: fleet.set_fallback("llama-70b", "paper"), 422, '"cache" or "off"'),
        (lambda fleet: fleet.scale("llama-70b", 17), 422, "0 to 16"),
        (lambda fleet: fleet.drain("node-9"), 404, "node-1, node-2, node-3"),
        (lambda fleet: fleet.set_fault("fire", True), 404, "bad-deploy"),
    ],
)
def test_a_refusal_says_what_would_be_right(rig: Rig, ask: object, status: int, words: str) -> None:
    with pytest.raises(Refusal) as refused:
        ask(rig.fleet)  # type: ignore[operator]
    assert refused.value.status == status
    assert words in refused.value.hint


def test_a_contained_memory_error_ends_one_engine_and_leaves_the_gpu(rig: Rig) -> None:
    rig.fleet.set_fault("ecc-contained", True)
    rig.wait(60)
    [(labels, xid)] = rig.samples("DCGM_FI_DEV_XID_ERRORS")
    assert (labels["Hostname"], labels["pod"], xid) == ("node-1", "llama-70b-r41-0-0", 94)
    assert rig.total("DCGM_FI_DEV_ROW_REMAP_PENDING") == 1
    assert len(rig.samples("DCGM_FI_DEV_GPU_TEMP")) == 12, "all of them report"
    assert rig.fleet.model("llama-70b")["ready"] == 2, "nothing starts it again"
    assert rig.total("kube_pod_container_status_restarts_total") == 0


def test_nothing_runs_on_a_gpu_with_an_uncontained_error_however_often_it_is_started(rig: Rig) -> None:
    rig.fleet.set_fault("ecc-uncontained", True)
    rig.wait(20)
    assert rig.total("DCGM_FI_DEV_XID_ERRORS", Hostname="node-3") == 95
    assert rig.fleet.model("mistral-small")["ready"] == 1
    assert rig.total("kube_pod_container_status_restarts_total", model_name="mistral-small") > 1
    rig.fleet.drain("node-3")
    rig.wait(6)
    assert rig.fleet.model("mistral-small")["ready"] == 2


def test_a_hot_node_halves_its_clocks_and_answers_late_until_it_has_nothing_to_do(rig: Rig) -> None:
    rig.fleet.set_fault("thermal", True)
    rig.wait(60)
    hot = {"Hostname": "node-2", "gpu": "0"}
    assert rig.total("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", **hot) == 0x48
    assert rig.total("DCGM_FI_DEV_SM_CLOCK", **hot) < 1000
    assert rig.total("DCGM_FI_DEV_GPU_TEMP", **hot) > 85
    assert rig.total("DCGM_FI_DEV_THERMAL_VIOLATION", **hot) == pytest.approx(60e9, rel=0.05)
    assert rig.total("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", Hostname="node-1", gpu="0") == 0
    rig.fleet.drain("node-2")
    rig.wait(60)
    assert rig.total("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", **hot) == 1, "idle"
    assert rig.total("DCGM_FI_DEV_GPU_TEMP", **hot) < 50


def test_a_stalled_engine_holds_requests_is_busy_and_generates_nothing(rig: Rig) -> None:
    rig.fleet.set_fault("engine-stalled", True)
    rig.wait(10)
    before = dict(rig_tokens(rig))
    rig.wait(10)
    silent = [pod for pod, count in rig_tokens(rig) if count == before[pod]]
    assert silent == ["llama-70b-r41-1-0"]
    assert rig.total("vllm:num_requests_running", pod=silent[0]) > 30
    assert rig.fleet.model("llama-70b")["ready"] == 3, "health says 200"
    assert rig.total("gateway_requests_total", model="llama-70b", code="504") > 0


def rig_tokens(rig: Rig) -> list[tuple[str, float]]:
    return [(labels["pod"], n) for labels, n in rig.samples("vllm:generation_tokens_total", model_name="llama-70b")]


def test_a_revision_that_runs_out_of_memory_is_started_again_and_again_and_serves_in_between(rig: Rig) -> None:
    rig.fleet.set_fault("gpu-oom", True)
    served = set()
    for _ in range(30):
        rig.wait(1)
        served.add(rig.fleet.model("mistral-small")["ready"])
    assert served >= {1}
    assert rig.total("kube_pod_container_status_restarts_total", model_name="mistral-small") >= 4
    assert len(rig.samples("kube_pod_container_status_last_terminated_reason", reason="Error")) == 2
    rig.fleet.deploy("mistral-small", "r18")
    rig.wait(6)
    assert rig.error_ratio("mistral-small", 20) < 0.01


def test_more_users_than_replicas_take_wait_although_the_cache_has_room(rig: Rig) -> None:
    rig.fleet.set_fault("queue-saturated", True)
    rig.wait(30)
    crowded = model(rig, "mistral-small")
    assert crowded["queue"] > 100  # type: ignore[operator]
    assert crowded["kv"] < 0.8  # type: ignore[operator]
    rig.fleet.scale("mistral-small", 4)
    rig.wait(60)
    assert model(rig, "mistral-small")["queue"] == 0


def test_a_training_job_leaves_no_gpu_for_what_it_preempted(rig: Rig) -> None:
    rig.fleet.set_fault("capacity-lost", True)
    rig.wait(20)
    assert len(rig.samples("kube_pod_status_phase", phase="Pending", model_name="llama-70b")) == 2
    asked = rig.total("kube_pod_container_resource_requests", namespace="training")
    assert asked + 2 + 2 == rig.total("kube_node_status_allocatable"), "one llama-70b and two mistral-small are left"
    assert model(rig, "llama-70b")["queue"] > 50  # type: ignore[operator]
    rig.fleet.set_fault("capacity-lost", False)
    rig.wait(6)
    assert rig.fleet.model("llama-70b")["ready"] == 3


def test_an_exporter_that_hangs_takes_every_gpu_of_its_node_out_of_sight(rig: Rig) -> None:
    rig.fleet.set_fault("telemetry-blind", True)
    rig.wait(5)
    assert {labels["Hostname"] for labels, _ in rig.samples("DCGM_FI_DEV_GPU_TEMP")} == {"node-2", "node-3"}
    assert rig.fleet.model("llama-70b")["ready"] == 3
