"""What numbers mean: units, counters, gauges that only look like levels. Finds comparisons that make no sense of
them."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from bot.health.rules import syntax
from bot.health.rules.findings import Finding, LoadedRule
from bot.health.rules.presence import Presence, renamed
from bot.health.rules.syntax import Comparison, Selector, bare, kind

RATIOS: Final = re.compile(
    r".*_(?:ratio|perc)|sglang:token_usage|trtllm_kv_cache_utilization|dynamo_component_gpu_cache_usage_percent"
    r"|DCGM_FI_PROF_\w+_ACTIVE"
)
"""From 0 to 1, whatever `perc` sounds like."""
PERCENTS: Final = re.compile(r"DCGM_FI_DEV_(?:GPU|MEM_COPY|ENC|DEC)_UTIL|DCGM_FI_DEV_FB_USED_PERCENT")
VIOLATION: Final = re.compile(r"DCGM_FI_DEV_\w+_VIOLATION")
GPU_MEMORY: Final = re.compile(r"DCGM_FI_DEV_FB_(?:USED|FREE|USED_PERCENT)")
COUNTERS: Final = re.compile(
    r".*_total|.*_bucket|.*_(?:seconds|ms|us|tokens)_(?:count|sum)"
    r"|nv_inference_(?:request_success|request_failure|count|exec_count)|nv_inference_\w+_duration_us"
    r"|tgi_request_(?:count|success)|DCGM_FI_DEV_(?:PCIE_REPLAY_COUNTER|\w+_VIOLATION"
    r"|NVLINK_\w+_TOTAL|ECC_\w+_TOTAL|TOTAL_ENERGY_CONSUMPTION)"
)
SECONDS_LIKE_MS: Final = 100.0
"""Nobody promises a minute and a half to a user; who compares seconds with this has read milliseconds."""
XID: Final = "DCGM_FI_DEV_XID_ERRORS"
ENDED: Final = re.compile(r"kube_pod_container_status_last_terminated_\w+")
RESTARTS: Final = "kube_pod_container_status_restarts_total"
UP: Final = frozenset({">", ">="})


@dataclass(frozen=True, slots=True)
class _Case:
    rule: LoadedRule
    tree: Any
    presence: Presence

    def never(self, what: str, why: str, instead: str) -> Finding:
        return Finding(self.rule, "never fires", what, why, instead)

    def misleads(self, what: str, why: str, instead: str) -> Finding:
        return Finding(self.rule, "misleads", what, why, instead)

    @property
    def comparisons(self) -> Iterator[Comparison]:
        return syntax.comparisons(self.tree)


def misleading(rule: LoadedRule, tree: Any, presence: Presence) -> Iterator[Finding]:
    """Everything that is wrong with the rule for what its numbers mean, in the order of LOOKS."""
    for look in LOOKS:
        yield from look(_Case(rule, tree, presence))


def _latency(case: _Case) -> Iterator[Finding]:
    """Seconds compared as if they were milliseconds; a quantile above the last edge of its histogram."""
    for comparison in case.comparisons:
        family = _of_quantile(comparison.side)
        if not family or not family.metric.endswith("_seconds_bucket") or comparison.op not in UP:
            continue
        if comparison.number >= SECONDS_LIKE_MS:
            yield case.never(
                f"{family.metric} is in seconds, and {comparison.number:g} of them are {comparison.number / 60:.0f} "
                "minutes",
                "no answer takes that long before its client gives up",
                f"{comparison.op} {comparison.number / 1000:g}, if milliseconds were meant",
            )
        elif (edge := _last_edge(case.presence, family)) and comparison.number >= edge:
            yield case.never(
                f"the last edge of {family.metric} is {edge:g} s, and a quantile never reads more",
                f"{comparison.op} {comparison.number:g} asks for more",
                f'the share over the SLA: 1 - rate(…_bucket{{le="SLA"}}[5m]) / rate(…_count[5m]) {comparison.op} 0.01',
            )


def _of_quantile(node: Any) -> Selector | None:
    """The buckets of which this is a quantile, through arithmetic-free wrapping."""
    for call in syntax.calls(node, "histogram_quantile"):
        wrapped = bare(node)
        while wrapped is not call:
            below = syntax.children(wrapped)
            if kind(wrapped) == "BinaryExpr" or not below:
                return None
            wrapped = bare(next((child for child in below if syntax.selectors(child)), below[0]))
        found = syntax.selectors(call.args[1])
        return found[0] if found else None
    return None


def _last_edge(presence: Presence, family: Selector) -> float:
    if not presence.there(family.metric):
        return 0.0
    edges = [float(value) for value in presence.seen.values("le", family.metric) if _is_number(value)]
    return max((edge for edge in edges if edge != float("inf")), default=0.0)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _scale(case: _Case) -> Iterator[Finding]:
    """0 to 1 compared with 90, and 0 to 100 compared with 0.9."""
    for comparison in case.comparisons:
        found = syntax.plain(comparison.side)
        if not found or comparison.op not in (*UP, "=="):
            continue
        limit = comparison.number
        if RATIOS.fullmatch(found.metric) and (limit > 1 or (limit == 1 and comparison.op == ">")):
            told = f"{found.metric} goes from 0 to 1"
            instead = f"{comparison.op} {limit / 100:g}" if 1 < limit <= 100 else ">= 1, or a limit below it"
            yield case.never(told, f"it is never {comparison.op} {limit:g}", instead)
        if PERCENTS.fullmatch(found.metric) and 0 < limit < 1:
            told = f"{found.metric} goes from 0 to 100"
            yield case.misleads(
                told, f"{comparison.op} {limit:g} holds whenever it is used", f"{comparison.op} {limit * 100:g}"
            )
        if PERCENTS.fullmatch(found.metric) and (limit > 100 or (limit == 100 and comparison.op == ">")):
            yield case.never(
                f"{found.metric} goes from 0 to 100", f"it is never {comparison.op} {limit:g}", ">= 95, say"
            )


def _violation(case: _Case) -> Iterator[Finding]:
    """Nanoseconds read as microseconds, as the exporter's own files called them for years."""
    for comparison in case.comparisons:
        rated = [
            found
            for call in syntax.calls(comparison.side, "rate", "irate", "increase")
            for found in syntax.selectors(call)
            if VIOLATION.fullmatch(found.metric)
        ]
        if not rated:
            continue
        divisor = _divisor(comparison.side)
        if divisor >= 1e9 or comparison.number * divisor >= 1e7:
            continue
        yield case.misleads(
            f"{rated[0].metric} counts nanoseconds",
            f"{comparison.op} {comparison.number:g} is passed by {comparison.number * divisor / 1e9:.2g} s of it",
            f"rate({rated[0].metric}[5m]) / 1e9 {comparison.op} 0.1, the share of time that was held back",
        )


