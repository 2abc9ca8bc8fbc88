"""Two versions of a model at once (canary, A/B test, a roll-out under way): what users get from each, and how sure the
difference is.

A version is known by the first of the configured labels that tells the model's servers apart, else by the ReplicaSets
of one Deployment. What serves only mirrored traffic is listed apart: nobody waits for its answers.
"""

import math
import re
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bot.health.observation import Sample, duration, number
from bot.health.promql import MIRRORED, Settings, quote
from bot.health.queries.serving import HTTP
from bot.health.statistics import Interval, Share, difference, quantile
from bot.health.telemetry import Telemetry

FEWEST: Final = 30
"""Requests of each version under which no difference is spoken of: one unlucky one would be 3 %."""
WINDOWS: Final = 3
"""Windows of the report that are looked back: a canary gets few requests, and a short look says nothing of them."""
PERCENTILE: Final = 0.99
REPLICASET: Final = "replicaset"
_SHADOW = re.compile(MIRRORED)
_RUNNING = "vllm:num_requests_running|sglang:num_running_reqs|trtllm_num_requests_running|nv_inference_request_success"
_TTFT = ("vllm:time_to_first_token_seconds", "sglang:time_to_first_token_seconds", "trtllm_time_to_first_token_seconds")
_WAITING = (
    "vllm:num_requests_waiting",
    "sglang:num_queue_reqs",
    "trtllm_num_requests_waiting",
    "nv_inference_pending_request_count",
)
_ANSWERS: Final[Mapping[str, tuple[str, str]]] = {
    "http": (f"http_requests_total{{{HTTP}}}", f'http_requests_total{{{HTTP},status=~"5.."}}'),
    "vllm": ("vllm:request_success_total", 'vllm:request_success_total{finished_reason="error"}'),
    "sglang": ("sglang:num_requests_total", "sglang:num_aborted_requests_total"),
    "triton": ("nv_inference_request_success", 'nv_inference_request_failure{reason!="CANCELED"}'),
    "trtllm": ("trtllm_request_success_total", ""),
}
"""Counters of all answers and of failed ones, the users' own view first. Triton counts its failures apart."""
_APART: Final = frozenset({"triton"})
_NAMELESS: Final = frozenset({"http"})
"""Counters that need not name a model, vLLM's own among them: asked without one, and sorted out by their place."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version as its users see it; what is not measured is None.

    late: first tokens after the SLA. p99: of the time to first token, in seconds. waiting: requests per replica.
    """

    name: str
    replicas: int
    shadow: bool = False
    errors: Share | None = None
    late: Share | None = None
    p99: Interval | None = None
    waiting: float | None = None

    @property
    def requests(self) -> int:
        """Answers within the window, by whatever counts them."""
        return max((share.of for share in (self.errors, self.late) if share is not None), default=0)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; an infinite end is null."""
        return {
            "name": self.name,
            "replicas": self.replicas,
            "shadow": self.shadow,
            "errors": None if self.errors is None else [self.errors.bad, self.errors.of],
            "late": None if self.late is None else [self.late.bad, self.late.of],
            "p99": None if self.p99 is None else [_finite(self.p99.value), self.p99.low, _finite(self.p99.high)],
            "waiting": self.waiting,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Version":
        """What `to_dict` wrote."""
        errors, late, p99 = data["errors"], data["late"], data["p99"]
        return cls(
            data["name"],
            data["replicas"],
            data["shadow"],
            Share(*errors) if errors else None,
            Share(*late) if late else None,
            Interval(*(math.inf if end is None else end for end in p99)) if p99 else None,
            data["waiting"],
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The versions of one model, the one with most requests first, which the others are held against.

    by: the label that tells them apart. seconds: how far back was looked. sla: first token expected within, in seconds.
    """

    model: str
    by: str
    seconds: int
    sla: float
    versions: tuple[Version, ...]

    @property
    def users(self) -> tuple[Version, ...]:
        """Those that answer users."""
        return tuple(one for one in self.versions if not one.shadow)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        versions = [one.to_dict() for one in self.versions]
        return {"model": self.model, "by": self.by, "seconds": self.seconds, "sla": self.sla, "versions": versions}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Comparison":
        """What `to_dict` wrote."""
        versions = tuple(Version.from_dict(one) for one in data["versions"])
        return cls(data["model"], data["by"], data["seconds"], data["sla"], versions)


