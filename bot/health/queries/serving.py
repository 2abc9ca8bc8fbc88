"""What users feel and how the engines are, for every server in `bot.health.engines`."""

from collections.abc import Callable, Iterable

from bot.health.engines import ENGINES, PER_SECOND, VLLM, Engine, Histogram, Mean

# A scrape target serves one model as a rule; what names no pod is told apart by its target.
TARGET = "job, instance, namespace, pod"


def _of(engine: Engine, selector: str) -> str:
    """`selector` with the slot of this server's model label."""
    return selector.replace("<m>", f"<{engine.label}>")


def named(engine: Engine, expression: str) -> str:
    """`expression`, its model under the name that all others use."""
    if engine.label == "model_name":
        return expression
    return f'label_replace({expression}, "model_name", "$1", "{engine.label}", "(.+)")'


def _grouped(engine: Engine, expression: str, by: str = "", how: str = "sum") -> str:
    """`expression` per model and `by`. Renamed after the sum: a label_replace over every raw series costs more."""
    if engine.label == "model_name":
        return f"{how} by ({by}model_name) ({expression})"
    return f"{how} by ({by}model_name) ({named(engine, f'{how} by ({by}{engine.label}) ({expression})')})"


def per_second(engine: Engine, selector: str, window: str = "<window>", by: str = "") -> str:
    """Events a second per model."""
    return _grouped(engine, f"rate({_of(engine, selector)}[{window}])", by)


def share(bad: str, everything: str) -> str:
    """Bad over all, and 0 where nothing bad was ever counted."""
    return f"({bad} or {everything} * 0) / {everything}"


def _each(make: Callable[[Engine], str], told: Callable[[Engine], object]) -> tuple[str, ...]:
    return tuple(make(engine) for engine in ENGINES if told(engine))


# --- errors -------------------------------------------------------------------------------------------------------

# /v1/models is what health probes poll: it would thin the users' errors out.
HTTP = 'handler=~"/v1/.+",handler!="/v1/models"'


def _http(model: str, by: str, suffix: str = "") -> str:
    """Share of 5xx answers. prometheus-fastapi-instrumentator writes `5xx`, or `503` when asked not to group."""

    def rate(status: str) -> str:
        return f"sum by ({by}) (rate(http_requests_total{{{HTTP},{status}{model}}}[<window>]){suffix})"

    return share(rate('status=~"5..",'), rate(""))


def serves(engine: Engine) -> str:
    """Which target served which model lately: 1 per target and model."""
    return _grouped(engine, f"last_over_time({_of(engine, engine.presence)}[<memory>])", f"{TARGET}, ", "group")


# vLLM's own HTTP counter does not name the model: the engine on the same target does. `topk` keeps the match unique.
_SERVED_BY = f" * on (job, instance) group_left (model_name) topk by (job, instance) (1, {serves(VLLM)})"


def _answered(engine: Engine, by: str = "") -> str:
    parts = [per_second(engine, selector, by=by) for selector in engine.answered]
    if len(parts) == 1:
        return parts[0]
    # A counter that has never moved may not be there yet: it must not make the sum disappear.
    everything = " or ".join([" + ".join(parts), *parts])
    return f"({everything})"


ERRORS = (
    _http('model_name!="",<model_name>', "model_name"),
    _http('model_name=""', "model_name", _SERVED_BY),
    *_each(
        lambda engine: share(per_second(engine, engine.failed), _answered(engine)),
        lambda engine: engine.failed,
    ),
    # Last resort, for servers that name no model anywhere.
    f"""{_http('model_name=""', "job")} unless on () {VLLM.busy.replace("{<m>}", "")}""",
)

BROKEN_OFF = _each(
    lambda engine: share(per_second(engine, engine.broken), per_second(engine, engine.finished)),
    lambda engine: engine.broken,
)

# --- latency ------------------------------------------------------------------------------------------------------


def marked(expression: str, label: str, value: str) -> str:
    return f'label_replace({expression}, "{label}", "{value}", "", "")' if value else expression


def _p99(engine: Engine, latency: Histogram) -> str:
    """When the p99 is also the maximum it hit the last bucket: then a label says "at least"."""
    where = f"{latency.where}," if latency.where else ""
    buckets = _grouped(engine, f"rate({latency.family}_bucket{{{where}<{engine.label}>}}[<window>])", "le, ")
    scale = PER_SECOND[latency.unit]
    top = f"histogram_quantile(0.99, {buckets}) == histogram_quantile(1, {buckets})"
    over = marked(f"({top}){scale}", "at_least", "yes")
    return marked(f"({over} or on (model_name) histogram_quantile(0.99, {buckets}){scale})", "measure", latency.measure)


def _mean(engine: Engine, latency: Mean) -> str:
    def rate(family: str) -> str:
        return per_second(engine, f"{family}{{<m>}}")

    return marked(
        f"{rate(latency.total)} / {rate(latency.count)}{PER_SECOND[latency.unit]}", "measure", latency.measure
    )


def _latencies() -> Iterable[str]:
    for engine in ENGINES:
        for latency in engine.first_token:
            yield _p99(engine, latency) if isinstance(latency, Histogram) else _mean(engine, latency)


