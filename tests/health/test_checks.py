"""The queries, asked of a real Prometheus that remembers an invented past; the default window of five minutes."""

import time
from collections.abc import Callable

import pytest

from bot.health import Observation, Scope, Telemetry
from tests.health.conftest import PAST, Past

Remembering = Callable[[Past], str]
KSM = {"namespace": "prod"}


def seen(url: str, model: str | None = None) -> dict[str, Observation]:
    return {observation.check: observation for observation in Telemetry(url).survey(Scope(model=model or ""))}


def traffic(past: Past, model: str, good: float, bad: float | None = None) -> None:
    labels = {"handler": "/v1/chat/completions", "model_name": model}
    past.counter("http_requests_total", {**labels, "status": "2xx"}, good)
    if bad is not None:
        past.counter("http_requests_total", {**labels, "status": "5xx"}, bad)


def gpu(past: Past, host: str, index: int, until: float = 0, host_label: str = "Hostname") -> dict[str, str]:
    labels = {
        "gpu": str(index),
        "UUID": f"GPU-{host}-{index}",
        host_label: host,
        "job": "dcgm",
        "instance": f"{host}:9400",
    }
    past.gauge("DCGM_FI_DEV_GPU_TEMP", labels, 60, until)
    return labels


def test_an_empty_prometheus_leaves_every_check_unknown(remembering: Remembering) -> None:
    past = Past()
    past.gauge("something_else", {}, 1)

    assert {o.status for o in Telemetry(remembering(past)).survey()} == {"unknown"}


def test_a_model_that_never_failed_is_fine_although_nothing_counts_its_errors(remembering: Remembering) -> None:
    past = Past()
    traffic(past, "calm", 10)
    traffic(past, "ill", 8, bad=2)
    traffic(past, "asleep", 0, bad=0)
    url = remembering(past)

    assert (seen(url, "calm")["U1"].status, seen(url, "calm")["U1"].value) == ("ok", 0)
    assert seen(url, "ill")["U1"].status == "crit"
    assert seen(url, "ill")["U1"].value == pytest.approx(0.2, rel=0.01)
    assert (seen(url, "asleep")["U1"].status, seen(url, "asleep")["U1"].text) == (
        "unknown",
        "no traffic in the last 5 min",
    )
    assert seen(url)["U1"].offender == "ill"


def test_the_errors_of_an_engine_that_does_not_name_its_model_are_found_by_its_target(remembering: Remembering) -> None:
    past = Past()
    for instance, model, bad in (("a:8000", "good", 0.0), ("b:8000", "bad", 5.0)):
        target = {"job": "vllm", "instance": instance}
        past.gauge("vllm:num_requests_running", {**target, "model_name": model, "engine": "0"}, 1)
        past.counter("http_requests_total", {**target, "handler": "/v1/completions", "status": "200"}, 5)
        past.counter("http_requests_total", {**target, "handler": "/v1/completions", "status": "503"}, bad)
        past.counter("http_requests_total", {**target, "handler": "/v1/models", "status": "200"}, 100)
    url = remembering(past)

    assert seen(url, "good")["U1"].status == "ok"
    assert seen(url, "bad")["U1"].value == pytest.approx(0.5, rel=0.01)
    assert seen(url)["U1"].offender == "bad"


def test_triton_is_asked_in_its_own_words_and_a_client_that_hung_up_is_no_error(remembering: Remembering) -> None:
    past = Past()
    past.counter("nv_inference_request_success", {"model": "ranker", "version": "1"}, 9)
    past.counter("nv_inference_request_failure", {"model": "ranker", "version": "1", "reason": "BACKEND"}, 1)
    past.counter("nv_inference_request_failure", {"model": "ranker", "version": "1", "reason": "CANCELED"}, 50)
    past.counter("nv_inference_request_duration_us", {"model": "ranker", "version": "1"}, 9 * 4e6)
    past.gauge("nv_inference_pending_request_count", {"model": "ranker", "version": "1", "instance": "t:8002"}, 70)
    found = seen(remembering(past), "ranker")

    assert found["U1"].value == pytest.approx(0.1, rel=0.01)
    assert (found["U2"].status, found["U2"].text) == ("warn", "4.0 s mean request time")
    assert (found["U3"].status, found["U3"].value) == ("crit", 70)
    assert found["U4"].status == "unknown"