def _divisor(node: Any) -> float:
    node = bare(node)
    if kind(node) == "BinaryExpr" and str(node.op) == "/":
        return syntax.number(node.rhs) or 1.0
    return 1.0


def _xid_as_level(case: _Case) -> Iterator[Finding]:
    asks = [c for c in case.comparisons if (found := syntax.plain(c.side)) and found.metric == XID]
    changes = any(
        found.metric == XID for call in syntax.calls(case.tree, *syntax.RATES) for found in syntax.selectors(call)
    )
    looks_back = any(found.metric == XID and found.offset for found in syntax.selectors(case.tree))
    if asks and not changes and not looks_back:
        yield case.misleads(
            f"{XID} keeps the number of the last Xid until the driver or the exporter restarts",
            "one fault of an application hours ago fires it still, and most Xids are the application's",
            f"{XID} > 0 and changes({XID}[15m]) > 0, and only the numbers that need a drain: `fixfirst rules generate`",
        )


def _gpu_memory(case: _Case) -> Iterator[Finding]:
    if not any(name.startswith("vllm:") for name in case.presence.seen.metrics()):
        return
    for comparison in case.comparisons:
        used = [found for found in syntax.selectors(comparison.side) if GPU_MEMORY.fullmatch(found.metric)]
        if used and not any(GPU_MEMORY.fullmatch(c.metric) is None and c.metric.startswith("vllm:") for c in used):
            yield case.misleads(
                "vLLM reserves its share of the GPU's memory at its start (gpu_memory_utilization, 0.9 by default)",
                "memory in use says nothing of load: it is full on an idle server",
                "vllm:kv_cache_usage_perc > 0.9",
            )
            return


