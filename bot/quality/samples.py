"""Two samples in CSV or Parquet files become columns, in bounded memory: a block of rows at a time, few columns a pass.

Categories are counted exactly. Of numbers at most `limit` rows are kept, chosen evenly by a seed: each row draws a key,
and those with the smallest keys stay (a "bottom-k" sample), so the number of rows need not be known beforehand.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np

from bot.incident.people import Refused
from bot.quality.drift import FEWEST, Categories, Column, Floats, Numbers

LIMIT: Final = 200_000
"""Rows kept of numbers: with so many the error of a share is about 0.001, a hundredth of any threshold."""
AT_ONCE: Final = 8_000_000
"""Values kept at the same time, of both samples: 64 MB of float64; more columns take another pass over the files."""
BLOCK: Final = 1 << 16
"""Rows of a Parquet block."""
MOST_CATEGORIES: Final = 1_000
"""A text column with more different values is an id, or free text, and has no distribution to drift."""
MISSING_EXTRA: Final = "Reading samples needs SciPy and PyArrow, an extra: pip install 'fixfirst[drift]'"


class Kind(StrEnum):
    """What a column is to drift."""

    NUMBER = "number"
    CATEGORY = "category"


class NotInstalled(Refused):
    """The extra `drift` is not there."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A file and the kinds of its columns; those that are neither number nor category are in `others`, with why."""

    path: Path
    kinds: Mapping[str, Kind]
    others: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Pair:
    """One feature in both samples; `rows` are those of the files, of which numbers may be a part."""

    feature: str
    reference: Column
    current: Column
    rows: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which columns to compare (none named: all), and what those are taken for whose type misleads."""

    features: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    def kind(self, column: str) -> Kind | None:
        """What the column was said to be."""
        if column in self.categories:
            return Kind.CATEGORY
        return Kind.NUMBER if column in self.numbers else None


def opened(path: Path, choice: Choice) -> Sample:
    """The sample's columns, without its rows. Raises Refused, NotInstalled."""
    pa = _pyarrow()
    kinds: dict[str, Kind] = {}
    others: dict[str, str] = {}
    for column in _told(path, lambda: _schema(path, choice)):
        said = choice.kind(column.name) or _kind(pa, column.type)
        if said is None:
            others[column.name] = f"is of type {column.type}"
        else:
            kinds[column.name] = said
    return Sample(path, kinds, others)


def in_both(reference: Sample, current: Sample, choice: Choice) -> list[str]:
    """The features to compare, in the order of the reference. Raises Refused where the samples do not fit."""
    wanted = choice.features or tuple(reference.kinds)
    for sample, other in ((reference, current), (current, reference)):
        lost = [name for name in choice.features or other.kinds if name not in {**sample.kinds, **sample.others}]
        if lost:
            there = ", ".join(sorted({*sample.kinds, *sample.others})) or "none"
            raise Refused(f"{sample.path} has no column {', '.join(lost)}; it has {there}. Choose with --feature.")
    for name in wanted:
        for sample in (reference, current):
            if name not in sample.kinds:
                why = f"Column {name} of {sample.path} {sample.others[name]}"
                raise Refused(f"{why}: name it with --number or --category, or leave it out by naming others.")
        if reference.kinds[name] is not current.kinds[name]:
            told = f"{name} is a {reference.kinds[name]} in the reference and a {current.kinds[name]} in the current"
            raise Refused(f"{told} sample; say which with --number {name} or --category {name}.")
    if not wanted:
        raise Refused(f"{reference.path} has no column of numbers or categories.")
    return list(wanted)


def read(
    reference: Sample, current: Sample, features: Sequence[str], *, seed: int, limit: int = LIMIT
) -> Iterator[Pair]:
    """The features in both samples, one after the other. Raises Refused for what cannot be read, or is an id."""
    for some in _passes(reference, features, limit):
        (before, rows), (after, more) = (_columns(sample, some, seed, limit) for sample in (reference, current))
        yield from (Pair(name, before[name], after[name], (rows, more)) for name in some)


