"""The parts of the checks beside the main ones, asked of a real Prometheus: each once well and once ill."""

import time
from collections.abc import Callable

import pytest

from bot.health import Observation, Scope, Settings, Telemetry
from bot.health.promql import Limits
from tests.health.conftest import PAST, Past

Remembering = Callable[[Past], str]


def seen(url: str, model: str = "", settings: Settings | None = None) -> dict[str, Observation]:
    telemetry = Telemetry(url, settings=settings)
    return {observation.check: observation for observation in telemetry.survey(Scope(model=model))}


def gpu(past: Past, index: int, host: str = "node-1") -> dict[str, str]:
    labels = {"gpu": str(index), "UUID": f"GPU-{host}-{index}", "Hostname": host, "job": "dcgm", "instance": host}
    past.gauge("DCGM_FI_DEV_GPU_TEMP", labels, 60)
    return labels


def late(before: float, after: float, ago: float = 600) -> Callable[[float], float]:
    return lambda t: after if t > PAST - ago else before


def test_a_remapped_row_is_a_warning_and_a_double_bit_error_is_not_one(remembering: Remembering) -> None:
    past = Past()
    well, pending, new, double = (gpu(past, index) for index in range(4))
    for labels in (well, pending, new, double):
        past.gauge("DCGM_FI_DEV_ROW_REMAP_PENDING", labels, 1 if labels is pending else 0)
        past.gauge("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", labels, late(2, 3) if labels is new else 2)
        past.gauge("DCGM_FI_DEV_ECC_DBE_VOL_TOTAL", labels, late(0, 1) if labels is double else 0)
    found = seen(remembering(past))

    assert found["H3b"].status == "warn"
    assert {sample.labels["gpu"] for sample in found["H3b"].series} == {"1", "2"}
    assert (found["H3c"].status, found["H3c"].offender) == ("crit", "node-1 gpu 3")
    assert found["H3"].status == "unknown"


@pytest.mark.parametrize(("bits", "status"), [(0x1, "ok"), (0x4, "ok"), (0x8, "crit"), (0x40, "crit"), (0x80, "crit")])
def test_of_the_reasons_for_a_low_clock_only_the_hardwares_own_count(
    remembering: Remembering, bits: int, status: str
) -> None:
    past = Past()
    past.gauge("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", gpu(past, 0), bits)

    assert seen(remembering(past))["H4"].status == status


def test_throttling_is_told_by_whatever_the_exporter_has(remembering: Remembering) -> None:
    past = Past()
    old, counted, violated, quiet = (gpu(past, index) for index in range(4))
    past.gauge("DCGM_FI_DEV_CLOCK_THROTTLE_REASONS", old, late(0, 0x48, ago=150))
    window = {"window_size_in_ms": "300000"}
    past.gauge("DCGM_EXP_CLOCK_EVENTS_COUNT", {**counted, **window, "clock_event": "hw_thermal"}, 4)
    past.gauge("DCGM_EXP_CLOCK_EVENTS_COUNT", {**quiet, **window, "clock_event": "power_cap"}, 300)
    past.counter("DCGM_FI_DEV_THERMAL_VIOLATION", violated, 0.3e9)
    found = seen(remembering(past))["H4"]

    values = {sample.labels["gpu"]: round(sample.value, 1) for sample in found.series}
    # Two and a half of ten minutes: which minutes are looked at depends on when it is asked.
    assert values.pop("0") in {0.2, 0.3}
    assert values == {"1": 0.8, "2": 0.3}
    assert (found.status, found.offender) == ("crit", "node-1 gpu 1 and 2 more")


def test_a_clock_counts_as_low_only_under_load(remembering: Remembering) -> None:
    past = Past()
    for index, load in enumerate((5, 95)):
        labels = gpu(past, index)
        past.gauge("DCGM_FI_DEV_SM_CLOCK", labels, late(1980, 800))
        past.gauge("DCGM_FI_DEV_GPU_UTIL", labels, load)
    found = seen(remembering(past))["H4b"]

    assert (found.status, found.offender) == ("warn", "node-1 gpu 1")
    assert found.value == pytest.approx(800 / 1980, rel=0.01)
    assert (found.direction, found.limit) == ("below", 0.7)


