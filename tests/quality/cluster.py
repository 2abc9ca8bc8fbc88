"""The page of kube-state-metrics: what Kubernetes says of nodes, deployments, ReplicaSets and pods."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

import numpy as np

from tests.quality import gpus
from tests.quality.openmetrics import Floats, Mask, Page
from tests.quality.world import NAMESPACE, End, Pod, Revision, World

_TARGET = {"job": "kube-state-metrics", "instance": "10.99.0.2:8080"}
_PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")


class _Writer:
    def __init__(self, page: Page, times: Floats, shown: Mask) -> None:
        self._page, self.times, self._shown = page, times, shown

    def put(self, name: str, labels: Mapping[str, str], values: Floats | float, when: Mask | None = None) -> None:
        shown = self._shown if when is None else self._shown & when
        self._page.add(name, {**_TARGET, **labels}, self.times, values, shown)


def write(world: World, page: Page, silent: Mask) -> None:
    """Everything, every 30 s, for as long as the GPU exporter's past."""
    if "kube-state-metrics" in world.fleet.missing:
        return
    times = gpus.axis()
    writer = _Writer(page, times, ~silent)
    writer.put("up", {}, 1.0)
    for node in range(world.fleet.nodes):
        _node(world, writer, node)
    pods = list(world.pods)
    for pod in pods:
        _pod(world, writer, pod)
    for service in world.wanted:
        _deployment(world, writer, service, [pod for pod in pods if pod.service == service])
    for revision in world.revisions:
        _replicaset(world, writer, revision, [pod for pod in pods if pod.revision == revision.name])


def _node(world: World, writer: _Writer, node: int) -> None:
    name = {"node": f"node-{node}"}
    lost = writer.times >= world.lost_nodes.get(node, np.inf)
    cordoned = writer.times >= world.cordoned.get(node, np.inf)
    writer.put("kube_node_info", {**name, "kubelet_version": "v1.31.4"}, 1.0)
    for status, values in (("true", ~lost), ("false", lost & False), ("unknown", lost)):
        condition = {**name, "condition": "Ready", "status": status}
        writer.put("kube_node_status_condition", condition, values.astype(np.float64))
    writer.put("kube_node_spec_unschedulable", name, cordoned.astype(np.float64))
    taint = {**name, "key": "node.kubernetes.io/unschedulable", "value": "", "effect": "NoSchedule"}
    writer.put("kube_node_spec_taint", taint, 1.0, cordoned)
    unit = {**name, "resource": _resource(world), "unit": "integer"}
    total = float(world.fleet.gpus_per_node * world.fleet.mig_per_gpu)
    writer.put("kube_node_status_capacity", unit, total)
    writer.put("kube_node_status_allocatable", unit, total)


def _resource(world: World) -> str:
    profile = world.fleet.mig_profile
    return f"nvidia_com_mig_{profile.replace('.', '_')}" if profile else "nvidia_com_gpu"


def _ready(pod: Pod, times: Floats) -> Mask:
    ready = (times >= pod.life.begin) & (times < pod.life.end) & (not pod.pending)
    for gap in pod.away:
        ready &= ~((times >= gap.begin) & (times < gap.end))
    return ready


def _pod(world: World, writer: _Writer, pod: Pod) -> None:
    times = writer.times
    there = (times >= pod.life.begin) & (times < pod.life.end)
    uid = sha256(pod.name.encode()).hexdigest()
    name = {
        "namespace": NAMESPACE,
        "pod": pod.name,
        "uid": f"{uid[:8]}-{uid[8:12]}-{uid[12:16]}-{uid[16:20]}-{uid[20:32]}",
    }
    node = "" if pod.pending else f"node-{pod.node}"
    owner = {"owner_kind": "ReplicaSet", "owner_name": pod.revision, "owner_is_controller": "true"}
    owner = (
        owner if pod.revision else {"owner_kind": "DaemonSet", "owner_name": pod.service, "owner_is_controller": "true"}
    )
    made_by = {"created_by_kind": owner["owner_kind"], "created_by_name": owner["owner_name"]}
    writer.put("kube_pod_info", {**name, "node": node, **made_by}, 1.0, there)
    writer.put("kube_pod_owner", {**name, **owner}, 1.0, there)
    writer.put("kube_pod_created", name, float(writer_time(writer, pod.life.begin)), there)
    phase = "Pending" if pod.pending else "Running"
    for each in _PHASES:
        writer.put("kube_pod_status_phase", {**name, "phase": each}, float(each == phase), there)
    ready = _ready(pod, times)
    for condition, values in (("true", ready), ("false", ~ready)):
        writer.put("kube_pod_status_ready", {**name, "condition": condition}, values.astype(np.float64), there)
    if pod.pending:
        writer.put("kube_pod_status_unschedulable", name, 1.0, there)
    container = {**name, "container": pod.container}
    if pod.gpus:
        asked = {**container, "node": node, "resource": _resource(world), "unit": "integer"}
        writer.put("kube_pod_container_resource_requests", asked, float(len(pod.gpus)), there)
    if pod.pending:
        return
    digest = sha256(pod.image.encode()).hexdigest()
    image = {"image": f"registry.internal/{pod.image}", "image_id": f"registry.internal/{pod.image}@sha256:{digest}"}
    writer.put("kube_pod_container_info", {**container, **image}, 1.0, there)
    _container(writer, container, pod.ends, there, ready)
    if pod.sidecar_ends or pod.gpus:
        sidecar = {**name, "container": "log-agent"}
        _container(writer, sidecar, pod.sidecar_ends, there, there)