def versions_of(telemetry: Telemetry, model: str | None, within: float | None = None) -> tuple[Comparison, ...]:
    """A comparison for each model of which several versions serve now; for all, or the one that is named.

    `within` is how many seconds it may take. Empty where there is nothing to compare or nobody answers: the report says
    what it could not see.
    """
    until = None if within is None else time.monotonic() + within
    settings, asks = telemetry.settings, _Queries(telemetry.settings, model)
    found = telemetry.ask(asks.who(), within)
    servers = _servers(_told(found, "who"), _told(found, "pods"), _told(found, "sets"), settings)
    plural = {name: by for name, by in servers.items() if len({server.version for server in by}) > 1}
    left = None if until is None else until - time.monotonic()
    if not plural or (left is not None and left <= 0):
        return ()
    answers = telemetry.ask(asks.numbers(), left)
    return tuple(_comparison(name, plural[name], answers, settings) for name in sorted(plural))


def _told(answers: Mapping[str, Sequence[Sample] | str], name: str) -> Sequence[Sample]:
    said = answers.get(name, ())
    return () if isinstance(said, str) else said


class _Queries:
    """The questions, for one model or all."""

    def __init__(self, settings: Settings, model: str | None) -> None:
        self._model = model
        labels = ("model_name", "model", "namespace", "pod", "instance", *_telling(settings))
        self._labels = ", ".join(dict.fromkeys(labels))
        self._w = f"{WINDOWS * settings.window}s"

    def who(self) -> dict[str, str]:
        """Who serves now; whose pods are whose."""
        running = self._of(f'{{__name__=~"{_RUNNING}"}}')
        return {
            "who": f"group by ({self._labels}) ({running})",
            "pods": 'group by (namespace, pod, owner_name) (kube_pod_owner{owner_kind="ReplicaSet"})',
            "sets": "group by (namespace, replicaset, owner_name) (kube_replicaset_owner)",
        }

    def numbers(self) -> dict[str, str]:
        """What users get from each."""
        asked: dict[str, str] = {}
        for name, (total, bad) in _ANSWERS.items():
            of = self._each if name in _NAMELESS else self._of
            asked[name] = self._grown(total, of=of)
            if bad:
                asked[f"{name} bad"] = self._grown(bad, of=of)
        asked["ttft"] = " or ".join(self._grown(f"{family}_bucket", ", le") for family in _TTFT)
        asked["waiting"] = " or ".join(f"sum by ({self._labels}) ({self._of(family)})" for family in _WAITING)
        return asked

    def _grown(self, selector: str, more: str = "", of: Callable[[str, str], str] | None = None) -> str:
        return f"sum by ({self._labels}{more}) ({(of or self._of)(selector, f'increase({{}}[{self._w}])')})"

    @staticmethod
    def _each(selector: str, within: str) -> str:
        """The selector for all models and for none."""
        return within.replace("{}", selector)

    def _of(self, selector: str, within: str = "{}") -> str:
        """The selector for the model, which some servers call `model_name` and some `model`."""
        if self._model is None:
            return self._each(selector, within)
        head, _, rest = selector.partition("{")
        inner = f"{rest.removesuffix('}')}," if rest else ""
        named = (f"{head}{{{inner}{label}={quote(self._model)}}}" for label in ("model_name", "model"))
        return " or ".join(within.replace("{}", one) for one in named)


@dataclass(frozen=True, slots=True)
class _Server:
    """One of a model's servers, and of which version it is."""

    place: tuple[str, str, str]
    version: str
    by: str
    shadow: bool


def _telling(settings: Settings) -> tuple[str, ...]:
    """The labels that say which version a server is, and whether users get its answers."""
    return tuple(dict.fromkeys(filter(None, (*settings.version_labels, settings.mirror_label))))


