"""Figures about drift and quality as metrics, and the ways out for them: a file, a Pushgateway, or the caller's own.

Nobody has a standard for these names, so they are a contract of ours; all are gauges. docs/drift.md explains them.
"""

import base64
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bot.contracts import Permanent, Transient

HELP: Final[Mapping[str, str]] = {
    "model_drift_score": "Distance of a feature from its reference, by method.",
    "model_drift_threshold": "The score above which the feature counts as drifted.",
    "model_drift_last_run_timestamp_seconds": "When the scores were computed.",
    "model_quality_score": "How good the model's answers are, 0 to 1, by metric.",
    "model_canary_pass_ratio": "Share of the canary's answers that were as expected; no answer is not as expected.",
    "model_canary_prompt_pass": "Share of a prompt's answers that were as expected.",
    "model_canary_unanswered": "Calls of the last round that got no answer.",
    "model_canary_ttft_seconds": "Time to the first token, the slowest of the last round.",
    "model_canary_duration_seconds": "Time to the whole answer, the slowest of the last round.",
    "model_canary_last_run_timestamp_seconds": "When the last round ended.",
    "model_canary_tokens_today": "Tokens that the canary has used since midnight UTC, prompts and answers.",
    "model_canary_tokens_per_day": "Tokens that the canary may use in a day.",
}
PUSH_WITHIN_S: Final = 10.0
NO_ADDRESS: Final = "what --pushgateway names is no address: it takes http://host:port"


@dataclass(frozen=True, slots=True)
class Figure:
    """One sample of a gauge."""

    name: str
    labels: Mapping[str, str]
    value: float


def text(figures: Iterable[Figure], *, open_metrics: bool = False) -> str:
    """The figures in Prometheus' text format, or as OpenMetrics, each family in one piece."""
    families: dict[str, list[str]] = {}
    for figure in figures:
        labels = ",".join(f'{name}="{_quoted(value)}"' for name, value in figure.labels.items())
        families.setdefault(figure.name, []).append(f"{figure.name}{{{labels}}} {figure.value!r}")
    lines: list[str] = []
    for name, samples in families.items():
        lines += [f"# HELP {name} {HELP[name]}", f"# TYPE {name} gauge", *samples]
    if open_metrics:
        lines.append("# EOF")
    return "".join(f"{line}\n" for line in lines)


def write(path: Path, told: str) -> None:
    """Replaces the file in one step, readable by all: node_exporter's textfile collector may look at any moment.

    The half-written file does not end in .prom, so it is not collected. Raises OSError.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    half = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(told)
            file.flush()
            os.fsync(file.fileno())
        half.chmod(0o644)
        half.replace(path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def push(gateway: str, job: str, model: str, told: str) -> None:
    """Replaces what the Pushgateway holds of this job and model. Raises Transient, Permanent.

    https://github.com/prometheus/pushgateway#put-method; a name may hold a slash, so it goes as base64. The address may
    hold a password, so failures name host and port alone. The environment's proxies are not asked: they are for the
    world outside.
    """
    import httpx2

    name = base64.urlsafe_b64encode(model.encode()).decode()
    url = f"{gateway.rstrip('/')}/metrics/job/{job}/model@base64/{name}"
    headers = {"Content-Type": "text/plain; version=0.0.4"}
    where = _where(gateway)
    try:
        answer = httpx2.put(url, content=told.encode(), headers=headers, timeout=PUSH_WITHIN_S, trust_env=False)
    except httpx2.InvalidURL:
        raise Permanent(NO_ADDRESS) from None  # its message quotes the address
    except httpx2.HTTPError as error:
        raise Transient(f"the Pushgateway at {where} does not answer: {error or type(error).__name__}") from error
    if not answer.is_success:
        raise Permanent(f"the Pushgateway at {where} answered {answer.status_code}: {answer.text[:200].strip()}")


def _where(address: str) -> str:
    """Host and port. Raises Permanent."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise Permanent(NO_ADDRESS) from None
    if not parts.hostname:
        raise Permanent(NO_ADDRESS)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{port}" if port else host


def _quoted(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
