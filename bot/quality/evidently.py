"""Reads the JSON report of Evidently, old (up to 0.6) and new (0.7), so that teams that have it need not compute twice.

Both are objects with a list `metrics`. Of the old, `DataDriftTable` holds `result.drift_by_columns`, and
`ColumnDriftMetric` is one such column; of the new, each `ValueDrift` has a `config` (type, column, method, threshold)
and a `value`. The first 0.7 had no config, but everything in the metric's name: `ValueDrift(column=...,method=...)`.
https://docs.evidentlyai.com/metrics/customize_data_drift
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bot.incident.people import Refused
from bot.quality.drift import THRESHOLDS, Score, Unscored

LARGEST: Final = 64 * 1024 * 1024
"""A report of a thousand columns with their histograms is about 4 MiB."""
_DISTANCES: Final = {
    "psi": "psi",
    "wasserstein": "wasserstein",
    "wasserstein distance (normed)": "wasserstein",
    "jensenshannon": "js",
    "jensen-shannon distance": "js",
}
"""Evidently's names, short and shown, of what is a distance of ours. A p-value is none: it falls as drift grows."""
_QUALITY: Final = {
    "Accuracy": "accuracy",
    "Precision": "precision",
    "Recall": "recall",
    "F1Score": "f1",
    "RocAuc": "roc_auc",
}
_OLD_QUALITY: Final = tuple(_QUALITY.values())
_NAMED: Final = re.compile(r"(column|method|threshold)=(.*?)(?=,(?:column|method|threshold|tests)=|\)$)")


@dataclass(frozen=True, slots=True)
class Report:
    """What a report tells: scores, what is no distance of ours, and scores of quality by name, 0 to 1."""

    scores: tuple[Score, ...]
    unscored: tuple[Unscored, ...]
    quality: Mapping[str, float]


def read(path: Path, thresholds: Mapping[str, float]) -> Report:
    """The report in the file; `thresholds`, by method, go before its own. Raises Refused."""
    try:
        if path.stat().st_size > LARGEST:
            raise Refused(f"{path} is larger than {LARGEST // 1024**2} MiB; is it a report of Evidently?")
        told = json.loads(path.read_bytes())
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path} is not JSON: {error}; save the report by save_json, not save_html") from error
    metrics = told.get("metrics") if isinstance(told, dict) else None
    if not isinstance(metrics, list):
        raise Refused(f"{path} has no list of metrics, so it is no report of Evidently.")
    measured = [metric for metric in metrics if isinstance(metric, dict)]
    found = [_judged(column, thresholds) for metric in measured for column in _columns(metric)]
    if not found:
        raise Refused(f"{path} tells of no column's drift; add DataDriftPreset or ValueDrift to the report.")
    return Report(
        # A column that a table tells of and a metric of its own is the same score twice.
        scores=tuple(dict.fromkeys(one for one in found if isinstance(one, Score))),
        unscored=tuple(dict.fromkeys(one for one in found if isinstance(one, Unscored))),
        quality=dict(score for metric in measured for score in _quality(metric)),
    )


@dataclass(frozen=True, slots=True)
class _Column:
    """What a report says about one column, as it stands there; `detected` is its own verdict, where it gives one."""

    name: str
    method: str
    score: object
    threshold: object
    detected: object = None


def _columns(metric: Mapping[str, Any]) -> Iterator[_Column]:
    result = metric.get("result")
    if isinstance(result, dict):
        table = result.get("drift_by_columns")
        columns = table.values() if isinstance(table, dict) else [result]
        for one in columns:
            if isinstance(one, dict) and "drift_score" in one:
                name, method = str(one.get("column_name", "")), str(one.get("stattest_name", ""))
                yield _Column(
                    name, method, one["drift_score"], one.get("stattest_threshold"), one.get("drift_detected")
                )
        return
    config = metric.get("config")
    named = str(metric.get("metric_name") or metric.get("metric_id") or "")
    if isinstance(config, dict) and str(config.get("type", "")).endswith(":ValueDrift"):
        name, method = str(config.get("column", "")), str(config.get("method") or "")
        yield _Column(name, method, metric.get("value"), config.get("threshold"))
    elif named.startswith("ValueDrift("):
        said = dict(_NAMED.findall(named))
        yield _Column(said.get("column", ""), said.get("method", ""), metric.get("value"), said.get("threshold"))


def _judged(one: _Column, thresholds: Mapping[str, float]) -> Score | Unscored:
    column, method, detected = one.name, one.method, one.detected
    value, edge = _number(one.score), _number(one.threshold)
    ours = _DISTANCES.get(method.lower())
    if value is None:
        return Unscored(column, method, "the report holds no number for it", drifted=detected is True)
    if ours is None:
        by_p = method.endswith("p_value") and edge is not None and value < edge
        why = f"{value:.4g} by Evidently's {method or 'unnamed method'}, which is no distance of ours"
        return Unscored(column, method, why, drifted=detected is True or (detected is None and by_p))
    return Score(column, ours, value, thresholds.get(ours, THRESHOLDS[ours] if edge is None else edge))


def _quality(metric: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    result, config = metric.get("result"), metric.get("config")
    if isinstance(result, dict) and isinstance(now := result.get("current"), dict):
        values: Mapping[str, object] = {name: now.get(name) for name in _OLD_QUALITY}
    elif isinstance(config, dict):
        kind = str(config.get("type", "")).rpartition(":")[2]
        values = {_QUALITY[kind]: metric.get("value")} if kind in _QUALITY else {}
    else:
        values = {}
    for name, value in values.items():
        number = _number(value)
        if number is not None:
            yield name, number


def _number(value: object) -> float | None:
    """A finite number, also one in text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
