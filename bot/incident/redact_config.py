"""Blanks secrets in configurations and their diffs, where the name of a value stands apart from it. Pure.

`redact` knows a secret by what it looks like, or by a name right before it. A manifest says `name: DB_PASSWORD` and
`value: ...` on two lines, or `secrets:` with all of them below. What is blanked too much costs a look into the
pipeline; what is blanked too little is a leak, so in doubt it goes.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot.incident.redact import BLANK, names_a_secret, redact

Leaf = tuple[str, Any, bool]
"""The path of a value, the value, and whether some name on the way to it is a secret's."""

LONGEST_TABLE: Final = 80
"""Lines between a name and its value, and lines of such a value; what is made to be slow is read in one go."""
LONGEST_NAME: Final = 200
LONGEST_VALUE: Final = 4_000
"""Characters of a name, and of a value without quotes that stands before its name. Without an end to them, a text in
which a name could begin at every other character is read to its end from each.
"""
_NAMING: Final = ("name", "key")
_NAMED: Final = ("value", "val", "values", "default", "content")
"""How a table holds a name and its value as two entries: `{"name": "DB_PASSWORD", "value": ...}`."""
_OF_A_SECRET: Final = ("data", "stringData")
"""Where Kubernetes' `kind: Secret` holds its values."""

_LINE: Final = re.compile(
    r"""(?P<before>[+<>-]?\s*(?:-\s+)*)(?:(?P<key>"[^"\n]*"|'[^'\n]*'|[\w./-]+)\s*(?:=>|[:=](?=[\s"'\[{]|$))\s*)?"""
    r"""(?P<value>.*)"""
)
# `--api-key tulip`, `"--api-key", "tulip"`, `- --api-key` with the value on the next line.
_FLAG: Final = re.compile(
    rf"""(?<![\w-])--?(?P<name>[A-Za-z][\w.-]{{0,{LONGEST_NAME}}})["']?(?:\s*,\s*|[ \t]+)(?!["']?(?:-|\[secret))"""
    r"""(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s"',\]]+)"""
)
_LONE_FLAG: Final = re.compile(r"""["']?--?(?P<name>[A-Za-z][\w.-]*)["']?,?""")
# Both on one line, in either order: `{name: DB_PASSWORD, value: tulip}`.
_QUOTED: Final = r"""(?:"[^"\n]*"|'[^'\n]*')"""
_PLAIN: Final = r"""[^\s,}"']"""
_NAME_IS: Final = rf"""\b(?:{"|".join(_NAMING)})["']?\s*:\s*(?P<name>{_QUOTED}|{_PLAIN}{{1,{LONGEST_NAME}}})"""
_VALUE_IS: Final = rf"""\b(?:{"|".join(_NAMED)})["']?\s*:\s*"""
_AND: Final = r"""\s*,\s*["']?"""
_PAIR: Final = re.compile(rf"(?P<before>{_NAME_IS}{_AND}{_VALUE_IS})(?:{_QUOTED}|{_PLAIN}+)(?P<after>)", re.IGNORECASE)
_RIAP: Final = re.compile(
    rf"(?P<before>{_VALUE_IS})(?:{_QUOTED}|{_PLAIN}{{1,{LONGEST_VALUE}}}+)(?P<after>{_AND}{_NAME_IS})", re.IGNORECASE
)
_OPENS: Final = re.compile(r"[\[{(]?\s*|[|>][+-]?\d?\s*")
"""What stands behind a key whose value follows on the next lines."""
_CLOSES: Final = re.compile(r"[\s\]}),;{\[(]*")


def leaves(value: Any, path: str = "", secret: bool = False) -> Iterator[Leaf]:
    """Every value by its path (`engine.max_num_seqs`, `env.DB_PASSWORD`), a list of plain values as one.

    What has a name in a list goes by it, the rest by its place. The caller sees to it that it is not too deep.
    """
    if isinstance(value, Mapping) and value:
        named = secret or any(names_a_secret(str(value.get(name, ""))) for name in _NAMING)
        manifest = secret or value.get("kind") == "Secret"
        for key, inner in value.items():
            hides = named if key in _NAMED else manifest if key in _OF_A_SECRET else secret
            yield from leaves(inner, f"{path}.{key}" if path else str(key), hides or names_a_secret(str(key)))
    elif isinstance(value, list) and any(isinstance(one, Mapping | list) for one in value):
        for place, one in enumerate(value):
            yield from _item(one, path, place, secret)
    else:
        yield path, value, secret


def _item(one: Any, path: str, place: int, secret: bool) -> Iterator[Leaf]:
    named = next((n for n in _NAMING if isinstance(one, Mapping) and isinstance(one.get(n), str) and one[n]), None)
    if named is None:
        yield from leaves(one, f"{path}[{place}]", secret)
        return
    rest = {key: inner for key, inner in one.items() if key != named}
    here = f"{path}.{one[named]}"
    if len(rest) == 1 and next(iter(rest)) in _NAMED:
        yield from leaves(next(iter(rest.values())), here, secret or names_a_secret(one[named]))
        return
    for inner_path, inner, hides in leaves(one, here, secret):
        if inner_path != f"{here}.{named}":
            yield inner_path, inner, hides
    if not rest:
        yield here, "", secret


