import json
from datetime import UTC, datetime

import pytest

from bot.health import Gpu, Inventory, Report, Scope, Verdict

KNOWN = Inventory(
    models=("llama-70b", "node-1"),
    nodes=("node-1", "node-7"),
    gpus=(Gpu("node-7", "3", "GPU-5fd4f087-86f3"), Gpu("node-7", "4", "GPU-5fd4aaaa-0000")),
)


@pytest.mark.parametrize(
    ("word", "scope"),
    [
        ("", Scope()),
        ("  ", Scope()),
        ("llama-70b", Scope(model="llama-70b")),
        ("Llama-70B", Scope(model="llama-70b")),
        ("node-7", Scope(node="node-7")),
        ("NODE-7", Scope(node="node-7")),
        ("node-1", Scope(model="node-1")),
        ("node-7:3", Scope(gpu="GPU-5fd4f087-86f3")),
        ("node-7:9", Scope(gpu="node-7:9")),
        ("GPU-5fd4f0", Scope(gpu="GPU-5fd4f087-86f3")),
        ("5FD4F087", Scope(gpu="GPU-5fd4f087-86f3")),
        ("GPU-5fd4", Scope(model="GPU-5fd4")),
        ("GPU-5f", Scope(model="GPU-5f")),
        ("nobody", Scope(model="nobody")),
    ],
)
def test_a_word_is_read_as_what_prometheus_knows_by_it(word: str, scope: Scope) -> None:
    assert Scope.parse(word, KNOWN) == scope


def test_a_headline_names_what_was_asked_about() -> None:
    names = [scope.name for scope in (Scope(), Scope(model="m"), Scope(node="n"), Scope(gpu="GPU-1"))]
    assert names == ["fleet", "m", "n", "GPU-1"]


def test_a_report_of_before_scopes_still_loads() -> None:
    old = {
        "at": datetime(2026, 1, 2, tzinfo=UTC).isoformat(),
        "model": "llama",
        "verdict": "OUTAGE",
        "impact": "31.0% of requests fail",
        "cause_id": "restarts",
        "cause": "Containers restart: 4 container restarts",
        "agree": 1,
        "signals": 2,
        "second": "",
        "runbooks": ["gpu-oom-restart-loop"],
        "not_advised": [],
        "unknowns": [],
        "checks": [
            {
                "check": "U1",
                "group": "users",
                "title": "Errors",
                "status": "crit",
                "value": 0.31,
                "text": "31.0% of requests fail",
                "offender": "llama",
                "query": "q",
                "scope": "model",
                "series": [{"labels": {"model_name": "llama"}, "value": 0.31}],
            }
        ],
    }
    loaded = Report.from_dict(old)

    assert (loaded.verdict, loaded.scope, loaded.confidence) == (Verdict.OUTAGE, Scope(model="llama"), "1 of 2 signals")
    assert loaded.checks[0].limit is None
    assert Report.from_dict(json.loads(json.dumps(loaded.to_dict()))) == loaded
