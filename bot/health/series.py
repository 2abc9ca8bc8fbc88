"""The last 90 minutes as Prometheus remembers them: the few series behind a picture, and from when users felt it."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from bot.health.client import Conversation, Unreachable, Useless
from bot.health.engines import ENGINES, Engine
from bot.health.findings import Report
from bot.health.observation import Observation
from bot.health.promql import Settings, render
from bot.health.queries import gpus
from bot.health.queries.serving import named
from bot.health.scope import FLEET, Scope

SPAN: Final = timedelta(minutes=90)
STEP_S: Final = 30
GPU_STEP_S: Final = 60
YOUNG: Final = timedelta(minutes=20)
"""A Prometheus that remembers less is asked again, for that time alone and in finer steps."""
SHORTEST: Final = timedelta(minutes=2)
YOUNG_STEP_S: Final = 5
GPU_SERIES: Final = frozenset({"gpus", "xids", "h3", "h4"})
MOST_GPUS: Final = 512
"""Above, the presence of every GPU would be megabytes; the picture then shows those with trouble alone."""
WORKERS: Final = 6
_DAY: Final = timedelta(days=1)
_YESTERDAY: Final = "ttft-yesterday"
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

    @property
    def earliest(self) -> float:
        """Unix seconds of the oldest point of today; the end where there is none."""
        ours = (one for one in self.series if one.name != _YESTERDAY)
        return min((line.points[0][0] for one in ours for line in one.lines), default=self.end.timestamp())

    def of(self, name: str) -> Series:
        """The series of that name; an empty one when it was not asked for."""
        return next((one for one in self.series if one.name == name), Series(name, "", STEP_S, (), "not asked for"))


@dataclass(frozen=True, slots=True)
class _Question:
    """`filled`: taken from the report, where what a person typed stands in it already. `rare`: no answer is good."""

    name: str
    query: str
    step: int = STEP_S
    ago: timedelta = timedelta()
    rare: bool = False
    filled: bool = False


def _any_of(told: Callable[[Engine], str]) -> str:
    """The numbers of every server that tells them, its model under the name that all others use."""
    selectors = ((engine, told(engine).replace("<m>", f"<{engine.label}>")) for engine in ENGINES if told(engine))
    return " or ".join(named(engine, selector) for engine, selector in selectors)


_BUSY: Final = _any_of(lambda engine: engine.busy)
_WAITING: Final = _any_of(lambda engine: engine.waiting)
# What Kubernetes calls ready where it names the model; else the engines that answer their scrapes.
_READY: Final = (
    'sum(kube_deployment_status_replicas_available{model_name!="",<model_name>}) '
    f"or count(count by (job, instance, pod) ({_any_of(lambda engine: engine.presence)}))"
)
_FEW: Final = f"on () (count({gpus.TEMP}) <= {MOST_GPUS})"
_XIDS: Final = f"{gpus.per_gpu(f'{gpus.XID_GAUGE} > 0')} or {gpus.per_gpu(f'{gpus.XID_COUNTS[0]} > 0', ', xid')}"
_TROUBLES: Final = ("H3", "H4")
"""The checks that make a GPU's strip change its colour, besides Xids and silence."""


def _questions(checks: Mapping[str, Observation]) -> list[_Question]:
    """What is asked; of errors, latency and GPU trouble it is what the report asked, so both mean the same."""

    def worst(check: str) -> str:
        query = checks[check].query if check in checks else ""
        return f"max({query})" if query else ""

    asked = [
        _Question("ttft", worst("U2"), filled=True),
        _Question(_YESTERDAY, worst("U2"), ago=_DAY, rare=True, filled=True),
        _Question("errors", worst("U1"), filled=True),
        _Question("waiting", f"sum({_WAITING})"),
        _Question("running", f"sum({_BUSY})"),
        _Question("ready", _READY),
        _Question("gpus", f"{gpus.per_gpu(gpus.TEMP)} and {_FEW}", GPU_STEP_S),
        _Question("xids", _XIDS, GPU_STEP_S, rare=True),
    ]
    for check in (checks[name] for name in _TROUBLES if name in checks):
        limit, sign = (check.warn, ">") if check.warn is not None else (check.crit, ">=")
        if check.query and limit is not None:
            query = f"({check.query}) {sign} {limit:g}"
            asked.append(_Question(check.check.lower(), query, GPU_STEP_S, rare=True, filled=True))
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
        budget: float = 4.5,
        headers: dict[str, str] | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._settings = settings
        self._timeout = timeout
        self._budget = budget
        self._headers = headers

    def record(self, report: Report) -> Recording:
        """The series before the report; what Prometheus does not give is missing, and never an exception.

        The finer look at a young Prometheus has what the first has left of the budget. Where something is late in it
        that the first look has, the first one is taken.
        """
        until = time.monotonic() + self._budget
        recording = self._record(report, SPAN, 0, until)
        known = report.at.timestamp() - recording.earliest
        told = any(one.lines for one in recording.series)
        if not told or known >= YOUNG.total_seconds() or time.monotonic() >= until:
            return recording
        finer = self._record(report, max(SHORTEST, timedelta(seconds=known)), YOUNG_STEP_S, until)
        lost = any(one.missing and recording.of(one.name).lines for one in finer.series)
        return recording if lost else finer

    def _record(self, report: Report, span: timedelta, step: int, until: float) -> Recording:
        scope, end = report.scope, report.at
        models = (scope.model,) if scope.model else ()
        questions = [
            replace(
                one,
                query=one.query if one.filled else render(one.query, self._settings, models),
                step=step or one.step,
            )
            for one in _questions({check.check: check for check in report.checks})
        ]
        parts = urlsplit(self._url)
        name = f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"
        conversation = Conversation(self._url, name, timeout=self._timeout, headers=self._headers)
        pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="series")
        try:
            futures = [pool.submit(_ask, conversation, one, end, span) for one in questions]
            wait(futures, timeout=max(0.0, until - time.monotonic()))
            series = [self._answer(one, future) for one, future in zip(questions, futures, strict=True)]
        finally:
            # A query still on its way ends by its own time-out; nobody waits for it here.
            pool.shutdown(wait=False, cancel_futures=True)
            conversation.close()
        return Recording(end - span, end, tuple(_narrowed(one, scope) for one in series))

    def _answer(self, asked: _Question, future: "Future[Series]") -> Series:
        if not future.done() or future.cancelled():
            return Series(asked.name, asked.query, asked.step, (), f"no answer within {self._budget:g} s")
        return future.result()


def _ask(conversation: Conversation, asked: _Question, end: datetime, span: timedelta) -> Series:
    until = end - asked.ago
    later = asked.ago.total_seconds()

    def without(reason: str) -> Series:
        return Series(asked.name, asked.query, asked.step, (), reason)

    if not asked.query or conversation.reason:
        return without(conversation.reason or "no such metric")
    try:
        found = conversation.ranges(asked.query, until - span, until, asked.step)
    except Unreachable as error:
        return without(conversation.give_up(str(error)))
    except Useless as error:
        return without(str(error))
    lines = (
        Line(labels, tuple((at + later, value) for at, value in points if math.isfinite(value)))
        for labels, points in found
    )
    told = tuple(line for line in lines if line.points)
    return Series(asked.name, asked.query, asked.step, told, "" if told or asked.rare else "no such metric")


def _narrowed(series: Series, scope: Scope) -> Series:
    """GPUs of the node, the GPU or the model asked about; one that names no model may be any model's."""
    if scope == FLEET or series.name not in GPU_SERIES:
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
