"""The health report at scale: 256 GPUs and 64 replicas with 90 minutes of history in a real Prometheus."""

import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import requests

from bot.health import Report, Scope, Settings, Telemetry, survey
from bot.health.chart import Mark, Picture, draw
from bot.health.series import Recorder
from tests.bench.measure import Pair
from tests.quality.examine import Marks, examine_all
from tests.quality.history import history
from tests.quality.remembered import prometheus
from tests.quality.scenarios import Fleet, Scenario, Service, load

MODEL: Final = "llama-70b"
NODES: Final = 32
GPUS_PER_NODE: Final = 8
REPLICAS: Final = 64
SEED: Final = 1
REPORTS: Final = 5
_FAULTS: Final = (
    {"kind": "gpu-lost", "target": f"gpu:{MODEL}/7/1", "gpus": [1, 1], "xid": 79, "onset": [20, 20]},
    {"kind": "xid", "target": "node:3", "number": 45, "count": [10, 50], "onset": [30, 30]},
    {"kind": "queue", "target": f"service:{MODEL}", "queue": [10, 40], "wait": [3, 8], "onset": [15, 15]},
)
LARGE: Final = Scenario(
    id="large-fleet",
    story="One of 64 replicas lost a GPU and the others queue.",
    fleet=Fleet(
        nodes=NODES,
        gpus_per_node=GPUS_PER_NODE,
        exporter="dcgm-count",
        mig_profile="",
        mig_per_gpu=1,
        missing=frozenset(),
        services=(Service(MODEL, "vllm", REPLICAS, NODES * GPUS_PER_NODE // REPLICAS, 3.0, 0.6, "flat"),),
    ),
    faults=_FAULTS,
    red_herrings=(),
    noise="medium",
    impact="DEGRADED",
    cause="hardware",
    also=("demand",),
    unsafe=(),
)


@dataclass(frozen=True)
class Measured:
    """reports: seconds of each, beside those of its queries asked one after another. pictures: seconds of each.

    above_idle: MB that one report with its picture adds to a process that has made none.
    """

    reports: list[Pair]
    pictures: list[float]
    above_idle: float


def measured(folder: Path) -> Measured:
    """Five reports and five pictures of the large fleet; raises RuntimeError when the report is wrong."""
    with prometheus(history(LARGE, SEED, int(time.time())), folder) as url:
        report = _report(url)  # not measured: Prometheus reads its blocks for the first time
        if report.verdict != LARGE.impact or report.cause_id != LARGE.cause:
            raise RuntimeError(f"the report says {report.headline}, {report.cause}")
        pairs = []
        for _ in range(REPORTS):
            began = time.perf_counter()
            report = _report(url)
            product = time.perf_counter() - began
            pairs.append(Pair(_one_by_one(url, report), product))
        now = datetime.now(UTC)
        recording = Recorder(url, Settings()).record(report)
        marks = (
            Mark(now - timedelta(minutes=20), "xid", "Xid 79"),
            Mark(now - timedelta(minutes=12), "alert", "alert"),
        )
        picture = Picture(report.headline, recording, marks, Settings().sla_seconds)
        pictures = [_drawn(picture) for _ in range(1 + REPORTS)][1:]  # the first one loads the fonts
        command = [sys.executable, "-m", "tests.bench.resident", url, MODEL]
        told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        return Measured(pairs, pictures, float(told.stdout))


def marks() -> Marks:
    """The forty labelled incidents, under the first seed."""
    return Marks.of(list(examine_all(load(), [SEED])))


def _report(url: str) -> Report:
    return survey(Telemetry(url), Scope(model=MODEL), datetime.now(UTC))


def _drawn(picture: Picture) -> float:
    began = time.perf_counter()
    draw(picture)
    return time.perf_counter() - began


def _one_by_one(url: str, report: Report) -> float:
    began = time.perf_counter()
    with requests.Session() as session:
        for check in report.checks:
            if check.query:
                session.get(f"{url}/api/v1/query", params={"query": check.query}, timeout=30).raise_for_status()
    return time.perf_counter() - began
