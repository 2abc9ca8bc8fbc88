"""A target that fails again and again is left alone for a while; a refusal is an answer."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from bot.contracts import Permanent, Transient
from bot.runbook.breaker import FAILS, Breakers


def down() -> None:
    raise Transient("connection refused")


def refused() -> None:
    raise Permanent("no such deployment")


def tries(breakers: Breakers, target: str, call: Callable[[], object], times: int) -> None:
    for _ in range(times):
        with pytest.raises((Transient, Permanent)):
            breakers.ask(target, call)


def test_after_ten_failures_in_a_row_it_is_not_asked_any_more() -> None:
    breakers, asked = Breakers(), []
    tries(breakers, "kubernetes.prod", down, FAILS)
    with pytest.raises(Transient, match=r"prod failed 10 times in a row and is left alone for 15 s") as left:
        breakers.ask("kubernetes.prod", lambda: asked.append("called"))
    assert left.value.retry_after == 5
    assert asked == []


def test_another_target_is_asked_all_the_same() -> None:
    breakers = Breakers()
    tries(breakers, "kubernetes.prod", down, FAILS)
    assert breakers.ask("redis.cache", lambda: "PONG") == "PONG"


def test_whoever_refuses_is_there() -> None:
    breakers = Breakers()
    tries(breakers, "kubernetes.prod", refused, 3 * FAILS)
    assert breakers.ask("kubernetes.prod", lambda: "here") == "here"


def test_one_answer_makes_up_for_all_failures_before() -> None:
    breakers = Breakers()
    for _ in range(3):
        tries(breakers, "kubernetes.prod", down, FAILS - 1)
        assert breakers.ask("kubernetes.prod", lambda: "here") == "here"


def test_nobody_waits_for_the_call_of_another() -> None:
    breakers, together = Breakers(), threading.Barrier(2, timeout=10)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(breakers.ask, "Prometheus", together.wait) for _ in range(2)]
        assert sorted(call.result() for call in calls) == [0, 1], "both were inside at once"


def test_when_the_pause_is_over_one_call_decides() -> None:
    seconds = [1000.0]
    breakers = Breakers(lambda: seconds[0])
    tries(breakers, "kubernetes.prod", down, FAILS)
    seconds[0] += 14.9
    with pytest.raises(Transient, match="left alone"):
        breakers.ask("kubernetes.prod", lambda: "here")
    seconds[0] += 0.2
    with pytest.raises(Transient, match="connection refused"):
        breakers.ask("kubernetes.prod", down)
    with pytest.raises(Transient, match="left alone"):
        breakers.ask("kubernetes.prod", lambda: "here")
    seconds[0] += 15
    assert breakers.ask("kubernetes.prod", lambda: "here") == "here"
    tries(breakers, "kubernetes.prod", down, FAILS - 1)
    assert breakers.ask("kubernetes.prod", lambda: "well again") == "well again"