def redact_config(text: str) -> str:
    """As `redact`, for a text of several lines: YAML, JSON, the like, or a diff of them. Its lines stay as many."""
    text = _FLAG.sub(_flag, text)
    text = _RIAP.sub(_pair, _PAIR.sub(_pair, text))
    return redact("\n".join(_blanked(text.split("\n"))))


@dataclass(frozen=True, slots=True)
class _Line:
    """`column` is where its key or value begins, `head` all before the value.

    `begins`: it is the first line of an item of a YAML list.
    """

    column: int
    begins: bool
    key: str
    head: str
    value: str

    @property
    def bare(self) -> str:
        return _bare(self.value)

    @property
    def is_empty(self) -> bool:
        return not self.key and not self.value.strip()


def _read(line: str, is_diff: bool) -> _Line:
    found = _LINE.match(line)
    if found is None:
        raise AssertionError("the pattern takes every line")
    before, key = found["before"], _bare(found["key"] or "")
    begins = "-" in (before[1:] if is_diff else before)
    return _Line(len(before), begins, key, line[: found.start("value")], found["value"])


def _blanked(lines: list[str]) -> list[str]:
    is_diff = any(line.startswith(("+", "@@", "diff ")) for line in lines)
    read = [_read(line, is_diff) for line in lines]
    hidden = _under_secrets(read) | _beside_names(read)
    return [
        _hide(line, one) if nth in hidden else line for nth, (line, one) in enumerate(zip(lines, read, strict=True))
    ]


def _under_secrets(read: list[_Line]) -> set[int]:
    """Lines deeper than a key that names a secret and has nothing behind it, and those behind a flag that does."""
    hidden: set[int] = set()
    manifest = any(one.key == "kind" and one.bare == "Secret" for one in read)
    inside: int | None = None
    flag: int | None = None
    for nth, one in enumerate(read):
        if one.is_empty:
            continue
        if inside is not None and one.column <= inside:
            inside = None
        if inside is not None:
            hidden.add(nth)
        elif names_a_secret(one.key) or one.key == "stringData" or (manifest and one.key == "data"):
            if _OPENS.fullmatch(one.value):
                inside = one.column
            elif one.value.strip():
                hidden.add(nth)
        lone = _LONE_FLAG.fullmatch(one.value.strip()) if not one.key else None
        if flag == one.column and lone is None and not one.key:
            hidden.add(nth)
        elif lone is not None and names_a_secret(lone["name"]):
            flag = one.column
        else:
            flag = None
    return hidden


def _beside_names(read: list[_Line]) -> set[int]:
    """The values of the tables in which a line `name: DB_PASSWORD` says whose they are."""
    hidden: set[int] = set()
    for nth, one in enumerate(read):
        if one.key.lower() in _NAMING and names_a_secret(one.bare):
            for value in [*_values_before(read, nth), *_values_after(read, nth)]:
                hidden |= {value, *_below(read, value)}
    return hidden


def _values_before(read: list[_Line], name: int) -> Iterator[int]:
    """The values above the name in its table."""
    column = read[name].column
    if read[name].begins:
        return
    for nth in range(name - 1, max(-1, name - 1 - LONGEST_TABLE), -1):
        if read[nth].is_empty:
            continue
        if read[nth].column < column:
            return
        if read[nth].column == column:
            if read[nth].key.lower() in _NAMED:
                yield nth
            if read[nth].begins:
                return


def _values_after(read: list[_Line], name: int) -> Iterator[int]:
    """The values below the name in its table. A diff shows the old name and the new one before the values."""
    column, ended = read[name].column, not read[name].begins
    for nth in range(name + 1, min(len(read), name + 1 + LONGEST_TABLE)):
        if read[nth].is_empty:
            continue
        if read[nth].column < column or (ended and read[nth].begins and read[nth].column == column):
            return
        if read[nth].column == column and read[nth].key.lower() in _NAMED:
            ended = True
            yield nth


def _below(read: list[_Line], key: int) -> Iterator[int]:
    """The lines that are the value of a key with nothing behind it."""
    if not _OPENS.fullmatch(read[key].value):
        return
    for nth in range(key + 1, min(len(read), key + 1 + LONGEST_TABLE)):
        if not read[nth].is_empty and read[nth].column <= read[key].column:
            return
        yield nth


def _hide(line: str, one: _Line) -> str:
    if _OPENS.fullmatch(one.value) or _CLOSES.fullmatch(one.value):
        return line
    return one.head + BLANK


def _bare(text: str) -> str:
    return text.strip().rstrip(",").strip("\"'")


def _flag(found: re.Match[str]) -> str:
    if not names_a_secret(found["name"]):
        return found[0]
    quote = found["value"][0] if found["value"][0] in "\"'" else ""
    return f"{found[0].removesuffix(found['value'])}{quote}{BLANK}{quote}"


def _pair(found: re.Match[str]) -> str:
    return f"{found['before']}{BLANK}{found['after']}" if names_a_secret(_bare(found["name"])) else found[0]
