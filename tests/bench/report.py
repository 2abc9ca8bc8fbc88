"""The table at the end, and which of its lines are promises."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from tests.bench.measure import Pair

COLUMNS: Final = ("", "floor", "product", "ratio", "gate", "")


@dataclass(frozen=True)
class Line:
    """One line of the table; `kept` is None where nothing is promised."""

    name: str
    floor: str
    product: str
    ratio: str = ""
    gate: str = ""
    kept: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """As text, column by column."""
        verdict = {None: "", True: "kept", False: "MISSED"}[self.kept]
        return self.name, self.floor, self.product, self.ratio, self.gate, verdict


def _ratio(pairs: Sequence[Pair]) -> float:
    return median(pair.product / pair.floor for pair in pairs)


def _middle(pairs: Sequence[Pair]) -> Pair:
    return Pair(median(pair.floor for pair in pairs), median(pair.product for pair in pairs))


def rates(name: str, pairs: Sequence[Pair], at_least: float | None) -> Line:
    """Alerts a second: the product does at least this part of the floor."""
    middle, ratio = _middle(pairs), _ratio(pairs)
    gate, kept = ("", None) if at_least is None else (f">= {at_least:.0%}", ratio >= at_least)
    return Line(name, f"{middle.floor:,.0f}/s", f"{middle.product:,.0f}/s", f"{ratio:.0%}", gate, kept)


def waits(name: str, pairs: Sequence[Pair], at_most: float | None) -> Line:
    """Seconds: the product takes at most so many times as long as the floor."""
    middle, ratio = _middle(pairs), _ratio(pairs)
    gate, kept = ("", None) if at_most is None else (f"<= {at_most:g} x", ratio <= at_most)
    return Line(name, f"{middle.floor * 1e3:.1f} ms", f"{middle.product * 1e3:.1f} ms", f"{ratio:.1f} x", gate, kept)


def absolute(name: str, values: Sequence[float], unit: str, below: float | None) -> Line:
    """A figure with a bound of its own, in `unit`."""
    value = median(values)
    gate, kept = ("", None) if below is None else (f"< {below:g} {unit}", value < below)
    return Line(name, "", f"{value:.3g} {unit}", "", gate, kept)


def share(name: str, good: int, all_of: int, at_least: float) -> Line:
    """So many of so many: at least this part of them."""
    reached = good / all_of
    return Line(name, "", f"{good} of {all_of}", f"{reached:.0%}", f">= {at_least:.0%}", reached >= at_least)


def table(lines: Sequence[Line]) -> str:
    """The lines in Markdown, columns aligned."""
    rows = [COLUMNS, *(line.cells() for line in lines)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS))]
    texts = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([texts[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *texts[1:]])