FIRST_TOKEN = tuple(_latencies())


def over_sla(engine: Engine, latency: Histogram, by: str = "", window: str = "<window>") -> str:
    """Share of the first tokens that came later than the SLA."""
    edge = "<sla>" if latency.unit == "s" else "<sla_ms>"
    within = _grouped(engine, f'rate({latency.family}_bucket{{le=~"{edge}",<{engine.label}>}}[{window}])', by)
    return f"1 - {within} / {_grouped(engine, f'rate({latency.family}_count{{<{engine.label}>}}[{window}])', by)}"


OVER_SLA = tuple(
    over_sla(engine, latency)
    for engine in ENGINES
    for latency in engine.first_token
    if isinstance(latency, Histogram) and not latency.measure
)

# --- queue, stall, cache ------------------------------------------------------------------------------------------


def gauge(engine: Engine, selector: str, by: str = f"{TARGET}, ") -> str:
    """A gauge per replica: engines of one process are summed up."""
    return _grouped(engine, _of(engine, selector), by)


QUEUE = _each(lambda engine: f"avg by (model_name) ({gauge(engine, engine.waiting)})", lambda engine: engine.waiting)


def _stalled(engine: Engine, by: str = f"{TARGET}, ") -> str:
    """1 for a replica that had work all the while and did none. One that only reads prompts never makes a token."""
    busy = f"({_grouped(engine, f'min_over_time({_of(engine, engine.presence)}[<short>])', by)} > bool 0)"
    mute = f"({per_second(engine, engine.made, '<short>', by)} == bool 0)"
    if not engine.prefill:
        return f"{busy} * {mute}"
    never = f"({_grouped(engine, _of(engine, engine.made), by)} == bool 0)"
    reads = f"({per_second(engine, engine.prefill, '<short>', by)} > bool 0)"
    return f"{busy} * {mute} * (1 - ({never} * {reads} or {busy} * 0))"


STALLED = _each(
    lambda engine: f"avg by (model_name) ({_stalled(engine)})", lambda engine: engine.made and engine.presence
)


KV = tuple(
    _grouped(engine, f"avg_over_time({_of(engine, selector)}[<window>])", how="max")
    for engine in ENGINES
    for selector in engine.kv
)

PUT_BACK = _each(lambda engine: per_second(engine, engine.put_back), lambda engine: engine.put_back)


def _grown(rate: str, before: str) -> str:
    """Requests a second over the mean of the hour before the last quarter of one."""
    return f"{rate} / (avg_over_time({before}[<memory>:<window>] offset <quarter>) > 0)"


_ASKED = f'sum by (model_name) (rate(http_requests_total{{{HTTP},model_name!="",<model_name>}}[<window>]))'
TRAFFIC = (
    _grown(_ASKED, _ASKED),
    *(_grown(per_second(engine, engine.ended), per_second(engine, engine.ended)) for engine in ENGINES if engine.ended),
)


def _targets(engine: Engine, offset: str = "") -> str:
    there = _grouped(engine, f"{_of(engine, engine.presence)}{offset}", f"{TARGET}, ", "group")
    return f"count by (model_name) ({there})"


def _vanished(engine: Engine) -> str:
    """Share of an hour ago's replicas that no longer report. Who asks Kubernetes knows better: a wanted number of
    replicas tells a loss from a scale-down."""
    before = _targets(engine, " offset <memory>")
    left = f"({_targets(engine)} or {before} * 0)"
    # By a matcher: a source is asked where one of the metrics that it names is there.
    wanted = '{__name__="kube_deployment_spec_replicas"}'
    return f"clamp_min(1 - {left} / {before}, 0) unless on () {wanted}"


VANISHED = _each(_vanished, lambda engine: engine.presence)

# --- what each replica does, for the verdict ------------------------------------------------------------------------


def _replica(engine: Engine, part: str) -> Iterable[str]:
    by = f"{TARGET}, node, "
    if part == "running" and engine.busy:
        yield gauge(engine, engine.busy, by)
    elif part == "most" and engine.busy:
        yield _grouped(engine, f"max_over_time({_of(engine, engine.busy)}[<memory>])", by)
    elif part == "waiting" and engine.waiting:
        yield gauge(engine, engine.waiting, by)
    elif part == "kv":
        for selector in engine.kv:
            yield _grouped(engine, _of(engine, selector), by, "max")
    elif part == "served" and engine.presence:
        yield _grouped(engine, f"last_over_time({_of(engine, engine.presence)}[<memory>])", by, "group")
    elif part == "stalled" and engine.made and engine.presence:
        yield _stalled(engine, by)
    elif part == "broken" and engine.broken:
        yield share(per_second(engine, engine.broken, by=by), per_second(engine, engine.finished, by=by))
    elif part == "late":
        for latency in engine.first_token:
            if isinstance(latency, Histogram) and not latency.measure:
                yield over_sla(engine, latency, by)


PARTS = ("served", "running", "waiting", "most", "kv", "stalled", "broken", "late")
REPLICAS: dict[str, tuple[str, ...]] = {
    part: tuple(source for engine in ENGINES for source in _replica(engine, part)) for part in PARTS
}
"""What each replica does, by what is asked: numbers per model and target, for the verdict."""