def writer_time(writer: _Writer, t: float) -> float:
    """A moment of the axis as Unix time."""
    return writer._page.now + t


def _container(writer: _Writer, container: Mapping[str, str], ends: Sequence[End], there: Mask, ready: Mask) -> None:
    times = writer.times
    count = np.sum([times >= end.at for end in ends], axis=0, dtype=np.float64) if ends else np.zeros_like(times)
    writer.put("kube_pod_container_status_restarts_total", container, count, there)
    writer.put("kube_pod_container_status_ready", container, ready.astype(np.float64), there)
    for reason, code, when in _last(ends, times):
        writer.put(
            "kube_pod_container_status_last_terminated_reason", {**container, "reason": reason}, 1.0, there & when
        )
        writer.put("kube_pod_container_status_last_terminated_exitcode", container, float(code), there & when)
    waits = np.zeros(times.shape, dtype=np.bool_)
    for end in ends:
        waits |= end.waiting & (times >= end.at) & (times < end.ready)
    back_off = {**container, "reason": "CrashLoopBackOff"}
    writer.put("kube_pod_container_status_waiting_reason", back_off, 1.0, there & waits)
    writer.put("kube_pod_container_status_running", container, (~waits).astype(np.float64), there)


def _last(ends: Sequence[End], times: Floats) -> Iterator[tuple[str, int, Mask]]:
    """The reason of the last end stays until the next one; all ends of a container have the same here."""
    if ends:
        yield ends[0].reason, ends[0].exit_code, times >= ends[0].at


def _steps(changes: Sequence[tuple[float, int]], times: Floats) -> Floats:
    values = np.zeros_like(times)
    for at, value in changes:
        values = np.where(times >= at, float(value), values)
    return values


def _deployment(world: World, writer: _Writer, service: str, pods: Sequence[Pod]) -> None:
    name = {"namespace": NAMESPACE, "deployment": service}
    times = writer.times
    wanted = _steps(world.wanted[service], times)
    there = np.sum([(times >= pod.life.begin) & (times < pod.life.end) for pod in pods], axis=0, dtype=np.float64)
    available = np.sum([_ready(pod, times) for pod in pods], axis=0, dtype=np.float64)
    writer.put("kube_deployment_created", name, writer_time(writer, -60 * 86_400.0))
    writer.put("kube_deployment_spec_replicas", name, wanted)
    writer.put("kube_deployment_status_replicas", name, there)
    writer.put("kube_deployment_status_replicas_ready", name, available)
    writer.put("kube_deployment_status_replicas_available", name, available)
    writer.put("kube_deployment_status_replicas_unavailable", name, np.maximum(wanted - available, 0))
    generation = _steps([(at, n + 1) for n, at in enumerate(sorted(world.generations[service]))], times)
    writer.put("kube_deployment_metadata_generation", name, generation)
    writer.put("kube_deployment_status_observed_generation", name, generation)
    if any(e.kind in {"hpa-resize", "pods-pending"} and e.target == f"service:{service}" for e in world.effects):
        scaler = {"namespace": NAMESPACE, "horizontalpodautoscaler": service}
        top = float(max(count for _, count in world.wanted[service]))
        writer.put("kube_horizontalpodautoscaler_spec_min_replicas", scaler, 2.0)
        writer.put("kube_horizontalpodautoscaler_spec_max_replicas", scaler, top)
        writer.put("kube_horizontalpodautoscaler_status_current_replicas", scaler, there)
        writer.put("kube_horizontalpodautoscaler_status_desired_replicas", scaler, wanted)


def _replicaset(world: World, writer: _Writer, revision: Revision, pods: Sequence[Pod]) -> None:
    name = {"namespace": NAMESPACE, "replicaset": revision.name}
    times = writer.times
    there = times >= revision.created
    alone = sum(each.service == revision.service for each in world.revisions) == 1
    wanted = _steps(world.wanted[revision.service] if alone else revision.wanted, times)
    owner = {"owner_kind": "Deployment", "owner_name": revision.service, "owner_is_controller": "true"}
    ready = np.sum([_ready(pod, times) for pod in pods], axis=0, dtype=np.float64) if pods else np.zeros_like(times)
    writer.put("kube_replicaset_created", name, np.rint(writer_time(writer, revision.created)), there)
    writer.put("kube_replicaset_owner", {**name, **owner}, 1.0, there)
    writer.put("kube_replicaset_spec_replicas", name, wanted, there)
    writer.put("kube_replicaset_status_ready_replicas", name, ready, there)
