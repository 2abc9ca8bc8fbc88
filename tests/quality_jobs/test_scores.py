"""The distances, held against worked examples and a second calculation that shares nothing with the first."""

import bisect
import itertools
import math
import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.quality.drift import EPSILON, FEWEST, METHODS, Categories, Column, Numbers, compare, edges, stability

values = st.lists(st.floats(-1e6, 1e6), min_size=100, max_size=300).map(lambda few: few * 10)
"""Each of them ten times: enough for every distance, and still few to shrink."""


def numbers(found: Sequence[float], missing: int = 0) -> Numbers:
    return Numbers(np.asarray(found, dtype=np.float64), missing)


def scores(reference: Column, current: Column) -> dict[str, float]:
    found, _ = compare("x", reference, current)
    return {one.method: one.value for one in found}


def plain_ks(one: Sequence[float], other: Sequence[float]) -> float:
    left, right = sorted(one), sorted(other)
    return max(
        abs(bisect.bisect_right(left, at) / len(left) - bisect.bisect_right(right, at) / len(right))
        for at in {*left, *right}
    )


def plain_wasserstein(one: Sequence[float], other: Sequence[float]) -> float:
    """The area between the two step functions, in standard deviations of the first."""
    left, right, at = sorted(one), sorted(other), sorted({*one, *other})
    area = math.fsum(
        (after - before)
        * abs(bisect.bisect_right(left, before) / len(left) - bisect.bisect_right(right, before) / len(right))
        for before, after in itertools.pairwise(at)
    )
    mean = math.fsum(one) / len(one)
    return area / math.sqrt(math.fsum((value - mean) ** 2 for value in one) / len(one))


def plain_psi(one: Sequence[float], other: Sequence[float]) -> float:
    cuts = [float(cut) for cut in edges(np.asarray(one))]

    def shares(of: Sequence[float]) -> list[float]:
        counts = [0] * (len(cuts) + 1)
        for value in of:
            counts[bisect.bisect_left(cuts, value)] += 1
        return [max(count / len(of), EPSILON) for count in counts]

    return math.fsum((b - a) * math.log(b / a) for a, b in zip(shares(one), shares(other), strict=True))


def test_psi_of_an_example_worked_by_hand() -> None:
    """(0.4 - 0.5) ln(0.4/0.5) + (0.6 - 0.5) ln(0.6/0.5) = 0.02231 + 0.01823."""
    assert stability(np.array([0.5, 0.5]), np.array([0.4, 0.6])) == pytest.approx(0.040547, abs=1e-6)
    found = scores(Categories({"en": 500, "de": 500}), Categories({"en": 400, "de": 600}))
    assert found["psi"] == pytest.approx(0.040547, abs=1e-6)
    assert set(found) == {"psi", "js"}, "of categories there is no order, so no KS and no Wasserstein"


def test_a_shift_by_half_a_standard_deviation_is_half_a_wasserstein() -> None:
    chance = random.Random(4)
    reference = [chance.gauss(100, 20) for _ in range(20_000)]
    found = scores(numbers(reference), numbers([value + 10 for value in reference]))
    assert found["wasserstein"] == pytest.approx(0.5, abs=0.01)
    assert found["ks"] == pytest.approx(math.erf(0.25 / math.sqrt(2)), abs=0.01), "twice the middle of the bell"


def test_one_category_that_takes_all_is_the_largest_jensen_shannon_distance() -> None:
    found = scores(Categories({"en": 1_000}), Categories({"de": 1_000}))
    assert found["js"] == pytest.approx(1.0)
    assert found["psi"] == pytest.approx(2 * (1 - EPSILON) * math.log(1 / EPSILON))


@given(values, values)
@settings(max_examples=60, deadline=None)
def test_every_score_is_what_a_second_calculation_says(one: list[float], other: list[float]) -> None:
    found = scores(numbers(one), numbers(other))
    assert found["psi"] == pytest.approx(plain_psi(one, other), rel=1e-6, abs=1e-9)
    assert found["ks"] == pytest.approx(plain_ks(one, other), abs=1e-9)
    if "wasserstein" in found and np.std(one) > 1e-3:
        assert found["wasserstein"] == pytest.approx(plain_wasserstein(one, other), rel=1e-6, abs=1e-9)


