"""The fleet as objects of a Kubernetes API: deployments with their ReplicaSets and pods, nodes, and budgets.

Everything is made from the fleet when somebody asks; only what Kubernetes keeps and the fleet does not need (numbers of
revisions, generations, annotations) is kept for it. Field names and reasons are those of
https://kubernetes.io/docs/reference/kubernetes-api/.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from bot.workbench.fleet.deployment import Deployment
from bot.workbench.fleet.fleet import MAX_REPLICAS, View
from bot.workbench.fleet.hardware import Node
from bot.workbench.fleet.serving import Replica

Json = dict[str, Any]

REVISION: Final = "deployment.kubernetes.io/revision"
GPU: Final = "nvidia.com/gpu"
EXPORTER: Final = "nvidia-dcgm-exporter"
_NAMES: Final = uuid.UUID("6f1a3a52-7d0e-4c39-9a0b-5a3c1d1e0f42")


class Invalid(Exception):
    """What is wanted of an object cannot be; the message says why."""


def deployments(view: View) -> Iterator[Json]:
    """Every model, and every candidate's own deployment."""
    for deployment in view.running():
        yield _deployment(view, deployment)


def replica_sets(view: View) -> Iterator[Json]:
    """One for each revision of each deployment."""
    for deployment in view.running():
        for revision in deployment.revisions:
            yield _replica_set(view, deployment, revision)


def pods(view: View) -> Iterator[Json]:
    """The replicas, and the exporter of each node."""
    for deployment in view.running():
        for replica in deployment.replicas:
            yield _pod(view, deployment, replica)
    for node in view.hardware.nodes.values():
        yield _exporter(view, node)


def nodes(view: View) -> Iterator[Json]:
    """Every server."""
    for node in view.hardware.nodes.values():
        meta = _meta(view, "Node", node.name, 0.0, labels={"kubernetes.io/hostname": node.name}, noted=node.annotations)
        ready = _condition("Ready", True, 0.0, "KubeletReady")
        gpus = {GPU: str(len(node.gpus))}
        spec: Json = {"unschedulable": True} if node.cordoned else {}
        status = {"capacity": gpus, "allocatable": gpus, "conditions": [ready]}
        yield {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": spec, "status": status}


def budgets(view: View) -> Iterator[Json]:
    """A budget for each deployment that has replicas: all but one of them stay."""
    for deployment in view.running():
        if deployment.replicas:
            name, healthy = deployment.spec.name, len(deployment.ready(view.now))
            spec = {"minAvailable": _least(deployment), "selector": {"matchLabels": {"app": name}}}
            status = {
                "currentHealthy": healthy,
                "desiredHealthy": _least(deployment),
                "disruptionsAllowed": max(0, healthy - _least(deployment)),
                "expectedPods": len(deployment.replicas),
            }
            meta = _meta(view, "PodDisruptionBudget", name, 0.0, namespace=view.spec.namespace)
            kind = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
            yield kind | {"metadata": meta, "spec": spec, "status": status}


def scale_of(deployment: Json) -> Json:
    """The `scale` part of a deployment."""
    selector = ",".join(f"{key}={value}" for key, value in deployment["spec"]["selector"]["matchLabels"].items())
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {key: deployment["metadata"][key] for key in kept},
        "spec": {"replicas": deployment["spec"]["replicas"]},
        "status": {"replicas": deployment["status"]["replicas"], "selector": selector},
    }


# --- changes


def change_deployment(view: View, name: str, was: Json, wanted: Json, *, dry_run: bool) -> None:
    """Make a deployment what an object says; Invalid for what cannot be. What people cannot set does not count."""
    deployment = next(d for d in view.running() if d.spec.name == name)
    replicas, template = wanted["spec"].get("replicas"), wanted["spec"].get("template", {})
    if not isinstance(replicas, int) or isinstance(replicas, bool) or not 0 <= replicas <= MAX_REPLICAS:
        raise Invalid(f"spec.replicas: Invalid value: {replicas}: must be from 0 to {MAX_REPLICAS}")
    revision = _revision(template)
    if revision not in deployment.revisions:
        known = ", ".join(deployment.revisions)
        raise Invalid(f"spec.template.spec.containers[0].image: there is no image of {revision}; known: {known}")
    if dry_run:
        return
    now, warm_up = view.now, view.spec.warm_up_s
    noted = wanted["metadata"].get("annotations") or {}
    deployment.annotations = {key: value for key, value in noted.items() if key != REVISION}
    annotations = template.get("metadata", {}).get("annotations") or {}
    if revision != deployment.target:
        deployment.template_annotations = annotations
        deployment.roll(revision, now, warm_up)
    elif annotations != deployment.template_annotations:
        deployment.template_annotations = annotations
        deployment.restart_all(now, warm_up)
    if replicas != was["spec"]["replicas"]:
        deployment.scale(replicas, now, warm_up)


