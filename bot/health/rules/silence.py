"""Alerts about telemetry that is not there: nothing else would fire then, and nothing would be red."""

from collections.abc import Iterable, Sequence

from bot.health.rules.engines import Engine
from bot.health.rules.proofs import TARGET, bench, steady
from bot.health.rules.rule import Alert, Case, Group, series


def silence(engines: Sequence[Engine], *, dcgm: bool, kubernetes: bool) -> Group:
    """Per engine: a target that stopped answering, and an engine that nobody scrapes."""
    alerts = [*_targets(engines), *(_missing("LLMTelemetryMissing", e.title, e.alive, e.id) for e in engines)]
    if dcgm:
        alerts.append(_missing("GPUTelemetryMissing", "any GPU", "DCGM_FI_DEV_GPU_TEMP"))
    if kubernetes:
        alerts.append(_missing("KubernetesTelemetryMissing", "Kubernetes", "kube_pod_status_phase"))
    return Group("fixfirst-telemetry", tuple(alerts))


def _targets(engines: Sequence[Engine]) -> Iterable[Alert]:
    for engine in engines:
        one = bench(engine)
        gone = {**series("up", TARGET, "1x20 0x100"), **series(engine.alive, one.labels, "4x20 _x100")}
        there = {**series("up", TARGET, steady(1)), **series(engine.alive, one.labels, steady(4))}
        served = engine.named(f"last_over_time({engine.series(engine.alive)}[1h])")
        yield Alert(
            name="LLMTargetDown",
            expr=f"max by ({engine.labels}, instance) ({served} and on (job, instance) (up == 0))",
            severity="warning",
            wait="2m",
            summary="{{ $labels.instance }} of {{ $labels.model_name }}{{ $labels.job }} no longer answers its scrape",
            description="A replica is gone, or only its metrics are. What it served within the hour is still known.",
            runbook="",
            cases=(
                Case(
                    f"{engine.title} does not answer",
                    gone,
                    (one.seen_target,),
                ),
                Case(f"{engine.title} answers", there),
            ),
            labels={"server": engine.id},
        )


def _missing(name: str, what: str, metric: str, server: str = "") -> Alert:
    label = {"server": server} if server else {}
    return Alert(
        name=name,
        expr=f"absent({metric})",
        severity="warning",
        wait="10m",
        summary=f"Nothing is known of {what}",
        description=f"No series {metric} has come in for ten minutes. The alerts that need it cannot fire. See "
        "whether it is "
        "scraped at all, then what the target says.",
        runbook="",
        cases=(
            Case(f"{metric} is not there", {}, (label,)),
            Case(f"{metric} is there", series(metric, TARGET, steady(4))),
        ),
        labels=label,
    )