@given(values)
@settings(max_examples=30, deadline=None)
def test_a_sample_has_not_drifted_from_itself(sample: list[float]) -> None:
    found = scores(numbers(sample), numbers(list(reversed(sample))))
    assert set(found) == set(METHODS)
    assert all(value == pytest.approx(0, abs=1e-7) for value in found.values())


@given(values, values)
@settings(max_examples=30, deadline=None)
def test_ks_is_the_same_both_ways(one: list[float], other: list[float]) -> None:
    there, back = scores(numbers(one), numbers(other)), scores(numbers(other), numbers(one))
    assert there["ks"] == pytest.approx(back["ks"])


@given(st.integers(0, 1_000), st.lists(st.floats(0.05, 2.0), min_size=2, max_size=2, unique=True))
@settings(max_examples=30, deadline=None)
def test_the_further_it_moves_the_higher_each_score(seed: int, shifts: list[float]) -> None:
    chance = random.Random(seed)
    sample = [chance.gauss(0, 1) for _ in range(4_000)]
    less, more = (scores(numbers(sample), numbers([value + by for value in sample])) for by in sorted(shifts))
    assert all(less[method] <= more[method] + 1e-9 for method in METHODS)


@pytest.mark.parametrize("now", [3.0, 1.0])
def test_a_constant_that_becomes_another_has_drifted_whichever_way_it_went(now: float) -> None:
    found, unscored = compare("x", numbers([2.0] * 1_000), numbers([now] * 1_000))
    assert {one.method: one.value for one in found}["psi"] > 1
    assert [(one.method, "no scale" in one.why) for one in unscored] == [("wasserstein", True)]


def often(method: str, draw: Callable[[], Column]) -> float:
    """The share of 200 pairs of samples of the same distribution that are said to have drifted."""
    found = [compare("x", draw(), draw(), [method])[0] for _ in range(200)]
    return sum(one.drifted for scored in found for one in scored) / len(found)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", ["normal", "lognormal", "exponential"])
def test_chance_alone_is_seldom_called_drift(method: str, shape: str) -> None:
    chance = np.random.default_rng(11)
    assert often(method, lambda: Numbers(getattr(chance, shape)(size=FEWEST[method]))) <= 0.1
    few = FEWEST[method] - 1
    scored, unscored = compare("x", Numbers(np.zeros(few)), Numbers(np.zeros(FEWEST[method])), [method])
    assert scored == []
    assert unscored[0].why == f"too few to say: the reference has {few:,} values, below {FEWEST[method]:,}"


@pytest.mark.parametrize("method", ["psi", "js"])
@pytest.mark.parametrize("names", [2, 10, 50, 500])
def test_chance_among_many_categories_is_seldom_called_drift(method: str, names: int) -> None:
    chance = np.random.default_rng(12)
    rows = max(FEWEST[method], FEWEST[method] * names // 10)

    def draw(rows: int = rows) -> Categories:
        counts = chance.multinomial(rows, [1 / names] * names)
        return Categories({str(name): int(count) for name, count in enumerate(counts)})

    assert often(method, draw) <= 0.1
    assert compare("x", draw(), draw(rows - 1), [method])[0] == [], "one value fewer is too few to say"


def test_a_feature_that_is_mostly_zero_drifts_when_its_zeros_grow_fewer() -> None:
    chance = random.Random(1)

    def mostly(zeros: float) -> Numbers:
        return numbers([0.0 if chance.random() < zeros else chance.random() for _ in range(5_000)])

    assert scores(mostly(0.8), mostly(0.8))["psi"] < 0.01
    assert scores(mostly(0.8), mostly(0.5))["psi"] > 0.2


def test_a_feature_that_goes_missing_has_drifted_although_what_is_left_has_not() -> None:
    chance = random.Random(2)
    sample = [chance.gauss(0, 1) for _ in range(2_000)]
    found = scores(numbers(sample), numbers(sample[:1_000], missing=1_000))
    assert found["psi"] > 0.2
    assert found["ks"] < 0.05
    gone, unscored = compare("x", numbers(sample), numbers(sample[:5], missing=1_995))
    assert {one.method for one in gone} == {"psi", "js"}
    assert all("5 values" in one.why for one in unscored), "five values say nothing of a distribution"