def change_node(view: View, name: str, wanted: Json, *, dry_run: bool) -> None:
    """Cordon or uncordon."""
    if dry_run:
        return
    node = view.hardware.nodes[name]
    node.cordoned = bool(wanted["spec"].get("unschedulable"))
    node.annotations = wanted["metadata"].get("annotations") or {}
    for deployment in view.running():
        deployment.place(view.now, view.spec.warm_up_s)


def end_pod(view: View, name: str) -> None:
    """The pod goes; what it belongs to makes another, wherever there is room for it."""
    for node in view.hardware.nodes.values():
        if node.exporter_pod == name:
            node.restart_exporter(view.now)
    for deployment in view.running():
        for replica in deployment.replicas:
            if replica.pod == name:
                deployment.unseat(replica)
                deployment.place(view.now, view.spec.warm_up_s)
                return


def kept_by(view: View, name: str) -> str:
    """The sentence of the budget that lets this pod not be evicted now; empty when it may go."""
    for deployment in view.running():
        for replica in deployment.replicas:
            if replica.pod == name:
                healthy, least = len(deployment.ready(view.now)), _least(deployment)
                # A pod that does not serve takes nothing away, as long as enough others do.
                left = healthy - (replica.state(view.now) == "ready")
                if left < least:
                    budget = deployment.spec.name
                    return f"The disruption budget {budget} needs {least} healthy pods and has {healthy} currently"
    return ""


# --- parts


def _least(deployment: Deployment) -> int:
    return max(0, len(deployment.replicas) - 1)


def _revision(template: Json) -> str:
    """Which revision a template runs; Invalid when it is no template of a model server."""
    try:
        return str(template["spec"]["containers"][0]["image"]).rpartition(":")[2]
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise Invalid("spec.template.spec.containers: Required value") from error


def _template(deployment: Deployment, revision: str, *, of_set: bool = False) -> Json:
    name, spec = deployment.spec.name, deployment.spec
    labels = {"app": name, "track": "canary" if spec.candidate_of else "stable"}
    if of_set:
        labels["pod-template-hash"] = revision
    meta: Json = {"labels": labels}
    if revision == deployment.target and deployment.template_annotations:
        meta["annotations"] = dict(deployment.template_annotations)
    gpus = {GPU: str(spec.gpus)}
    container = {
        "name": "vllm",
        "image": deployment.image(revision),
        "ports": [{"containerPort": 8000, "protocol": "TCP"}],
        "resources": {"limits": gpus, "requests": gpus},
    }
    return {"metadata": meta, "spec": {"containers": [container], "terminationGracePeriodSeconds": 30}}


def _deployment(view: View, deployment: Deployment) -> Json:
    name, now, wanted = deployment.spec.name, view.now, len(deployment.replicas)
    updated = [replica for replica in deployment.replicas if not _waits(deployment, replica)]
    ready = len(deployment.ready(now))
    noted = {**deployment.annotations, REVISION: str(deployment.numbers[deployment.target])}
    meta = _meta(
        view,
        "Deployment",
        name,
        min(deployment.created.values()),
        namespace=view.spec.namespace,
        labels={"app": name},
        noted=noted,
    )
    meta["generation"] = deployment.generation
    done = ready == wanted == len(updated)
    status: Json = {
        "observedGeneration": deployment.observed(now),
        "replicas": wanted,
        "updatedReplicas": len(updated),
        "readyReplicas": ready,
        "availableReplicas": ready,
        "conditions": [
            _condition("Available", ready >= _least(deployment), deployment.changed_at, "MinimumReplicasAvailable"),
            _condition(
                "Progressing", True, deployment.changed_at, "NewReplicaSetAvailable" if done else "ReplicaSetUpdated"
            ),
        ],
    }
    if ready < wanted:
        status["unavailableReplicas"] = wanted - ready
    spec = {
        "replicas": wanted,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "selector": {"matchLabels": {"app": name}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        "template": _template(deployment, deployment.target),
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec, "status": status}


def _waits(deployment: Deployment, replica: Replica) -> bool:
    """Whether a replica is still of the template before."""
    rollout = deployment.rollout
    return rollout.concerns(replica) if rollout else replica.revision != deployment.target


def _replica_set(view: View, deployment: Deployment, revision: str) -> Json:
    name = f"{deployment.spec.name}-{revision}"
    # A revision that was built and has not been rolled out yet comes next.
    number = deployment.numbers.get(revision, len(deployment.numbers) + 1)
    labels = {"app": deployment.spec.name, "pod-template-hash": revision}
    namespace = view.spec.namespace
    meta = _meta(
        view,
        "ReplicaSet",
        name,
        deployment.created[revision],
        namespace=namespace,
        labels=labels,
        noted={REVISION: str(number)},
    )
    meta["ownerReferences"] = [_owner("apps/v1", "Deployment", namespace, deployment.spec.name)]
    held = [replica for replica in deployment.replicas if replica.revision == revision]
    ready = sum(replica.state(view.now) == "ready" for replica in held)
    spec = {
        "replicas": len(held),
        "selector": {"matchLabels": labels},
        "template": _template(deployment, revision, of_set=True),
    }
    status = {"replicas": len(held), "readyReplicas": ready, "availableReplicas": ready, "observedGeneration": 1}
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta, "spec": spec, "status": status}


