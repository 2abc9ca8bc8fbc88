"""The invented histories: they obey what counters and histograms obey, and every kind of effect moves what it must."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.quality.history import history
from tests.quality.openmetrics import Page, Series
from tests.quality.scenarios import Fleet, Scenario, Service, load

NOW = 1_800_000_000
GAUGES = ("_running", "_waiting", "running_reqs", "queue_reqs", "_perc", "token_usage", "throughput", "_swapped")


def fleet(engine: str = "vllm", exporter: str = "dcgm-new", **more: Any) -> Fleet:
    service = Service("chat", engine, replicas=4, gpus=1, rps=3.0, used=0.5, shape="flat")
    facts = {"nodes": 2, "gpus_per_node": 4, "mig_profile": "", "mig_per_gpu": 1, "missing": frozenset()}
    return Fleet(**{**facts, "exporter": exporter, "services": (service,), **more})


def scenario(*faults: Mapping[str, Any], noise: str = "low", **about: Any) -> Scenario:
    return Scenario("made-for-a-test", "", fleet(**about), faults, (), noise, "OK", "none", (), ())


def fault(kind: str, target: str = "service:chat", onset: float = 20, **values: Any) -> dict[str, Any]:
    return {"kind": kind, "target": target, "onset": [onset, onset], **values}


def told(*faults: Mapping[str, Any], noise: str = "low", **about: Any) -> Page:
    return history(scenario(*faults, noise=noise, **about), 1, NOW)


def series(page: Page, name: str, **labels: str) -> list[Series]:
    return [one for one in page.families.get(name, []) if labels.items() <= one.labels.items()]


def last(page: Page, name: str, **labels: str) -> list[float]:
    """The last value of every series that still lives."""
    return [float(one.values[-1]) for one in series(page, name, **labels) if one.times[-1] > NOW - 60]


def rate(page: Page, name: str, ago: float = 300, until: float = 0, **labels: str) -> float:
    """Growth per second of all series together between two moments."""
    total = 0.0
    for one in series(page, name, **labels):
        part = one.values[(one.times >= NOW - ago) & (one.times <= NOW - until)]
        total += float(np.maximum(np.diff(part), 0).sum())
    return total / (ago - until)


def pods(page: Page, name: str) -> set[str]:
    return {one.labels["pod"] for one in series(page, name)}


def counters(page: Page) -> Iterator[tuple[str, Series]]:
    for name, every in page.families.items():
        if name.startswith(("vllm:", "sglang:", "trtllm_", "tgi_", "nv_inference_", "http_", "litellm_")):
            if name.endswith(GAUGES) or name in {
                "tgi_queue_size",
                "tgi_batch_current_size",
                "trtllm_kv_cache_utilization",
            }:
                continue
            if name in {"nv_inference_pending_request_count", "trtllm_num_paused_requests"}:
                continue
            yield from ((name, one) for one in every)


ALL = load()


@pytest.mark.parametrize("story", ALL[::4], ids=lambda story: story.id)
def test_counters_fall_only_where_a_container_ended(story: Scenario) -> None:
    page = history(story, 3, NOW)
    ended = {one.labels["pod"] for one in series(page, "kube_pod_container_status_restarts_total") if one.values[-1]}
    for name, one in counters(page):
        if one.labels.get("pod") not in ended:
            assert (np.diff(one.values) >= 0).all(), (name, one.labels)
        assert (np.diff(one.times) > 0).all()
        assert one.times[-1] <= NOW


@pytest.mark.parametrize("engine", ["vllm", "vllm-old", "sglang", "trtllm", "tgi"])
def test_buckets_are_cumulative_and_end_in_the_count(engine: str) -> None:
    page = told(engine=engine)
    families = {name.removesuffix("_bucket") for name in page.families if name.endswith("_bucket")}
    assert families
    for family in families:
        by_target: dict[str, list[Series]] = {}
        for one in series(page, f"{family}_bucket"):
            by_target.setdefault(one.labels["instance"], []).append(one)
        for instance, buckets in by_target.items():
            edges = [float(one.labels["le"]) for one in buckets]
            assert edges == sorted(edges)
            assert edges[-1] == float("inf")
            assert (np.diff([one.values for one in buckets], axis=0) >= 0).all()
            (count,) = series(page, f"{family}_count", instance=instance)
            assert (count.values == buckets[-1].values).all()


def test_the_same_seed_tells_the_same_and_another_one_something_else() -> None:
    one, again, other = (history(ALL[1], seed, NOW) for seed in (5, 5, 6))
    assert "".join(one.lines()) == "".join(again.lines())
    assert "".join(one.lines()) != "".join(other.lines())


@pytest.mark.parametrize("story", [story for story in ALL if story.fleet.missing], ids=lambda story: story.id)
def test_what_is_not_scraped_is_in_no_history(story: Scenario) -> None:
    names = " ".join(history(story, 2, NOW).families)
    prefixes = {
        "kube-state-metrics": ("kube_",),
        "dcgm": ("DCGM_",),
        "engine": ("vllm:", "sglang:", "nv_inference", "trtllm_", "tgi_"),
        "http": ("http_requests",),
    }
    for part, own in prefixes.items():
        assert any(prefix in names for prefix in own) != (part in story.fleet.missing), part


def p99(page: Page, family: str, ago: float = 300, until: float = 0) -> float:
    """The edge under which 99 of 100 lie."""
    grown: dict[float, float] = {}
    for one in series(page, f"{family}_bucket"):
        part = one.values[(one.times >= NOW - ago) & (one.times <= NOW - until)]
        if part.size:
            edge = float(one.labels["le"])
            grown[edge] = grown.get(edge, 0.0) + float(part[-1] - part[0])
    return min(edge for edge, count in grown.items() if count >= 0.99 * grown[float("inf")])


def test_a_healthy_world_reads_as_the_table_says() -> None:
    page = told(exporter="dcgm-old")
    assert p99(page, "vllm:time_to_first_token_seconds") in {0.75, 1.0}
    whole = rate(page, "vllm:e2e_request_latency_seconds_sum") / rate(page, "vllm:e2e_request_latency_seconds_count")
    assert whole == pytest.approx(5, rel=0.1)
    assert last(page, "vllm:num_requests_waiting") == [0, 0, 0, 0]
    assert all(14 <= running <= 18 for running in last(page, "vllm:num_requests_running"))
    assert all(0.3 <= usage <= 0.6 for usage in last(page, "vllm:kv_cache_usage_perc"))
    assert rate(page, "vllm:request_success_total") == pytest.approx(12, rel=0.1)
    assert set(last(page, "DCGM_FI_DEV_XID_ERRORS")) == {0}
    assert all(36 <= degrees <= 70 for degrees in last(page, "DCGM_FI_DEV_GPU_TEMP"))
    assert last(page, "kube_deployment_status_replicas_available") == [4]
    assert last(page, "model_drift_score") == pytest.approx([0.06, 0.06], rel=0.05)
    assert min(series(page, "vllm:generation_tokens_total")[0].times) < NOW - 24 * 3600


Check = Callable[[Page], bool]

MOVES: dict[str, tuple[dict[str, Any], dict[str, Any], Check]] = {
    "errors are counted by engine and HTTP": (
        fault("failing-requests", share=0.3, how="error"),
        {},
        lambda p: (
            0.25 < rate(p, "vllm:request_success_total", finished_reason="error") / 12 < 0.35
            and 0.25 < rate(p, "http_requests_total", status="5xx") / 12 < 0.35
        ),
    ),
    "aborts are no server errors": (
        fault("failing-requests", share=0.3, how="abort"),
        {"engine": "sglang"},
        lambda p: (
            rate(p, "sglang:num_aborted_requests_total") > 2.5 and rate(p, "http_requests_total", status="5xx") == 0
        ),
    ),
    "what never reached the engine is seen by HTTP alone": (
        fault("failing-requests", share=0.3, how="http-503"),
        {},
        lambda p: (
            rate(p, "http_requests_total", status="5xx") > 2.5
            and rate(p, "vllm:request_success_total", finished_reason="error") == 0
        ),
    ),
    "first tokens are late, the pace between them is not": (
        fault("slow-requests", factor=6.0, stage="first-token"),
        {},
        lambda p: (
            p99(p, "vllm:time_to_first_token_seconds") >= 5 and p99(p, "vllm:inter_token_latency_seconds") <= 0.05
        ),
    ),
    "everything is slow, and more runs at once": (
        fault("slow-requests", factor=5.0, stage="all"),
        {},
        lambda p: p99(p, "vllm:inter_token_latency_seconds") >= 0.1 and min(last(p, "vllm:num_requests_running")) > 60,
    ),
    "a hung engine holds what it has and yields nothing": (
        fault("hang", "replica:chat/1", held=40, gpu_util=100),
        {},
        lambda p: (
            40 in last(p, "vllm:num_requests_running")
            and sum(
                rate(p, "vllm:generation_tokens_total", pod=pod) == 0 for pod in pods(p, "vllm:kv_cache_usage_perc")
            )
            == 1
            and rate(p, "http_requests_total", status="5xx") == pytest.approx(3, rel=0.2)
            and min(last(p, "up")) == 1
            and 100 in last(p, "DCGM_FI_DEV_GPU_UTIL")
        ),
    ),
    "a container that ends again and again": (
        fault(
            "restarts", "replica:chat/0", restarts=4, reason="OOMKilled", exit_code=137, log="host-oom", waiting=True
        ),
        {},
        lambda p: (
            4 in last(p, "kube_pod_container_status_restarts_total")
            and len(last(p, "kube_pod_container_status_waiting_reason", reason="CrashLoopBackOff")) == 1
            and len(last(p, "kube_pod_container_status_last_terminated_reason", reason="OOMKilled")) == 1
            and last(p, "kube_deployment_status_replicas_available") == [3]
        ),
    ),
    "a sidecar's end is the sidecar's alone": (
        fault("restarts", "pod:chat/0/sidecar", restarts=2, reason="Error", exit_code=1, log="none", waiting=False),
        {},
        lambda p: (
            last(p, "kube_pod_container_status_restarts_total", container="vllm") == [0, 0, 0, 0]
            and 2 in last(p, "kube_pod_container_status_restarts_total", container="log-agent")
        ),
    ),
    "an Xid appears where there was no series": (
        fault("xid", "gpu:chat/2/0", number=31, count=3),
        {},
        lambda p: last(p, "DCGM_FI_DEV_XID_ERRORS") == [31],
    ),
    "an Xid is counted for five minutes": (
        fault("xid", "gpu:chat/2/0", onset=3, number=31, count=3),
        {"exporter": "dcgm-count"},
        lambda p: last(p, "DCGM_EXP_XID_ERRORS_COUNT", xid="31") == [3],
    ),
    "a lost GPU leaves the page, its engine too": (
        fault("gpu-lost", "gpu:chat/1/0", gpus=1, xid=79),
        {},
        lambda p: (
            len(last(p, "DCGM_FI_DEV_GPU_TEMP")) == 7
            and len(last(p, "vllm:num_requests_running")) == 3
            and last(p, "kube_node_status_allocatable") == [4, 4]
            and last(p, "kube_deployment_status_replicas_available") == [3]
        ),
    ),
    "a spare takes over": (
        fault("gpu-lost", "gpu:chat/1/0", gpus=1, xid=79, replaced_after=5.0),
        {},
        lambda p: (
            len(last(p, "DCGM_FI_DEV_GPU_TEMP")) == 7 and last(p, "kube_deployment_status_replicas_available") == [4]
        ),
    ),
    "memory errors remap rows": (
        fault("memory-fault", "gpu:chat/3/0", xid=48, errors=3, contained=False, remap="pending"),
        {},
        lambda p: (
            3 in last(p, "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS")
            and 1 in last(p, "DCGM_FI_DEV_ROW_REMAP_PENDING")
            and last(p, "DCGM_FI_DEV_XID_ERRORS") == [48]
        ),
    ),
    "a broken link stops the replica, its GPU stays visible": (
        fault("nvlink-fault", "gpu:chat/1/0", xid=74, errors=50, effect="dead"),
        {},
        lambda p: (
            rate(p, "DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL") * 60 == pytest.approx(50, rel=0.1)
            and len(last(p, "DCGM_FI_DEV_GPU_TEMP")) == 8
            and len(last(p, "vllm:num_requests_running")) == 3
        ),
    ),
    "clocks fall with their reason": (
        fault("gpu-slowdown", "node:1", reason="hw-thermal", clock_share=0.4, temperature=90.0),
        {"exporter": "dcgm-count"},
        lambda p: (
            last(p, "DCGM_FI_DEV_SM_CLOCK").count(792) == 4
            and last(p, "DCGM_FI_DEV_CLOCKS_EVENT_REASONS").count(0x48) == 4
            and rate(p, "DCGM_FI_DEV_THERMAL_VIOLATION") == pytest.approx(4e9, rel=0.1)
        ),
    ),
    "a warm GPU is only warm": (
        fault("gpu-reading", "gpu:chat/0/0", what="temperature", value=84.0),
        {},
        lambda p: 84 in last(p, "DCGM_FI_DEV_GPU_TEMP") and set(last(p, "DCGM_FI_DEV_SM_CLOCK")) == {1980},
    ),
    "a lost node is silent": (
        fault("node-lost", "node:1", nodes=1),
        {},
        lambda p: (
            last(p, "kube_node_status_condition", node="node-1", condition="Ready", status="true") == [0]
            and len(last(p, "DCGM_FI_DEV_GPU_TEMP")) == 4
            and last(p, "up", node="node-1") == [0, 0, 0]
        ),
    ),
    "a node is emptied": (
        fault("node-cordon", "node:1", reason="maintenance", evicts=True),
        {},
        lambda p: (
            last(p, "kube_node_spec_unschedulable") == [0, 1]
            and last(p, "kube_deployment_status_replicas") == [2]
            and len(last(p, "DCGM_FI_DEV_GPU_TEMP")) == 8
        ),
    ),
    "more arrives": (
        fault("load-change", factor=2.0),
        {},
        lambda p: rate(p, "vllm:request_success_total") == pytest.approx(24, rel=0.1),
    ),
    "prompts are longer": (
        fault("length-change", prompt_factor=3.0, output_factor=1.0),
        {},
        lambda p: (
            rate(p, "vllm:prompt_tokens_total") / rate(p, "vllm:request_success_total") == pytest.approx(1800, rel=0.1)
            and min(last(p, "vllm:kv_cache_usage_perc")) > 0.6
        ),
    ),
    "tokens run away through one key": (
        fault("token-growth", factor=4.0, requests_factor=2.0, key_share=0.8),
        {},
        lambda p: (
            rate(p, "vllm:generation_tokens_total") == pytest.approx(4 * 12 * 250, rel=0.15)
            and rate(p, "vllm:request_success_total") == pytest.approx(24, rel=0.1)
            and rate(p, "litellm_total_tokens_metric_total", team="team-0")
            == pytest.approx(0.8 * rate(p, "litellm_total_tokens_metric_total"), rel=0.05)
            and max(last(p, "vllm:kv_cache_usage_perc")) <= 0.6
        ),
    ),
    "caches are full": (
        fault("kv-pressure", usage=0.98, preemptions=30, queue=50, wait=10.0),
        {},
        lambda p: (
            min(last(p, "vllm:kv_cache_usage_perc")) > 0.95
            and rate(p, "vllm:num_preemptions_total") == pytest.approx(2, rel=0.25)
            and min(last(p, "vllm:num_requests_waiting")) > 45
            and p99(p, "vllm:time_to_first_token_seconds") >= 10
        ),
    ),
    "a queue without pressure": (
        fault("queue", queue=50, wait=10.0),
        {"engine": "triton"},
        lambda p: (
            min(last(p, "nv_inference_pending_request_count")) > 45
            and rate(p, "nv_inference_queue_duration_us") / rate(p, "nv_inference_request_success") > 7e6
        ),
    ),
    "pods wait for GPUs": (
        fault("pods-pending", pods=2, added=True),
        {},
        lambda p: (
            sum(last(p, "kube_pod_status_phase", phase="Pending")) == 2
            and last(p, "kube_deployment_spec_replicas") == [6]
            and last(p, "kube_horizontalpodautoscaler_spec_max_replicas") == [6]
        ),
    ),
    "a replica is gone and nobody wants it back": (
        fault("replicas-missing", "replica:chat/3", seen="gone"),
        {},
        lambda p: last(p, "kube_deployment_spec_replicas") == [3] and len(last(p, "vllm:kv_cache_usage_perc")) == 3,
    ),
    "a replica is there and not ready": (
        fault("replicas-missing", "replica:chat/3", seen="not-ready"),
        {},
        lambda p: (
            last(p, "kube_deployment_spec_replicas") == [4]
            and last(p, "kube_deployment_status_replicas_available") == [3]
            and 0 in last(p, "up")
        ),
    ),
    "a half roll-out leaves two revisions": (
        fault("rollout", new_from=2, change="image", finished=False),
        {},
        lambda p: (
            sorted(last(p, "kube_replicaset_spec_replicas")) == [2, 2]
            and NOW - 1200 in last(p, "kube_replicaset_created")
            and last(p, "kube_deployment_status_observed_generation") == [2]
            and len({one.labels["image_id"] for one in series(p, "kube_pod_container_info")}) == 2
        ),
    ),
    "a resize is no roll-out": (
        {**fault("hpa-resize"), "from": 3, "to": 4},
        {},
        lambda p: (
            last(p, "kube_deployment_spec_replicas") == [4]
            and len(last(p, "kube_replicaset_created")) == 1
            and last(p, "kube_deployment_status_observed_generation") == [2]
        ),
    ),
    "inputs drift": (
        fault("drift", score=2.0, quality_drop=0.2),
        {},
        lambda p: (
            max(last(p, "model_drift_score")) == pytest.approx(0.4, rel=0.05)
            and last(p, "model_quality_score") == [pytest.approx(0.72, rel=0.02)]
        ),
    ),
    "targets vanish with their up": (
        fault("telemetry-gap", "exporter:engine/chat", how="target-gone"),
        {},
        lambda p: not last(p, "up", service="chat") and not last(p, "vllm:kv_cache_usage_perc"),
    ),
    "a target that does not answer is up 0": (
        fault("telemetry-gap", "exporter:dcgm", how="up-zero"),
        {},
        lambda p: last(p, "up", job="dcgm-exporter") == [0, 0] and not last(p, "DCGM_FI_DEV_GPU_TEMP"),
    ),
}


@pytest.mark.parametrize("what", MOVES)
def test_every_kind_moves_what_the_table_says(what: str) -> None:
    effect, about, moved = MOVES[what]
    assert moved(told(effect, **about))
    assert not moved(told(**about)), "so it is in a healthy world too"


def test_every_kind_of_the_scenarios_is_held_here() -> None:
    kinds = {raw["kind"] for story in ALL for raw in (*story.faults, *story.red_herrings)}
    assert kinds == {effect["kind"] for effect, _, _ in MOVES.values()}


def test_an_xid_of_ten_hours_ago_stands_in_the_gauge_from_the_first_sample_on() -> None:
    page = told(fault("xid", "gpu:chat/0/0", onset=600, number=74, count=1), exporter="dcgm-count")
    (one,) = series(page, "DCGM_FI_DEV_XID_ERRORS")
    assert set(one.values) == {74}
    assert not series(page, "DCGM_EXP_XID_ERRORS_COUNT", xid="74")


def test_a_gap_of_a_minute_closes_again() -> None:
    page = told(fault("telemetry-gap", "exporter:engine/chat", how="up-zero", lasts=1.0))
    assert set(last(page, "up", service="chat")) == {1}
    assert any((one.values == 0).any() for one in series(page, "up", service="chat"))


def test_restless_fleets_miss_scrapes_and_fail_some_requests() -> None:
    quiet, restless = told(), told(noise="high")
    size = [sum(one.times.size for one in series(page, "vllm:num_requests_running")) for page in (quiet, restless)]
    assert 0.95 < size[1] / size[0] < 0.99
    assert rate(quiet, "http_requests_total", ago=5400, status="5xx") == 0
    assert 0.001 < rate(restless, "http_requests_total", ago=5400, status="5xx") / 12 < 0.006


def test_instances_of_a_cut_gpu_share_its_uuid() -> None:
    about: dict[str, Any] = {"mig_profile": "1g.10gb", "mig_per_gpu": 4, "gpus_per_node": 1}
    page = told(fault("xid", "gpu:chat/0/0", number=43, count=1), **about)
    marked = series(page, "DCGM_FI_DEV_XID_ERRORS")
    assert len({one.labels["UUID"] for one in marked}) == 1
    assert {one.labels["GPU_I_ID"] for one in marked} == {"1", "2", "3", "4"}
    assert not series(page, "DCGM_FI_DEV_GPU_UTIL")


def test_another_service_rolls_out_without_touching_ours() -> None:
    page = told(fault("rollout", "service:console", new_from=0, change="image", finished=True))
    assert len(series(page, "kube_replicaset_created", replicaset="")) == 0
    owners = {one.labels["owner_name"] for one in series(page, "kube_replicaset_owner")}
    assert owners == {"chat", "console"}
    assert len(pods(page, "vllm:kv_cache_usage_perc")) == 4


def test_a_replica_takes_the_share_of_one_that_is_lost() -> None:
    healthy = rate(told(), "vllm:request_success_total")
    page = told(fault("replicas-missing", "replica:chat/3", seen="gone"))
    assert rate(page, "vllm:request_success_total") == pytest.approx(healthy, rel=0.05)


def test_a_change_of_noise_changes_no_effect() -> None:
    story = ALL[0]
    assert replace(story, noise="low").effects(4) == story.effects(4)
