"""A small fleet's invented past in the names of one engine and one generation of the GPU exporter.

Four replicas of one model, each on two GPUs of a node of its own. Everything is well until a test says otherwise; what
it says holds from `ago` seconds before now.
"""

import time
from dataclasses import dataclass, field
from typing import Literal

from tests.health.conftest import Past
from tests.health.dialects import DIALECTS, EngineName, Page, Replica, grows, steps

Exporter = Literal["old", "new"]


@dataclass
class Fleet:
    """Fill it, then `write` it all into a past. GPUs are named `node:index`; replicas and nodes are counted.

    kubernetes: whether kube-state-metrics tells of it. gpus: of each replica. silent_ago: seconds since which nothing
    of its engines is scraped any more; 0 for never. subnet: of its engines, where several fleets stand side by side.
    """

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
    kubernetes: bool = True
    gpus: int = 2
    silent_ago: float = 0
    subnet: str = "10.0.0"
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
            with self.past.ending(self.silent_ago):
                self._engine(index, self.replicas.get(index, Replica()))
            if self.kubernetes:
                self._pod(index)
            for gpu in range(self.gpus):
                self.gpu(self.node(index), gpu, self.pod(index))
        if self.kubernetes:
            self._deployment()
        return self.past

    def _engine(self, index: int, what: Replica) -> None:
        target = {"job": self.engine, "instance": f"{self.subnet}.{index}:8000", "namespace": "prod"}
        target |= {"job": self.model} if self.engine == "tgi-job" else {}
        target |= {"pod": self.pod(index)}
        self.past.gauge("up", target, steps(1, 0 if what.gone else 1, what.ago))
        DIALECTS[self.engine](Page(self.past, target, self.model, what))

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
