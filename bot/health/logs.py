"""What the last lines of a container say of its end: the one place where a GPU that ran out of memory can be seen.

Kubernetes shows such an end as `Error` with exit code 1, or the engine dies and a probe kills it later; no metric tells
it from any other crash. So where containers restart, their logs are read: as evidence, within a few seconds, and what
cannot be read is not seen, never an exception.
"""

import re
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from bot.contracts import Container, Permanent, Tail, Transient
from bot.health.observation import Observation, Sample, offender
from bot.incident.redact import redact

RESTARTS: Final = "E3"
CHECK: Final = "L1"
PODS: Final = 3
"""Containers whose logs are read: those that restart most. Others of the same model rarely end for another reason."""
LINES: Final = 20
"""Kept as evidence, over all containers."""
LONGEST: Final = 300
"""Characters kept of a line: a traceback's last line says what it was."""
BUDGET_S: Final = 5.0


class Kind(StrEnum):
    """How a container ended."""

    XID = "Xid"
    GPU_OOM = "GPU OOM"
    HOST_OOM = "host OOM"
    GPU_FAULT = "GPU fault"
    NCCL = "NCCL failure"
    CRASH = "crash"
    ENGINE = "dead engine"


# In this order the first that is there explains those after it: an engine dies of something. All are RE2 too, since
# Loki is asked for them, and hold no backtick.
WORDS: Final[tuple[tuple[Kind, str], ...]] = (
    (Kind.XID, r"NVRM: Xid"),
    (
        Kind.GPU_OOM,
        r"torch\.(cuda\.)?OutOfMemoryError|CUDA out of memory|CUDA error: out of memory|cudaErrorMemoryAllocation"
        r"|CUDA_ERROR_OUT_OF_MEMORY|No available memory for the cache blocks",
    ),
    (Kind.HOST_OOM, r"OOMKilled|Out of memory: Killed process|oom-kill:|Cannot allocate memory|std::bad_alloc"),
    (
        Kind.GPU_FAULT,
        r"CUDA error: (an illegal memory access|uncorrectable ECC|unspecified launch failure|the launch timed out)"
        r"|CUDA_ERROR_(ILLEGAL_ADDRESS|ECC_UNCORRECTABLE|LAUNCH_FAILED)|Unable to determine the device handle for GPU",
    ),
    (
        Kind.NCCL,
        r"Watchdog caught collective operation timeout|NCCL (watchdog|timeout|error)"
        r"|nccl(SystemError|UnhandledCudaError|InternalError|RemoteError)",
    ),
    (Kind.CRASH, r"Segmentation fault|core dumped|Fatal Python error"),
    (Kind.ENGINE, r"EngineDeadError|AsyncEngineDeadError|EngineCore.*(died|failed|encountered)"),
)
_PATTERNS: Final = tuple((kind, re.compile(pattern)) for kind, pattern in WORDS)
ANY: Final = "|".join(f"({pattern})" for _, pattern in WORDS)
"""A regular expression for every line that tells."""


@dataclass(frozen=True, slots=True)
class Signal:
    """How a container ended, and the line that says so, redacted."""

    kind: Kind
    line: str


def log_signal(lines: Sequence[str]) -> Signal | None:
    """What the lines say of the end; None when nothing known."""
    for kind, pattern in _PATTERNS:
        found = next((line for line in reversed(lines) if pattern.search(line)), None)
        if found is not None:
            return Signal(kind, _short(found))
    return None


def telling(lines: Sequence[str]) -> tuple[str, ...]:
    """The lines that tell something, in order, each once, short and without secrets."""
    told = (_short(line) for line in lines if any(pattern.search(line) for _, pattern in _PATTERNS))
    return tuple(dict.fromkeys(told))


