"""A small fleet's invented past in the names of one engine and one generation of the GPU exporter.

Four replicas of one model, each on two GPUs of a node of its own. Everything is well until a test says otherwise; what
it says holds from `ago` seconds before now.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from tests.health.conftest import PAST, Past

EngineName = Literal["vllm", "sglang", "triton", "tgi"]
Exporter = Literal["old", "new"]
Value = Callable[[float], float]
EDGES = ("0.5", "1.0", "2.5", "5.0", "10.0", "+Inf")


def steps(before: float, after: float, ago: float) -> Value:
    """One value, then another."""
    return lambda t: after if t > PAST - ago else before


def grows(before: float, after: float, ago: float) -> Value:
    """A counter whose pace changes."""
    return lambda t: 1000 + before * t + (after - before) * max(0.0, t - (PAST - ago))


@dataclass
class Replica:
    """What one replica does after `ago`: shares of its requests, requests a second, requests, tokens a second."""

    ago: float = 300
    failing: float = 0.0
    late: float = 0.0
    arriving: float = 5.0
    running: float = 8.0
    waiting: float = 0.0
    kv: float = 0.4
    put_back: float = 0.0
    tokens: float = 200.0
    gone: bool = False


@dataclass
class Fleet:
    """Fill it, then `write` it all into a past. GPUs are named `node:index`; replicas and nodes are counted."""

    engine: EngineName = "vllm"
    exporter: Exporter = "old"
    model: str = "llama"
    count: int = 4
    replicas: dict[int, Replica] = field(default_factory=dict)
    deployed_ago: float = 3 * 86_400
    available: int | None = None
    gpus_end: dict[str, float] = field(default_factory=dict)
    xids: dict[str, tuple[int, float]] = field(default_factory=dict)
    slowed: dict[str, tuple[float, float]] = field(default_factory=dict)
    restarted: dict[int, tuple[int, str, float]] = field(default_factory=dict)
    pending_ago: float | None = None
    first_node: int = 1
    past: Past = field(default_factory=Past)

    def all(self, what: Replica) -> "Fleet":
        """Every replica does this."""
        self.replicas = dict.fromkeys(range(self.count), what)
        return self

    def pod(self, index: int) -> str:
        return f"{self.model}-7c9f4-x{index}"

    def node(self, index: int) -> str:
        return f"node-{self.first_node + index}"

    def write(self) -> Past:
        """The past of all of it."""
        for index in range(self.count):
            self._engine(index, self.replicas.get(index, Replica()))
            self._pod(index)
            for gpu in (0, 1):
                self.gpu(self.node(index), gpu, self.pod(index))
        self._deployment()
        return self.past

    def _engine(self, index: int, what: Replica) -> None:
        target = {"job": self.engine, "instance": f"10.0.0.{index}:8000", "namespace": "prod", "pod": self.pod(index)}
        self.past.gauge("up", target, steps(1, 0 if what.gone else 1, what.ago))
        write = {"vllm": self._vllm, "sglang": self._sglang, "triton": self._triton, "tgi": self._tgi}[self.engine]
        write(target, what)

    def _counter(self, name: str, labels: dict[str, str], before: float, after: float, what: Replica) -> None:
        self.past.gauge(name, labels, grows(before, after, what.ago), what.ago if what.gone else 0)

    def _gauge(self, name: str, labels: dict[str, str], before: float, after: float, what: Replica) -> None:
        self.past.gauge(name, labels, steps(before, after, what.ago), what.ago if what.gone else 0)

    def _histogram(self, family: str, labels: dict[str, str], what: Replica) -> None:
        for edge in EDGES:
            slow = edge in {"10.0", "+Inf"}
            within = 1.0 if slow else 1 - what.late
            self._counter(f"{family}_bucket", {**labels, "le": edge}, 5.0, what.arriving * within, what)
        self._counter(f"{family}_count", labels, 5.0, what.arriving, what)

    def _vllm(self, target: dict[str, str], what: Replica) -> None:
        http = {**target, "handler": "/v1/chat/completions"}
        self._counter("http_requests_total", {**http, "status": "2xx"}, 5.0, what.arriving * (1 - what.failing), what)
        self._counter("http_requests_total", {**http, "status": "5xx"}, 0.0, what.arriving * what.failing, what)
        labels = {**target, "model_name": self.model, "engine": "0"}
        finished = "vllm:request_success_total"
        self._counter(finished, {**labels, "finished_reason": "stop"}, 5.0, what.arriving * (1 - what.failing), what)
        self._counter(finished, {**labels, "finished_reason": "error"}, 0.0, what.arriving * what.failing, what)
        self._gauge("vllm:num_requests_running", labels, 8.0, what.running, what)
        self._gauge("vllm:num_requests_waiting", labels, 0.0, what.waiting, what)
        self._gauge("vllm:kv_cache_usage_perc", labels, 0.4, what.kv, what)
        self._counter("vllm:num_preemptions_total", labels, 0.0, what.put_back, what)
        self._counter("vllm:generation_tokens_total", labels, 200.0, what.tokens, what)
        self._counter("vllm:prompt_tokens_total", labels, 600.0, 3 * what.tokens, what)
        self._histogram("vllm:time_to_first_token_seconds", labels, what)

    def _sglang(self, target: dict[str, str], what: Replica) -> None:
        labels = {**target, "model_name": self.model}
        self._counter("sglang:num_requests_total", labels, 5.0, what.arriving, what)
        self._counter("sglang:num_aborted_requests_total", labels, 0.0, what.arriving * what.failing, what)
        self._gauge("sglang:num_running_reqs", labels, 8.0, what.running, what)
        self._gauge("sglang:num_queue_reqs", labels, 0.0, what.waiting, what)
        self._gauge("sglang:token_usage", labels, 0.4, what.kv, what)
        self._counter("sglang:num_retracted_requests_total", labels, 0.0, what.put_back, what)
        self._counter("sglang:generation_tokens_total", labels, 200.0, what.tokens, what)
        self._histogram("sglang:time_to_first_token_seconds", labels, what)

    def _triton(self, target: dict[str, str], what: Replica) -> None:
        labels = {**target, "model": self.model, "version": "1"}
        good = what.arriving * (1 - what.failing) * (1 if what.tokens else 0)
        self._counter("nv_inference_request_success", labels, 5.0, good, what)
        failed = {**labels, "reason": "BACKEND"}
        self._counter("nv_inference_request_failure", failed, 0.0, what.arriving * what.failing, what)
        seconds = 0.8 + 9 * what.late
        self._counter("nv_inference_request_duration_us", labels, 5 * 0.8e6, good * seconds * 1e6, what)
        self._gauge("nv_inference_pending_request_count", labels, 0.0, what.waiting, what)

    def _tgi(self, target: dict[str, str], what: Replica) -> None:
        """It names no model: a ServiceMonitor's `service` does."""
        labels = {**target, "service": self.model}
        good = what.arriving * (1 - what.failing) * (1 if what.tokens else 0)
        self._counter("tgi_request_success", labels, 5.0, good, what)
        self._counter("tgi_request_failure", {**labels, "err": "overloaded"}, 0.0, what.arriving * what.failing, what)
        self._gauge("tgi_batch_current_size", labels, 8.0, what.running, what)
        self._gauge("tgi_queue_size", labels, 0.0, what.waiting, what)
        self._counter("tgi_batch_inference_count", labels, 200.0, what.tokens, what)
        self._histogram("tgi_request_queue_duration", labels, what)

    def _pod(self, index: int) -> None:
        pod = {"namespace": "prod", "pod": self.pod(index)}
        self.past.gauge("kube_pod_info", {**pod, "node": self.node(index)}, 1)
        owner = {"owner_kind": "ReplicaSet", "owner_name": f"{self.model}-7c9f4"}
        self.past.gauge("kube_pod_owner", {**pod, **owner}, 1)
        container = {**pod, "container": "engine"}
        self.past.gauge("kube_pod_container_resource_requests", {**container, "resource": "nvidia_com_gpu"}, 2)
        times, reason, ago = self.restarted.get(index, (0, "", 0))
        self.past.gauge("kube_pod_container_status_restarts_total", container, steps(0, times, ago))
        if reason:
            ended = {**container, "reason": reason}
            self.past.gauge("kube_pod_container_status_last_terminated_reason", ended, 1)

    def _deployment(self) -> None:
        names = {"namespace": "prod", "deployment": self.model}
        available = self.count if self.available is None else self.available
        wanted = self.count
        if self.pending_ago is not None:
            wanted += 1
            pod = {"namespace": "prod", "pod": f"{self.model}-7c9f4-new", "container": "engine"}
            self.past.appearing(
                "kube_pod_container_resource_requests", {**pod, "resource": "nvidia_com_gpu"}, 2, self.pending_ago
            )
            del pod["container"]
            owner = {"owner_kind": "ReplicaSet", "owner_name": f"{self.model}-7c9f4"}
            self.past.appearing("kube_pod_owner", {**pod, **owner}, 1, self.pending_ago)
            self.past.appearing("kube_pod_status_phase", {**pod, "phase": "Pending"}, 1, self.pending_ago)
        self.past.gauge("kube_deployment_spec_replicas", names, steps(self.count, wanted, self.pending_ago or 0))
        self.past.gauge("kube_deployment_status_replicas_available", names, steps(self.count, available, 300))
        replicaset = {"namespace": "prod", "replicaset": f"{self.model}-7c9f4"}
        self.past.gauge("kube_replicaset_created", replicaset, time.time() - self.deployed_ago)
        owner = {"owner_kind": "Deployment", "owner_name": self.model}
        self.past.gauge("kube_replicaset_owner", {**replicaset, **owner}, 1)
        self.past.gauge("kube_replicaset_spec_replicas", replicaset, self.count)

    def gpu(self, node: str, index: int, pod: str) -> None:
        """One GPU with all its series, as this generation of the exporter writes them."""
        name = f"{node}:{index}"
        labels = {"gpu": str(index), "UUID": f"GPU-{node}-{index}", "job": "dcgm", "instance": f"{node}:9400"}
        if self.exporter == "old":
            labels |= {"Hostname": node} | ({"pod": pod, "namespace": "prod"} if pod else {})
        else:
            labels |= {"hostname": node, "pod": f"dcgm-exporter-{node}", "namespace": "gpu-operator"}
            labels |= {"exported_pod": pod, "exported_namespace": "prod"} if pod else {}
        until = self.gpus_end.get(name, 0)
        self.past.gauge("up", {"job": "dcgm", "instance": f"{node}:9400"}, 1) if index == 0 else None
        self.past.gauge("DCGM_FI_DEV_GPU_TEMP", labels, 60, until)
        self.past.gauge("DCGM_FI_DEV_ROW_REMAP_FAILURE", labels, 0, until)
        self.past.counter("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", labels, 0, until)
        share, ago = self.slowed.get(name, (0.0, 0.0))
        number, at = self.xids.get(name, (0, 0.0))
        if self.exporter == "old":
            self.past.gauge("DCGM_FI_DEV_XID_ERRORS", labels, steps(0, number, at), until)
            self.past.counter("DCGM_FI_DEV_THERMAL_VIOLATION", labels, 0) if not share else self.past.gauge(
                "DCGM_FI_DEV_THERMAL_VIOLATION", labels, grows(0, share * 1e9, ago), until
            )
        else:
            window = {"window_size_in_ms": "300000"}
            self.past.gauge("DCGM_EXP_XID_ERRORS_COUNT", {**labels, **window}, 0, until)
            if number:
                counted = {**labels, **window, "xid": str(number)}
                self.past.gauge("DCGM_EXP_XID_ERRORS_COUNT", counted, steps(0, 1, at), until)
            self.past.gauge("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", labels, steps(4, 0x44 if share else 4, ago), until)