def test_poor_links_are_told_in_both_conventions_of_labels(remembering: Remembering) -> None:
    past = Past()
    past.counter("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", gpu(past, 0), 0.5)
    past.counter("DCGM_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL", gpu(past, 1), 0.01)
    link = {"nvlink": "3", "gpu_uuid": "GPU-other", "model_name": "NVIDIA H100", "Hostname": "node-2"}
    past.counter("DCGM_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL", link, 0.02)
    found = seen(remembering(past))

    assert (found["H5"].status, found["H5"].text) == ("warn", "30 a minute PCIe replays")
    assert {sample.labels.get("UUID") for sample in found["H5b"].series} == {"GPU-node-1-1", "GPU-other"}
    assert not any(sample.labels.get("model_name") for sample in found["H5b"].series)


def test_an_xid_is_an_event_in_every_way_an_exporter_writes_it(remembering: Remembering) -> None:
    past = Past()
    for index, ago in ((0, 600), (1, PAST)):
        counted = {**gpu(past, index), "xid": "79"}
        past.appearing("DCGM_EXP_XID_ERRORS_TOTAL", counted, 1, ago)
    old = {"gpu": "2", "uuid": "GPU-old", "Hostname": "node-1", "pod_name": "llama-0", "pod_namespace": "prod"}
    past.gauge("DCGM_FI_DEV_GPU_TEMP", old, 9223372036854775794)
    past.gauge("DCGM_FI_DEV_XID_ERRORS", old, late(31, 74))
    moved = gpu(past, 3)
    past.gauge("DCGM_FI_DEV_XID_ERRORS", {**moved, "pod": "llama-1", "namespace": "prod"}, 13, until=600)
    past.appearing("DCGM_FI_DEV_XID_ERRORS", moved, 119, 585)
    found = seen(remembering(past))["H2"]

    assert {(sample.labels["gpu"], sample.labels["xid"]) for sample in found.series} == {
        ("0", "79"),
        ("2", "74"),
        ("3", "119"),
    }


def test_an_old_xid_is_no_news_when_its_gpu_gets_another_pod_and_a_new_one_is_news_to_a_young_exporter(
    remembering: Remembering,
) -> None:
    past = Past()
    moved, restarted = {**gpu(past, 0), "xid": "79"}, {**gpu(past, 1), "xid": "79"}
    past.gauge("DCGM_EXP_XID_ERRORS_TOTAL", {**moved, "pod": "llama-1"}, 1, until=600)
    past.appearing("DCGM_EXP_XID_ERRORS_TOTAL", {**moved, "pod": "llama-2"}, 1, 585)
    past.gauge("DCGM_EXP_XID_ERRORS_TOTAL", restarted, late(5, 1))
    found = seen(remembering(past))["H2"]

    assert [sample.labels["gpu"] for sample in found.series] == ["1"]


def test_a_bad_node_is_told_with_what_is_wrong_unless_somebody_is_at_work(remembering: Remembering) -> None:
    past = Past()
    for node in ("well", "down", "sick", "tainted", "cordoned", "cpu-only"):
        name = {"node": node}
        ready = 0 if node in {"down", "cordoned", "cpu-only"} else 1
        past.gauge("kube_node_status_condition", {**name, "condition": "Ready", "status": "true"}, ready)
        if node != "cpu-only":
            resource = "nvidia_com_mig_1g_10gb" if node == "down" else "nvidia_com_gpu"
            past.gauge("kube_node_status_capacity", {**name, "resource": resource}, 8)
        past.gauge("kube_node_spec_unschedulable", name, 1 if node == "cordoned" else 0)
    accelerated = {"node": "sick", "condition": "AcceleratedHardwareReady", "status": "false"}
    past.gauge("kube_node_status_condition", accelerated, 1)
    past.gauge("kube_node_spec_taint", {"node": "tainted", "key": "nvidia.com/gpu-error", "effect": "NoSchedule"}, 1)
    found = seen(remembering(past))["H6"]

    assert {(sample.labels["host"], sample.labels["reason"]) for sample in found.series} == {
        ("down", "not ready"),
        ("sick", "accelerated hardware not ready"),
        ("tainted", "tainted for its GPUs"),
    }
    assert found.status == "crit"


def pending(past: Past, name: str, *, gpus: int = 1, scheduled: bool = False, ago: float = 900) -> None:
    pod = {"namespace": "prod", "pod": name}
    past.appearing("kube_pod_status_phase", {**pod, "phase": "Pending"}, 1, ago)
    past.appearing("kube_pod_status_scheduled", {**pod, "condition": "true"}, 1 if scheduled else 0, ago)
    if gpus:
        past.gauge(
            "kube_pod_container_resource_requests", {**pod, "container": "c", "resource": "nvidia_com_gpu"}, gpus
        )


