"""A small sitting of the examination: what must hold whatever else is being improved. `make bench` holds the whole."""

import pytest

from tests.quality.advice import suggested
from tests.quality.examine import Marks, examine, reported
from tests.quality.scenarios import load
from tests.quality.test_history import scenario

SEED = 1
STABLE = (
    "rollout-breaks-every-replica",
    "long-documents-fill-the-cache",
    "both-replicas-hang",
    "inputs-drift-while-all-is-served",
    "noon-peak-served-fine",
    "everything-goes-silent",
    "nvlink-down-under-tensor-parallel",
    "bad-half-rollout-and-then-a-lost-gpu",
    "gpu-memory-runs-out-twice-over",
    "hot-replica-makes-a-queue",
    "leaked-key-slows-everybody",
    "monday-morning-short-prompts",
)
BY_ID = {one.id: one for one in load()}


@pytest.mark.parametrize("name", STABLE)
def test_the_diagnosis_agrees_with_the_label(name: str) -> None:
    answer = examine(BY_ID[name], SEED)
    assert (answer.impact, answer.cause) == (answer.wanted_impact, answer.wanted_cause), answer.said
    assert not answer.unsafe
    assert Marks.of([answer]) == Marks(1, 1, 1, 1, 0, answer.seconds)


@pytest.mark.parametrize(
    ("engine", "exporter"),
    [
        ("vllm", "dcgm-new"),
        ("vllm-old", "dcgm-old"),
        ("sglang", "dcgm-count"),
        ("triton", "dcgm-new"),
        ("trtllm", "dcgm-old"),
    ],
)
def test_a_healthy_fleet_is_well_and_nothing_is_suggested(engine: str, exporter: str) -> None:
    report, _ = reported(scenario(noise="medium", engine=engine, exporter=exporter), SEED)
    assert (report.verdict, report.cause_id) == ("OK", "none"), report.cause
    assert not report.runbooks
    assert not suggested(report)
