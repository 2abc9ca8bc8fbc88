"""What the health report looks at: one entry per check, as data.

Every query yields a number per model, host or GPU also when all is well, because an empty answer must mean "unknown":
a comparison inside the query would make a healthy series and a missing one look alike. `sources` are alternatives,
joined with `or`, so that the first that knows a label set wins and a mixed fleet is covered in one round trip. Limits
come from NVIDIA's AIPerf metric reference (KV cache, preemption), the SRE workbook and public rule packs (queue), and
our own judgement where `explain` says so.
"""

from dataclasses import dataclass
from typing import Literal

from bot.health import queries as q
from bot.health.promql import Settings

Group = Literal["users", "engine", "change", "hardware", "model"]
Unit = Literal["share", "seconds", "age", "count", "rate", "times", "score", "xid"]
Rule = Literal["above", "below", "xid"]
Direction = Literal["above", "below"]

NO_METRIC = "no such metric"


@dataclass(frozen=True, slots=True)
class Check:
    """One question to Prometheus.

    sources: query templates in fallback order (slots: see `promql.render`). phrase: the answer in words, with `{value}`
    where the number goes. warn and crit: past `warn`, or at or past `crit`, in the direction of `rule`; rule `xid` asks
    the Xid table instead. calm: said instead of the phrase when all is well. missing: what an empty answer means.
    A source without a slot for the model is left out when one model is asked about, except for hardware, which is
    looked at as a whole.
    """

    id: str
    title: str
    group: Group
    sources: tuple[str, ...]
    phrase: str
    unit: Unit
    explain: str
    warn: float | None = None
    crit: float | None = None
    rule: Rule = "above"
    calm: str = ""
    missing: str = NO_METRIC