@pytest.mark.parametrize(
    ("known", "answers", "lost", "silent"),
    [
        ("left", False, "ok", "ok"),
        ("left", True, "ok", "ok"),  # the node goes before its last pod does
        ("stays", False, "ok", "warn"),
        ("stays", True, "crit", "ok"),
        ("silent", False, "ok", "warn"),  # of no node can be said that it left
        ("never", False, "ok", "warn"),
    ],
)
def test_gpus_of_a_node_that_was_taken_out_of_the_cluster_are_not_missed(
    remembering: Remembering, known: str, answers: bool, lost: str, silent: str
) -> None:
    past = Past()
    for node, until in (("node-1", 0), ("node-2", 1200)):
        labels = {"job": "dcgm", "instance": f"{node}:9400"}
        past.gauge("up", labels, 1, 0 if answers else until)
        past.gauge("DCGM_FI_DEV_GPU_TEMP", {**labels, "gpu": "0", "UUID": f"GPU-{node}", "Hostname": node}, 60, until)
        if known != "never":
            ended = 1300 if known == "silent" or (known == "left" and until) else 0
            past.gauge("kube_node_info", {"job": "ksm", "node": node}, 1, ended)
    told = seen(remembering(past))

    assert (told["H1"].status, told["H1b"].status) == (lost, silent)


def test_only_pods_that_have_waited_for_a_gpu_for_a_while_count(remembering: Remembering) -> None:
    past = Past()
    pending(past, "waits")
    pending(past, "waits-too")
    pending(past, "pulls-its-image", scheduled=True)
    pending(past, "wants-no-gpu", gpus=0)
    pending(past, "came-just-now", ago=60)
    found = seen(remembering(past))["E5"]

    assert (found.status, found.value, found.text) == ("warn", 2, "2 pods wait for a GPU")


def test_a_fleet_whose_pods_all_run_waits_for_no_gpu(remembering: Remembering) -> None:
    past = Past()
    pod = {"namespace": "prod", "pod": "runs"}
    past.gauge("kube_pod_container_resource_requests", {**pod, "container": "c", "resource": "nvidia_com_gpu"}, 1)
    past.gauge("kube_pod_status_phase", {**pod, "phase": "Running"}, 1)
    past.gauge("kube_pod_status_phase", {**pod, "phase": "Pending"}, 0)

    found = seen(remembering(past))["E5"]

    assert (found.status, found.text) == ("ok", "no pod waits for a GPU")


def test_the_models_own_signals(remembering: Remembering) -> None:
    past = Past()
    past.gauge("model_drift_score", {"model": "m", "feature": "length", "method": "ks"}, 0.3)
    past.gauge("model_drift_last_run_timestamp_seconds", {"model": "m"}, time.time() - 2 * 86_400)
    past.gauge("model_canary_pass_ratio", {"model": "m", "canary": "chat"}, 0.4)
    past.gauge("vllm:corrupted_requests_total", {"model_name": "m"}, late(0, 3, ago=300))
    finished = "vllm:request_success_total"
    past.counter(finished, {"model_name": "m", "finished_reason": "stop"}, 8)
    past.gauge(finished, {"model_name": "m", "finished_reason": "length"}, lambda t: t + 6 * max(0, t - PAST + 900))
    found = seen(remembering(past), "m")

    assert (found["M1b"].status, found["M1b"].offender) == ("crit", "m length")
    assert (found["M1c"].status, found["M1c"].text) == ("warn", "the drift job last ran 2 d ago")
    assert (found["M1f"].status, found["M1f"].text) == ("crit", "40.0% of the canary prompts pass")
    assert found["M1e"].status == "crit"
    assert found["M1d"].status == "warn"
    assert found["M1"].status == "unknown"


def test_spend_is_held_against_the_hour_before_and_a_budget_against_the_spend(remembering: Remembering) -> None:
    past = Past()
    spend = {"model": "gpt", "team_alias": "search", "hashed_api_key": "k1"}
    past.gauge("litellm_spend_metric_total", spend, lambda t: 0.01 * t + 0.09 * max(0, t - PAST + 3600))
    past.gauge("litellm_remaining_team_budget_metric", {"team_alias": "search", "team": "t1"}, 3600)
    found = seen(remembering(past))

    assert found["M2b"].status == "crit"
    assert found["M2b"].value == pytest.approx(10, rel=0.15)
    assert (found["M2c"].status, found["M2c"].text, found["M2c"].offender) == (
        "crit",
        "the budget lasts 10 h",
        "search",
    )