def test_a_p99_in_the_last_bucket_says_at_least_and_the_share_tells_the_truth(remembering: Remembering) -> None:
    past = Past()
    buckets = {"2.5": 1.0, "30.0": 0.0, "+Inf": 9.0}
    past.histogram("sglang:time_to_first_token_seconds", {"model_name": "slow"}, buckets)
    past.histogram("vllm:time_to_first_token_seconds", {"model_name": "quick"}, {"1.0": 10.0, "2.5": 0.0, "+Inf": 0.0})
    url = remembering(past)

    assert seen(url, "slow")["U2"].text == "p99 time to first token >= 30 s"
    assert seen(url, "slow")["U2b"].value == pytest.approx(0.9, rel=0.01)
    assert (seen(url, "quick")["U2"].status, seen(url, "quick")["U2b"].status) == ("ok", "ok")
    assert seen(url)["U2"].offender == "slow"


def test_a_replica_that_holds_requests_and_produces_nothing_hangs_but_not_an_idle_one(
    remembering: Remembering,
) -> None:
    past = Past()
    for pod, running, tokens in (("p0", 4, 0.0), ("p1", 4, 100.0), ("p2", 0, 0.0), ("p3", 4, 100.0)):
        labels = {"model_name": "m", "pod": pod}
        past.gauge("vllm:num_requests_running", labels, running)
        past.counter("vllm:generation_tokens_total", labels, tokens)
    found = seen(remembering(past), "m")["U4"]

    assert (found.status, found.value) == ("warn", 0.25)


def test_a_target_that_is_down_is_lost_capacity_of_the_model_it_served(
    remembering: Remembering,
) -> None:
    past = Past()
    for instance, alive in (("a:8000", 1), ("b:8000", 0)):
        target = {"job": "vllm", "instance": instance}
        past.gauge("up", target, alive)
        past.gauge("vllm:num_requests_running", {**target, "model_name": "m"}, 1, until=0 if alive else 1200)
    found = seen(remembering(past), "m")["U5"]

    assert (found.status, found.value) == ("crit", 0.5)


def kubernetes(past: Past, deployment: str, *, gpus: int, available: int, wanted: int, age: float) -> None:
    replicaset = f"{deployment}-7c9"
    past.gauge("kube_deployment_spec_replicas", {**KSM, "deployment": deployment}, wanted)
    past.gauge("kube_deployment_status_replicas_available", {**KSM, "deployment": deployment}, available)
    past.gauge("kube_replicaset_created", {**KSM, "replicaset": replicaset}, time.time() - age)
    owner = {"replicaset": replicaset, "owner_kind": "Deployment", "owner_name": deployment}
    past.gauge("kube_replicaset_owner", {**KSM, **owner}, 1)
    past.gauge("kube_replicaset_spec_replicas", {**KSM, "replicaset": replicaset}, wanted)
    pod = {**KSM, "pod": f"{replicaset}-x"}
    past.gauge("kube_pod_owner", {**pod, "owner_kind": "ReplicaSet", "owner_name": replicaset}, 1)
    if gpus:
        past.gauge(
            "kube_pod_container_resource_requests", {**pod, "container": "c", "resource": "nvidia_com_gpu"}, gpus
        )
    past.counter("kube_pod_container_status_restarts_total", {**pod, "container": "c"}, 0.02)
    ended = {**pod, "container": "c", "reason": "OOMKilled"}
    past.gauge("kube_pod_container_status_last_terminated_reason", ended, 1)


def test_only_deployments_with_gpus_are_ours_to_report(remembering: Remembering) -> None:
    past = Past()
    kubernetes(past, "coredns", gpus=0, available=0, wanted=2, age=60)
    kubernetes(past, "vllm-chat", gpus=8, available=3, wanted=4, age=600)
    found = seen(remembering(past))

    assert (found["U5"].value, found["U5"].offender) == (0.25, "vllm-chat")
    assert (found["E4"].status, found["E4"].offender) == ("warn", "vllm-chat-7c9")
    assert (found["E3"].offender, found["E3"].text) == ("vllm-chat-7c9-x", "18 container restarts (OOMKilled)")


