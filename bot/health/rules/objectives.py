"""The rules of the objectives: their error ratios over the windows that matter, and alerts by how fast the budget
burns.

Two windows each, as in Google's SRE workbook (table 5-8) and Sloth: the long one says that it matters, the short one
that it still goes on. The rates are those that spend the same share of the budget whatever its length.
"""

from collections.abc import Sequence
from typing import Final

from bot.health.promql import quote
from bot.health.rules import signals as s
from bot.health.rules.engines import Engine
from bot.health.rules.proofs import MODEL, Bench, growing, steady
from bot.health.rules.rule import Alert, Case, Group, Record, Severity
from bot.health.slo import PAGES, TICKETS, WINDOWS, Objective, Pairs

BAD: Final = "slo:bad:rate5m"
TOTAL: Final = "slo:total:rate5m"


def objectives(promised: Sequence[Objective], engines: Sequence[Engine]) -> list[Group]:
    """The group that records, and the group that alerts."""
    records = [record for objective in promised for record in _counts(objective, engines)]
    records += [Record(f"slo:error_ratio:{window}", _ratio(window)) for window in WINDOWS]
    alerts = [alert for objective in promised for alert in _alerts(objective, engines)]
    return [
        Group("fixfirst-slo", tuple(records)),
        Group("fixfirst-slo-alerts", tuple(alerts), (s.GROUP, "fixfirst-slo"), tested_every="5m"),
    ]


def thresholds(promised: Sequence[Objective], sli: str) -> list[float]:
    """The latencies, in seconds, that objectives of this kind ask about."""
    return [objective.within for objective in promised if objective.sli == sli]


def _ratio(window: str) -> str:
    if window == "5m":
        return f"{BAD} / ({TOTAL} > 0)"
    return f"sum_over_time({BAD}[{window}]) / (sum_over_time({TOTAL}[{window}]) > 0)"


def _counts(objective: Objective, engines: Sequence[Engine]) -> list[Record]:
    labels = {"slo": objective.name}
    bad, total = _expressions(objective, engines)
    return [Record(BAD, bad, labels), Record(TOTAL, total, labels)]


def _expressions(objective: Objective, engines: Sequence[Engine]) -> tuple[str, str]:
    """Bad and all, a second."""
    if objective.sli == "own":
        bad = objective.errors or f"({objective.total}) - ({objective.good})"
        return bad, objective.total
    named = (("service", objective.service), ("model_name", objective.model))
    only = ",".join(f"{label}={quote(value)}" for label, value in named if value)
    by = "service, model_name, namespace"

    def summed(name: str, operator: str = "sum", more: str = "") -> str:
        matchers = ",".join(filter(None, (only, more)))
        return f"{operator} by ({by}) ({name}{{{matchers}}})" if matchers else f"{operator} by ({by}) ({name})"

    front = "|".join(one.id for one in engines if one.front)

    def outermost(name: str, more: str = "") -> str:
        """A request passes the engine in front and one behind it, and counts once."""
        if not front or all(one.front for one in engines):
            return summed(name, more=more)
        before, behind = (
            summed(name, more=",".join(filter(None, (more, f'server{op}"{front}"')))) for op in ("=~", "!~")
        )
        return f"{before} or on (model_name) {behind}"

    if objective.sli == "availability":
        return outermost(s.FAILURES), outermost(s.REQUESTS)
    if objective.sli == "non-stalled":
        return summed(s.STALLED), summed(s.STALLED, "count")
    signal = s.TTFT if objective.sli == "ttft" else s.E2E
    return outermost(f"{signal}_late:rate5m", f'within="{objective.within:g}"'), outermost(s.answered(signal))


def _alerts(objective: Objective, engines: Sequence[Engine]) -> list[Alert]:
    wanted: tuple[tuple[str, Pairs, Severity, str], ...] = (
        ("LLMErrorBudgetFastBurn", PAGES, "critical", "This fast it is gone within days: people must act now."),
        ("LLMErrorBudgetSlowBurn", TICKETS, "warning", "Slow, but it will not last: look at it on a working day."),
    )
    found = []
    for name, windows, severity, description in wanted:
        pairs = [_pair(objective, *window) for window in windows]
        expr = " or ".join(filter(None, pairs))
        if expr:
            found.append(
                Alert(
                    name=name,
                    expr=expr,
                    severity=severity,
                    wait="0s",
                    summary="{{ $labels.model_name }} {{ $labels.slo }}: "
                    + f"{{{{ $value | humanizePercentage }}}} are bad, {objective.allowed:.2%} may be",
                    description=f"The error budget of {objective.days} days burns too fast. {description}",
                    runbook="rollback-model-deploy",
                    cases=_cases(objective, engines, fast=severity == "critical"),
                    labels={"slo": objective.name},
                )
            )
    return found


def _pair(objective: Objective, long: str, short: str, share: float) -> str:
    """Empty where even an error ratio of 1 would not burn that fast."""
    limit = objective.pace(long, share) * objective.allowed
    if limit >= 1:
        return ""
    only = f'{{slo="{objective.name}"}}'
    seconds = WINDOWS[long] * 3600
    return (
        f"(slo:error_ratio:{long}{only} > {limit:.6g} and slo:error_ratio:{short}{only} > {limit:.6g}"
        f" and avg_over_time({TOTAL}{only}[{long}]) * {seconds:g} >= {objective.minimum})"
    )


def _cases(objective: Objective, engines: Sequence[Engine], *, fast: bool) -> tuple[Case, ...]:
    """For an SLI of ours; PromQL that somebody wrote is theirs to prove."""
    if objective.sli == "own":
        return ()
    cases = []
    for engine in engines:
        one = Bench(engine, objective.service or "chat", objective.model or MODEL)
        share = 0.9 if fast else min(0.9, 2.5 * objective.allowed)
        bad = _traffic(objective, one, 100, share)
        if not bad:
            continue
        who = {label: value for label, value in one.seen.items() if label not in ("server", "job")}
        fires = {**who, "slo": objective.name}
        cases.append(Case(f"{engine.title}: {share:.3g} of all are bad", bad, (fires,), "400m"))
        fine = _traffic(objective, one, 100, objective.allowed / 2)
        cases.append(Case(f"{engine.title}: half of what may be is bad", fine, at="400m"))
        if fast and objective.sli == "availability":
            over = one.requests(100 * (1 - share), 100 * share, then_bad=0)
            cases.append(Case(f"{engine.title}: it was as bad until half an hour ago", over, at="400m"))
        if objective.sli != "non-stalled":
            few = _traffic(objective, one, objective.minimum / (400 if fast else 10_000), share)
            cases.append(Case(f"{engine.title}: few requests, most of them bad", few, at="400m"))
    return tuple(cases)


def _traffic(objective: Objective, one: Bench, per_minute: float, share: float) -> dict[str, str]:
    """An engine of which this share is bad by the objective's measure; empty where it does not export that."""
    engine, bad = one.engine, per_minute * share
    if objective.sli == "availability":
        return one.requests(per_minute - bad, bad)
    if objective.sli == "non-stalled":
        if not engine.tokens_live:
            return {}
        written = "0+900x10 9000x410" if share > objective.allowed else growing(900)
        return {**one.gauge(engine.running, steady(12)), **one.counter(engine.tokens, written)}
    histogram = engine.ttft if objective.sli == "ttft" else engine.e2e
    return one.latency(histogram, objective.within, per_minute - bad, bad) if histogram else {}