def test_limits_of_ones_own_replace_the_standard_ones_and_stand_beside_the_number(remembering: Remembering) -> None:
    past = Past()
    past.gauge("vllm:num_requests_waiting", {"model_name": "m", "instance": "a"}, 20)
    url = remembering(past)
    standard = seen(url, "m")["U3"]
    own = seen(url, "m", Settings(limits={"U3": Limits(warn=5, crit=15)}))["U3"]

    assert (standard.status, standard.limit) == ("warn", 10)
    assert (own.status, own.limit, own.warn, own.crit) == ("crit", 15, 5, 15)


@pytest.mark.parametrize(
    ("waiting", "errors", "label"),
    [
        ("trtllm_num_requests_waiting", "trtllm_request_success_total", "model_name"),
        ("tgi_queue_size", "tgi_request_failure", "job"),
        ("ray_serve_deployment_queued_queries", "ray_serve_deployment_error_counter_total", "deployment"),
        ("num_requests_waiting", "request_failure_total", "model_name"),
        ("dynamo_frontend_queued_requests", "dynamo_frontend_requests_total", "model"),
        ("ray_vllm_num_requests_waiting", "", "model_name"),
    ],
)
def test_the_other_servers_are_asked_in_their_own_words(
    remembering: Remembering, waiting: str, errors: str, label: str
) -> None:
    past = Past()
    labels = {"job": "serving", "instance": "a:1", label: "m"}
    past.gauge(waiting, labels, 70)
    bad = {
        "trtllm_request_success_total": {"finished_reason": "timeout"},
        "tgi_request_failure": {"err": "overloaded"},
        "dynamo_frontend_requests_total": {"status": "error"},
    }.get(errors, {})
    good = {
        "trtllm_request_success_total": ("trtllm_request_success_total", {"finished_reason": "stop"}, 8.0),
        "tgi_request_failure": ("tgi_request_success", {}, 8.0),
        "ray_serve_deployment_error_counter_total": ("ray_serve_deployment_request_counter_total", {}, 10.0),
        "request_failure_total": ("request_success_total", {}, 8.0),
        "dynamo_frontend_requests_total": ("dynamo_frontend_requests_total", {"status": "success"}, 8.0),
    }
    if errors:
        past.counter(errors, {**labels, **bad}, 2)
        name, more, rate = good[errors]
        past.counter(name, {**labels, **more}, rate)
    found = seen(remembering(past), "m")

    assert (found["U3"].status, found["U3"].value) == ("crit", 70)
    assert found["U3"].offender == "m"
    if errors:
        assert found["U1"].value == pytest.approx(0.2, rel=0.02)


def test_a_canary_that_nobody_answers_says_nothing_of_the_models_words(remembering: Remembering) -> None:
    past = Past()
    for model, score in (("silent", None), ("wrong", 0.3)):
        labels = {"model": model, "canary": "chat"}
        past.gauge("model_canary_pass_ratio", labels, 0.2)
        past.gauge("model_canary_unanswered", labels, 6)
        if score is not None:
            past.gauge("model_quality_score", {"model": model, "metric": "canary"}, score)
    found = seen(remembering(past))["M1f"]

    assert (found.status, found.offender) == ("crit", "wrong")
    assert {sample.labels["model_name"] for sample in found.series} == {"wrong"}


def test_mirrored_traffic_of_a_server_that_calls_its_model_otherwise_is_no_trouble_of_users(
    remembering: Remembering,
) -> None:
    past = Past()
    for track, failing in (("stable", 1.0), ("shadow", 45.0)):
        tgi = {"service": "llama", "track": track, "instance": track}
        ray = {"deployment": "qwen", "track": track, "instance": track}
        past.counter("tgi_request_success", tgi, 9)
        past.counter("tgi_request_failure", {**tgi, "err": "overloaded"}, failing)
        past.counter("ray_serve_deployment_request_counter_total", ray, 10)
        past.counter("ray_serve_deployment_error_counter_total", ray, failing)
    errors = seen(remembering(past))["U1"]

    told = {series.labels["model_name"]: series.value for series in errors.series}
    assert told == {"llama": pytest.approx(0.1), "qwen": pytest.approx(0.1)}
