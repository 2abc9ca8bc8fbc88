"""What was measured, held against what a runbook expects of it (`bot.incident.expect`)."""

import json
import math
from typing import Any

from bot.contracts import Permanent
from bot.incident import expect as grammar
from bot.incident.run import Sample


def comparison(expect: str) -> grammar.Comparison | None:
    """What numbers are held against; None for `empty` and `nonempty`. Raises Permanent for what is no expectation."""
    try:
        return grammar.comparison(expect)
    except ValueError as error:
        raise Permanent(str(error)) from None


def judged(value: Any, expect: str) -> Sample:
    """What one field says about an expectation. Nothing, NaN and what is of another sort prove nothing.

    Text that is a number is still text: `== 3` holds for "3", `> 2` says nothing about it.
    """
    if expect in ("empty", "nonempty"):
        return _presence(value, expect)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = value if isinstance(value, str) else json.dumps(value) if isinstance(value, bool) else None
    naming = grammar.naming(expect)
    if text is not None and naming is not None:
        return Sample.HOLDS if naming.holds(text) else Sample.FAILS
    if naming is not None and not _is_number(expect):
        return Sample.INCONCLUSIVE
    wanted = comparison(expect)
    if wanted is None or not number or math.isnan(value):
        return Sample.INCONCLUSIVE
    return Sample.HOLDS if wanted.holds(value) else Sample.FAILS


def _is_number(expect: str) -> bool:
    return grammar.EXPECT.fullmatch(expect) is not None


def _presence(value: Any, expect: str) -> Sample:
    there = value not in (None, "", [], {})
    if expect == "empty":
        return Sample.FAILS if there else Sample.HOLDS
    return Sample.HOLDS if there else Sample.INCONCLUSIVE
