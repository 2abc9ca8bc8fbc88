import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.health import Replica
from bot.health.capacity import FULL, drains


def fleet(*kv: float | None, running: float = 10, waiting: float = 0, most: float = 0) -> list[Replica]:
    """One replica a node, with these shares of their caches in use."""
    return [
        Replica(f"prod/llama-{index}", "llama", f"node-{index}", running, waiting, use, most)
        for index, use in enumerate(kv)
    ]


def test_the_others_take_over_what_runs_there() -> None:
    (told,) = drains(fleet(0.6, 0.6, 0.6, 0.6), ["node-0"])

    assert (told.serving, told.leaving, told.refused) == (4, 1, False)
    assert told.load == pytest.approx(0.8)
    assert told.reason == "3 of 4 replicas of llama remain, at 80% of what they can hold"


def test_a_drain_that_overfills_the_others_is_refused_with_the_number() -> None:
    (told,) = drains(fleet(1.0, 0.9, 0.9), ["node-0"])

    assert told.refused
    assert told.reason == "2 of 3 replicas of llama would have to carry 140% of what they can hold"


def test_what_waits_needs_room_too() -> None:
    calm, busy = fleet(0.6, 0.6, 0.6, 0.6), fleet(0.6, 0.6, 0.6, 0.6, waiting=5)

    assert [told.refused for told in (*drains(calm, ["node-0"]), *drains(busy, ["node-0"]))] == [False, True]


def test_a_replica_is_not_taken_while_a_queue_stands_before_any_of_them() -> None:
    slow = Replica("prod/llama-0", "llama", "node-0", running=30, waiting=18, kv=0.3)
    others = fleet(0.3, 0.3, 0.3)[1:]
    (told,) = drains([slow, *others], ["node-0"])

    assert told.refused
    assert told.reason == "18 requests wait before one replica of llama already"
    assert not drains([slow, *others], ["node-0"], queue=20)[0].refused
    dead = Replica("prod/llama-9", "llama", "node-9", serving=False)
    assert not drains([slow, *others, dead], ["node-9"])[0].refused


def test_the_last_replica_stays() -> None:
    (told,) = drains(fleet(0.1), ["node-0"])

    assert (told.refused, told.reason) == (True, "no replica of llama would be left")


def test_a_replica_that_serves_nobody_is_no_loss() -> None:
    dead = Replica("prod/llama-9", "llama", "node-9", serving=False)
    (told,) = drains([*fleet(0.85, 0.85), dead], ["node-9"])

    assert (told.leaving, told.refused) == (0, False)


def test_without_caches_the_most_that_a_replica_ever_ran_stands_for_a_full_one() -> None:
    half, full = fleet(None, None, None, most=20), fleet(None, None, None, most=12)

    assert [told.refused for told in (*drains(half, ["node-0"]), *drains(full, ["node-0"]))] == [False, True]


def test_when_nobody_tells_how_full_they_are_only_a_small_part_of_a_calm_fleet_may_go() -> None:
    assert not drains(fleet(*[None] * 8), ["node-0", "node-1"])[0].refused
    assert drains(fleet(*[None] * 8), ["node-0", "node-1", "node-2"])[0].refused
    assert drains(fleet(*[None] * 8, waiting=1), ["node-0"])[0].refused


def test_every_model_on_the_node_is_asked_about() -> None:
    other = Replica("prod/qwen-0", "qwen", "node-0", kv=0.2)
    told = drains([*fleet(0.2, 0.2), other], ["node-0"])

    assert [(drain.model, drain.refused) for drain in told] == [("llama", False), ("qwen", True)]
    assert drains(fleet(0.2), []) == ()
    assert drains(fleet(0.2), ["elsewhere"]) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(1, 12))
def test_draining_more_is_never_safer(kv: list[float], many: int) -> None:
    nodes = [f"node-{index}" for index in range(min(many, len(kv)))]
    (more,) = drains(fleet(*kv), nodes)
    (fewer,) = drains(fleet(*kv), nodes[:1])

    assert more.refused or not fewer.refused
    assert more.refused or (more.load is not None and more.load <= FULL)