def _short(line: str) -> str:
    text = " ".join(redact(line).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


@dataclass(frozen=True, slots=True)
class Logs:
    """Reads the logs of what restarts. `tails` are tried in order for each container, all within `budget` seconds."""

    tails: Sequence[Tail]
    budget: float = BUDGET_S

    def look(self, observations: Sequence[Observation], now: datetime, within: float) -> tuple[Observation, ...]:
        """The observation of the logs, where containers restart and there is a way to read them; else none.

        Takes no longer than the budget, nor than `within` seconds.
        """
        restarts = next((seen for seen in observations if seen.check == RESTARTS and seen.bad), None)
        whose = _containers(restarts) if restarts else ()
        if not self.tails or not whose:
            return ()
        seconds = max(0.0, min(self.budget, within))
        pool = ThreadPoolExecutor(len(whose), thread_name_prefix="logs")
        try:
            futures = {container: pool.submit(self._read, container, now) for container in whose}
            wait(futures.values(), timeout=seconds)
            return (judge({container: _lines(future, seconds) for container, future in futures.items()}),)
        finally:
            # Each call ends by its own time-out; nobody waits for it here.
            pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, container: Container, now: datetime) -> Sequence[str]:
        """What the first that knows of the end says; else what there is of a log, else the first reason why not.

        One that says nothing of the end does not speak for the next: it may have lost the last lines, or have others'.
        """
        reasons: list[str] = []
        found: Sequence[str] = ()
        for tail in self.tails:
            try:
                lines = tail.tail(container, now)
            except (Transient, Permanent) as failure:
                reasons.append(str(failure))
                continue
            if log_signal(lines):
                return lines
            found = found or lines
        if not found:
            raise Permanent(reasons[0] if reasons else f"the log of {container.namespace}/{container.pod} is empty")
        return found


def _lines(future: "Future[Sequence[str]]", seconds: float) -> Sequence[str] | str:
    """The lines, or why there are none."""
    if not future.done():
        return f"no log came within {seconds:.1f} s"
    try:
        return future.result()
    except Permanent as failure:
        return str(failure)


def _containers(restarts: Observation) -> tuple[Container, ...]:
    found = (
        Container(labels["namespace"], labels["pod"], labels.get("container", ""))
        for labels in (sample.labels for sample in restarts.series)
        if labels.get("namespace") and labels.get("pod")
    )
    return tuple(dict.fromkeys(found))[:PODS]


def judge(read: dict[Container, Sequence[str] | str]) -> Observation:
    """One observation over the logs: the worst signal first; a text instead of lines is why they were not read."""
    samples: list[Sample] = []
    signals: list[tuple[Container, Signal]] = []
    for container, lines in read.items():
        signal = None if isinstance(lines, str) else log_signal(lines)
        if signal is None or isinstance(lines, str):
            continue
        signals.append((container, signal))
        labels = {"namespace": container.namespace, "pod": container.pod, "kind": str(signal.kind)}
        samples += [Sample({**labels, "line": line}, 1) for line in telling(lines)]
    if signals:
        signals.sort(key=lambda one: list(Kind).index(one[1].kind))
        container, signal = signals[0]
        whom = f"{container.namespace}/{container.pod}"
        return _seen("crit", f"{signal.kind} seen in the log of {whom}: {signal.line}", tuple(samples[:LINES]))
    reasons = [lines for lines in read.values() if isinstance(lines, str)]
    if reasons:
        return _seen("unknown", reasons[0])
    named = offender({"pod": f"{next(iter(read)).namespace}/{next(iter(read)).pod}"})
    return _seen("ok", f"the log of {named} does not tell why it ended")


def _seen(status: str, text: str, series: tuple[Sample, ...] = ()) -> Observation:
    value = float(len(series)) if status != "unknown" else None
    return Observation(CHECK, "engine", "Log", status, value, text, "", "", "model", series)  # type: ignore[arg-type]


def ended(log: Observation) -> Kind | None:
    """How the container ended, by the observation of its log; None where the log does not tell."""
    kinds = {sample.labels.get("kind") for sample in log.series}
    return next((kind for kind in Kind if kind in kinds), None)
