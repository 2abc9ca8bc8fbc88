"""The fleet's numbers in Prometheus text format 0.0.4, under the names the real exporters use.

Sources of the names: vLLM (vllm/v1/metrics/loggers.py), prometheus-fastapi-instrumentator, dcgm-exporter's
default counters, kube-state-metrics; `model_drift_*` and `gateway_*` have no standard and are our own contract.
Every series that belongs to a model carries `service`, `model_name` and `namespace`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from bot.workbench.fleet.deployment import Deployment
from bot.workbench.fleet.faults import TRAINING
from bot.workbench.fleet.fleet import View
from bot.workbench.fleet.hardware import FB_RESERVED_MIB, FB_TOTAL_MIB, Gpu
from bot.workbench.fleet.serving import Histogram, Replica

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = dict[str, str]


@dataclass
class Page:
    """Collects samples family by family: a family's HELP and TYPE must stand once, before all its samples."""

    families: dict[str, tuple[str, str, list[str]]] = field(default_factory=dict)

    def add(self, name: str, kind: str, meaning: str, labels: Labels, value: float) -> None:
        """One sample of a counter or gauge."""
        self._lines(name, kind, meaning).append(_sample(name, labels, value))

    def histogram(self, name: str, meaning: str, labels: Labels, histogram: Histogram) -> None:
        """One histogram. Counts are rounded down from flows after summing, so that they never shrink."""
        lines = self._lines(name, "histogram", meaning)
        total = 0.0
        for edge, count in zip((*histogram.edges, float("inf")), histogram.buckets, strict=True):
            total += count
            le = "+Inf" if edge == float("inf") else repr(edge)
            lines.append(_sample(f"{name}_bucket", {**labels, "le": le}, int(total)))
        lines.append(_sample(f"{name}_sum", labels, round(histogram.sum, 4)))
        lines.append(_sample(f"{name}_count", labels, int(total)))

    def text(self) -> str:
        """The whole page."""
        return "".join(
            f"# HELP {name} {meaning}\n# TYPE {name} {kind}\n" + "".join(lines)
            for name, (kind, meaning, lines) in self.families.items()
        )

    def _lines(self, name: str, kind: str, meaning: str) -> list[str]:
        return self.families.setdefault(name, (kind, meaning, []))[2]


def _sample(name: str, labels: Labels, value: float) -> str:
    inner = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
    number = repr(float(value)) if value != int(value) else str(int(value))
    return f"{name}{{{inner}}} {number}\n" if inner else f"{name} {number}\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def metrics(view: View) -> str:
    """Everything one scrape returns."""
    page = Page()
    for name, deployment in view.deployments.items():
        owner = _owner(view, deployment)
        _gateway(page, deployment, view.canaries.get(name), owner)
        _quality(page, view, deployment, owner)
    for deployment in view.running():
        owner = _owner(view, deployment)
        track = "canary" if deployment.spec.candidate_of else "stable"
        for replica in deployment.replicas:
            if replica.state(view.now) == "ready":
                pod = {**owner, "pod": replica.pod, "node": replica.gpus[0].node, "track": track}
                _server(page, deployment, replica, pod)
        _kubernetes(page, view, deployment, owner)
    _nodes(page, view)
    holders = {
        replica.pod: {"service": d.spec.service, "model_name": d.spec.served_as}
        for d in view.running()
        for replica in d.replicas
    }
    for node in view.hardware.nodes.values():
        for gpu in node.gpus if node.exporting else ():
            _gpu(page, gpu, _gpu_labels(gpu, holders, view.spec.namespace))
    return page.text()


def _owner(view: View, deployment: Deployment) -> Labels:
    spec = deployment.spec
    return {"service": spec.service, "model_name": spec.served_as, "namespace": view.spec.namespace}