def test_a_change_belongs_to_the_model_its_deployment_is_named_after(remembering: Remembering) -> None:
    past = Past()
    for model, age in (("llama", 300), ("mistral", 86_400 * 3)):
        traffic(past, model, 1)
        kubernetes(past, model, gpus=1, available=1, wanted=1, age=age)
    url = remembering(past)

    assert (seen(url, "llama")["E4"].status, seen(url, "llama")["E4"].offender) == ("warn", "llama 7c9")
    assert (seen(url, "mistral")["E4"].status, seen(url, "mistral")["E4"].text) == ("ok", "deployed 3 d ago")
    assert seen(url)["E4"].offender == "llama 7c9"


def test_a_deploy_may_also_be_told_by_a_time_stamp(remembering: Remembering) -> None:
    past = Past()
    labels = {"model_name": "m", "service": "chat", "revision": "r9"}
    past.gauge("model_deploy_timestamp_seconds", labels, time.time() - 240)
    found = seen(remembering(past), "m")["E4"]

    assert (found.status, found.offender) == ("warn", "m r9")
    assert found.value == pytest.approx(240, abs=20)


def test_a_gpu_that_stopped_reporting_is_lost_and_a_silent_exporter_is_something_else(remembering: Remembering) -> None:
    past = Past()
    gpu(past, "node-1", 0)
    gpu(past, "node-1", 1, until=600)
    gpu(past, "node-2", 0, until=600, host_label="hostname")
    gpu(past, "node-3", 0, until=600)
    gpu(past, "node-4", 0, until=600)
    gpu(past, "node-4", 1)
    past.gauge("up", {"job": "dcgm", "instance": "node-3:9400"}, 1)
    past.gauge("kube_node_spec_unschedulable", {"node": "node-4"}, 1)
    found = seen(remembering(past))

    assert {s.labels["host"] for s in found["H1"].series} == {"node-1", "node-3"}
    assert (found["H1"].status, found["H1"].offender) == ("crit", "node-1 gpu 1 and 1 more")
    assert [s.labels["host"] for s in found["H1b"].series] == ["node-2"]
    assert found["H1b"].status == "warn"


def test_an_exporter_that_moved_to_another_pod_has_lost_no_gpu(remembering: Remembering) -> None:
    past = Past()
    labels = gpu(past, "node-1", 0, until=600)
    past.gauge("DCGM_FI_DEV_GPU_TEMP", {**labels, "instance": "10.0.0.9:9400"}, 60)
    found = seen(remembering(past))

    assert (found["H1"].status, found["H1"].text) == ("ok", "every GPU reports")
    assert found["H1b"].status == "ok"


def test_an_xid_counts_when_it_is_new_and_not_for_ever(remembering: Remembering) -> None:
    past = Past()
    sticky, changed, first, dead = (gpu(past, "node-1", index, until=600 if index == 3 else 0) for index in range(4))
    past.gauge("DCGM_FI_DEV_XID_ERRORS", sticky, 79)
    past.gauge("DCGM_FI_DEV_XID_ERRORS", changed, lambda t: 31 if t > PAST - 900 else 0)
    past.appearing("DCGM_FI_DEV_XID_ERRORS", first, 63, ago=300)
    past.gauge("DCGM_FI_DEV_XID_ERRORS", dead, lambda t: 119 if t > PAST - 700 else 0, until=600)
    found = seen(remembering(past))["H2"]

    assert [(s.labels["gpu"], s.labels["xid"]) for s in found.series] == [("3", "119"), ("2", "63")]
    assert (found.status, found.offender) == ("crit", "node-1 gpu 3 and 1 more")
    assert found.text.startswith("Xid 119, GPU system processor does not answer: ")


def test_a_storm_of_harmless_xids_neither_turns_red_nor_hides_the_bad_one(remembering: Remembering) -> None:
    storm = Past()
    for index in range(30):
        labels = {**gpu(storm, "node-1", index), "window_size_in_ms": "300000"}
        storm.gauge("DCGM_EXP_XID_ERRORS_COUNT", {**labels, "xid": "45"}, 1120)
    calm = seen(remembering(storm))["H2"]

    assert (calm.status, calm.text) == (
        "ok",
        "Xid 45, clean-up after an earlier error: keep for the record; act on the Xid beside it, if any",
    )


