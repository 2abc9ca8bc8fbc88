"""Intervals: held against worked examples, against their own promise by simulation, and against what always holds."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.health.statistics import Interval, Share, difference, quantile, wilson

SEED = 20261122
TRIALS = 4_000
EDGES = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, math.inf)


@st.composite
def shares(draw: st.DrawFn) -> Share:
    of = draw(st.integers(1, 100_000))
    return Share(draw(st.integers(0, of)), of)


def drawn(random_: random.Random, n: int, p: float) -> Share:
    return Share(sum(random_.random() < p for _ in range(n)), n)


def test_the_worked_examples_of_newcombe() -> None:
    """Newcombe 1998, table II, method 10: 56/70 less 48/80, and 10/10 less 0/10."""
    apart = difference(Share(56, 70), Share(48, 80))
    assert (round(apart.low, 4), round(apart.high, 4)) == (0.0524, 0.3339)
    extreme = difference(Share(10, 10), Share(0, 10))
    assert (round(extreme.low, 4), round(extreme.high, 4)) == (0.6075, 1.0)


@pytest.mark.parametrize(
    ("p", "q", "n", "m"),
    [(0.05, 0.05, 400, 2000), (0.02, 0.05, 800, 3000), (0.3, 0.35, 150, 150), (0.1, 0.1, 200, 900)],
)
def test_the_interval_of_a_difference_holds_the_truth_as_often_as_it_says(p: float, q: float, n: int, m: int) -> None:
    random_ = random.Random(SEED)
    held = 0
    for _ in range(TRIALS):
        apart = difference(drawn_fast(random_, n, p), drawn_fast(random_, m, q))
        held += apart.low <= p - q <= apart.high
    assert 0.93 <= held / TRIALS <= 0.97, f"seed {SEED}"


def drawn_fast(random_: random.Random, n: int, p: float) -> Share:
    """A binomial number; by the gaps between successes, which is quick where they are few."""
    if p > 0.2:
        return drawn(random_, n, p)
    at, hits, log = 0, 0, math.log1p(-p)
    while True:
        at += 1 + int(math.log(1.0 - random_.random()) / log)
        if at > n:
            return Share(hits, n)
        hits += 1


@pytest.mark.parametrize("n", [60, 400, 3000])
def test_the_interval_of_a_p99_holds_the_truth_at_least_as_often_as_it_says(n: int) -> None:
    """Times to first token are lognormal here; a histogram only rounds the interval outwards."""
    random_ = random.Random(SEED)
    truth = math.exp(-0.7 + 0.6 * 2.3263479)
    held = 0
    for _ in range(600):
        counts = [0] * len(EDGES)
        for _ in range(n):
            seen = random_.lognormvariate(-0.7, 0.6)
            counts[next(place for place, edge in enumerate(EDGES) if seen <= edge)] += 1
        total, buckets = 0, []
        for edge, count in zip(EDGES, counts, strict=True):
            total += count
            buckets.append((edge, float(total)))
        found = quantile(buckets, 0.99)
        assert found is not None
        held += found.low <= truth <= found.high
    assert held / 600 >= 0.95, f"seed {SEED}"


@given(shares())
def test_a_share_lies_in_its_interval_and_the_interval_in_0_to_1(share: Share) -> None:
    interval = wilson(share)
    assert 0 <= interval.low <= share.value <= interval.high <= 1


@given(shares(), shares())
def test_a_difference_the_other_way_round_is_its_mirror(one: Share, other: Share) -> None:
    there, back = difference(one, other), difference(other, one)
    assert there.value == pytest.approx(-back.value)
    assert there.low == pytest.approx(-back.high)
    assert there.high == pytest.approx(-back.low)


@given(shares())
def test_nothing_differs_from_itself(share: Share) -> None:
    assert not difference(share, share).excludes_zero


@given(shares(), st.integers(2, 50))
def test_more_requests_make_surer(share: Share, times: int) -> None:
    few, many = wilson(share), wilson(Share(share.bad * times, share.of * times))
    assert many.high - many.low <= few.high - few.low


@given(st.lists(st.integers(0, 500), min_size=len(EDGES), max_size=len(EDGES)), st.floats(0.5, 0.999))
def test_a_quantile_lies_in_its_interval(counts: list[int], q: float) -> None:
    total, buckets = 0, []
    for edge, count in zip(EDGES, counts, strict=True):
        total += count
        buckets.append((edge, float(total)))
    found = quantile(buckets, q)
    if total == 0:
        assert found is None
        return
    assert found is not None
    assert found.low <= found.value <= found.high


def test_few_requests_have_no_upper_end() -> None:
    found = quantile([(0.5, 20.0), (1.0, 20.0), (math.inf, 20.0)], 0.99)
    assert found is not None
    assert math.isinf(found.high), "the slowest of a hundred has not been among twenty"


def test_what_lies_beyond_the_last_edge_is_at_least_that() -> None:
    found = quantile([(1.0, 10.0), (30.0, 100.0), (math.inf, 1000.0)], 0.99)
    assert found == Interval(30.0, 30.0, math.inf)


@given(st.floats(-10, 1e6), st.floats(-10, 1e6))
def test_extrapolated_counters_never_make_more_failures_than_requests(bad: float, of: float) -> None:
    share = Share.of_flows(bad, of)
    assert 0 <= share.bad <= share.of
