"""What Kubernetes tells by kube-state-metrics: replicas, restarts, roll-outs, pods without a GPU, nodes."""

import re
from collections.abc import Iterable

from bot.health.engines import VLLM, Engine
from bot.health.queries.serving import serves

_RESOURCES = 'resource=~"nvidia_com_(gpu|mig.*)"'
# Whose pods ask for GPUs serves models: by pod -> ReplicaSet -> Deployment.
GPU_PODS = f"(kube_pod_container_resource_requests{{{_RESOURCES}}} > 0)"
_GPU_REPLICASETS = (
    'label_replace(kube_pod_owner{owner_kind="ReplicaSet"} and on (namespace, pod) '
    f'{GPU_PODS}, "replicaset", "$1", "owner_name", "(.+)")'
)
GPU_DEPLOYMENTS = (
    'label_replace(kube_replicaset_owner{owner_kind="Deployment"} and on (namespace, replicaset) '
    f'{_GPU_REPLICASETS}, "deployment", "$1", "owner_name", "(.+)")'
)
SERVED = "<served>"
"""Which target served which model lately, whatever the server; see `served`."""
ANY_SERVED = "<any_served>"
"""The same of every model, when only one is asked about."""


def served(engines: Iterable[Engine]) -> dict[str, str]:
    """What stands for these two slots when only `engines` are there."""
    told = [serves(engine) for engine in engines if engine.presence] or [serves(VLLM)]
    union = " or ".join(f"({text})" for text in told)
    return {"served": union, "any_served": re.sub(r"<(model_name|model|deployment|service|job)>", "", union)}


def _replicas_lost(labels: str, by: str) -> str:
    available = f"sum by ({by}) (kube_deployment_status_replicas_available{{{labels}}})"
    wanted = f"(sum by ({by}) (kube_deployment_spec_replicas{{{labels}}}) > 0)"
    return f"1 - {available} / {wanted}"


# Nothing in Kubernetes says which model a deployment serves; the custom is to name it after the model. A scrape may
# also write the model on every series of a workload.
# A pod that serves a model, its ReplicaSet, and the deployment that the ReplicaSet is named after (plus a hash).
_OWNED = 'label_replace(kube_pod_owner{owner_kind="ReplicaSet"}, "deployment", "$1", "owner_name", "(.+)-[^-]+")'
_SERVING_PODS = f"topk by (namespace, pod) (1, group by (namespace, pod, model_name) ({SERVED}))"
_SERVING = f"({_OWNED} * on (namespace, pod) group_left (model_name) {_SERVING_PODS})"
_DEPLOYMENTS = f"topk by (namespace, deployment) (1, group by (namespace, deployment, model_name) ({_SERVING}))"
_PODS_OF_MODEL = f"({_OWNED} and on (namespace, deployment) {_DEPLOYMENTS})"

# A target that no longer answers still knows which model it served, for as long as we remember.
TARGETS_DOWN = (
    f"1 - avg by (model_name) (up * on (job, instance) group_left (model_name) topk by (job, instance) (1, {SERVED}))"
)

_LOST = _replicas_lost("", "namespace, deployment")
_LOST_BY_NAME = _replicas_lost("<deployment>", "namespace, deployment")
REPLICAS_LOST = (
    _replicas_lost('model_name!="",<model_name>', "model_name"),
    f"max by (model_name) (({_LOST}) * on (namespace, deployment) group_left (model_name) {_DEPLOYMENTS})",
    # Else the custom is to name the deployment after the model.
    f'max by (model_name) (label_replace({_LOST_BY_NAME}, "model_name", "$1", "deployment", "(.+)")) '
    f"and on (model_name) ({SERVED})",
)
OTHERS_LOST = (
    f"{_LOST} and on (namespace, deployment) {GPU_DEPLOYMENTS}",
    # ReplicaSets are not scraped everywhere; then every deployment in a namespace with GPU pods may be one.
    f"{_LOST} and on (namespace) {GPU_PODS} unless on () kube_replicaset_owner",
)

# The age of the youngest ReplicaSet that has replicas: a generation number would also count every resize.
_AGES = (
    "((time() - kube_replicaset_created) * on (namespace, replicaset) group_left (owner_name) "
    'kube_replicaset_owner{{owner_kind="Deployment",{owner}}} and on (namespace, replicaset) '
    "(kube_replicaset_spec_replicas > 0))"
)


def _named_as_model(owner: str, served: str) -> str:
    ages = f'label_replace({_AGES.format(owner=owner)}, "model_name", "$1", "owner_name", "(.+)")'
    return f"{ages} and on (model_name) ({served})"


_SEEN = f"{SERVED} or http_requests_total{{<model_name>}}"
_ALL_SEEN = f"{ANY_SERVED} or http_requests_total"
_REPLICASETS = f'label_replace({_SERVING}, "replicaset", "$1", "owner_name", "(.+)")'
BY_PODS = (
    f"min by (model_name, replicaset) ({_REPLICASETS} * 0 + on (namespace, replicaset) group_left () "
    "((time() - kube_replicaset_created) and on (namespace, replicaset) (kube_replicaset_spec_replicas > 0)))"
)
BY_NAME = f"min by (model_name, replicaset) ({_named_as_model('<owner_name>', _SEEN)})"
_OTHERS = f'label_replace({_AGES.format(owner="")}, "deployment", "$1", "owner_name", "(.+)")'
OTHERS_ON_GPUS = (
    f"min by (namespace, deployment, replicaset) ({_OTHERS} and on (namespace, replicaset) {_GPU_REPLICASETS} "
    f"unless on (namespace, replicaset) ({_named_as_model('', _ALL_SEEN)}) unless on (namespace, replicaset) "
    f"({_REPLICASETS}))"
)
# Our own contract, for whatever Kubernetes does not show.
STAMPED = "min by (model_name, service, revision) (time() - model_deploy_timestamp_seconds{<model_name>})"


