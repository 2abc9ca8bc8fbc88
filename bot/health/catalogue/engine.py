"""E1 to E5: the engines, and what Kubernetes does with them."""

from bot.health.checks import Check
from bot.health.promql import Settings
from bot.health.queries import kubernetes, serving


def checks(settings: Settings) -> tuple[Check, ...]:
    return (
        Check(
            id="E1",
            title="KV cache",
            group="engine",
            sources=serving.KV,
            phrase="fullest KV cache at {value}",
            unit="share",
            warn=0.90,
            crit=0.95,
            runbook="kv-cache-saturated",
            explain="GPU memory is always full under vLLM, which reserves it; the KV cache is what runs out.",
        ),
        Check(
            id="E2",
            title="Preemptions",
            group="engine",
            sources=serving.PUT_BACK,
            phrase="{value} requests put back",
            unit="rate",
            warn=0.0,
            crit=0.5,
            runbook="kv-cache-saturated",
            explain="Requests thrown out of a full cache to start again. The critical limit is our judgement.",
        ),
        Check(
            id="E3",
            title="Restarts",
            group="engine",
            sources=(kubernetes.OF_MODEL, kubernetes.OF_SERVING, kubernetes.OF_GPUS),
            phrase="{value} container restarts",
            unit="count",
            warn=0.0,
            crit=3,
            runbook="gpu-oom-restart-loop",
            explain="OOMKilled is host memory. A CUDA out-of-memory never shows as such: read the container's log.",
            missing="no count of restarts of pods with GPUs",
        ),
        Check(
            id="E4",
            title="Recent change",
            group="change",
            sources=(kubernetes.STAMPED, kubernetes.BY_PODS, kubernetes.BY_NAME, kubernetes.OTHERS_ON_GPUS),
            phrase="deployed {value} ago",
            unit="age",
            warn=settings.change_seconds,
            rule="below",
            runbook="rollback-model-deploy",
            explain="A roll-out shortly before the trouble is the strongest hint there is: roll back, debug later.",
            missing="nothing tells when it was deployed",
        ),
        Check(
            id="E5",
            title="Pods without a GPU",
            group="engine",
            sources=kubernetes.PENDING,
            phrase="{value} pods wait for a GPU",
            calm="no pod waits for a GPU",
            unit="count",
            warn=0.0,
            runbook="fall-back-to-smaller-model",
            whole=True,
            explain="Scaling out does not help while nothing is free to scale to.",
        ),
    )
