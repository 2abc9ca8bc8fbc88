"""Reports of Evidently, in its old and its new format, become the same metrics."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.quality_jobs.outside import fixfirst


def old_column(name: str, method: str, score: float, threshold: float, *, drifted: bool) -> dict[str, Any]:
    return {
        "column_name": name,
        "column_type": "num",
        "stattest_name": method,
        "stattest_threshold": threshold,
        "drift_score": score,
        "drift_detected": drifted,
    }


OLD = {
    "metrics": [
        {"metric": "DatasetDriftMetric", "result": {"drift_share": 0.5, "dataset_drift": False}},
        {
            "metric": "DataDriftTable",
            "result": {
                "number_of_columns": 2,
                "drift_by_columns": {
                    "length": old_column("length", "Wasserstein distance (normed)", 0.177, 0.1, drifted=True),
                    "topic": old_column("topic", "Jensen-Shannon distance", 0.02, 0.1, drifted=False),
                },
            },
        },
        {"metric": "ColumnDriftMetric", "result": old_column("prediction", "PSI", 0.31, 0.1, drifted=True)},
        {"metric": "ClassificationQualityMetric", "result": {"current": {"accuracy": 0.91, "f1": 0.88}}},
    ]
}


def new_metric(kind: str, value: Any, **config: Any) -> dict[str, Any]:
    return {"id": "8ba1", "metric_name": f"{kind}(...)", "config": {"type": f"evidently:metric_v2:{kind}", **config},
            "value": value}  # fmt: skip


NEW = {
    "metrics": [
        new_metric("DriftedColumnsCount", {"count": 2.0, "share": 0.66}, drift_share=0.5),
        new_metric("ValueDrift", 0.177, column="length", method="Wasserstein distance (normed)", threshold=0.1),
        new_metric("ValueDrift", 0.02, column="topic", method="Jensen-Shannon distance", threshold=0.1),
        new_metric("ValueDrift", 0.31, column="prediction", method="psi", threshold=0.1),
        new_metric("Accuracy", 0.91),
        new_metric("F1Score", 0.88),
    ],
    "tests": [],
}
NAMED = {
    "metrics": [
        {"metric_id": "ValueDrift(column=length,method=Wasserstein distance (normed),threshold=0.1)", "value": 0.177},
        {"metric_name": "ValueDrift(column=topic,method=Jensen-Shannon distance,threshold=0.1)", "value": 0.02},
        {"metric_name": "ValueDrift(column=prediction,method=PSI,threshold=0.1)", "value": 0.31},
    ]
}


def told(folder: Path, report: Any, *more: str) -> Any:
    (folder / "report.json").write_text(json.dumps(report))
    done = fixfirst("drift", "--evidently", folder / "report.json", "--format", "json", "--model", "m", *more)
    return json.loads(done.stdout) | {"code": done.returncode}


@pytest.mark.parametrize("report", [OLD, NEW, NAMED], ids=["old", "new", "named"])
def test_both_formats_give_the_same_scores(tmp_path: Path, report: Any) -> None:
    found = told(tmp_path, report)
    assert [(one["feature"], one["method"], one["score"], one["threshold"]) for one in found["scores"]] == [
        ("prediction", "psi", 0.31, 0.1),
        ("length", "wasserstein", 0.177, 0.1),
        ("topic", "js", 0.02, 0.1),
    ]
    assert found["drifted"] == ["prediction", "length"]
    assert found["code"] == 1
    if report is not NAMED:
        assert found["quality"] == {"accuracy": 0.91, "f1": 0.88}


def test_a_p_value_is_no_score_but_its_verdict_counts(tmp_path: Path) -> None:
    columns = [
        new_metric("ValueDrift", 0.0001, column="loud", method="K-S p_value", threshold=0.05),
        new_metric("ValueDrift", 0.8, column="quiet", method="chi-square p_value", threshold=0.05),
    ]
    found = told(tmp_path, {"metrics": columns})
    assert found["scores"] == [], "it falls as drift grows: an alert on it would be upside down"
    assert found["drifted"] == ["loud"]
    assert found["code"] == 1
    old = old_column("loud", "K-S p_value", 0.0001, 0.05, drifted=True)
    assert told(tmp_path, {"metrics": [{"metric": "ColumnDriftMetric", "result": old}]})["drifted"] == ["loud"]


def test_a_threshold_of_ones_own_goes_before_the_reports(tmp_path: Path) -> None:
    found = told(tmp_path, NEW, "--threshold", "psi=0.5", "--threshold", "wasserstein=0.3")
    assert found["drifted"] == []
    assert found["code"] == 0


@pytest.mark.parametrize("text", ["<html>", "[]", '{"metrics": 3}', '{"metrics": []}', "[" * 100_000])
def test_what_is_no_report_is_a_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    done = fixfirst("drift", "--evidently", tmp_path / "report.json")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