def _gateway(page: Page, deployment: Deployment, canary: Deployment | None, owner: Labels) -> None:
    answers = dict(deployment.traffic.gateway)
    answers |= {("canary", code): count for (_, code), count in (canary.traffic.gateway.items() if canary else ())}
    by_class: dict[str, float] = {"2xx": 0.0, "5xx": 0.0}
    for (source, code), count in sorted(answers.items()):
        page.add(
            "gateway_requests_total",
            "counter",
            "Answers of the gateway by where they came from.",
            {**owner, "model": deployment.spec.name, "source": source, "code": code},
            int(count),
        )
        status = f"{code[0]}xx"
        by_class[status] = by_class.get(status, 0.0) + count
    for status, count in sorted(by_class.items()):
        labels = {**owner, "handler": "/v1/chat/completions", "method": "POST", "status": status}
        page.add(
            "http_requests_total",
            "counter",
            "Requests by status class, as the user sees them.",
            labels,
            int(count),
        )
    budget = "Generated tokens per second the owner of the model pays for."
    page.add("gateway_token_budget_per_second", "gauge", budget, owner, deployment.spec.token_budget)
    cap = "Longest answer in tokens; 0 where the caller says."
    page.add("gateway_token_cap", "gauge", cap, owner, deployment.token_cap)
    cache = "1 while the gateway answers from its cache instead of the model."
    page.add("gateway_cache_fallback", "gauge", cache, owner, deployment.fallback == "cache")


def _nodes(page: Page, view: View) -> None:
    for node in view.hardware.nodes.values():
        name = {"node": node.name}
        page.add("kube_node_spec_unschedulable", "gauge", "1 when the node is cordoned.", name, node.cordoned)
        ready = {**name, "condition": "Ready", "status": "true"}
        page.add("kube_node_status_condition", "gauge", "1 for the status the condition has.", ready, 1)
        # The kubelet keeps counting a GPU that has fallen off the bus until its device plugin notices.
        gpus = {**name, "resource": "nvidia_com_gpu", "unit": "integer"}
        page.add("kube_node_status_capacity", "gauge", "What the node has.", gpus, len(node.gpus))
        page.add("kube_node_status_allocatable", "gauge", "What pods may ask for.", gpus, len(node.gpus))
        exporter = {**name, "namespace": view.spec.gpu_namespace, "pod": node.exporter_pod}
        _pod_info(page, exporter, "DaemonSet", "nvidia-dcgm-exporter")
        training = sum(gpu.holder == TRAINING for gpu in node.gpus)
        if training:
            namespace, _, pod = TRAINING.partition("/")
            held = {**name, "namespace": namespace, "pod": pod, "container": "train"}
            asked = {**held, "resource": "nvidia_com_gpu", "unit": "integer"}
            page.add("kube_pod_container_resource_requests", "gauge", "What it asks for.", asked, training)


def _pod_info(page: Page, pod: Labels, kind: str, name: str) -> None:
    labels = {**pod, "created_by_kind": kind, "created_by_name": name}
    page.add("kube_pod_info", "gauge", "Where it runs and what made it.", labels, 1)


def _server(page: Page, deployment: Deployment, replica: Replica, pod: Labels) -> None:
    labels = {**pod, "engine": "0"}
    waiting = deployment.traffic.waiting / max(1, len(deployment.replicas))
    kv = min(1.0, replica.running / deployment.spec.slots)
    page.add("vllm:num_requests_running", "gauge", "Requests in a batch.", labels, round(replica.running))
    page.add("vllm:num_requests_waiting", "gauge", "Requests that wait for room.", labels, round(waiting))
    page.add("vllm:kv_cache_usage_perc", "gauge", "KV cache in use, 1 is full.", labels, round(kv, 4))
    counters: tuple[tuple[str, str, float], ...] = (
        ("vllm:num_preemptions_total", "Requests put back because the cache was full.", replica.preemptions),
        ("vllm:prompt_tokens_total", "Prefill tokens.", replica.prompt_tokens),
        ("vllm:generation_tokens_total", "Generated tokens.", replica.generation_tokens),
    )
    for name, meaning, value in counters:
        page.add(name, "counter", meaning, labels, int(value))
    for reason in ("stop", "length", "abort", "error"):
        page.add(
            "vllm:request_success_total",
            "counter",
            "Requests that ended, by why.",
            {**labels, "finished_reason": reason},
            int(replica.finished.get(reason, 0.0)),
        )
    page.histogram("vllm:time_to_first_token_seconds", "Time to first token.", labels, replica.ttft)
    page.histogram("vllm:e2e_request_latency_seconds", "Time from arrival to the last token.", labels, replica.e2e)


