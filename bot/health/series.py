"""The last 90 minutes as Prometheus remembers them: the few series behind a picture, and from when users felt it."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from bot.health import queries as q
from bot.health.checks import catalogue
from bot.health.promql import Settings, narrows, render
from bot.health.scope import FLEET, Scope

SPAN: Final = timedelta(minutes=90)
STEP_S: Final = 30
GPU_STEP_S: Final = 60
MOST_GPUS: Final = 512
"""Above, the presence of every GPU would be megabytes; the picture then shows those with trouble alone."""
WORKERS: Final = 6
_DAY: Final = timedelta(days=1)
_GAP_STEPS: Final = 4
"""So many steps without trouble end it: a shorter pause is the same trouble."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One series; points are (Unix seconds, value), finite, in order."""

    labels: Mapping[str, str]
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """The answer to one question. `missing` says why there are no lines; empty when there are, or rightly none."""

    name: str
    query: str
    step: int
    lines: tuple[Line, ...] = ()
    missing: str = ""

    @property
    def first(self) -> tuple[Point, ...]:
        """The points of the only line, for questions that have one answer."""
        return self.lines[0].points if self.lines else ()

    def to_json(self) -> bytes:
        """As it is kept: query, step in seconds, and [Unix seconds, value] points per series."""
        data = {
            "name": self.name,
            "query": self.query,
            "step_seconds": self.step,
            "series": [{"labels": dict(line.labels), "points": line.points} for line in self.lines],
        }
        return json.dumps(data, separators=(",", ":"), sort_keys=True).encode()


@dataclass(frozen=True, slots=True)
class Recording:
    """All of it, from `begin` to `end` (UTC)."""

    begin: datetime
    end: datetime
    series: tuple[Series, ...]

    def of(self, name: str) -> Series:
        """The series of that name; an empty one when it was not asked for."""
        return next((one for one in self.series if one.name == name), Series(name, "", STEP_S, (), "not asked for"))


@dataclass(frozen=True, slots=True)
class _Question:
    name: str
    template: str
    step: int = STEP_S
    ago: timedelta = timedelta()
    rare: bool = False


def _any_of(families: Iterable[str], slot: str = "<model_name>") -> str:
    return " or ".join(f"{family}{{{slot}}}" for family in families)


_WAITING: Final = (
    "vllm:num_requests_waiting",
    "sglang:num_queue_reqs",
    "trtllm_num_requests_waiting",
    "tgi_queue_size",
    "dynamo_frontend_queued_requests",
)
_RUNNING: Final = (
    "vllm:num_requests_running",
    "sglang:num_running_reqs",
    "trtllm_num_requests_running",
    "tgi_batch_current_size",
    "dynamo_frontend_inflight_requests",
)
# What Kubernetes calls ready where it names the model; else the engines that answer their scrapes.
_READY: Final = (
    'sum(kube_deployment_status_replicas_available{model_name!="",<model_name>}) '
    f"or count(count by (job, instance, pod) ({_any_of(_RUNNING)}))"
)
_FEW: Final = f"on () (count({q.TEMP}) <= {MOST_GPUS})"
_XIDS: Final = f"{q.per_gpu(f'{q.XID} > 0')} or {q.per_gpu(f'{q.XID_COUNT} > 0', ', xid')}"
_GPU_CHECKS: Final = ("H3", "H4")
"""What makes a GPU's strip change its colour, besides Xids and silence."""


def _questions(settings: Settings, model: str | None) -> list[_Question]:
    """What is asked; the definitions of errors, latency and GPU trouble are the report's own."""
    checks = {check.id: check for check in catalogue(settings)}

    def union(check: str) -> str:
        known = checks.get(check)
        sources = known.sources if known else ()
        if model is not None and known is not None and known.group != "hardware":
            sources = tuple(source for source in sources if narrows(source))
        return " or ".join(f"({source})" for source in sources)

    asked = [
        _Question("ttft", f"max({union('U2')})"),
        _Question("ttft-yesterday", f"max({union('U2')})", ago=_DAY, rare=True),
        _Question("errors", f"max({union('U1')})"),
        _Question("waiting", f"sum({_any_of(_WAITING)} or {q.renamed('nv_inference_pending_request_count{<model>}')})"),
        _Question("running", f"sum({_any_of(_RUNNING)})"),
        _Question("ready", _READY),
        _Question("gpus", f"{q.per_gpu(q.TEMP)} and {_FEW}", GPU_STEP_S),
        _Question("xids", _XIDS, GPU_STEP_S, rare=True),
    ]
    for check in _GPU_CHECKS:
        known = checks.get(check)
        limit = None if known is None else known.crit if known.warn is None else known.warn
        if known is not None and limit is not None and known.rule == "above":
            sign = ">" if known.warn is not None else ">="
            asked.append(_Question(check.lower(), f"({union(check)}) {sign} {limit:g}", GPU_STEP_S, rare=True))
    return asked


