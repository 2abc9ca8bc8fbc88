"""The PromQL behind the checks: expressions over the names that vLLM, SGLang, Triton, DCGM and Kubernetes export.

Templates, to be filled by `promql.render`. Each gives the model as `model_name` and the machine as `host`, whatever the
exporter calls them.
"""


def renamed(expression: str) -> str:
    """Triton names the model `model`; everybody else `model_name`."""
    return f'label_replace({expression}, "model_name", "$1", "model", "(.+)")'


def _triton(expression: str) -> str:
    return f"sum by (model_name) ({renamed(expression)})"


def _share(bad: str, everything: str) -> str:
    """Bad over all, and 0 where nothing bad was ever counted."""
    return f"({bad} or {everything} * 0) / {everything}"


# /v1/models is what health probes poll: it would thin the users' errors out.
_HTTP = 'handler=~"/v1/.+",handler!="/v1/models"'


def _http_share(model: str, by: str, suffix: str = "") -> str:
    """Share of 5xx answers. prometheus-fastapi-instrumentator writes `5xx`, or `503` when asked not to group."""

    def rate(status: str) -> str:
        return f"sum by ({by}) (rate(http_requests_total{{{_HTTP},{status}{model}}}[<window>]){suffix})"

    return _share(rate('status=~"5..",'), rate(""))


# vLLM's own HTTP counter does not name the model: the engine on the same target does. `topk` keeps the match unique.
_SERVED_BY = (
    " * on (job, instance) group_left (model_name) topk by (job, instance) (1, group by (job, instance, model_name) ("
    "last_over_time(vllm:num_requests_running{<model_name>}[<memory>])))"
)

ERRORS = (
    _http_share('model_name!="",<model_name>', "model_name"),
    _http_share('model_name=""', "model_name", _SERVED_BY),
    _share(
        "sum by (model_name) (rate(sglang:num_aborted_requests_total{<model_name>}[<window>]))",
        "sum by (model_name) (rate(sglang:num_requests_total{<model_name>}[<window>]))",
    ),
    _share(
        _triton('rate(nv_inference_request_failure{reason!="CANCELED",<model>}[<window>])'),
        "("
        + _triton("rate(nv_inference_request_success{<model>}[<window>])")
        + " + "
        + _triton('rate(nv_inference_request_failure{reason!="CANCELED",<model>}[<window>])')
        + ")",
    ),
    # Last resort, for servers that name no model anywhere.
    f"""{_http_share('model_name=""', "job")} unless on () vllm:num_requests_running""",
)

BROKEN_OFF = _share(
    'sum by (model_name) (rate(vllm:request_success_total{finished_reason="error",<model_name>}[<window>]))',
    "sum by (model_name) (rate(vllm:request_success_total{<model_name>}[<window>]))",
)


def p99(family: str) -> str:
    """p99 of a histogram. When it is also the maximum it hit the last bucket: then a label says "at least"."""

    def quantile(q: str) -> str:
        return f"histogram_quantile({q}, sum by (le, model_name) (rate({family}_bucket{{<model_name>}}[<window>])))"

    over = f'label_replace({quantile("0.99")} == {quantile("1")}, "at_least", "yes", "", "")'
    return f"{over} or on (model_name) {quantile('0.99')}"


def over_sla(family: str) -> str:
    within = f'sum by (model_name) (rate({family}_bucket{{le=~"<sla>",<model_name>}}[<window>]))'
    return f"1 - {within} / sum by (model_name) (rate({family}_count{{<model_name>}}[<window>]))"


TTFT = ("vllm:time_to_first_token_seconds", "sglang:time_to_first_token_seconds", "trtllm_time_to_first_token_seconds")

TRITON_MEAN = (
    "label_replace("
    + _triton("rate(nv_inference_request_duration_us{<model>}[<window>])")
    + " / "
    + _triton("rate(nv_inference_request_success{<model>}[<window>])")
    + ' / 1e6, "measure", "mean request time", "", "")'
)


def per_replica(expression: str) -> str:
    return f"avg by (model_name) (sum by (job, instance, pod, model_name) ({expression}))"


def stalled(running: str, tokens: str) -> str:
    by = "(job, instance, pod, model_name)"
    busy = f"(sum by {by} (min_over_time({running}{{<model_name>}}[<window>])) > bool 0)"
    mute = f"(sum by {by} (rate({tokens}{{<model_name>}}[<window>])) == bool 0)"
    return f"avg by (model_name) ({busy} * {mute})"


# Whose pods ask for GPUs serves models: by pod -> ReplicaSet -> Deployment.
GPU_PODS = '(kube_pod_container_resource_requests{resource=~"nvidia_com_(gpu|mig.*)"} > 0)'
_GPU_REPLICASETS = (
    'label_replace(kube_pod_owner{owner_kind="ReplicaSet"} and on (namespace, pod) '
    f'{GPU_PODS}, "replicaset", "$1", "owner_name", "(.+)")'
)
GPU_DEPLOYMENTS = (
    'label_replace(kube_replicaset_owner{owner_kind="Deployment"} and on (namespace, replicaset) '
    f'{_GPU_REPLICASETS}, "deployment", "$1", "owner_name", "(.+)")'
)


def replicas_lost(labels: str, by: str) -> str:
    available = f"sum by ({by}) (kube_deployment_status_replicas_available{{{labels}}})"
    wanted = f"(sum by ({by}) (kube_deployment_spec_replicas{{{labels}}}) > 0)"
    return f"1 - {available} / {wanted}"


