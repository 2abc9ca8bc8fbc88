"""What is expected of a measured value, as runbooks write it: `< 0.01`, `empty`, `nonempty`."""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Final

from bot.contracts import Permanent

_COMPARISON = re.compile(r"(==|!=|<=|>=|<|>) ?(-?[0-9]{1,15}(?:\.[0-9]{1,15})?)")
_OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


def comparison(expect: str) -> tuple[Callable[[float, float], bool], float] | None:
    """The comparison and its threshold; None for `empty` and `nonempty`."""
    if expect in ("empty", "nonempty"):
        return None
    found = _COMPARISON.fullmatch(expect)
    if not found:
        raise Permanent(f"{expect[:40]!r} is not an expectation: write < 0.01, empty or nonempty")
    return _OPERATORS[found[1]], float(found[2])


def compare(value: float, expect: str) -> bool:
    """Whether a number is as expected by a comparison; Permanent when that is none."""
    wanted = comparison(expect)
    if wanted is None:
        raise Permanent(f"{expect!r} says nothing about a number")
    holds, threshold = wanted
    return holds(value, threshold)
