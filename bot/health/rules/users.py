"""Alerts about what users of a model feel, and about the engine that makes them feel it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from bot.health.rules import signals as s
from bot.health.rules.engines import Engine, Histogram
from bot.health.rules.limits import Limits
from bot.health.rules.proofs import bench, growing, mirrored, steady
from bot.health.rules.rule import Alert, Case, Group

FEWEST_FAILURES: Final = 3
"""In five minutes. One failed or late request of a quiet night is no alert."""


def users(engines: Sequence[Engine], limits: Limits) -> Group:
    """Errors, broken answers and latency."""
    alerts = [_errors(engines, limits), _many_errors(engines, limits), *_broken(engines, limits)]
    for signal, name, what, seconds, runbook in (
        (s.TTFT, "TTFT", "first token", limits.first_token, "rollback-model-deploy"),
        (s.E2E, "E2E", "whole answer", limits.whole_answer, "queue-scale-out"),
    ):
        known = {e: h for e in engines if (h := e.ttft if signal == s.TTFT else e.e2e)}
        if known:
            alerts += _latency(known, signal, name, what, seconds=seconds, limits=limits, runbook=runbook)
    return Group("fixfirst-users", tuple(alerts), (s.GROUP,))


def engine(engines: Sequence[Engine], limits: Limits) -> Group:
    """Stall, queue and KV cache."""
    return Group("fixfirst-engine", (*_stall(engines), *_queue(engines, limits), *_kv(engines, limits)), (s.GROUP,))


def _around(limit: float) -> tuple[float, float]:
    """Of a thousand, how many are clearly past the limit, and how many clearly within it."""
    return min(900.0, 3000 * limit), 500 * limit


def _ratio() -> str:
    return f"{s.FAILURES} / {s.REQUESTS}"


def _errors(engines: Sequence[Engine], limits: Limits) -> Alert:
    limit = limits.warn("U1")
    over, under = _around(limit)
    return Alert(
        name="LLMErrorRatioHigh",
        expr=f"{_ratio()} > {limit:g} and {s.FAILURES} * 300 >= {FEWEST_FAILURES}",
        severity="warning",
        wait="5m",
        summary="{{ $labels.model_name }}{{ $labels.job }}: {{ $value | humanizePercentage }} of requests fail",
        description=f"More than {limit:.0%} of the answers are errors. Roll back if something was deployed in the last "
        "half hour; else look at the replica that answers them.",
        runbook="rollback-model-deploy",
        cases=tuple(
            case
            for engine in engines
            for case in (
                Case(
                    f"{engine.title} fails {over:g} in 1000",
                    bench(engine).requests(1000 - over, over),
                    (bench(engine).seen,),
                ),
                Case(f"{engine.title} has only failed", bench(engine).requests(0, 100), (bench(engine).seen,)),
                Case(f"{engine.title} fails {under:g} in 1000", bench(engine).requests(1000 - under, under)),
                Case(f"{engine.title} has not failed once", bench(engine).requests(100, 0)),
                Case(f"{engine.title}: one of few requests failed", bench(engine).requests(1, 0.2)),
                *_mirrored(engine, bench(engine).requests(1000 - over, over), limits),
                *_behind_a_gateway(engine, limit),
            )
        ),
    )


def _mirrored(engine: Engine, past: Mapping[str, str], limits: Limits) -> Iterator[Case]:
    label = limits.settings.mirror_label
    if label:
        yield Case(f"{engine.title} does so in mirrored traffic", mirrored(past, label))


def _behind_a_gateway(engine: Engine, limit: float) -> Iterator[Case]:
    """What the other door says would halve the one share and double the other."""
    if not engine.http:
        return
    one, bad = bench(engine), 1500 * limit
    passed = {**one.at_a_gateway(1000 - bad, bad), **one.requests(1000 - bad, 0)}
    yield Case(f"{engine.title} answers, and its gateway fails {bad:g} in 1000", passed, (one.seen,))
    tried_again = {**one.at_a_gateway(1000, 0), **one.requests(1000 - 2 * bad, 2 * bad)}
    yield Case(f"{engine.title} fails {2 * bad:g} in 1000, and its gateway tries again", tried_again)


def _many_errors(engines: Sequence[Engine], limits: Limits) -> Alert:
    limit = limits.crit("U1")
    over, under = _around(limit)
    return Alert(
        name="LLMErrorRatioCritical",
        expr=f"{_ratio()} >= {limit:g} and {s.FAILURES} * 300 >= {FEWEST_FAILURES}",
        severity="critical",
        wait="2m",
        summary="{{ $labels.model_name }}{{ $labels.job }}: {{ $value | humanizePercentage }} of requests fail",
        description=f"At least {limit:.0%} of the answers are errors: an outage. Roll back a recent deploy first, or "
        "answer from the cache; find the cause after.",
        runbook="rollback-model-deploy",
        cases=tuple(
            case
            for engine in engines
            for case in (
                Case(
                    f"{engine.title} fails {over:g} in 1000",
                    bench(engine).requests(1000 - over, over),
                    (bench(engine).seen,),
                ),
                Case(f"{engine.title} fails {under:g} in 1000", bench(engine).requests(1000 - under, under)),
            )
        ),
    )


def _broken(engines: Sequence[Engine], limits: Limits) -> Iterator[Alert]:
    known = {engine: engine.broken for engine in engines if engine.broken}
    if not known:
        return
    limit = limits.warn("U1b")
    over, under = _around(limit)

    def ended(engine: Engine, fine: float, broken: float) -> dict[str, str]:
        counter, one = known[engine], bench(engine)
        return {
            **one.counter(counter.name, growing(fine), finished_reason="stop"),
            **one.counter(counter.name, growing(broken), **counter.example),
        }

    yield Alert(
        name="LLMAnswersBrokenOff",
        expr=f"{s.BROKEN} > {limit:g} and {s.BROKEN_COUNT} * 300 >= {FEWEST_FAILURES}",
        severity="critical",
        wait="5m",
        summary="{{ $labels.model_name }}: {{ $value | humanizePercentage }} of answers break off",
        description="The engine ends answers with an error. A stream that breaks after its first byte stays HTTP "
        "200, so "
        "no other counter shows it.",
        runbook="rollback-model-deploy",
        cases=tuple(
            case
            for engine in known
            for case in (
                Case(
                    f"{engine.title} breaks {over:g} in 1000 off",
                    ended(engine, 1000 - over, over),
                    (bench(engine).seen,),
                ),
                Case(f"{engine.title} breaks {under:g} in 1000 off", ended(engine, 1000 - under, under)),
                Case(f"{engine.title} broke one of few answers off", ended(engine, 1, 0.2)),
            )
        ),
    )


def _latency(
    known: dict[Engine, Histogram],
    signal: str,
    name: str,
    what: str,
    *,
    seconds: float,
    limits: Limits,
    runbook: str,
) -> list[Alert]:
    few, many = limits.warn("U2b"), limits.crit("U2b")
    over, under = _around(many)
    late_ones = s.late(signal, seconds)
    enough = f"and ignoring (within) {late_ones} * 300 >= {FEWEST_FAILURES}"

    def cases(late: float, fires: bool) -> Iterator[Case]:
        for engine, histogram in known.items():
            one = bench(engine)
            answers = one.latency(histogram, seconds, 100 - late, late)
            yield Case(f"{engine.title}: {late:g} of 100 come too late", answers, (one.seen,) if fires else ())

    def quiet() -> Iterator[Case]:
        for engine, histogram in known.items():
            one = bench(engine)
            yield Case(f"{engine.title}: one of two requests comes too late", one.latency(histogram, seconds, 0.2, 0.2))
            yield from _mirrored(engine, one.latency(histogram, seconds, 10, 90), limits)

    return [
        Alert(
            name=f"LLM{name}p99AboveSLA",
            expr=f"{s.p99(signal)} > {seconds:g} {enough}",
            severity="warning",
            wait="5m",
            summary="{{ $labels.model_name }}{{ $labels.job }}: "
            + f"p99 of the {what} is {{{{ $value | humanizeDuration }}}}, promised are {seconds:g} s",
            description=f"One request in a hundred waits longer than {seconds:g} s for the {what}. A value at the "
            "histogram's last edge means that long or longer.",
            runbook=runbook,
            cases=(*cases(5, fires=True), *cases(0.5, fires=False), *quiet()),
        ),
        Alert(
            name=f"LLM{name}Late",
            # A p99 stops at the last edge of its histogram; a share does not.
            expr=f"{late_ones} / ignoring (within) {s.answered(signal)} >= {many:g} {enough}",
            severity="critical",
            wait="5m",
            summary="{{ $labels.model_name }}{{ $labels.job }}: "
            + f"{{{{ $value | humanizePercentage }}}} of requests wait over {seconds:g} s for the {what}",
            description=f"At least {many:.0%} come later than promised; {few:.0%} is what a p99 allows.",
            runbook=runbook,
            cases=(*cases(over / 10, fires=True), *cases(under / 10, fires=False), *quiet()),
        ),
    ]


def _stall(engines: Sequence[Engine]) -> Iterator[Alert]:
    known = [engine for engine in engines if engine.tokens_live and engine.running]
    if not known:
        return

    def replica(engine: Engine, running: float, tokens: str) -> dict[str, str]:
        one = bench(engine)
        return {**one.gauge(engine.running, steady(running)), **one.counter(engine.tokens, tokens)}

    yield Alert(
        name="LLMEngineStalled",
        expr=f"{s.STALLED} == 1",
        severity="critical",
        wait="1m",
        summary="{{ $labels.pod }}{{ $labels.instance }} holds requests of {{ $labels.model_name }} and answers none",
        description="The engine hangs while its health endpoint says 200: users wait until they time out. Replace the "
        "replica; if it recurs on the node, drain the node.",
        runbook="engine-stalled",
        cases=tuple(
            case
            for engine in known
            for case in (
                Case(
                    f"{engine.title} hangs",
                    replica(engine, 12, "0+900x10 9000x110"),
                    (bench(engine).seen_replica,),
                ),
                Case(f"{engine.title} works", replica(engine, 12, growing(900))),
                Case(f"{engine.title} has nothing to do", replica(engine, 0, "0+900x10 9000x110")),
                Case(f"{engine.title} only reads prompts", replica(engine, 12, steady(0))),
            )
        ),
    )


def _queue(engines: Sequence[Engine], limits: Limits) -> list[Alert]:
    known = [engine for engine in engines if engine.waiting]
    if not known:
        return []
    long, endless = limits.warn("U3"), limits.crit("U3")

    def cases(values: str, name: str, fires: bool) -> list[Case]:
        return [
            Case(
                f"{engine.title}: {name}",
                bench(engine).gauge(engine.waiting, values),
                (bench(engine).seen,) if fires else (),
            )
            for engine in known
        ]

    falling = f"{2 * endless:g}-2x30 {endless:g}-1x{endless:g}"
    return [
        Alert(
            name="LLMQueueGrowing",
            expr=f"{s.WAITING} > {long:g} and deriv({s.WAITING}[5m]) >= 0",
            severity="warning",
            wait="2m",
            summary="{{ $labels.model_name }}{{ $labels.job }}: {{ $value | humanize }} requests wait per replica",
            description=f"More than {long:g} wait for room on each replica, and they do not get fewer: more arrives "
            "than "
            "is served. Scale out where a GPU is free, else shed load.",
            runbook="queue-scale-out",
            cases=(
                *cases(growing(max(1.0, long / 10)), "the queue grows", True),
                *cases(steady(long * 0.5), "a short queue stays", False),
                *cases(falling, "a queue is worked off", False),
            ),
        ),
        Alert(
            name="LLMQueueOverflow",
            expr=f"{s.WAITING} >= {endless:g}",
            severity="critical",
            wait="5m",
            summary="{{ $labels.model_name }}{{ $labels.job }}: {{ $value | humanize }} requests wait per replica",
            description=f"A queue of {endless:g} a replica does not drain by itself. Scale out, or let a smaller model "
            "answer.",
            runbook="queue-scale-out",
            cases=(
                *cases(steady(2 * endless), "the queue has burst", True),
                *cases(steady(endless * 0.8), "the queue is long", False),
            ),
        ),
    ]


def _kv(engines: Sequence[Engine], limits: Limits) -> Iterator[Alert]:
    known = [engine for engine in engines if engine.kv]
    if not known:
        return
    full, brimming = limits.warn("E1"), limits.crit("E1")
    cases = []
    for engine in known:
        one = bench(engine)
        for generation, name in enumerate(engine.kv):
            brim = one.gauge(engine.kv, steady((1 + brimming) / 2), generation)
            cases.append(Case(f"{engine.title}: {name} is brimming", brim, (one.seen,)))
        nearly = one.gauge(engine.kv, steady((full + brimming) / 2))
        cases.append(Case(f"{engine.title}: nearly full, nothing put back", nearly))
        if engine.preempted:
            put_back = {**nearly, **one.counter(engine.preempted, growing(6))}
            cases.append(Case(f"{engine.title}: nearly full, requests put back", put_back, (one.seen,)))
    yield Alert(
        name="LLMKVCacheSaturated",
        expr=f"{s.KV} >= {brimming:g} or ({s.KV} > {full:g} and {s.PREEMPTED} > 0)",
        severity="warning",
        wait="5m",
        summary="{{ $labels.model_name }}: the fullest KV cache is at {{ $value | humanizePercentage }}",
        description="No room for more requests: what arrives waits, and what runs may be put back to start again. GPU "
        "memory says nothing here, the engine reserves it all.",
        runbook="kv-cache-saturated",
        cases=tuple(cases),
    )
