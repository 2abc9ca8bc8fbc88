"""Whether an expression can have a value at all, given the metrics, labels and values that have been seen."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot.health.rules.counters import COUNTERS
from bot.health.rules.findings import Seen
from bot.health.rules.syntax import Matcher, Selector, kind, number, selector

ALWAYS: Final = frozenset({"ALERTS", "ALERTS_FOR_STATE"})
AT_FIRST_FAULT: Final[Mapping[str, str]] = {
    "DCGM_FI_DEV_XID_ERRORS": "DCGM_FI_DEV_GPU_TEMP",
    "DCGM_EXP_XID_ERRORS_COUNT": "DCGM_FI_DEV_GPU_TEMP",
    "vllm:corrupted_requests_total": "vllm:num_requests_running",
}
"""Series that appear with the first fault -> what shows that their exporter is scraped."""
EVENTS: Final = frozenset(
    {"status", "code", "status_code", "reason", "finished_reason", "xid", "phase", "condition", "exception_class"}
    | {
        "error_type",
        "clock_event",
        "health_error_code",
        "key",
        "effect",
        "result",
        "alertname",
        "alertstate",
        "severity",
    }
)
"""Labels whose values come and go with what happens: that one has not been seen proves nothing."""
INSTEAD: Final[Mapping[str, str]] = {
    "DCGM_FI_DEV_FB_TOTAL": "DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE + DCGM_FI_DEV_FB_RESERVED; the "
    "exporter's default counters have no total",
    "vllm_request_failure_total": 'vllm:request_success_total{finished_reason="error"}, or 5xx of http_requests_total: '
    "vLLM counts no failures under that name",
    "vllm:request_failure_total": 'vllm:request_success_total{finished_reason="error"}, or 5xx of http_requests_total',
    "vllm:gpu_cache_usage_perc": "vllm:kv_cache_usage_perc, its name since 2025",
    "vllm:time_per_output_token_seconds_bucket": "vllm:inter_token_latency_seconds_bucket",
    "sglang:time_per_output_token_seconds_bucket": "sglang:inter_token_latency_seconds_bucket",
    "vllm:num_requests_swapped": "vllm:num_preemptions_total; the V1 engine swaps nothing",
    "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS": "DCGM_FI_DEV_CLOCKS_EVENT_REASONS, its name now",
}
"""Names that circulate, and what is meant by them."""
ALIASES: Final = (
    ("Hostname", "hostname", "node"),
    ("UUID", "uuid", "gpu_uuid"),
    ("exported_pod", "pod", "pod_name"),
    ("exported_namespace", "namespace", "pod_namespace"),
    ("exported_container", "container", "container_name"),
    ("model_name", "model"),
)
"""Labels that exporters call by one or the other name, depending on their version or on who scrapes."""
DCGM: Final = frozenset(name for _, rows in COUNTERS for name, _, _ in rows)
"""What the exporter knows and does not export by itself, in part."""
CLOSE: Final = 0.88
"""How alike two names have to be before one is taken for a slip in the other."""
NOT_EMPTY: Final = frozenset({"absent", "absent_over_time", "vector", "time", "scalar"})


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that is not there, and what to write instead."""

    what: str
    instead: str


