"""Versions side by side, through a real Prometheus with an invented past, for the names of several engines."""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from bot.health import Report, Scope, Settings, Telemetry, lines, survey
from bot.health.versions import Comparison, versions_of
from bot.health.versions import lines as told
from tests.health.conftest import Past
from tests.servers import free_port

Start = Callable[[Past], str]
FAST = {"0.5": 0.90, "1.0": 0.08, "2.5": 0.015, "+Inf": 0.005}
SLOW = {"0.5": 0.20, "1.0": 0.30, "2.5": 0.30, "+Inf": 0.20}


def vllm(
    past: Past, pod: str, rate: float, failing: float, ttft: dict[str, float] | None = None, **labels: str
) -> None:
    """One vLLM server: `rate` requests a second, of which this share fails."""
    own = {"namespace": "inference", "pod": pod, "instance": f"{pod}:8000", "model_name": "llama-70b", **labels}
    past.gauge("vllm:num_requests_running", own, 4)
    past.gauge("vllm:num_requests_waiting", own, 2)
    for reason, share in (("stop", 1 - failing), ("error", failing)):
        past.counter("vllm:request_success_total", {**own, "finished_reason": reason}, rate * share)
    buckets = {edge: rate * share for edge, share in (ttft or FAST).items()}
    past.histogram("vllm:time_to_first_token_seconds", own, buckets)


def answered(past: Past, pod: str, handler: str, rate: float, failing: float = 0.0, **labels: str) -> None:
    """vLLM's own counter of HTTP answers, which names no model."""
    own = {"namespace": "inference", "pod": pod, "instance": f"{pod}:8000", "handler": handler, **labels}
    past.counter("http_requests_total", {**own, "status": "2xx"}, rate * (1 - failing))
    if failing:
        past.counter("http_requests_total", {**own, "status": "5xx"}, rate * failing)


def compared(start: Start, past: Past, model: str | None = "llama-70b") -> tuple[Comparison, ...]:
    return versions_of(Telemetry(start(past), settings=Settings()), model)


def owned(past: Past, pod: str, replicaset: str, deployment: str = "llama-70b") -> None:
    ours = {"namespace": "inference"}
    past.gauge("kube_pod_owner", {**ours, "pod": pod, "owner_kind": "ReplicaSet", "owner_name": replicaset}, 1)
    owner = {**ours, "replicaset": replicaset, "owner_kind": "Deployment", "owner_name": deployment}
    if not any(f'"{replicaset}"' in line for line in past.families.get("kube_replicaset_owner", ())):
        past.gauge("kube_replicaset_owner", owner, 1)


def test_a_bad_canary_is_told_apart_with_its_interval(remembering: Start) -> None:
    past = Past()
    for n in range(3):
        vllm(past, f"stable-{n}", 3, 0.002, track="stable")
    vllm(past, "canary-0", 1, 0.05, SLOW, track="canary")
    (found,) = compared(remembering, past)
    stable, canary = found.versions
    assert (stable.name, stable.replicas, canary.name, canary.replicas) == ("stable", 3, "canary", 1)
    assert stable.requests == pytest.approx(9 * 900, rel=0.05)
    assert canary.errors is not None
    assert canary.errors.value == pytest.approx(0.05, abs=0.005)
    title, of_stable, of_canary, apart = told(found)
    assert title == "2 versions of llama-70b serve at once (by track, last 15 min)"
    assert "0.20% errors" in of_stable
    assert "2.0% first tokens" not in of_stable
    assert "20.0% first tokens over 2.5 s" in of_canary
    assert apart.startswith("canary against stable: errors +4.8 points (+3.")
    assert "p99 slower" in apart
    assert "may be chance" not in apart


@pytest.mark.parametrize("model", ["llama-70b", None])
def test_answers_with_5xx_count_though_vllms_counter_of_them_names_no_model(
    remembering: Start, model: str | None
) -> None:
    past = Past()
    for pod, failing in (("stable", 0.0), ("canary", 0.3)):
        vllm(past, pod, 2, 0.0, track=pod)
        answered(past, pod, "/v1/chat/completions", 2, failing, track=pod)
    answered(past, "elsewhere", "/v1/chat/completions", 50, 0.9, track="stable")
    (found,) = compared(remembering, past, model)
    shares = {one.name: one.errors.value for one in found.versions if one.errors}
    assert shares["canary"] == pytest.approx(0.3, abs=0.02)
    assert shares["stable"] == pytest.approx(0.0, abs=0.001), "another model's server may bear the same track"


def test_probes_are_no_requests_of_users(remembering: Start) -> None:
    past = Past()
    for pod, rate in (("stable", 2.0), ("canary", 0.0)):
        vllm(past, pod, rate, 0.0, track=pod)
        answered(past, pod, "/v1/models", 0.1, track=pod)
        answered(past, pod, "/v1/chat/completions", rate, track=pod)
    (found,) = compared(remembering, past)
    assert {one.name: one.requests for one in found.versions} == {
        "stable": pytest.approx(1800, rel=0.05),
        "canary": 0,
    }


def test_versions_that_do_the_same_may_differ_by_chance(remembering: Start) -> None:
    past = Past()
    vllm(past, "a", 2, 0.01, version="r41")
    vllm(past, "b", 2, 0.012, version="r42")
    (found,) = compared(remembering, past)
    assert told(found)[-1].count("may be chance") == 2


