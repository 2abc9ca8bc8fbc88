"""Every check in every state it can have: one past per level, in which every server and exporter stands side by side.

Each server's model is named after its dialect, each GPU node after its generation: `of` asks about one of them.
"""

from datetime import UTC, datetime
from typing import Literal

from tests.health import exporters
from tests.health.conftest import PAST, Past
from tests.health.dialects import DIALECTS, EngineName, Replica, grows, steps
from tests.health.exporters import GENERATIONS, Generation
from tests.health.fleet import Fleet

Level = Literal["ok", "warn", "crit", "gone", "alone", "vanished"]
LEVELS: tuple[Level, ...] = ("ok", "warn", "crit", "gone", "alone", "vanished")
"""gone: nothing of it is scraped any more. alone: well, and without kube-state-metrics. vanished: so too, and half of
the replicas have gone."""

TOLD = frozenset({"ok", "warn", "crit"})
"""Where Kubernetes tells too."""
AGO = 20 * 60.0
FORGOTTEN = 80 * 60.0
SINCE_RESTART = 5 * 60.0
DAY = 86_400
SPEND = 0.001  # dollars a second and team
STALLED = Replica(ago=AGO, arriving=0, tokens=0, waiting=8)
REPLICA: dict[Level, Replica] = {
    "ok": Replica(),
    "warn": Replica(
        ago=AGO, failing=0.05, late=0.05, by="5.0", mean=3.5, waiting=20, kv=0.92, put_back=0.05, tokens=1500
    ),
    "crit": Replica(ago=AGO, failing=0.3, late=0.3, mean=7, waiting=150, kv=0.97, put_back=1, tokens=6000, nan=0.1),
    "gone": Replica(),
    "alone": Replica(),
    "vanished": Replica(),
}


def model(engine: EngineName) -> str:
    return f"m-{engine}"


def node(generation: Generation) -> str:
    return f"gpus-{generation}"


def past_of(level: Level) -> Past:
    """All of them at this level."""
    past = Past(thin=True)
    for place, engine in enumerate(DIALECTS):
        with past.ending(AGO if level == "gone" else 0):
            _model(past, level, engine, place)
    if level == "ok":
        # A deployment with GPUs that no engine speaks for.
        Fleet(model="embedder", count=1, gpus=0, silent_ago=PAST, past=past).write()
    with past.ending(FORGOTTEN if level == "gone" else 0):
        _nodes(past, level)
    return past


def _model(past: Past, level: Level, engine: EngineName, place: int) -> None:
    name = model(engine)
    fleet = Fleet(engine, model=name, first_node=10 * place, subnet=f"10.1.{place}", gpus=0, past=past)
    fleet.all(REPLICA[level])
    fleet.kubernetes = level in TOLD
    if level == "warn":
        fleet.replicas[1] = STALLED
        fleet.available, fleet.deployed_ago, fleet.pending_ago = 3, AGO, AGO
        fleet.restarted[0] = (1, "Error", SINCE_RESTART)
    elif level == "crit":
        fleet.replicas[1] = fleet.replicas[2] = STALLED
        fleet.available = 2
        fleet.restarted[0] = (5, "OOMKilled", SINCE_RESTART)
    elif level == "vanished":
        fleet.replicas[1] = fleet.replicas[2] = Replica(ago=AGO, gone=True)
    fleet.write()
    _quality(past, level, name)
    with past.ending(FORGOTTEN if level == "gone" else 0):
        _money(past, level, name)
    if level == "vanished":
        past.gauge("gateway_token_budget_per_second", {"model_name": name}, 1000)
    past.gauge("gateway_cache_fallback", {"model_name": name}, 1 if level == "warn" else 0)


_SCORE = {"warn": 0.15, "crit": 0.3}
_CANARY = {"warn": 0.9, "crit": 0.3}
_FALL = {"warn": 0.07, "crit": 0.2}
_SPENT = {"warn": 10.0, "crit": 40.0}
_DAYS_LEFT = {"ok": 30.0, "warn": 2.0, "crit": 0.5}


def _quality(past: Past, level: Level, name: str) -> None:
    for method in ("psi", "ks"):
        score = {"job": "drift", "model": name, "feature": "length", "method": method}
        past.gauge("model_drift_score", score, steps(0.05, _SCORE.get(level, 0.05), AGO))
    ran = datetime.now(UTC).timestamp() - (30 * 3600 if level == "warn" else 600)
    past.gauge("model_drift_last_run_timestamp_seconds", {"job": "drift", "model": name}, ran)
    canary = {"job": "canary", "model": name}
    past.gauge("model_canary_pass_ratio", {**canary, "canary": "sum"}, steps(1, _CANARY.get(level, 1), AGO))
    past.gauge("model_canary_unanswered", {**canary, "canary": "sum"}, 0)
    score = {**canary, "metric": "canary"}
    past.gauge("model_quality_score", score, steps(0.93, 0.93 - _FALL.get(level, 0), AGO))


def _money(past: Past, level: Level, name: str) -> None:
    times = _SPENT.get(level, 1.0)
    paid = {"job": "litellm", "model": name, "hashed_api_key": "k1", "team_alias": name}
    past.gauge("litellm_spend_metric_total", paid, grows(SPEND, times * SPEND, AGO))
    an_hour = SPEND * (2 + times) / 3  # what the last hour spends a second
    left = _DAYS_LEFT.get(level, 30.0) * DAY * an_hour
    past.gauge("litellm_remaining_team_budget_metric", {"job": "litellm", "team_alias": name}, left)


def _nodes(past: Past, level: Level) -> None:
    for generation in GENERATIONS:
        name = node(generation)
        ill: exporters.Level = level if level in {"warn", "crit"} else "ok"
        exporters.write(past, generation, ill, name)
        if level in TOLD:
            exporters.kubernetes(past, ill, name)
        if level == "crit":
            exporters.shrunk(past, generation, f"{name}-shrunk")
        if level == "warn":
            exporters.silent(past, generation, f"{name}-silent")