_RESTARTS = "kube_pod_container_status_restarts_total"


def restarts(pods: str) -> str:
    """Restarts, with the reason of the last end where known. That reason stays for ever, hence the increase.

    In a pod with GPUs only the container that holds them serves: a log shipper beside it takes no request along.
    """
    by = "namespace, pod, container"
    increase = f"increase({_RESTARTS}[<restarts>])"
    beside = f"({_RESTARTS} and on (namespace, pod) {GPU_PODS} unless on ({by}) {GPU_PODS})"
    restarted = f"(sum by ({by}) ({increase} unless on ({by}) {beside}) and on (namespace, pod) {pods})"
    reason = f"topk by ({by}) (1, max by ({by}, reason) (kube_pod_container_status_last_terminated_reason == 1))"
    return f"{restarted} * on ({by}) group_left (reason) {reason} or on ({by}) {restarted}"


OF_MODEL = restarts(_PODS_OF_MODEL)
OF_SERVING = restarts(f"({SERVED})")
OF_GPUS = restarts(GPU_PODS)


# A pod that is scheduled and only fetches its image is Pending too: it has its GPU.
def _waits(labels: str) -> str:
    pending = f'kube_pod_status_phase{{phase="Pending",{labels}}}'
    return (
        f"({pending} == 1 and on (namespace, pod) {pending} offset <window> == 1 "
        'unless on (namespace, pod) kube_pod_status_scheduled{condition="true"} == 1 '
        f"and on (namespace, pod) {GPU_PODS})"
    )


def _owned(kinds: str, pattern: str) -> str:
    owner = f'label_replace(kube_pod_owner{{{kinds}}}, "deployment", "$1", "owner_name", "{pattern}")'
    waits = _waits('model_name=""')
    return f"{waits} * on (namespace, pod) group_left (deployment) group by (namespace, pod, deployment) ({owner})"


_NO_MODEL = 'model_name=""'
_BY_DEPLOYMENT = "count by (namespace, deployment)"
_OF_MODELS = _waits('model_name!=""')
# A ReplicaSet is named after its deployment, a dash and a hash.
_OF_REPLICASETS = _owned('owner_kind="ReplicaSet"', "(.+)-[^-]+")
_OF_OTHERS = _owned('owner_kind!="ReplicaSet"', "(.+)")
PENDING = (
    f"count by (namespace, model_name) ({_OF_MODELS})",
    f"{_BY_DEPLOYMENT} ({_OF_REPLICASETS})",
    f"{_BY_DEPLOYMENT} ({_OF_OTHERS})",
    f"count by (namespace) ({_waits(_NO_MODEL)} unless on (namespace, pod) kube_pod_owner)",
    f"0 * count({GPU_PODS})",
)


def _node(expression: str, reason: str) -> str:
    named = f'label_replace({expression}, "host", "$1", "node", "(.+)")'
    return f'label_replace(max by (host) ({named}), "reason", "{reason}", "", "")'


_BAD_NODE = (
    "("
    + _node('kube_node_status_condition{condition="Ready",status="true"} == bool 0', "not ready")
    + " or "
    + _node(
        'kube_node_status_condition{condition="AcceleratedHardwareReady",status="false"} == bool 1',
        "accelerated hardware not ready",
    )
    + " or "
    + _node('kube_node_spec_taint{key=~"nvidia.com/gpu-error|node.kubernetes.io/unreachable"}', "tainted for its GPUs")
    + ")"
)
_GPU_NODES = (
    'label_replace(group by (node) (kube_node_status_capacity{resource=~"nvidia_com_(gpu|mig.*)"} > 0), '
    '"host", "$1", "node", "(.+)")'
)
# A cordoned node is being worked on.
UNCORDONED = 'unless on (host) label_replace(kube_node_spec_unschedulable == 1, "host", "$1", "node", "(.+)")'
# A node that was removed is not missed. Where kube-state-metrics is silent, or was never there, none is known to be.
# The hourly look finds those that left long ago without reading a day of samples.
NODES_LEFT = (
    "(last_over_time(kube_node_info[<memory>]) or max_over_time(kube_node_info[<day>:<memory>]))"
    " unless on (node) kube_node_info and on (job, cluster) kube_node_info"
)
OURS = f'unless on (host) label_replace({NODES_LEFT}, "host", "$1", "node", "(.+)")'
NODES = (
    f"{_BAD_NODE} and on (host) {_GPU_NODES} {UNCORDONED}",
    f"{_BAD_NODE} unless on () {_GPU_NODES} {UNCORDONED}",
)

NOT_READY = 'max by (namespace, pod, node) (kube_pod_status_ready{condition="true"} == bool 0)'
PLACED = 'group by (namespace, pod, node) (kube_pod_info{node!=""})'