def test_with_few_requests_nothing_is_claimed(remembering: Start) -> None:
    past = Past()
    vllm(past, "a", 2, 0.0, version="r41")
    vllm(past, "b", 12 / 900, 1.0, version="r42")
    (found,) = compared(remembering, past)
    assert told(found)[-1] == "r42 against r41: too few to say: 12 requests of r42"


def test_mirrored_traffic_is_apart_and_nobody_is_held_against_it(remembering: Start) -> None:
    past = Past()
    vllm(past, "a", 2, 0.0, variant="main")
    vllm(past, "b", 2, 0.5, variant="next-shadow")
    (found,) = compared(remembering, past)
    assert [one.name for one in found.users] == ["main"]
    text = told(found)
    assert text[0].startswith("A version of llama-70b gets mirrored traffic")
    assert text[-1].startswith("next-shadow (mirrored traffic, no users): ")
    assert not any("against" in line for line in text)


def test_what_fails_in_mirrored_traffic_is_no_trouble_of_users(remembering: Start) -> None:
    past = Past()
    vllm(past, "a", 2, 0.0, track="stable")
    vllm(past, "b", 2, 1.0, SLOW, track="shadow")
    seen = survey(Telemetry(remembering(past), settings=Settings()), Scope(model="llama-70b"), datetime.now(UTC))
    status = {check.check: check.status for check in seen.checks}
    assert (status["U1b"], status["U2"], status["U2b"]) == ("ok", "ok", "ok")
    assert [one.name for one in seen.versions[0].versions if one.shadow] == ["shadow"]


def test_pods_of_two_replicasets_of_one_deployment_are_two_versions(remembering: Start) -> None:
    past = Past()
    for pod, of in (("p-1", "llama-70b-7d9f"), ("p-2", "llama-70b-7d9f"), ("p-3", "llama-70b-85bc")):
        vllm(past, pod, 2, 0.001)
        owned(past, pod, of)
    (found,) = compared(remembering, past)
    assert [(one.name, one.replicas) for one in found.versions] == [("7d9f", 2), ("85bc", 1)]
    assert "by their pods" in told(found)[0]


def test_two_deployments_have_two_parts_and_are_no_versions(remembering: Start) -> None:
    past = Past()
    for part in ("prefill", "decode"):
        vllm(past, part, 2, 0.001)
        owned(past, part, f"llama-{part}-1", f"llama-{part}")
    assert compared(remembering, past) == ()


def test_one_version_is_nothing_to_compare(remembering: Start) -> None:
    past = Past()
    for pod in ("a", "b"):
        vllm(past, pod, 2, 0.001, version="r41")
        owned(past, pod, "llama-70b-7d9f")
    assert compared(remembering, past) == ()


def test_one_triton_serves_two_versions_from_one_place(remembering: Start) -> None:
    past = Past()
    for version, good, bad in (("3", 4.0, 0.004), ("4", 3.0, 0.3)):
        own = {"namespace": "inference", "pod": "triton-0", "instance": "t:8002", "model": "ranker", "version": version}
        past.counter("nv_inference_request_success", own, good)
        past.counter("nv_inference_request_failure", {**own, "reason": "BACKEND"}, bad)
        past.counter("nv_inference_request_failure", {**own, "reason": "CANCELED"}, 3.0)
        past.gauge("nv_inference_pending_request_count", own, 1)
    (found,) = compared(remembering, past, "ranker")
    shares = {one.name: one.errors.value for one in found.versions if one.errors}
    assert shares["3"] == pytest.approx(0.001, abs=0.001), "who hangs up is no failure"
    assert shares["4"] == pytest.approx(0.09, abs=0.01)
    assert all(one.p99 is None for one in found.versions)
    assert "errors +" in told(found)[-1]


def test_sglang_is_compared_by_its_own_names(remembering: Start) -> None:
    past = Past()
    for version, aborted in (("a", 0.0), ("b", 0.3)):
        own = {"namespace": "inference", "pod": version, "instance": version, "model_name": "qwen", "variant": version}
        past.gauge("sglang:num_running_reqs", own, 3)
        past.gauge("sglang:num_queue_reqs", own, 0)
        past.counter("sglang:num_requests_total", own, 3.0)
        past.counter("sglang:num_aborted_requests_total", own, aborted)
        past.histogram("sglang:time_to_first_token_seconds", own, {"1": 2.9, "2.5": 0.1, "+Inf": 0.0})
    (found,) = compared(remembering, past, None)
    assert found.model == "qwen"
    assert "b against a: errors +10.0 points" in told(found)[-1]


def test_the_report_carries_it_and_it_survives_storage(remembering: Start) -> None:
    past = Past()
    vllm(past, "a", 2, 0.0, version="r41")
    vllm(past, "b", 2, 0.2, version="r42")
    report = survey(Telemetry(remembering(past), settings=Settings()), Scope(model="llama-70b"), datetime.now(UTC))
    assert any("r42 against r41: errors +20" in line for line in lines(report))
    again = Report.from_dict(json.loads(json.dumps(report.to_dict())))
    assert again.versions == report.versions
    assert math.isfinite(again.versions[0].versions[0].requests)


def test_a_report_from_before_there_were_comparisons_still_loads(remembering: Start) -> None:
    past = Past()
    vllm(past, "a", 2, 0.0)
    stored = survey(Telemetry(remembering(past), settings=Settings()), Scope(), datetime.now(UTC)).to_dict()
    del stored["versions"]
    assert Report.from_dict(stored).versions == ()


def test_a_prometheus_that_is_away_is_no_comparison() -> None:
    assert versions_of(Telemetry(f"http://127.0.0.1:{free_port()}", settings=Settings()), "llama-70b") == ()
