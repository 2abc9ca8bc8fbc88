"""What a runbook expects of a measurement: `< 0.01` and its like, `empty`, `nonempty`; of one field also `== text`."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

_OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_OPERATOR: Final = "|".join(_OPERATORS)
_NUMBER: Final = r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?"
_TEXT: Final = r"[^\s\x00-\x1f][^\x00-\x1f]{0,199}"
_COMPARISON: Final = re.compile(rf"({_OPERATOR}) ?({_NUMBER})")
_NAMING: Final = re.compile(rf"(==|!=) ?({_TEXT})")

EXPECT: Final = re.compile(rf"empty|nonempty|(?:{_OPERATOR}) ?{_NUMBER}")
"""Of numbers: what a query answers."""
WANTED: Final = re.compile(rf"{EXPECT.pattern}|(?:==|!=) ?{_TEXT}")
"""Of one field, which may also be text."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A number held against a threshold. NaN meets none but `!=`, so ask for it before."""

    compare: Callable[[float, float], bool]
    threshold: float

    def holds(self, value: float) -> bool:
        return self.compare(value, self.threshold)


@dataclass(frozen=True, slots=True)
class Naming:
    """A text that must be there, or with `other` must not."""

    text: str
    other: bool

    def holds(self, value: str) -> bool:
        return (value == self.text) is not self.other


def comparison(expect: str) -> Comparison | None:
    """What numbers are held against; None for `empty` and `nonempty`. Raises ValueError for anything else."""
    if expect in ("empty", "nonempty"):
        return None
    found = _COMPARISON.fullmatch(expect)
    if not found:
        raise ValueError(f"{expect[:40]!r} is not an expectation: write < 0.01, empty or nonempty")
    return Comparison(_OPERATORS[found[1]], float(found[2]))


def naming(expect: str) -> Naming | None:
    """What texts are held against; None for what is not about text."""
    found = _NAMING.fullmatch(expect)
    return Naming(found[2].strip(), found[1] == "!=") if found else None
