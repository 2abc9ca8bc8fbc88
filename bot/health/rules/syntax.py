"""PromQL as a tree that can be asked: which series it needs, what is compared with what, and what lies around it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

DEEPEST: Final = 60
MOST_OPERATORS: Final = 250
"""The parser is recursive and native, and so is our way through its tree; far beyond these the process would die."""
_OPERATOR: Final = re.compile(r"[-+*/%^<>=!@]+|\b(?:and|or|unless|atan2)\b")
RATES: Final = frozenset(
    {"rate", "irate", "increase", "delta", "idelta", "deriv", "changes", "resets", "predict_linear"}
)
KEEPS_UNIT: Final = frozenset(
    {"avg_over_time", "max_over_time", "min_over_time", "last_over_time", "quantile_over_time", "label_replace"}
    | {"label_join", "abs", "clamp_max", "clamp_min", "sort", "sort_desc", "round", "clamp"}
)
KEEPS_SCALE: Final = frozenset({"avg", "max", "min", "quantile", "topk", "bottomk"})
COMPARISONS: Final = frozenset({">", "<", ">=", "<=", "==", "!="})


class Unreadable(Exception):
    """Not PromQL, or no rules at all. A sentence for a person."""


class TooLarge(Exception):
    """More PromQL than can be read safely."""


@dataclass(frozen=True, slots=True)
class Matcher:
    label: str
    op: str
    value: str

    def admits(self, value: str) -> bool:
        """Whether a label with this value passes; an absent label has the value ""."""
        if self.op in ("=", "!="):
            return (value == self.value) == (self.op == "=")
        try:
            # RE2 and Python agree on what people write here; what Python cannot read is given the benefit of the doubt.
            found = re.fullmatch(self.value, value) is not None
        except re.error:
            return True
        return found == (self.op == "=~")


@dataclass(frozen=True, slots=True)
class Selector:
    """One selection of series. `text` selects the same in PromQL."""

    metric: str
    matchers: tuple[Matcher, ...]
    offset: bool

    @property
    def text(self) -> str:
        from bot.health.promql import quote

        return self.metric + "{" + ",".join(f"{m.label}{m.op}{quote(m.value)}" for m in self.matchers) + "}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """`side op number`; a comparison written the other way round is turned. `filters`: it stands at the right of `and`
    or `unless`, where it only chooses series."""

    side: Any
    op: str
    number: float
    filters: bool


def parse(query: str) -> Any:
    """The tree. Raises Unreadable, TooLarge."""
    import promql_parser

    if len(_OPERATOR.findall(query)) > MOST_OPERATORS or _depth(query) > DEEPEST:
        raise TooLarge("it is larger than can be read safely; make a recording rule of a part of it")
    try:
        return promql_parser.parse(query)
    except ValueError as error:
        raise Unreadable(str(error).partition("\n")[0][:200]) from error
    except BaseException as error:
        # A panic of the parser is no Exception and is named nowhere else.
        if type(error).__name__ != "PanicException":
            raise
        raise Unreadable(str(error)[:200]) from error


def _depth(query: str) -> int:
    depth = deepest = 0
    for character in query:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def kind(node: Any) -> str:
    """`AggregateExpr`, `BinaryExpr`, `Call`, ..."""
    return type(node).__name__


def bare(node: Any) -> Any:
    """Without the brackets around it."""
    while kind(node) in ("ParenExpr", "UnaryExpr"):
        node = node.expr
    return node


def children(node: Any) -> list[Any]:
    match kind(node):
        case "AggregateExpr" | "ParenExpr" | "UnaryExpr" | "SubqueryExpr":
            return [node.expr]
        case "BinaryExpr":
            return [node.lhs, node.rhs]
        case "Call":
            return list(node.args)
        case _:
            return []


def walk(node: Any) -> Iterator[Any]:
    """The node and everything below it."""
    yield node
    for child in children(node):
        yield from walk(child)


def selector(node: Any) -> Selector | None:
    """What the node itself selects, if it selects."""
    if kind(node) == "MatrixSelector":
        node = node.vector_selector
    if kind(node) != "VectorSelector":
        return None
    operators = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
    matchers = [Matcher(m.name, operators[str(m.op).rpartition(".")[2]], m.value) for m in node.matchers.matchers]
    named = next((m.value for m in matchers if m.label == "__name__" and m.op == "="), "")
    rest = tuple(m for m in matchers if not (m.label == "__name__" and m.op == "="))
    return Selector(node.name or named, rest, node.offset is not None)


def selectors(node: Any) -> list[Selector]:
    return [found for below in walk(node) if (found := selector(below))]


def number(node: Any) -> float | None:
    """A number, also one that is computed from numbers, as 0.9 * 100 or 14.4 * (1 - 0.99)."""
    if kind(node) == "NumberLiteral":
        return float(node.val)
    if kind(node) == "ParenExpr":
        return number(node.expr)
    if kind(node) == "UnaryExpr":
        inner = number(node.expr)
        return None if inner is None else -inner
    if kind(node) == "BinaryExpr":
        left, right = number(node.lhs), number(node.rhs)
        if left is None or right is None:
            return None
        match str(node.op):
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
            case "/":
                return left / right if right else None
    return None


_TURNED: Final = {">": "<", "<": ">", ">=": "<=", "<=": ">=", "==": "==", "!=": "!="}


def comparisons(node: Any, filters: bool = False) -> Iterator[Comparison]:
    """Every comparison with a number."""
    if kind(node) == "BinaryExpr":
        op = str(node.op)
        if op in COMPARISONS:
            left, right = number(node.lhs), number(node.rhs)
            if right is not None and left is None:
                yield Comparison(bare(node.lhs), op, right, filters)
            elif left is not None and right is None:
                yield Comparison(bare(node.rhs), _TURNED[op], left, filters)
        yield from comparisons(node.lhs, filters)
        yield from comparisons(node.rhs, filters or op in ("and", "unless"))
        return
    for child in children(node):
        yield from comparisons(child, filters)


def plain(node: Any) -> Selector | None:
    """The one selection whose values these are, in its own unit and scale: through avg, max, label_replace and the
    like,
    but through no rate, sum or arithmetic."""
    node = bare(node)
    found = selector(node)
    if found:
        return found
    if kind(node) == "AggregateExpr" and str(node.op) in KEEPS_SCALE:
        return plain(node.expr)
    if kind(node) == "Call" and node.func.name in KEEPS_UNIT:
        vectors = [arg for arg in node.args if selectors(arg)]
        return plain(vectors[0]) if len(vectors) == 1 else None
    if kind(node) == "SubqueryExpr":
        return plain(node.expr)
    return None


def counted(node: Any) -> Selector | None:
    """As `plain`, but through sums too: a sum of counters is a counter still."""
    node = bare(node)
    if kind(node) == "AggregateExpr" and str(node.op) == "sum":
        return counted(node.expr)
    if kind(node) == "AggregateExpr" and str(node.op) in KEEPS_SCALE:
        return counted(node.expr)
    return plain(node)


def calls(node: Any, *names: str) -> Iterator[Any]:
    """Every call of these functions."""
    return (below for below in walk(node) if kind(below) == "Call" and below.func.name in names)