def _passes(sample: Sample, features: Sequence[str], limit: int) -> Iterator[list[str]]:
    """The features in groups of which each fits into memory, for both samples together."""
    room = max(1, AT_ONCE // (2 * limit))
    held: list[str] = []
    for name in features:
        held.append(name)
        if sum(sample.kinds[one] is Kind.NUMBER for one in held) == room:
            yield held
            held = []
    if held:
        yield held


@dataclass(slots=True)
class _Evenly:
    """Keeps the `limit` rows with the smallest keys, of several columns of numbers at once."""

    limit: int
    keys: Floats = field(default_factory=lambda: np.empty(0))
    rows: Floats | None = None
    _pending: list[tuple[Floats, Floats]] = field(default_factory=list)

    def add(self, keys: Floats, rows: Floats) -> None:
        """A block: a key for each row, and its values with NaN where there is none, shape (rows, columns)."""
        if len(self.keys) >= self.limit:
            below = keys < self.keys.max()
            keys, rows = keys[below], rows[below]
        self._pending.append((keys, rows))
        if sum(len(one) for one, _ in self._pending) >= max(BLOCK, self.limit // 4):
            self.settle()

    def settle(self) -> None:
        """Merges what has come in since, and forgets all but the smallest keys."""
        if not self._pending:
            return
        kept = [] if self.rows is None else [(self.keys, self.rows)]
        keys = np.concatenate([one for one, _ in [*kept, *self._pending]])
        rows = np.concatenate([one for _, one in [*kept, *self._pending]])
        self._pending.clear()
        if len(keys) > self.limit:
            smallest = np.argpartition(keys, self.limit - 1)[: self.limit]
            keys, rows = keys[smallest], rows[smallest]
        self.keys, self.rows = keys, rows


def _columns(sample: Sample, features: Sequence[str], seed: int, limit: int) -> tuple[dict[str, Column], int]:
    """The columns, and how many rows the file has."""
    numbers = [name for name in features if sample.kinds[name] is Kind.NUMBER]
    categories = [name for name in features if sample.kinds[name] is Kind.CATEGORY]
    kept = _Evenly(limit)
    counts: dict[str, Counter[str]] = {name: Counter() for name in categories}
    missing: Counter[str] = Counter()
    chance = np.random.default_rng(seed)
    rows = 0
    for block in _told(sample.path, lambda: _blocks(sample, [*numbers, *categories])):
        rows += block.num_rows
        for name in categories:
            _count(block.column(name), counts[name], missing, name)
            if len(counts[name]) > MOST_CATEGORIES:
                what = f"Column {name} of {sample.path} has more than {MOST_CATEGORIES} different values"
                raise Refused(f"{what}: is it an id, or free text? Leave it out by naming others with --feature.")
        if numbers:
            values = np.column_stack([_floats(block.column(name), name, sample) for name in numbers])
            kept.add(chance.random(block.num_rows), values)
    if rows < (least := min(FEWEST.values())):
        raise Refused(f"{sample.path} has {rows} rows, below {least}: a score would tell of chance, not of drift.")
    kept.settle()
    found: dict[str, Column] = {name: Categories(counts[name], missing[name]) for name in categories}
    for index, name in enumerate(numbers):
        values = kept.rows[:, index] if kept.rows is not None else np.empty(0)
        finite = np.isfinite(values)
        found[name] = Numbers(np.ascontiguousarray(values[finite]), int(len(values) - finite.sum()))
    return found, rows


def _count(column: Any, counts: Counter[str], missing: Counter[str], name: str) -> None:
    from pyarrow import compute

    for pair in compute.value_counts(column):
        value, count = pair["values"].as_py(), pair["counts"].as_py()
        if value is None or value == "":
            missing[name] += count
        else:
            counts[str(value)] += count


def _floats(column: Any, name: str, sample: Sample) -> Floats:
    import pyarrow as pa

    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        from pyarrow import compute

        column = compute.if_else(compute.equal(column, ""), None, column)
    try:
        found: Floats = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise Refused(f"Column {name} of {sample.path} is no number throughout: {error}") from error
    return found


def _kind(pa: Any, of: Any) -> Kind | None:
    types = pa.types
    if types.is_dictionary(of):
        of = of.value_type
    if types.is_boolean(of) or types.is_string(of) or types.is_large_string(of) or types.is_string_view(of):
        return Kind.CATEGORY
    if types.is_integer(of) or types.is_floating(of) or types.is_decimal(of):
        return Kind.NUMBER
    return None


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _schema(path: Path, choice: Choice) -> Any:
    from pyarrow import parquet

    if _is_parquet(path):
        return parquet.read_schema(path)
    with _csv(path, choice.categories) as reader:
        return reader.schema


def _blocks(sample: Sample, columns: Sequence[str]) -> Iterator[Any]:
    from pyarrow import parquet

    if _is_parquet(sample.path):
        with parquet.ParquetFile(sample.path, pre_buffer=False) as file:  # else all that was read stays in memory
            yield from file.iter_batches(BLOCK, columns=list(columns))
        return
    as_text = [name for name in columns if sample.kinds[name] is Kind.CATEGORY]
    with _csv(sample.path, as_text, columns) as reader:
        yield from reader


def _csv(path: Path, as_text: Sequence[str], columns: Sequence[str] = ()) -> Any:
    """A reader of blocks. What is read as text keeps its spelling: a category 007 is not a 7."""
    import pyarrow as pa
    from pyarrow import csv

    how = csv.ConvertOptions(
        column_types=dict.fromkeys(as_text, pa.string()), include_columns=list(columns), strings_can_be_null=True
    )
    return csv.open_csv(path, convert_options=how)


def _told(path: Path, read: Callable[[], Any]) -> Iterator[Any]:
    """What `read` gives, one after the other; what fails about the file is a sentence."""
    import pyarrow as pa

    try:
        yield from read()
    except OSError as error:  # PyArrow's own ArrowInvalid is a ValueError
        raise Refused(f"{path} cannot be read: {error.strerror or error}") from error
    except pa.ArrowException as error:
        raise Refused(f"{path} cannot be read: {error}") from error


def _pyarrow() -> Any:
    try:
        import pyarrow as pa
        import scipy  # noqa: F401 - asked for here, so that the sentence comes before the reading
    except ImportError as error:
        raise NotInstalled(MISSING_EXTRA) from error
    return pa
