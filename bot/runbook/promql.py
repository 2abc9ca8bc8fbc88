"""Whether a PromQL query can be read, and where a placeholder may stand in it so that no value changes what it asks."""

import re
from collections.abc import Mapping
from typing import Final

from bot.runbook.template import PLACEHOLDER

LONGEST: Final = 4_000
DEEPEST: Final = 30
MOST_OPERATORS: Final = 100
"""The parser is recursive and native: far beyond these it runs off its stack and takes the process with it. With a
stack of 256 KiB, a quarter of what any Python thread gets, it stood 30 brackets around 100 operators."""

_PAIRS: Final = {")": "(", "]": "[", "}": "{"}
_WORD_OPERATORS: Final = frozenset({"and", "or", "unless", "atan2"})
_OPERATORS: Final = frozenset({"+", "-", "*", "/", "%", "^", "==", "!=", "<=", ">=", "<", ">", "@"})
_MATCHERS: Final = frozenset({"=", "!=", "=~", "!~"})
_MEANT: Final[Mapping[str, str]] = {"=": "==", "===": "==", "&&": "and", "&": "and", "||": "or", "|": "or", "<>": "!="}
_TOKEN: Final = re.compile(
    r"(?P<gap>\s+|#[^\n]*)|(?P<word>[A-Za-z_:][A-Za-z0-9_:]*)|(?P<quote>[\"'`])|(?P<bracket>[()\[\]{}])"
    r"|(?P<operator>[=<>!~&|]+|[-+*/%^@])|(?P<other>.)",
    re.DOTALL,
)


def escape(value: str) -> str:
    """The value as it must stand between double quotes (Go's escapes, which PromQL uses)."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def problems(query: str, types: Mapping[str, str]) -> list[str]:
    """Sentences about what Prometheus would not read, and about placeholders where a value could change the question.

    `types` gives the type of each parameter; a whole number may stand bare, anything else only inside double quotes and
    not in a matcher's regular expression, where its dots would match anything.
    """
    if len(query) > LONGEST:
        return [f"the query is longer than {LONGEST} characters: make a recording rule of it"]
    return _scanned(query, types) or _parsed(query)


def _scanned(query: str, types: Mapping[str, str]) -> list[str]:
    """What can be told from the tokens alone, in words that fit the fault better than a parser's."""
    found: list[str] = []
    opened: list[str] = []
    operators = 0
    position = 0
    last = ""
    while position < len(query):
        placeholder = PLACEHOLDER.match(query, position)
        if placeholder:
            if types.get(placeholder[1], "int") != "int":
                found.append(f'{placeholder[0]} must stand inside double quotes: label="{placeholder[0]}"')
            position, last = placeholder.end(), placeholder[0]
            continue
        token = _TOKEN.match(query, position)
        assert token is not None, "every character is some token"
        text, position = token[0], token.end()
        if token.lastgroup == "gap":
            continue
        if token.lastgroup == "quote":
            end = _string_end(query, token.start())
            if end is None:
                return [
                    *found,
                    f"the string that begins with {query[token.start() : token.start() + 20]!r} is not closed",
                ]
            found.extend(_in_string(query, token.start(), end, last))
            position = end
        elif text in "([{":
            opened.append(text)
            if len(opened) > DEEPEST:
                return [
                    *found,
                    f"the brackets are nested deeper than {DEEPEST}: make a recording rule of the inner part",
                ]
        elif text in ")]}":
            if not opened or opened.pop() != _PAIRS[text]:
                return [*found, f"'{text}' closes nothing that is open"]
        elif token.lastgroup == "operator":
            operators += 1
            if text not in (_MATCHERS if opened[-1:] == ["{"] else _OPERATORS):
                found.append(_unknown_operator(text, inside=opened[-1:] == ["{"]))
        elif text in _WORD_OPERATORS:
            operators += 1
        last = text
    if opened:
        found.append(f"'{opened[-1]}' is not closed")
    if operators > MOST_OPERATORS:
        found.append(f"the query has more than {MOST_OPERATORS} operators: make a recording rule of a part of it")
    return found


def _unknown_operator(text: str, *, inside: bool) -> str:
    if inside:
        return f"'{text}' compares no label: write =, !=, =~ or !~"
    meant = _MEANT.get(text)
    known = "+ - * / % ^ == != < > <= >= and or unless"
    return f"unknown operator '{text}'; " + (f"did you mean '{meant}'?" if meant else f"known: {known}")


def _string_end(query: str, start: int) -> int | None:
    """The position after the closing quote."""
    quote = query[start]
    position = start + 1
    while position < len(query):
        if query[position] == "\\" and quote != "`":
            position += 2
        elif query[position] == quote:
            return position + 1
        else:
            position += 1
    return None


def _in_string(query: str, start: int, end: int, before: str) -> list[str]:
    placeholder = PLACEHOLDER.search(query, start, end)
    if placeholder is None:
        return []
    if query[start] != '"':
        return [f"{placeholder[0]} must stand inside double quotes, not {query[start]}"]
    if before in {"=~", "!~"}:
        return [f"{placeholder[0]} would be read as a regular expression here; compare with = or !="]
    return []


def _parsed(query: str) -> list[str]:
    """What a real parser says of it, each placeholder filled with a 1, which fits both a number and a label's value."""
    import promql_parser

    try:
        expression = promql_parser.parse(PLACEHOLDER.sub("1", query))
    except ValueError as error:
        return [f"Prometheus cannot read this query: {_plainer(str(error))}"]
    except BaseException as error:
        # A panic of the parser (0.12 has one, on 'offset inf') is no Exception and is named nowhere else.
        if type(error).__name__ != "PanicException":
            raise
        return [f"Prometheus cannot read this query: {error}"]
    if isinstance(expression, promql_parser.MatrixSelector | promql_parser.SubqueryExpr | promql_parser.StringLiteral):
        return ["this gives no number: wrap a range in a function, as rate(…[5m])"]
    return []


def _plainer(said: str) -> str:
    """The parser's own word, but for the two that say nothing to whoever wrote the query."""
    return {
        "invalid promql query": "something is missing, or stands where it cannot",
        "no expression found in input": "it is empty",
    }.get(said, said.partition("\n")[0][:200])