def _place(labels: Mapping[str, str]) -> tuple[str, str, str]:
    """What a server's series have in common. Its target; what is counted before it, at a gateway, has none of ours."""
    return labels.get("namespace", ""), labels.get("pod", ""), labels.get("instance", "")


def _named(labels: Mapping[str, str]) -> str:
    return labels.get("model_name") or labels.get("model", "")


def _servers(
    who: Iterable[Sample], pods: Iterable[Sample], sets: Iterable[Sample], settings: Settings
) -> dict[str, list[_Server]]:
    """The servers of each model with their versions; models whose servers are all alike have none."""
    replicasets = {(one.labels.get("namespace"), one.labels.get("pod")): one.labels["owner_name"] for one in pods}
    owners = {
        (one.labels.get("namespace"), one.labels.get("replicaset")): one.labels.get("owner_name", "") for one in sets
    }
    series: dict[str, list[Mapping[str, str]]] = {}
    for sample in who:
        series.setdefault(_named(sample.labels), []).append(sample.labels)
    servers: dict[str, list[_Server]] = {}
    for model, rows in series.items():
        by = next(
            (label for label in settings.version_labels if len({row.get(label, "") for row in rows} - {""}) > 1), ""
        )
        if by:
            servers[model] = [_server(row, row.get(by, "") or "(none)", by, _telling(settings)) for row in rows]
            continue
        sets_of = [replicasets.get((row.get("namespace"), row.get("pod")), "") for row in rows]
        deployments = {owners.get((row.get("namespace"), of), "") for row, of in zip(rows, sets_of, strict=True)}
        # Of several Deployments each may have another part in serving (prefill, decode); only one's sets are versions.
        if len(deployments) == 1 and "" not in deployments and "" not in sets_of:
            stem = f"{next(iter(deployments))}-"
            servers[model] = [
                _server(row, of.removeprefix(stem), REPLICASET, _telling(settings))
                for row, of in zip(rows, sets_of, strict=True)
            ]
    return servers


def _server(row: Mapping[str, str], version: str, by: str, telling: Sequence[str]) -> _Server:
    said = (version, *(row.get(label, "") for label in telling))
    return _Server(_place(row), version, by, any(map(_SHADOW.fullmatch, said)))


def _comparison(
    model: str, servers: Sequence[_Server], answers: Mapping[str, Sequence[Sample] | str], settings: Settings
) -> Comparison:
    by = servers[0].by
    at = {server.place: server.version for server in servers}
    names = list(dict.fromkeys(server.version for server in servers))

    def sums(name: str) -> dict[str, float]:
        """By version, of the series that belong to one of the servers (or name model and version themselves)."""
        total: dict[str, float] = {}
        for version, sample in _of_versions(_told(answers, name), model, by, at, names):
            total[version] = total.get(version, 0.0) + sample.value
        return total

    source = next((name for name in _ANSWERS if len(sums(name)) > 1), "")
    done, bad, waiting = sums(source), sums(f"{source} bad"), sums("waiting")
    buckets: dict[str, dict[float, float]] = {}
    for version, sample in _of_versions(_told(answers, "ttft"), model, by, at, names):
        of = buckets.setdefault(version, {})
        at_most = float(sample.labels.get("le", "nan"))
        of[at_most] = of.get(at_most, 0.0) + sample.value
    versions = []
    for name in names:
        of_it = [server for server in servers if server.version == name]
        total = done.get(name, 0.0) + (bad.get(name, 0.0) if source in _APART else 0.0)
        counted = sorted(buckets.get(name, {}).items())
        versions.append(
            Version(
                name=name,
                replicas=len({server.place for server in of_it}),
                shadow=all(server.shadow for server in of_it),
                errors=Share.of_flows(bad.get(name, 0.0), total) if name in done and _ANSWERS[source][1] else None,
                late=_late(counted, settings),
                p99=quantile(counted, PERCENTILE),
                waiting=waiting[name] / len({server.place for server in of_it}) if name in waiting else None,
            )
        )
    ordered = sorted(versions, key=lambda one: (one.shadow, -one.requests, one.name))
    return Comparison(model, by, WINDOWS * settings.window, settings.sla_seconds, tuple(ordered))


