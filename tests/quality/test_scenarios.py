"""The labelled incidents as they are drawn: the same seed gives the same, and never what the ranges do not allow."""

from collections import Counter
from pathlib import Path

import pytest

from tests.quality.advice import RUNBOOKS
from tests.quality.scenarios import load

ALL = load()
CAUSES = {
    "blind", "recent-change", "hardware", "stall", "restarts", "saturation", "no-capacity", "throttle", "drift",
    "token-spike", "capacity", "demand", "none",
}  # fmt: skip


def test_there_are_forty_with_names_of_their_own() -> None:
    assert len({scenario.id for scenario in ALL}) == len(ALL) == 40


def test_every_cause_is_asked_for_twice_at_least() -> None:
    counts = Counter(scenario.cause for scenario in ALL)
    assert counts.keys() == CAUSES
    assert min(counts.values()) >= 2


@pytest.mark.parametrize("scenario", ALL, ids=lambda scenario: scenario.id)
def test_a_seed_draws_the_same_again_and_keeps_to_the_ranges(scenario) -> None:  # type: ignore[no-untyped-def]
    assert scenario.effects(7) == scenario.effects(7)
    assert scenario.effects(7) != scenario.effects(8)
    written = [
        (raw, target)
        for raw in (*scenario.faults, *scenario.red_herrings)
        for target in ([raw["target"]] if isinstance(raw["target"], str) else raw["target"])
    ]
    for seed in range(20):
        effects = scenario.effects(seed)
        assert [effect.target for effect in effects] == [target for _, target in written]
        for effect, (raw, _) in zip(effects, written, strict=True):
            low, high = raw["onset"]
            assert low <= effect.onset / 60 <= high or (effect.onset == float("inf") and low >= 90)
            for key, value in effect.values.items():
                if isinstance(raw[key], list):
                    assert raw[key][0] <= value <= raw[key][1]


def test_targets_of_one_fault_share_their_onset_and_draw_their_own_size() -> None:
    scenario = next(scenario for scenario in ALL if scenario.id == "lost-gpu-saturates-the-rest")
    _, *pressed = [effect for effect in scenario.effects(1) if effect.kind in {"gpu-lost", "kv-pressure"}]
    assert len({effect.onset for effect in pressed}) == 1
    assert len({effect.values["wait"] for effect in pressed}) == 3


@pytest.mark.parametrize(
    ("id", "scope"),
    [
        ("leaked-key-slows-everybody", "code"),  # the service of its first fault
        ("node-down-takes-half", "chat"),  # the first fault names a node, the second a replica
        ("shower-of-xid-45", "chat"),  # nothing is wrong, and there is one model only
        ("noon-peak-served-fine", None),
        ("everything-goes-silent", None),
    ],
)
def test_the_incident_is_about_the_service_in_trouble(id: str, scope: str | None) -> None:  # noqa: A002
    assert next(scenario for scenario in ALL if scenario.id == id).scope == scope


ACTS = {
    "drain": "do: k8s.drain",
    "rollback": "do: k8s.rollout_undo",
    "scale-out": "do: k8s.scale",
    "restart": "do: k8s.restart",
}


@pytest.mark.parametrize("act", ACTS)
def test_the_table_of_acts_says_what_the_steps_of_the_runbooks_do(act: str) -> None:
    books = {path.stem: path.read_text() for path in Path("runbooks").glob("*.md")}
    assert RUNBOOKS.keys() == books.keys()
    doing = {name for name, text in books.items() if ACTS[act] in text}
    said = {name for name, acts in RUNBOOKS.items() if act in acts}
    # Two roll back through the deployer's API; one restarts an exporter, which takes nothing from users.
    by_other_means = {"rollback": {"rollback-model-deploy", "wrong-answers"}}.get(act, set())
    harmless = {"restart": {"telemetry-blind"}}.get(act, set())
    assert said == doing - harmless | by_other_means
