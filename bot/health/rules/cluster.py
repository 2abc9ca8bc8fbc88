"""Alerts from kube-state-metrics, about the pods, deployments and nodes that serve models on GPUs."""

from collections.abc import Iterable
from typing import Final

from bot.health.queries import kubernetes as q
from bot.health.rules.limits import Limits
from bot.health.rules.proofs import OWNER, growing, steady
from bot.health.rules.rule import Alert, Case, Group, series

OWNED: Final = "service, model_name, namespace"
CONTAINER: Final = f"{OWNED}, pod, container"
_AT: Final = {"namespace": "inference", "pod": "llama-70b-6c9-x1"}
_INSIDE: Final = {**_AT, "container": "vllm"}
_MONITORED: Final = 'service="prometheus-kube-state-metrics", job="kube-state-metrics", endpoint="http"'
_OWNED: Final = {**OWNER, "model_name": "llama-70b"}
_DEPLOYMENT: Final = {"namespace": "inference", "deployment": "llama-70b"}


def _of_workload(expression: str) -> str:
    """Without the `service` that a ServiceMonitor adds: that is kube-state-metrics' own, not whom it speaks of."""
    return f'label_replace({expression}, "service", "", "service", ".*kube-state-metrics.*")'


def cluster(limits: Limits) -> Group:
    return Group("fixfirst-kubernetes", (*_replicas(), *_restarts(limits), _pending(), _nodes()))


def _gpu_pod(more: dict[str, str] | None = None) -> dict[str, str]:
    """A pod that asks for GPUs, of a deployment."""
    replicaset = {"namespace": "inference", "replicaset": "llama-70b-6c9"}
    asks = {**_INSIDE, "resource": "nvidia_com_gpu", "unit": "integer", **(more or {})}
    return {
        **series("kube_pod_container_resource_requests", asks, steady(8)),
        **series("kube_pod_owner", {**_AT, "owner_kind": "ReplicaSet", "owner_name": "llama-70b-6c9"}, steady(1)),
        **series(
            "kube_replicaset_owner", {**replicaset, "owner_kind": "Deployment", "owner_name": "llama-70b"}, steady(1)
        ),
    }


def _replicas() -> Iterable[Alert]:
    by = f"{OWNED}, deployment"
    available = f"max by ({by}) (kube_deployment_status_replicas_available)"
    wanted = f"max by ({by}) (kube_deployment_spec_replicas)"
    serving = f'and on (namespace, deployment) ({q.GPU_DEPLOYMENTS} or kube_deployment_spec_replicas{{model_name!=""}})'

    def deployment(has: float, wants: float) -> dict[str, str]:
        return {
            **series("kube_deployment_status_replicas_available", _DEPLOYMENT, steady(has)),
            **series("kube_deployment_spec_replicas", _DEPLOYMENT, steady(wants)),
            **_gpu_pod(),
        }

    named = {**_DEPLOYMENT, **_OWNED}
    yield Alert(
        name="ModelDown",
        expr=_of_workload(f"({available} == 0 and {wanted} > 0) {serving}"),
        severity="critical",
        wait="1m",
        summary="{{ $labels.deployment }} has no replica that serves",
        description="Every request is refused. With nothing to roll back, answer from the cache while the cause is "
        "found.",
        runbook="serve-from-cache",
        cases=(
            Case("no replica serves", deployment(0, 4), (_DEPLOYMENT,)),
            Case(
                "no replica serves, scraped by a ServiceMonitor",
                {f"{name[:-1]}, {_MONITORED}}}": values for name, values in deployment(0, 4).items()},
                (_DEPLOYMENT,),
            ),
            Case(
                "no replica serves, and the series names the model",
                {
                    **series("kube_deployment_status_replicas_available", named, steady(0)),
                    **series("kube_deployment_spec_replicas", named, steady(4)),
                },
                (named,),
            ),
            Case("scaled to nothing on purpose", deployment(0, 0)),
            Case("one of four serves", deployment(1, 4)),
        ),
    )
    yield Alert(
        name="ModelReplicasMissing",
        expr=_of_workload(f"({available} > 0 and {available} < {wanted}) {serving}"),
        severity="warning",
        wait="10m",
        summary="{{ $labels.deployment }} serves with {{ $value }} replicas, fewer than wanted",
        description="The others carry the load. Loading weights takes minutes; this has lasted longer.",
        runbook="queue-scale-out",
        cases=(
            Case("three of four serve", deployment(3, 4), (_DEPLOYMENT,)),
            Case("all serve", deployment(4, 4)),
        ),
    )