def _of_versions(
    samples: Iterable[Sample], model: str, by: str, at: Mapping[tuple[str, str, str], str], names: Container[str]
) -> Iterator[tuple[str, Sample]]:
    for sample in samples:
        named, place = _named(sample.labels), _place(sample.labels)
        # What names no model is this one's where one of its servers tells it: others may bear the same `track`.
        if (named != model if named else place not in at) or not math.isfinite(sample.value):
            continue
        # One Triton serves several versions from one place, so a label of its own goes before the place.
        version = sample.labels.get(by) or at.get(place, "")
        if version in names:
            yield version, sample


def _late(buckets: Sequence[tuple[float, float]], settings: Settings) -> Share | None:
    """First tokens after the SLA; None where it is no edge of the histogram."""
    if not buckets or not math.isinf(buckets[-1][0]):
        return None
    within = next((count for at_most, count in buckets if math.isclose(at_most, settings.sla_seconds)), None)
    return None if within is None else Share.of_flows(buckets[-1][1] - within, buckets[-1][1])


# -- in words -------------------------------------------------------------------------------------------------------


def lines(comparison: Comparison) -> list[str]:
    """The comparison as text, the first line its title; the same in a terminal and in chat."""
    users = comparison.users
    by = "by their pods" if comparison.by == REPLICASET else f"by {comparison.by}"
    span = duration(comparison.seconds)
    out = [f"{len(users)} versions of {comparison.model} serve at once ({by}, last {span})"]
    if len(users) < 2:
        out = [f"A version of {comparison.model} gets mirrored traffic ({by}, last {span})"]
    out += [f"{one.name}: {_figures(one, comparison.sla)}" for one in users]
    out += [f"{one.name} against {users[0].name}: {against(one, users[0])}" for one in users[1:]]
    shadows = [one for one in comparison.versions if one.shadow]
    out += [f"{one.name} (mirrored traffic, no users): {_figures(one, comparison.sla)}" for one in shadows]
    return out


def _figures(one: Version, sla: float) -> str:
    told = [f"{one.replicas} {'replica' if one.replicas == 1 else 'replicas'}", f"{one.requests:,} requests"]
    told += [f"{_percent(one.errors.value)} errors"] if one.errors else []
    told += [f"{_percent(one.late.value)} first tokens over {sla:g} s"] if one.late else []
    told += [f"p99 {_between(one.p99)}"] if one.p99 else []
    told += [f"{number(one.waiting, 'count')} wait per replica"] if one.waiting is not None else []
    return ", ".join(told)


def against(one: Version, base: Version) -> str:
    """What differs between two versions, and how sure that is."""
    few = min(one, base, key=lambda version: version.requests)
    if few.requests < FEWEST:
        return f"too few to say: {few.requests} requests of {few.name}"
    told = []
    for what, ours, theirs in (("errors", one.errors, base.errors), ("over the SLA", one.late, base.late)):
        if ours is not None and theirs is not None and min(ours.of, theirs.of) >= FEWEST:
            told.append(f"{what} {_points(difference(ours, theirs))}")
    if one.p99 is not None and base.p99 is not None and one.p99.apart_from(base.p99):
        told.append("p99 slower" if one.p99.value > base.p99.value else "p99 faster")
    return "; ".join(told) or "nothing that both measure"


def _points(apart: Interval) -> str:
    low, high = 100 * apart.low, 100 * apart.high
    said = f"{100 * apart.value:+.1f} points ({low:+.1f} to {high:+.1f})"
    return said if apart.excludes_zero else f"{said}, may be chance"


def _percent(share: float) -> str:
    return f"{share:.2%}" if 0 < share < 0.01 else number(share, "share")


def _between(p99: Interval) -> str:
    if math.isinf(p99.high):
        return f"over {number(p99.low, 'seconds')}"
    return f"{number(p99.low, 'seconds')} to {number(p99.high, 'seconds')}"