def _kubernetes(page: Page, view: View, deployment: Deployment, owner: Labels) -> None:
    name, namespace, target = deployment.spec.name, {"namespace": view.spec.namespace}, deployment.target
    labels = {**owner, "deployment": name}
    page.add("kube_deployment_spec_replicas", "gauge", "Replicas asked for.", labels, len(deployment.replicas))
    available = len(deployment.ready(view.now))
    page.add("kube_deployment_status_replicas_available", "gauge", "Replicas that serve.", labels, available)
    for revision, created in deployment.created.items():
        replicaset = {**namespace, "replicaset": f"{name}-{revision}"}
        page.add("kube_replicaset_created", "gauge", "Unix time it was made.", replicaset, round(created))
        page.add(
            "kube_replicaset_owner",
            "gauge",
            "Which deployment it belongs to.",
            {**replicaset, "owner_kind": "Deployment", "owner_name": name, "owner_is_controller": "true"},
            1,
        )
        wanted = len(deployment.replicas) if revision == target else 0
        page.add("kube_replicaset_spec_replicas", "gauge", "Replicas it should have.", replicaset, wanted)
    for replica in deployment.replicas:
        pod = {**owner, "pod": replica.pod, "node": replica.gpus[0].node if replica.gpus else ""}
        phase = "Running" if replica.gpus else "Pending"
        page.add("kube_pod_status_phase", "gauge", "1 for the phase the pod is in.", {**pod, "phase": phase}, 1)
        ready = replica.state(view.now) == "ready"
        page.add("kube_pod_status_ready", "gauge", "1 when it serves.", {**pod, "condition": "true"}, ready)
        _container(page, deployment, replica, pod)


def _container(page: Page, deployment: Deployment, replica: Replica, pod: Labels) -> None:
    name, container = deployment.spec.name, {**pod, "container": "vllm"}
    _pod_info(page, pod, "ReplicaSet", f"{name}-{replica.revision}")
    owned = {
        **pod,
        "owner_kind": "ReplicaSet",
        "owner_name": f"{name}-{replica.revision}",
        "owner_is_controller": "true",
    }
    page.add("kube_pod_owner", "gauge", "Which ReplicaSet it belongs to.", owned, 1)
    image = deployment.image(replica.revision)
    digest = hashlib.sha256(image.encode()).hexdigest()
    runs = {**container, "image": image, "image_id": f"{image.rpartition(':')[0]}@sha256:{digest}"}
    page.add("kube_pod_container_info", "gauge", "What it runs.", runs, 1)
    asked = {**container, "resource": "nvidia_com_gpu", "unit": "integer"}
    page.add("kube_pod_container_resource_requests", "gauge", "What it asks for.", asked, deployment.spec.gpus)
    times = math.ceil(replica.crashes)
    page.add("kube_pod_container_status_restarts_total", "counter", "Starts after a crash.", container, times)
    if times:
        ended = {**container, "reason": "Error"}
        page.add("kube_pod_container_status_last_terminated_reason", "gauge", "Why it ended last.", ended, 1)


def _quality(page: Page, view: View, deployment: Deployment, owner: Labels) -> None:
    model = {**owner, "model": deployment.spec.name}
    for feature, score in deployment.drift.items():
        labels = {**model, "feature": feature, "method": "psi"}
        page.add(
            "model_drift_score",
            "gauge",
            "Distance of the inputs from the reference.",
            labels,
            round(score, 4),
        )
        page.add("model_drift_threshold", "gauge", "Score at which the owner wants to know.", labels, 0.2)
    last = "Unix time the scores were computed."
    page.add("model_drift_last_run_timestamp_seconds", "gauge", last, model, round(view.now))