def _restarts(limits: Limits) -> Iterable[Alert]:
    by = "namespace, pod, container"
    gpu_pods = f"and on (namespace, pod) {q.GPU_PODS}"
    increase = "increase(kube_pod_container_status_restarts_total[15m])"
    restarts = _of_workload(f"sum by ({CONTAINER}) ({increase}) {gpu_pods}")
    many = limits.crit("E3") - 1

    def ended(reason: str) -> str:
        last = f'kube_pod_container_status_last_terminated_reason{{reason="{reason}"}}'
        return f"on ({by}) (max by ({by}) ({last}) == 1)"

    def pod(restarts: str, reason: str) -> dict[str, str]:
        return {
            **series("kube_pod_container_status_restarts_total", _INSIDE, restarts),
            **series("kube_pod_container_status_last_terminated_reason", {**_INSIDE, "reason": reason}, steady(1)),
            **_gpu_pod(),
        }

    once, often = "0x22 1x98", growing((many + 2) / 10)
    yield Alert(
        name="LLMRestartLoop",
        expr=f"{restarts} > {many:g}",
        severity="critical",
        wait="0s",
        summary="{{ $labels.pod }} was restarted {{ $value | humanize }} times in 15 minutes",
        description="It dies soon after it has begun to serve. In under 10 s: its settings; after minutes: the KV "
        "cache does "
        "not fit. Read the log of the container before.",
        runbook="gpu-oom-restart-loop",
        cases=(
            Case("a restart every few minutes", pod(often, "Error"), (_INSIDE,)),
            Case("one restart", pod(once, "Error")),
        ),
    )
    yield Alert(
        name="LLMHostOOM",
        # The reason of the last end stays for ever, so it counts only beside a restart.
        expr=f"{restarts} > 0 and {ended('OOMKilled')}",
        severity="warning",
        wait="0s",
        summary="{{ $labels.pod }} was killed for the host's memory",
        description="OOMKilled is host memory: weights on their way to the GPU, or pinned memory. Raise the pod's "
        "limit; GPU "
        "memory never shows as this.",
        runbook="rollback-model-deploy",
        cases=(
            Case("killed and restarted", pod(once, "OOMKilled"), (_INSIDE,)),
            Case("killed days ago", pod(steady(3), "OOMKilled")),
            Case("restarted for an error", pod(once, "Error")),
        ),
    )
    yield Alert(
        name="LLMSuspectedGPUOOM",
        expr=f"{restarts} > 0 and {ended('Error')} unless {ended('OOMKilled')}",
        severity="warning",
        wait="0s",
        summary="{{ $labels.pod }} ended with an error and was restarted",
        description="No metric tells running out of GPU memory from another crash. Look in the log of the container "
        "before "
        "for `CUDA out of memory` or `EngineDeadError`.",
        runbook="gpu-oom-restart-loop",
        cases=(
            Case("ended with an error", pod(once, "Error"), (_INSIDE,)),
            Case("an error of days ago", pod(steady(3), "Error")),
            Case("killed for the host's memory", pod(once, "OOMKilled")),
        ),
    )


def _pending() -> Alert:
    pending = 'max by (service, model_name, namespace, pod) (kube_pod_status_phase{phase="Pending"}) == 1'

    # A pod that is scheduled and only fetches its image is Pending too: it has its GPU.
    scheduled = 'on (namespace, pod) kube_pod_status_scheduled{condition="true"} == 1'

    def waits(resource: str, phase: float = 1, placed: float = 0) -> dict[str, str]:
        return {
            **series("kube_pod_status_phase", {**_AT, "phase": "Pending"}, steady(phase)),
            **series("kube_pod_status_scheduled", {**_AT, "condition": "true"}, steady(placed)),
            **_gpu_pod({"resource": resource}),
        }

    return Alert(
        name="LLMNoCapacity",
        expr=_of_workload(f"count by ({OWNED}) (({pending} unless {scheduled}) and on (namespace, pod) {q.GPU_PODS})"),
        severity="critical",
        wait="5m",
        summary="{{ $labels.namespace }}: {{ $value }} pods find no GPU",
        description="Nothing is free to scale to. Take GPUs from batch work, or let a smaller model answer.",
        runbook="fall-back-to-smaller-model",
        cases=(
            Case("a pod waits for its GPUs", waits("nvidia_com_gpu"), ({"namespace": "inference"},)),
            Case("a pod waits for a slice of one", waits("nvidia_com_mig_1g_10gb"), ({"namespace": "inference"},)),
            Case("a pod waits for its volume, without GPUs", waits("cpu")),
            Case("a pod has its GPUs and fetches its image", waits("nvidia_com_gpu", placed=1)),
            Case("the pod runs", waits("nvidia_com_gpu", 0)),
        ),
    )


def _nodes() -> Alert:
    bad = (
        'max by (node) (kube_node_status_condition{condition="Ready",status="true"}) == 0',
        'max by (node) (kube_node_status_condition{condition="AcceleratedHardwareReady",status="false"}) == 1',
        'max by (node) (kube_node_spec_taint{key="nvidia.com/gpu-error"}) == 1',
    )
    node = {"node": "gpu-node-1"}
    has = series("kube_node_status_capacity", {**node, "resource": "nvidia_com_gpu", "unit": "integer"}, steady(8))

    def condition(name: str, status: str, value: float) -> dict[str, str]:
        return series("kube_node_status_condition", {**node, "condition": name, "status": status}, steady(value))

    return Alert(
        name="GPUNodeNotReady",
        expr=f"({' or '.join(bad)})"
        ' and on (node) (kube_node_status_capacity{resource=~"nvidia_com_(gpu|mig.*)"} > 0) '
        "unless on (node) (kube_node_spec_unschedulable == 1)",
        severity="critical",
        wait="2m",
        summary="{{ $labels.node }} and its GPUs are not ready",
        description="Kubernetes, its GPU monitor or NVSentinel says so. Its pods will be lost: let others carry the "
        "load.",
        runbook="gpu-off-the-bus",
        cases=(
            Case("the node is not ready", {**has, **condition("Ready", "true", 0)}, (node,)),
            Case("its GPUs are not ready", {**has, **condition("AcceleratedHardwareReady", "false", 1)}, (node,)),
            Case(
                "it is tainted for its GPUs",
                {
                    **has,
                    **series(
                        "kube_node_spec_taint",
                        {**node, "key": "nvidia.com/gpu-error", "effect": "NoSchedule"},
                        steady(1),
                    ),
                },
                (node,),
            ),
            Case("all is well", {**has, **condition("Ready", "true", 1)}),
            Case("a node without GPUs", condition("Ready", "true", 0)),
            Case(
                "somebody is at work on it",
                {**has, **condition("Ready", "true", 0), **series("kube_node_spec_unschedulable", node, steady(1))},
            ),
        ),
    )