class Presence:
    """`recorded`: metrics that the rules themselves write, which may be younger than the last look."""

    def __init__(self, seen: Seen, recorded: frozenset[str]) -> None:
        self.seen = seen
        self._recorded = recorded

    def lacking(self, node: Any) -> tuple[Lack, ...]:
        """What keeps the expression empty for ever; nothing where it can have a value."""
        return self._empty(node) or ()

    def there(self, metric: str) -> bool:
        return metric in self.seen.metrics()

    def labels(self, found: Selector) -> frozenset[str] | None:
        """The labels that its series have; None where that is not known."""
        if not found.metric or not self.there(found.metric):
            return None
        return self.seen.labels(found.metric)

    def _empty(self, node: Any) -> tuple[Lack, ...] | None:
        """None when it can have a value; otherwise why not."""
        found = selector(node)
        if found:
            lack = self._missing(found)
            return (lack,) if lack else None
        if number(node) is not None or kind(node) == "StringLiteral":
            return None
        match kind(node):
            case "Call":
                return None if node.func.name in NOT_EMPTY else self._first(node.args)
            case "BinaryExpr":
                left = self._empty(node.lhs)
                if str(node.op) == "unless":
                    return left
                right = self._empty(node.rhs)
                if str(node.op) == "or":
                    return (*left, *right) if left and right else None
                return left or right
            case "AggregateExpr" | "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
                return self._empty(node.expr)
        return None

    def _first(self, nodes: Iterable[Any]) -> tuple[Lack, ...] | None:
        return next((lack for node in nodes if (lack := self._empty(node))), None)

    def _missing(self, found: Selector) -> Lack | None:
        metric = found.metric
        if not metric or metric in ALWAYS or metric in self._recorded:
            return None
        if not self.there(metric):
            shows = AT_FIRST_FAULT.get(metric)
            return None if shows and self.there(shows) else self._no_metric(metric)
        labels = self.seen.labels(metric)
        for matcher in found.matchers:
            if not matcher.admits("") and matcher.label not in labels:
                return Lack(
                    f"no series of {metric} has a label {matcher.label}", self._other_label(matcher.label, labels)
                )
        for matcher in found.matchers:
            if (
                matcher.label not in EVENTS
                and matcher.label != "__name__"
                and (lack := self._no_value(metric, matcher))
            ):
                return lack
        return None

    def _no_metric(self, metric: str) -> Lack:
        what = f"there was no metric {metric} in the last day"
        if metric in INSTEAD:
            return Lack(what, INSTEAD[metric])
        family = re.split("[:_]", metric)[0]
        if not any(re.split("[:_]", name)[0] == family for name in self.seen.metrics()):
            return Lack(what, f"the same rule, once something is scraped whose metrics begin with {family}")
        if metric in DCGM:
            return Lack(
                what, "the same rule, with it in the exporter's counters: `fixfirst rules generate` writes a list"
            )
        close = nearest(metric, self.seen.metrics())
        return Lack(what, f"{close}, if that is meant" if close else "the same rule, once an exporter has it")

    def _other_label(self, label: str, labels: frozenset[str]) -> str:
        other = renamed(label, labels)
        known = ", ".join(sorted(labels - {"__name__"}))
        return f"{other}: so the label is called here" if other else f"one of its labels: {known}"

    def _no_value(self, metric: str, matcher: Matcher) -> Lack | None:
        """A value that no series has; the series without the label admit what admits an empty one."""
        if matcher.admits(""):
            return None
        values = self.seen.values(matcher.label, metric)
        if any(matcher.admits(value) for value in values):
            return None
        told = f"{matcher.label}{matcher.op}{matcher.value!r}".replace("'", '"')
        if matcher.label == "le":
            edges = ", ".join(sorted(values, key=_edge))
            return Lack(f"{metric} has no bucket {told}", f"an edge of this histogram: {edges}")
        shown = ", ".join(sorted(values)[:8])
        return Lack(f"no series of {metric} has {told}", f"a value that there is: {shown}")


def nearest(name: str, names: Iterable[str]) -> str:
    """The most similar name, with `_` and `:` and the endings of types held for the same; "" for none."""
    known = {_stem(one): one for one in sorted(names)}
    stem = _stem(name)
    close = [known[stem]] if stem in known else [known[one] for one in difflib.get_close_matches(stem, known, 1, CLOSE)]
    return close[0] if close else ""


def renamed(label: str, labels: Iterable[str]) -> str:
    """The name under which this label goes here, if that is known."""
    there = set(labels)
    for aliases in ALIASES:
        if label in aliases:
            return next((other for other in aliases if other in there and other != label), "")
    close = [other for other in there if other.lower() == label.lower() and other != label]
    return close[0] if close else ""


def _stem(name: str) -> str:
    return name.replace(":", "_").removesuffix("_total").lower()


def _edge(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")