def _gpu_labels(gpu: Gpu, holders: dict[str, Labels], namespace: str) -> Labels:
    labels = {
        "gpu": str(gpu.index),
        "UUID": gpu.uuid,
        "pci_bus_id": gpu.pci_bus_id,
        "device": f"nvidia{gpu.index}",
        "modelName": "NVIDIA H100 80GB HBM3",
        "Hostname": gpu.node,
        "DCGM_FI_DRIVER_VERSION": "550.127.08",
    }
    if gpu.holder in holders:
        labels |= {
            "pod": gpu.holder or "",
            "namespace": namespace,
            "container": "vllm",
            **holders[gpu.holder or ""],
        }
    return labels


def _gpu(page: Page, gpu: Gpu, labels: Labels) -> None:
    # The Xid comes from the kernel log and outlives the GPU; a blank value is not exported at all.
    if gpu.xid:
        page.add("DCGM_FI_DEV_XID_ERRORS", "gauge", "Value of the last Xid error.", labels, gpu.xid)
    if gpu.lost:
        return
    for name, kind, meaning, value in _gpu_readings(gpu):
        page.add(name, kind, meaning, labels, value)


def _gpu_readings(gpu: Gpu) -> Iterator[tuple[str, str, str, float]]:
    used = round(gpu.fb_used_mib)
    gauges: Iterable[tuple[str, str, float]] = (
        ("SM_CLOCK", "SM clock frequency (in MHz).", gpu.sm_clock_mhz),
        ("MEM_CLOCK", "Memory clock frequency (in MHz).", 2619),
        ("GPU_TEMP", "GPU temperature (in C).", round(gpu.temp)),
        ("MEMORY_TEMP", "Memory temperature (in C).", round(gpu.temp + 6)),
        ("POWER_USAGE", "Power draw (in W).", round(gpu.power_w, 1)),
        ("GPU_UTIL", "GPU utilization (in %).", round(gpu.util)),
        ("FB_FREE", "Framebuffer memory free (in MiB).", FB_TOTAL_MIB - FB_RESERVED_MIB - used),
        ("FB_USED", "Framebuffer memory used (in MiB).", used),
        ("FB_RESERVED", "Framebuffer memory reserved (in MiB).", FB_RESERVED_MIB),
        ("ROW_REMAP_FAILURE", "Whether remapping of rows has failed.", 0),
        ("ROW_REMAP_PENDING", "Whether remapping of rows waits for a reset.", gpu.remapped_rows > 0),
        ("CLOCKS_EVENT_REASONS", "Why the clocks are what they are (bit mask).", gpu.event_reasons),
    )
    for name, meaning, value in gauges:
        yield f"DCGM_FI_DEV_{name}", "gauge", meaning, value
    counters: Iterable[tuple[str, str, float]] = (
        ("TOTAL_ENERGY_CONSUMPTION", "Total energy consumption since boot (in mJ).", int(gpu.energy_mj)),
        ("PCIE_REPLAY_COUNTER", "Total number of PCIe retries.", 0),
        ("UNCORRECTABLE_REMAPPED_ROWS", "Remapped rows for uncorrectable errors.", gpu.remapped_rows),
        ("ECC_DBE_VOL_TOTAL", "Double-bit errors since boot.", gpu.remapped_rows),
        ("THERMAL_VIOLATION", "Time throttled for heat (in ns).", int(gpu.throttled_ns)),
        ("CORRECTABLE_REMAPPED_ROWS", "Remapped rows for correctable errors.", 0),
    )
    for name, meaning, value in counters:
        yield f"DCGM_FI_DEV_{name}", "counter", meaning, value