def catalogue(settings: Settings) -> tuple[Check, ...]:
    """Every check, in the order of the report. To add one, add one entry."""
    return (
        Check(
            id="U1",
            title="Errors",
            group="users",
            sources=q.ERRORS,
            phrase="{value} of requests fail",
            unit="share",
            warn=0.01,
            crit=0.10,
            explain="5xx answers over all answers; for SGLang aborted requests, which include clients that hung up.",
        ),
        Check(
            id="U1b",
            title="Answers broken off",
            group="users",
            sources=(q.BROKEN_OFF,),
            phrase="{value} of answers break off",
            unit="share",
            warn=0.01,
            crit=0.10,
            explain="A stream that breaks after its first byte stays HTTP 200; only the engine counts it.",
        ),
        Check(
            id="U2",
            title="First token",
            group="users",
            sources=(*(q.p99(family) for family in q.TTFT), q.TRITON_MEAN),
            phrase="p99 time to first token {value}",
            unit="seconds",
            warn=settings.sla_seconds,
            crit=2 * settings.sla_seconds,
            explain="99 of 100 requests get their first token faster; Triton gives only a mean request time.",
        ),
        Check(
            id="U2b",
            title="Over the SLA",
            group="users",
            sources=tuple(q.over_sla(family) for family in q.TTFT),
            phrase="{value} of first tokens later than the SLA",
            unit="share",
            warn=0.01,
            crit=0.10,
            explain="Unlike a p99 it does not stop at the last bucket of the histogram.",
            missing="no such metric, or the SLA is not an edge of the histogram",
        ),
        Check(
            id="U3",
            title="Queue",
            group="users",
            sources=(
                q.per_replica("vllm:num_requests_waiting{<model_name>}"),
                q.per_replica("sglang:num_queue_reqs{<model_name>}"),
                q.per_replica("trtllm_num_requests_waiting{<model_name>}"),
                q.per_replica(q.renamed("nv_inference_pending_request_count{<model>}")),
            ),
            phrase="{value} requests wait per replica",
            unit="count",
            warn=10,
            crit=50,
            explain="More than 10 waiting per replica is a queue that users feel; 50 is one that does not drain.",
        ),
        Check(
            id="U4",
            title="Stall",
            group="users",
            sources=(
                q.stalled("vllm:num_requests_running", "vllm:generation_tokens_total"),
                q.stalled("sglang:num_running_reqs", "sglang:generation_tokens_total"),
            ),
            phrase="{value} of replicas hold requests and produce no token",
            unit="share",
            warn=0.0,
            crit=0.5,
            explain="Health endpoints catch a dead engine, not a hung one.",
        ),
        Check(
            id="U5",
            title="Capacity",
            group="users",
            sources=(
                q.replicas_lost('model_name!="",<model_name>', "model_name"),
                *(q.targets_down(family) for family in ("vllm:num_requests_running", "sglang:num_running_reqs")),
                f"{q.replicas_lost('', 'namespace, deployment')} and on (namespace, deployment) {q.GPU_DEPLOYMENTS}",
            ),
            phrase="{value} of replicas are down",
            unit="share",
            warn=0.0,
            crit=0.5,
            explain="Replicas that do not serve over replicas wanted, or scrape targets that do not answer.",
        ),
        Check(
            id="E1",
            title="KV cache",
            group="engine",
            sources=tuple(
                f"max by (model_name) (avg_over_time({family}{{<model_name>}}[<window>]))"
                for family in (
                    "vllm:kv_cache_usage_perc",
                    "vllm:gpu_cache_usage_perc",
                    "sglang:token_usage",
                    "trtllm_kv_cache_utilization",
                )
            ),
            phrase="fullest KV cache at {value}",
            unit="share",
            warn=0.90,
            crit=0.95,
            explain="GPU memory is always full under vLLM, which reserves it; the KV cache is what runs out.",
        ),
        Check(
            id="E2",
            title="Preemptions",
            group="engine",
            sources=tuple(
                f"sum by (model_name) (rate({family}{{<model_name>}}[<window>]))"
                for family in ("vllm:num_preemptions_total", "sglang:num_retracted_requests_total")
            ),
            phrase="{value} requests put back",
            unit="rate",
            warn=0.0,
            crit=0.5,
            explain="Requests thrown out of a full cache to start again. The critical limit is our judgement.",
        ),
        Check(
            id="E3",
            title="Restarts",
            group="engine",
            sources=(
                q.restarts("last_over_time(vllm:num_requests_running{<model_name>}[<memory>])"),
                q.restarts(q.GPU_PODS),
            ),
            phrase="{value} container restarts",
            unit="count",
            warn=0.5,
            crit=3,
            explain="OOMKilled is host memory. A CUDA out-of-memory never shows as such: read the container's log.",
        ),
        Check(
            id="E4",
            title="Recent change",
            group="change",
            sources=(
                "min by (model_name, service, revision) (time() - model_deploy_timestamp_seconds{<model_name>})",
                f"min by (model_name, replicaset) ({q.NAMED_AS_MODEL})",
                f"min by (namespace, deployment, replicaset) ({q.OTHERS_ON_GPUS})",
            ),
            phrase="deployed {value} ago",
            unit="age",
            warn=settings.change_seconds,
            rule="below",
            explain="A roll-out shortly before the trouble is the strongest hint there is: roll back, debug later.",
            missing="nothing tells when it was deployed",
        ),
        Check(
            id="C1",
            title="Cache fallback",
            group="change",
            sources=("max by (model_name) (gateway_cache_fallback{<model_name>})",),
            phrase="answered from the cache",
            calm="answered by the model",
            unit="count",
            warn=0.0,
            explain="On purpose and for a while: what users get may be old.",
        ),
        Check(
            id="H1",
            title="Lost GPU",
            group="hardware",
            sources=(f"({q.LOST_GPUS}) * 0 + 1", f"0 * count({q.TEMP})"),
            phrase="GPU no longer reports",
            calm="every GPU reports",
            unit="count",
            crit=1,
            explain="A dead GPU does not turn red, its series stop. Cordoned nodes are left out: somebody is at work.",
        ),
        Check(
            id="H1b",
            title="Silent GPU exporter",
            group="hardware",
            sources=(f"group by (host) ({q.SILENT_HOSTS})", f"0 * count({q.TEMP})"),
            phrase="no GPU of the host reports",
            calm="every GPU exporter answers",
            unit="count",
            warn=0.0,
            explain="The node, its network or only the exporter is down: not yet a lost GPU.",
        ),
        Check(
            id="H2",
            title="Xid",
            group="hardware",
            sources=(*q.XIDS, f"0 * count({q.XID_COUNT})", f"0 * count({q.XID})"),
            phrase="new Xid",
            calm="no new Xid",
            unit="xid",
            rule="xid",
            explain="Most Xids are the application's; the number decides whether the GPU needs a reset or a reboot.",
            missing="no Xid series: newer exporters leave it out until the first one",
        ),
        Check(
            id="H3",
            title="Row remapping",
            group="hardware",
            sources=(q.per_gpu("DCGM_FI_DEV_ROW_REMAP_FAILURE"),),
            phrase="memory row could not be remapped",
            calm="no failed memory row",
            unit="count",
            crit=1,
            explain="The GPU has run out of spare memory rows: it has to be replaced.",
        ),
        Check(
            id="M1",
            title="Drift",
            group="model",
            sources=(
                'max by (model_name, feature) (model_drift_score{method="psi",model_name!="",<model_name>})',
                'max by (model_name, feature) (label_replace(model_drift_score{method="psi",model_name="",<model>}, '
                '"model_name", "$1", "model", "(.+)"))',
            ),
            phrase="stability index (PSI) {value}",
            unit="score",
            warn=0.1,
            crit=0.2,
            explain="Under 0.1 the inputs look like the reference, over 0.2 they do not; convention, not theory.",
        ),
        Check(
            id="M2",
            title="Token spike",
            group="model",
            sources=(
                " or on (model_name) ".join(
                    (
                        q.OF_TOKEN_BUDGET,
                        q.against_yesterday("vllm:generation_tokens_total"),
                        q.against_yesterday("sglang:generation_tokens_total"),
                    )
                ),
            ),
            phrase="{value} as many tokens as usual",
            missing="no count of tokens, or too short a history",
            unit="times",
            warn=3,
            crit=10,
            explain="A loop in an agent, retries or a leaked key. Both limits are our judgement.",
        ),
    )