class Recorder:
    """Prometheus, asked for ranges. Holds no connection between recordings; may be used from any thread.

    timeout: seconds for one query, also told to Prometheus. budget: seconds for all of them; what is late is missing.
    """

    def __init__(
        self,
        url: str,
        settings: Settings,
        *,
        timeout: float = 5.0,
        budget: float = 8.0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._settings = settings
        self._timeout = timeout
        self._budget = budget
        self._headers = dict(headers or {})

    def record(self, scope: Scope, end: datetime, span: timedelta = SPAN) -> Recording:
        """The series of the `span` before `end`; what Prometheus does not give is missing, and never an exception."""
        # The client imports requests, which a bot that only takes alerts should not pay for at its start.
        from prometheus_api_client import PrometheusConnect
        from urllib3.util.retry import Retry

        model = scope.model or None
        client = PrometheusConnect(
            url=self._url, headers=self._headers, timeout=self._timeout, retry=Retry(total=0, read=False)
        )
        asked = [(one, render(one.template, self._settings, model)) for one in _questions(self._settings, model)]
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="series")
        try:
            futures = [pool.submit(self._ask, client, one, query, end, span) for one, query in asked]
            wait(futures, timeout=self._budget)
            series = [self._answer(one, query, future) for (one, query), future in zip(asked, futures, strict=True)]
        finally:
            # A query still on its way ends by its own time-out; nobody waits for it here.
            pool.shutdown(wait=False, cancel_futures=True)
            client.close()
        return Recording(end - span, end, tuple(_narrowed(one, scope) for one in series))

    def _answer(self, asked: _Question, query: str, future: "Future[Series]") -> Series:
        if not future.done() or future.cancelled():
            return Series(asked.name, query, asked.step, (), f"no answer within {self._budget:g} s")
        return future.result()

    def _ask(self, client: Any, asked: _Question, query: str, end: datetime, span: timedelta) -> Series:
        from prometheus_api_client.exceptions import PrometheusApiClientException
        from requests import exceptions

        until = end - asked.ago
        # What requests and the client say holds the address, hence perhaps a password: never pass their words on.
        try:
            result = client.custom_query_range(
                query, until - span, until, str(asked.step), params={"timeout": f"{self._timeout:g}"}
            )
            lines = tuple(_line(one, asked.ago.total_seconds()) for one in result)
        except exceptions.Timeout:
            return Series(asked.name, query, asked.step, (), f"Prometheus did not answer within {self._timeout:g} s")
        except exceptions.ConnectionError:
            return Series(asked.name, query, asked.step, (), "Prometheus cannot be reached")
        except (PrometheusApiClientException, exceptions.RequestException):
            return Series(asked.name, query, asked.step, (), "Prometheus refused the query")
        except (LookupError, TypeError, ValueError, AttributeError):
            return Series(asked.name, query, asked.step, (), "what answers does not speak Prometheus' API")
        lines = tuple(line for line in lines if line.points)
        return Series(asked.name, query, asked.step, lines, "" if lines or asked.rare else "no such metric")


def _line(series: Mapping[str, Any], later: float) -> Line:
    labels = {str(name): str(value) for name, value in series["metric"].items()}
    points = ((float(at) + later, float(value)) for at, value in series["values"])
    return Line(labels, tuple(point for point in points if math.isfinite(point[1])))


def _narrowed(series: Series, scope: Scope) -> Series:
    """GPUs of the node, the GPU or the model asked about; one that names no model may be any model's."""
    if scope == FLEET or series.step != GPU_STEP_S:
        return series
    lines = tuple(line for line in series.lines if _is_about(line.labels, scope))
    return Series(series.name, series.query, series.step, lines, series.missing)


def _is_about(labels: Mapping[str, str], scope: Scope) -> bool:
    if scope.model:
        return labels.get("model_name", scope.model) == scope.model
    if scope.node:
        return labels.get("host") == scope.node
    uuid = labels.get("UUID") or labels.get("uuid", "")
    return scope.gpu in (uuid, f"{labels.get('host')}:{labels.get('gpu')}")


def onset(points: Sequence[Point], limit: float, step: float = STEP_S) -> float | None:
    """From when the value was past the limit, up to the last point; None when it is not past it at the end.

    Unix seconds. A pause shorter than `_GAP_STEPS` is part of it.
    """
    began: float | None = None
    last = math.inf
    for at, value in reversed(points):
        if value > limit:
            if last - at > _GAP_STEPS * step and began is not None:
                break
            began = last = at
    newest = points[-1][0] if points else 0.0
    bad = [at for at, value in points if value > limit]
    return began if bad and newest - bad[-1] <= _GAP_STEPS * step else None
