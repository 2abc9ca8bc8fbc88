"""What some places write otherwise: labels that others leave out, and exporters that others have. Nobody's standard.

Here a scrape writes the model on every series, ReplicaSets are not scraped, and nothing says which nodes have GPUs.
"""

import time

from tests.health.conftest import Past
from tests.health.dialects import grows, steps

AGO = 20 * 60.0
KUBE = {"namespace": "prod"}


def past() -> Past:
    """All of it in one."""
    past = Past(thin=True)
    _served(past, {"job": "gateway", "model_name": "named"})
    _served(past, {"job": "nameless"})
    _deployments(past)
    for labels in ({"model_name": "named"}, {}):
        _waiting(past, "owned", {**KUBE, **labels}, "StatefulSet")
    _waiting(past, "bare", KUBE, "")
    _models(past, {"job": "quality", "model_name": "named"})
    past.gauge("ray_vllm_num_requests_running", {"job": "ray", "instance": "r:1", "model_name": "old-in-ray"}, 4)
    past.gauge("ray_vllm_gpu_cache_usage_perc", {"job": "ray", "instance": "r:1", "model_name": "old-in-ray"}, 0.5)
    stamped = {"model_name": "named", "service": "chat", "revision": "r9"}
    past.gauge("model_deploy_timestamp_seconds", stamped, time.time() - 600)
    past.gauge("kube_node_status_condition", {"node": "n-1", "condition": "Ready", "status": "true"}, 1)
    return past


def _served(past: Past, labels: dict[str, str]) -> None:
    """A gateway's own counter of answers."""
    for status, pace in (("2xx", 9.0), ("5xx", 1.0)):
        past.counter("http_requests_total", {**labels, "handler": "/v1/completions", "status": status}, pace)


def _deployments(past: Past) -> None:
    for labels in ({"model_name": "named"}, {}):
        at = {**KUBE, "deployment": f"chat-{len(labels)}", **labels}
        past.gauge("kube_deployment_spec_replicas", at, 4)
        past.gauge("kube_deployment_status_replicas_available", at, 3)


def _waiting(past: Past, pod: str, labels: dict[str, str], owner: str) -> None:
    """A pod that asks for a GPU and gets none; its owner, "" for none."""
    at = {**labels, "pod": f"{pod}-{len(labels)}"}
    asks = {**at, "container": "engine", "resource": "nvidia_com_gpu"}
    past.gauge("kube_pod_container_resource_requests", asks, 1)
    past.gauge("kube_pod_status_phase", {**at, "phase": "Pending"}, 1)
    past.gauge("kube_pod_status_ready", {**at, "condition": "true"}, 0)
    if owner:
        past.gauge("kube_pod_owner", {**at, "owner_kind": owner, "owner_name": pod}, 1)


def _models(past: Past, labels: dict[str, str]) -> None:
    """Scores by the name that engines use, and a canary that got no answer."""
    for method in ("psi", "ks"):
        past.gauge("model_drift_score", {**labels, "feature": "length", "method": method}, 0.05)
    past.gauge("model_drift_last_run_timestamp_seconds", labels, time.time() - 600)
    past.gauge("model_quality_score", {**labels, "metric": "judge"}, steps(0.9, 0.8, AGO))
    mute = {"job": "canary", "model": "mute"}
    past.gauge("model_canary_pass_ratio", {**mute, "canary": "sum"}, 0)
    past.gauge("model_canary_unanswered", {**mute, "canary": "sum"}, 3)
    past.gauge("model_quality_score", {**mute, "metric": "canary"}, 0.9)
    past.gauge("litellm_spend_metric_total", {"job": "litellm", "model": "named", "team_alias": "a"}, grows(1, 1, AGO))