def _pod(view: View, deployment: Deployment, replica: Replica) -> Json:
    namespace, revision = view.spec.namespace, replica.revision
    labels = {"app": deployment.spec.name, "pod-template-hash": revision}
    meta = _meta(view, "Pod", replica.pod, replica.scheduled_at, namespace=namespace, labels=labels)
    meta["ownerReferences"] = [_owner("apps/v1", "ReplicaSet", namespace, f"{deployment.spec.name}-{revision}")]
    state = replica.state(view.now)
    spec = _template(deployment, revision)["spec"]
    conditions = [_condition("PodScheduled", bool(replica.gpus), replica.scheduled_at, "")]
    status: Json = {"phase": "Running" if replica.gpus else "Pending", "conditions": conditions}
    if replica.gpus:
        spec = {**spec, "nodeName": replica.gpus[0].node}
        since = replica.ready_at if state == "ready" else replica.scheduled_at
        conditions.append(_condition("Ready", state == "ready", since, ""))
        started = {"waiting": {"reason": "CrashLoopBackOff"}} if state == "crashed" else {"running": {}}
        status["containerStatuses"] = [
            {
                "name": "vllm",
                "image": deployment.image(revision),
                "ready": state == "ready",
                "restartCount": int(replica.crashes),
                "state": started,
            }
        ]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}


def _exporter(view: View, node: Node) -> Json:
    namespace = view.spec.gpu_namespace
    meta = _meta(view, "Pod", node.exporter_pod, node.exporter_since, namespace=namespace, labels={"app": EXPORTER})
    meta["ownerReferences"] = [_owner("apps/v1", "DaemonSet", namespace, EXPORTER)]
    spec = {"nodeName": node.name, "containers": [{"name": "exporter", "image": "nvcr.example.com/dcgm-exporter:4.2"}]}
    ready = [_condition("PodScheduled", True, node.exporter_since, ""), _condition("Ready", True, 0.0, "")]
    status = {"phase": "Running", "conditions": ready}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec, "status": status}


def _meta(
    view: View,
    kind: str,
    name: str,
    created: float,
    *,
    namespace: str = "",
    labels: dict[str, str] | None = None,
    noted: dict[str, str] | None = None,
) -> Json:
    meta: Json = {
        "name": name,
        "uid": _uid(kind, namespace, name),
        "resourceVersion": str(int(view.now * 10)),  # anything may have changed with any tick
        "creationTimestamp": _time(created),
    }
    if namespace:
        meta["namespace"] = namespace
    if labels:
        meta["labels"] = labels
    if noted:
        meta["annotations"] = dict(noted)
    return meta


def _owner(version: str, kind: str, namespace: str, name: str) -> Json:
    owner = {"apiVersion": version, "kind": kind, "name": name, "uid": _uid(kind, namespace, name)}
    return owner | {"controller": True, "blockOwnerDeletion": True}


def _uid(kind: str, namespace: str, name: str) -> str:
    return str(uuid.uuid5(_NAMES, f"{kind}/{namespace}/{name}"))


def _condition(kind: str, holds: bool, since: float, reason: str) -> Json:
    found = {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": _time(since)}
    return found | {"reason": reason} if reason else found


def _time(at: float) -> str:
    """Whole seconds, as Kubernetes writes them; what has always been so began with the epoch."""
    return datetime.fromtimestamp(max(0.0, at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
