"""How far a sample is from its reference, feature by feature. Pure: arrays in, scores out.

Four distances, each a statistic and never a p-value, since with many rows every p-value is small. `psi` is the
population stability index over ten bins of the reference's quantiles, `ks` the Kolmogorov-Smirnov statistic (0 to 1),
`wasserstein` the earth mover's distance in standard deviations of the reference, `js` the Jensen-Shannon distance to
base 2 (0 to 1) over the bins of `psi`. Of categories there are `psi` and `js`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

METHODS: Final = ("psi", "ks", "wasserstein", "js")
OF_CATEGORIES: Final = ("psi", "js")
THRESHOLDS: Final[Mapping[str, float]] = {"psi": 0.2, "ks": 0.1, "wasserstein": 0.1, "js": 0.1}
"""PSI over 0.2 counts as a significant change, 0.1 to 0.2 as a moderate one: a convention of credit scoring. The other
three are judgement: a tenth of the scale, or of a standard deviation."""
BINS: Final = 10
EPSILON: Final = 1e-4
"""The least share that a bin is taken for: PSI would be infinite where one sample has nothing at all."""
FEWEST: Final[Mapping[str, int]] = {"psi": 500, "ks": 1_000, "wasserstein": 1_000, "js": 1_000}
"""Values in either sample. Two samples of one distribution are then over the threshold by chance in about 5 runs of 100
by `wasserstein`, in fewer than 1 by the others; with 500 it is 20 by `wasserstein` and 13 by `js`, with 100 nearly all.
"""


@dataclass(frozen=True, slots=True)
class Numbers:
    """The finite values of a numeric column, and how many of its rows had none."""

    values: Floats
    missing: int = 0

    @property
    def rows(self) -> int:
        return len(self.values) + self.missing


@dataclass(frozen=True, slots=True)
class Categories:
    """How often each value of a categorical column occurs, and in how many rows there is none."""

    counts: Mapping[str, int]
    missing: int = 0

    @property
    def rows(self) -> int:
        return sum(self.counts.values()) + self.missing


Column = Numbers | Categories


@dataclass(frozen=True, slots=True)
class Score:
    """One distance of one feature. It has drifted when `value` is above `threshold`."""

    feature: str
    method: str
    value: float
    threshold: float

    @property
    def drifted(self) -> bool:
        return self.value > self.threshold


@dataclass(frozen=True, slots=True)
class Unscored:
    """A distance that could not be told, and why. `drifted` is somebody else's verdict; None where there is none."""

    feature: str
    method: str
    why: str
    drifted: bool | None = None


def compare(
    feature: str,
    reference: Column,
    current: Column,
    methods: Sequence[str] = METHODS,
    thresholds: Mapping[str, float] = THRESHOLDS,
) -> tuple[list[Score], list[Unscored]]:
    """The feature's scores by the methods that fit its type, and what could not be told.

    Missing values are a bin, or a category, of their own, so that a feature that has gone missing has drifted.
    """
    scores: list[Score] = []
    unscored: list[Unscored] = []
    if isinstance(reference, Categories) and isinstance(current, Categories):
        shares = _shares_of_categories(reference, current)
        distances: dict[str, Callable[[], float]] = {}
    elif isinstance(reference, Numbers) and isinstance(current, Numbers):
        shares = _shares_of_bins(reference, current)
        distances = {
            "ks": lambda: kolmogorov_smirnov(reference.values, current.values),
            "wasserstein": lambda: wasserstein(reference.values, current.values),
        }
    else:
        raise TypeError("a number cannot be compared with a category")
    distances |= {"psi": lambda: stability(*shares), "js": lambda: jensen_shannon(*shares)}
    for method in methods:
        if method not in distances:
            continue
        few = _too_few(method, reference, current)
        value = math.nan if few else distances[method]()
        if math.isfinite(value):
            scores.append(Score(feature, method, value, thresholds[method]))
        else:
            unscored.append(Unscored(feature, method, few or "the reference has one value only, so there is no scale"))
    return scores, unscored


def stability(reference: Floats, current: Floats) -> float:
    """PSI of two rows of shares, over the same bins."""
    expected, actual = np.maximum(reference, EPSILON), np.maximum(current, EPSILON)
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def jensen_shannon(reference: Floats, current: Floats) -> float:
    """The Jensen-Shannon distance of two rows of shares, to base 2."""
    from scipy.spatial import distance

    found = float(distance.jensenshannon(reference, current, base=2))
    return 0.0 if math.isnan(found) else found  # SciPy takes the root of -1e-17 where both are the same


def kolmogorov_smirnov(reference: Floats, current: Floats) -> float:
    """The largest gap between the two cumulative distributions."""
    from scipy import stats

    return float(stats.ks_2samp(reference, current, method="asymp").statistic)


def wasserstein(reference: Floats, current: Floats) -> float:
    """How far values have moved, in standard deviations of the reference; NaN when that has none."""
    from scipy import stats

    scale = float(np.std(reference))
    moved = float(stats.wasserstein_distance(reference, current))
    if not moved:
        return 0.0
    return moved / scale if scale else math.nan


def edges(reference: Floats) -> Floats:
    """Where one bin ends and the next begins: bin i holds what is above edge i-1 and not above edge i.

    The edges are the reference's quantiles. A value so frequent that two of them fall on it has a bin of its own, so
    that a constant, or a feature that is mostly zero, is not lumped together with what is below.
    """
    quantiles = np.quantile(reference, np.linspace(0.0, 1.0, BINS + 1))
    frequent = quantiles[1:][np.diff(quantiles) == 0]
    found: Floats = np.unique(np.concatenate([quantiles[1:-1], frequent, np.nextafter(frequent, -np.inf)]))
    return found


def _shares_of_bins(reference: Numbers, current: Numbers) -> tuple[Floats, Floats]:
    at = edges(reference.values) if len(reference.values) else np.zeros(1)

    def shares(column: Numbers) -> Floats:
        counts = np.bincount(np.searchsorted(at, column.values, side="left"), minlength=len(at) + 1)
        return _shares([*counts, column.missing])

    return shares(reference), shares(current)


def _shares_of_categories(reference: Categories, current: Categories) -> tuple[Floats, Floats]:
    names = sorted({*reference.counts, *current.counts})

    def shares(column: Categories) -> Floats:
        return _shares([*(column.counts.get(name, 0) for name in names), column.missing])

    return shares(reference), shares(current)


def _shares(counts: Sequence[Any]) -> Floats:
    found: Floats = np.asarray(counts, dtype=np.float64)
    found /= found.sum()
    return found


def _too_few(method: str, reference: Column, current: Column) -> str:
    """Why the distance would tell of chance; "" where it would not.

    What is missing counts where it has a bin. With each category more chance moves: by as much as `FEWEST` gives a bin.
    """
    least = FEWEST[method]
    if isinstance(reference, Categories) and isinstance(current, Categories):
        least = max(least, least * len({*reference.counts, *current.counts}) // BINS)
    for name, column in (("reference", reference), ("current sample", current)):
        known = column.rows if method in OF_CATEGORIES else column.rows - column.missing
        if known < least:
            return f"too few to say: the {name} has {known:,} values, below {least:,}"
    return ""