def _level_of_counter(case: _Case) -> Iterator[Finding]:
    for comparison in case.comparisons:
        found = syntax.counted(comparison.side)
        # `and x_total > 0` only asks whether anything ever happened.
        if not found or not COUNTERS.fullmatch(found.metric) or (comparison.filters and comparison.number == 0):
            continue
        if comparison.op in ("==", "!="):
            continue
        what = "counts requests up to a duration" if found.metric.endswith("_bucket") else "only ever grows"
        instead = (
            f"histogram_quantile(0.99, sum by (le) (rate({found.metric}[5m])))"
            if found.metric.endswith("_bucket")
            else f"increase({found.metric}[15m]), or a rate"
        )
        yield case.misleads(
            f"{found.metric} is a counter: it {what}",
            f"once {comparison.op} {comparison.number:g} it stays so until the process restarts",
            f"{instead} {comparison.op} …",
        )


def _count_of_nothing(case: _Case) -> Iterator[Finding]:
    for comparison in case.comparisons:
        side = comparison.side
        zero = (comparison.op, comparison.number) in (("==", 0), ("<", 1), ("<=", 0))
        if (
            zero
            and kind(side) == "AggregateExpr"
            and str(side.op) == "count"
            and not list(syntax.calls(side, "vector"))
        ):
            yield case.never(
                "the count of no series is nothing, not 0",
                f"count(…) {comparison.op} {comparison.number:g} has no value just when it should",
                "absent(…), or (count(…) or vector(0)) == 0",
            )


def _sticky_end(case: _Case) -> Iterator[Finding]:
    names = {found.metric for found in syntax.selectors(case.tree)}
    ended = sorted(name for name in names if ENDED.fullmatch(name))
    if ended and RESTARTS not in names:
        yield case.misleads(
            f"{ended[0]} tells how the container ended last, for as long as it lives",
            "one end of weeks ago fires it still",
            f"increase({RESTARTS}[15m]) > 0 and on (namespace, pod, container) {ended[0]}{{…}} == 1",
        )


def _dead_oom_counter(case: _Case) -> Iterator[Finding]:
    if any(found.metric == "container_oom_events_total" for found in syntax.selectors(case.tree)):
        yield case.misleads(
            "container_oom_events_total ends with the container that was killed",
            "it reads 0 as a rule, and a GPU that ran out of memory is never among them",
            f"{RESTARTS} with kube_pod_container_status_last_terminated_reason, as above",
        )


def _wrong_grouping(case: _Case) -> Iterator[Finding]:
    """By or on a label that these series call otherwise: all of them become one, or none finds its partner."""
    for node in syntax.walk(case.tree):
        for labels, side, word in _groupings(node):
            if list(syntax.calls(side, "label_replace", "label_join")):
                continue
            known = [case.presence.labels(found) for found in syntax.selectors(side)]
            there = frozenset().union(*(one for one in known if one is not None))
            if not known or None in known:
                continue
            for label in labels:
                other = renamed(label, there)
                if label not in there and other and other not in labels:
                    yield case.misleads(
                        f"{word} ({label}), but these series have no {label}: they say {other}",
                        "without it they are all one to Prometheus" if word == "by" else "so nothing finds its partner",
                        f"{word} ({other}), or both names where exporters differ",
                    )


def _groupings(node: Any) -> Iterator[tuple[list[str], Any, str]]:
    if kind(node) == "AggregateExpr" and node.modifier and "By" in str(node.modifier.type):
        yield list(node.modifier.labels), node.expr, "by"
    matching = node.modifier.matching if kind(node) == "BinaryExpr" and node.modifier else None
    if matching and "Include" in str(matching.type):
        labels = list(matching.labels)
        yield labels, node.lhs, "on"
        yield labels, node.rhs, "on"


LOOKS: Final[tuple[Callable[[_Case], Iterator[Finding]], ...]] = (
    _latency,
    _scale,
    _violation,
    _xid_as_level,
    _gpu_memory,
    _level_of_counter,
    _count_of_nothing,
    _sticky_end,
    _dead_oom_counter,
    _wrong_grouping,
)