def test_the_one_bad_xid_of_a_storm_is_named(remembering: Remembering) -> None:
    past = Past()
    for index in range(30):
        labels = gpu(past, "node-1", index)
        past.gauge("DCGM_EXP_XID_ERRORS_COUNT", {**labels, "xid": "45"}, 1120)
    past.gauge("DCGM_EXP_XID_ERRORS_COUNT", {**gpu(past, "node-2", 7), "xid": "79"}, 1)
    found = seen(remembering(past))["H2"]

    assert (found.status, found.offender) == ("crit", "node-2 gpu 7")


def test_no_xid_series_is_unknown_and_a_zero_is_fine(remembering: Remembering) -> None:
    past = Past()
    labels = gpu(past, "node-1", 0)
    past.gauge("DCGM_FI_DEV_ROW_REMAP_FAILURE", labels, 1)
    found = seen(remembering(past))

    assert found["H2"].status == "unknown"
    assert found["H2"].text.startswith("no Xid series")
    assert (found["H3"].status, found["H3"].offender) == ("crit", "node-1 gpu 0")


def test_zero_means_that_there_was_no_xid(remembering: Remembering) -> None:
    past = Past()
    past.gauge("DCGM_FI_DEV_XID_ERRORS", gpu(past, "node-1", 0), 0)
    found = seen(remembering(past))["H2"]

    assert (found.status, found.text) == ("ok", "no new Xid")


def test_a_gpu_that_serves_another_model_is_not_this_ones_trouble(remembering: Remembering) -> None:
    past = Past()
    for index, model in enumerate(("llama", "mistral")):
        labels = {**gpu(past, "node-1", 5 + index), "model_name": model, "gpu": str(index), "UUID": f"GPU-{model}"}
        past.gauge("DCGM_FI_DEV_GPU_TEMP", labels, 60, until=600 if model == "llama" else 0)
    url = remembering(past)

    assert (seen(url, "llama")["H1"].status, seen(url, "llama")["H1"].scope) == ("crit", "fleet")
    assert seen(url, "mistral")["H1"].status == "ok"


def test_engine_and_model_checks_read_every_generation_of_names(remembering: Remembering) -> None:
    past = Past()
    past.gauge("vllm:kv_cache_usage_perc", {"model_name": "new", "instance": "a"}, 0.97)
    past.gauge("vllm:gpu_cache_usage_perc", {"model_name": "old", "instance": "b"}, 0.92)
    past.gauge("sglang:token_usage", {"model_name": "other", "instance": "c"}, 0.3)
    past.counter("vllm:num_preemptions_total", {"model_name": "new"}, 1)
    past.gauge("model_drift_score", {"model": "new", "feature": "length", "method": "psi"}, 0.15)
    past.gauge("gateway_cache_fallback", {"model_name": "new"}, 1)
    url = remembering(past)

    assert [seen(url, model)["E1"].status for model in ("new", "old", "other")] == ["crit", "warn", "ok"]
    assert seen(url, "new")["E2"].text == "1/s requests put back"
    assert (seen(url, "new")["M1"].status, seen(url, "new")["M1"].offender) == ("warn", "new length")
    assert (seen(url, "new")["C1"].status, seen(url, "old")["C1"].status) == ("warn", "unknown")


def test_tokens_are_held_against_the_budget_or_against_what_was_measured_before(remembering: Remembering) -> None:
    past = Past()
    past.counter("vllm:generation_tokens_total", {"model_name": "steady"}, 100)
    past.gauge("gateway_token_budget_per_second", {"model_name": "budgeted"}, 20)
    past.counter("vllm:generation_tokens_total", {"model_name": "budgeted"}, 100)
    url = remembering(past)

    assert seen(url, "steady")["M2"].value == pytest.approx(1, rel=0.05)
    assert (seen(url, "budgeted")["M2"].status, seen(url, "budgeted")["M2"].text) == (
        "warn",
        "5.0x of the token budget",
    )
