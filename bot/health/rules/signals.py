"""The pack's own vocabulary: recording rules that say in one set of names what each engine says in its own.

`model:…` is per model and server, `replica:…` per process. Alerts and objectives are written over these names alone,
and windows of days become cheap.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from bot.health.rules.engines import Counter, Engine, Histogram
from bot.health.rules.rule import Group, Record

GROUP: Final = "fixfirst-signals"
REQUESTS: Final = "model:llm_requests:rate5m"
FAILURES: Final = "model:llm_failures:rate5m"
BROKEN: Final = "model:llm_broken_answers:ratio_rate5m"
BROKEN_COUNT: Final = "model:llm_broken_answers:rate5m"
TTFT: Final = "model:llm_ttft"
E2E: Final = "model:llm_e2e"
WAITING: Final = "model:llm_waiting:avg"
KV: Final = "model:llm_kv_usage:max_avg5m"
PREEMPTED: Final = "model:llm_preemptions:rate5m"
TOKENS: Final = "model:llm_generated_tokens:rate5m"
STALLED: Final = "replica:llm_stalled:bool"
FINISHED: Final = "model:llm_finished:rate15m"
BY: Final = "service, model_name, namespace, job, server"
"""What these series have in common; `job` only where the engine names no model."""


def p99(signal: str) -> str:
    return f"{signal}_seconds:p99_5m"


def answered(signal: str) -> str:
    return f"{signal}:rate5m"


def late(signal: str, seconds: float) -> str:
    """Answers a second that came later than this."""
    return f'{signal}_late:rate5m{{within="{seconds:g}"}}'


def signals(engines: Sequence[Engine], first_token: Sequence[float], whole_answer: Sequence[float]) -> Group:
    """One record for each number that an engine knows. The latencies: the limits, in seconds, that somebody asks
    about."""
    records = [record for engine in engines for record in _of(engine, first_token, whole_answer)]
    return Group(GROUP, tuple(records))


def _of(engine: Engine, first_token: Sequence[float], whole_answer: Sequence[float]) -> Iterator[Record]:
    def record(name: str, expr: str, **labels: str) -> Record:
        return Record(name, expr, {"server": engine.id, **labels})

    total = _total(engine)
    yield record(REQUESTS, total)
    yield record(FAILURES, _failures(engine))
    if engine.broken:
        every = Counter(engine.broken.name)
        broken, answers = (engine.by_model("sum", engine.rate(counter, "5m")) for counter in (engine.broken, every))
        yield record(BROKEN, f"{broken} / {answers}")
        yield record(BROKEN_COUNT, broken)
    for signal, histogram, limits in ((TTFT, engine.ttft, first_token), (E2E, engine.e2e, whole_answer)):
        if histogram:
            yield from _latency(record, engine, signal, histogram, limits)
    if engine.waiting:
        replicas = engine.by_replica("sum", engine.series(engine.waiting[0]))
        yield record(WAITING, f"avg by ({engine.labels}) ({replicas})")
    if engine.kv:
        fullest = " or ".join(engine.by_model("max", f"avg_over_time({engine.series(name)}[5m])") for name in engine.kv)
        yield record(KV, fullest)
    if engine.preempted:
        yield record(PREEMPTED, engine.by_model("sum", f"rate({engine.series(engine.preempted)}[5m])"))
    if engine.tokens:
        yield record(TOKENS, engine.by_model("sum", f"rate({engine.series(engine.tokens)}[5m])"))
    if engine.tokens_live and engine.running:
        yield record(STALLED, _stalled(engine))
    if engine.finished:
        ended = engine.named(f"rate({engine.series(engine.finished)}[15m])")
        yield record(FINISHED, f"sum by ({engine.labels}, finished_reason) ({ended})")


def _total(engine: Engine) -> str:
    if engine.http:
        at_the_gateway, at_the_engine = _doors(engine, engine.total[0])
        return f"{at_the_gateway} or on (model_name) {at_the_engine}"
    parts = [engine.by_model("sum", engine.rate(counter, "5m")) for counter in engine.total]
    # A counter that nothing has moved yet may have no series.
    return " + ".join(f"({' or '.join([one, *(f'{other} * 0' for other in parts if other != one)])})" for one in parts)


def _failures(engine: Engine) -> str:
    """0, not absent, where nothing has failed: an error ratio must be there to be within its limit."""
    every = f'{REQUESTS}{{server="{engine.id}"}}'
    if engine.http:
        at_the_gateway, at_the_engine = _doors(engine, engine.failed[0])
        # A gateway that has never failed has no series that says so.
        failed = f"{at_the_gateway} or {at_the_engine} unless on (model_name) {_doors(engine, engine.total[0])[0]}"
    else:
        failed = " + ".join(engine.by_model("sum", engine.rate(counter, "5m")) for counter in engine.failed)
    return f"{failed} or on ({engine.labels}) {every} * 0"


def _doors(engine: Engine, counter: Counter) -> tuple[str, str]:
    """Requests by model as a gateway counts them, which names the model and is no engine; and as the engines do.

    A request passes both, so one of them has to win: the gateway, which is nearer to users. vLLM's own counter names no
    model, unless the scrape writes it there: the engine on the same target does.
    """
    served = f"last_over_time({engine.series(engine.running[0])}[1h])"
    by_target = f"topk by (job, instance) (1, group by (job, instance, model_name) ({served}))"
    named, unnamed = (engine.rate(counter, "5m", f'model_name{sign}""') for sign in ("!=", "="))
    own = (
        f"{named} and on (job, instance) {by_target}"
        f" or {unnamed} * on (job, instance) group_left (model_name) {by_target}"
    )
    return engine.by_model("sum", f"{named} unless on (job, instance) {by_target}"), engine.by_model("sum", own)


def _latency(
    record: Callable[..., Record], engine: Engine, signal: str, histogram: Histogram, limits: Sequence[float]
) -> Iterator[Record]:
    family = histogram.family
    bucket = engine.series(f"{family}_bucket")
    buckets = f"sum by (le, {engine.labels}) ({engine.named(f'rate({bucket}[5m])')})"
    seconds = "" if histogram.per_second == 1 else f" / {histogram.per_second}"
    count = engine.by_model("sum", f"rate({engine.series(f'{family}_count')}[5m])")
    yield record(p99(signal), f"histogram_quantile(0.99, {buckets}){seconds}")
    yield record(answered(signal), count)
    for limit in sorted(set(limits)):
        edge = engine.series(f"{family}_bucket", f'le=~"{histogram.edge(limit)}"')
        within = engine.by_model("sum", f"rate({edge}[5m])")
        yield record(f"{signal}_late:rate5m", f"{count} - {within}", within=f"{limit:g}")


def _stalled(engine: Engine) -> str:
    """1 for a replica that holds requests and writes nothing. One that never wrote a token only reads prompts."""
    tokens = engine.series(engine.tokens)
    running = engine.by_replica("sum", f"min_over_time({engine.series(engine.running[0])}[3m])")
    written = engine.by_replica("sum", f"rate({tokens}[3m])")
    ever = engine.by_replica("sum", tokens)
    return f"({running} > bool 0) * ({written} == bool 0) and ({ever} > 0)"