# A target that no longer answers still knows which model it served, for as long as we remember.
def targets_down(family: str) -> str:
    return (
        "1 - avg by (model_name) (up * on (job, instance) group_left (model_name) topk by (job, instance) (1, "
        f"group by (job, instance, model_name) (last_over_time({family}{{<model_name>}}[<memory>]))))"
    )


# The age of the youngest ReplicaSet that has replicas: a generation number would also count every resize.
_AGES = (
    "((time() - kube_replicaset_created) * on (namespace, replicaset) group_left (owner_name) "
    'kube_replicaset_owner{{owner_kind="Deployment",{owner}}} and on (namespace, replicaset) '
    "(kube_replicaset_spec_replicas > 0))"
)


def _named_as_model(owner: str, model: str) -> str:
    """Nothing in Kubernetes says which model a deployment serves; the custom is to name it after the model."""
    ages = f'label_replace({_AGES.format(owner=owner)}, "model_name", "$1", "owner_name", "(.+)")'
    seen = f"(last_over_time(vllm:num_requests_running{{{model}}}[<memory>]) or http_requests_total{{{model}}})"
    return f"{ages} and on (model_name) {seen}"


NAMED_AS_MODEL = _named_as_model("<owner_name>", "<model_name>")
OTHERS_ON_GPUS = (
    f'label_replace({_AGES.format(owner="")}, "deployment", "$1", "owner_name", "(.+)") and on (namespace, replicaset) '
    f"{_GPU_REPLICASETS} unless on (namespace, replicaset) ({_named_as_model('', '')})"
)


def restarts(pods: str) -> str:
    """Restarts, with the reason of the last end where known. That reason stays for ever, hence the increase."""
    by = "namespace, pod, container"
    restarts = (
        f"(sum by ({by}) (increase(kube_pod_container_status_restarts_total[<window>])) and on (namespace, pod) {pods})"
    )
    reason = f"topk by ({by}) (1, max by ({by}, reason) (kube_pod_container_status_last_terminated_reason == 1))"
    return f"{restarts} * on ({by}) group_left (reason) {reason} or on ({by}) {restarts}"


def _tokens(family: str) -> str:
    return f"sum by (model_name) (rate({family}{{<model_name>}}[<window>]))"


def against_yesterday(family: str) -> str:
    """Tokens per second over the day's mean, the last hour left out. The mean is taken over what was measured: a rate
    over the whole day would count the hours before the first sample as hours without a token."""
    return f"{_tokens(family)} / avg_over_time({_tokens(family)}[<day>:<window>] offset <memory>)"


OF_TOKEN_BUDGET = (
    f"label_replace({_tokens('vllm:generation_tokens_total')} / on (model_name) "
    'max by (model_name) (gateway_token_budget_per_second{<model_name>}), "measure", "of the token budget", "", "")'
)


def _host(expression: str) -> str:
    """The host under one name: the exporter's own label says it better than `instance`, which moves with its pod."""
    for label in ("instance", "node", "hostname", "Hostname"):
        expression = f'label_replace({expression}, "host", "$1", "{label}", "(.+)")'
    return expression


# `uuid`, `pod_name`: dcgm-exporter with --use-old-namespace; `exported_pod`: a scrape without honorLabels.
_GPU = "UUID, uuid"
_GPU_LABELS = f"{_GPU}, gpu, host, job, instance, pod, exported_pod, pod_name, model_name"
# A cordoned node is being worked on.
_UNCORDONED = 'unless on (host) label_replace(kube_node_spec_unschedulable == 1, "host", "$1", "node", "(.+)")'


def per_gpu(expression: str, more: str = "") -> str:
    return f"max by ({_GPU_LABELS}{more}) ({_host(expression)})"


TEMP = "DCGM_FI_DEV_GPU_TEMP"
_GONE = f"({per_gpu(f'last_over_time({TEMP}[<memory>] offset <window>)')} unless on ({_GPU}) {TEMP} {_UNCORDONED})"
# A GPU is lost when its host still reports others or its exporter still answers; else the exporter is silent.
LOST_GPUS = f"{_GONE} and on (host) {_host(TEMP)} or {_GONE} and on (job, instance) (up == 1)"
SILENT_HOSTS = f"{_GONE} unless on (host) {_host(TEMP)} unless on (job, instance) (up == 1)"

# The gauge keeps the last Xid for days, so only one that is new within our memory counts; once the GPU has gone, its
# last word does. A GPU without an Xid may have no series: the first one then appears instead of changing.
XID = "DCGM_FI_DEV_XID_ERRORS"
_LAST_XID = f"({XID} > 0 or (last_over_time({XID}[<memory>]) > 0) unless on ({_GPU}) {XID} unless on ({_GPU}) {TEMP})"
_NEW_XID = f"(changes({XID}[<memory>]) > 0 or last_over_time({XID}[<memory>]) unless on ({_GPU}) {XID} offset <memory>)"
XID_COUNT = "DCGM_EXP_XID_ERRORS_COUNT"
XIDS = (
    f"{per_gpu(f'max_over_time({XID_COUNT}[<memory>])', ', xid')} > 0 {_UNCORDONED}",
    f'count_values by ({_GPU_LABELS}) ("xid", {_host(f"({_LAST_XID} and on ({_GPU}) {_NEW_XID})")} {_UNCORDONED})',
)

# What has a name: models by their engines, GPUs and nodes by their exporters.
NAMES = (
    "group by (model_name) (last_over_time(vllm:num_requests_running[1h]) "
    "or last_over_time(sglang:num_running_reqs[1h]))",
    f"group by (UUID, uuid, gpu, host) ({_host(f'last_over_time({TEMP}[1h])')})",
    'group by (host) (label_replace(kube_node_status_condition, "host", "$1", "node", "(.+)"))',
)
