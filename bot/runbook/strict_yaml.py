"""The YAML a runbook may hold: a small, unsurprising part of the language, with the line of every key.

Plain YAML 1.1 reads `on` as true, `12:30:00` as 45000 and `010` as 8, keeps the last of two equal keys and lets an
anchor grow a small file without bound. Here only `true` and `false` are booleans, only plain decimals are numbers,
everything else is text; a repeated key, an anchor, an alias and a tag are faults.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.composer import Composer

MAX_DEPTH = 8
_WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None, "~": None, "": None}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
# Where libyaml takes what PyYAML's own reader refuses.
_LAXER = re.compile(r"[\t?]|[|>][-+0-9]*#")
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Block:
    """One YAML text as plain Python values.

    `lines` gives the line of each key by dotted path (`verify.for`, `alerts.0`); `faults` are (line, sentence). With a
    syntax fault `value` is None.
    """

    value: Any
    lines: Mapping[str, int]
    faults: tuple[tuple[int, str], ...]


def read(text: str, first_line: int) -> Block:
    """Reads `text`, whose first line is line `first_line` of the file. Never raises."""
    try:
        node = _composed(text)
    except _Refusal as refusal:
        return Block(None, {}, ((first_line + refusal.line, f"YAML: {refusal}"),))
    except yaml.MarkedYAMLError as error:
        problem = str(error.problem or error.context)
        # What is open until the end is looked for where it was opened.
        marks = (
            (error.context_mark, error.problem_mark)
            if "stream" in problem
            else (error.problem_mark, error.context_mark)
        )
        line = next((mark.line for mark in marks if mark), 0)
        return Block(None, {}, ((first_line + line, f"YAML: {problem}"),))
    except (yaml.YAMLError, ValueError, OverflowError):
        # PyYAML lets chr() fail on an escape beyond Unicode, and refuses characters it cannot print without a mark.
        return Block(None, {}, ((first_line, "YAML: a character or escape in this block is not allowed"),))
    walk = _Walk(first_line)
    value = walk.value(node, "") if node is not None else None
    return Block(value, walk.lines, tuple(walk.faults))


class _Refusal(yaml.YAMLError):
    """Valid YAML that a runbook may not hold; `line` counts from 0."""

    def __init__(self, problem: str, event: yaml.Event) -> None:
        super().__init__(problem)
        self.line = event.start_mark.line if event.start_mark else 0


def _composed(text: str) -> yaml.Node | None:
    """The nodes, by libyaml where PyYAML was built with it. What that refuses PyYAML itself reads again, five times
    slower, and has the last word: a fault reads the same everywhere."""
    if _QUICK is not None and not _LAXER.search(text):
        with suppress(yaml.YAMLError, ValueError, OverflowError):
            return _nodes(_QUICK(text))
    return _nodes(_Loader(text))


def _nodes(loader: Any) -> yaml.Node | None:
    try:
        node: yaml.Node | None = loader.get_single_node()
        return node
    finally:
        loader.dispose()


class _Strict(Composer):
    """Composes nodes and leaves every scalar as text; refuses what would surprise."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        parser: Any = self  # whichever of the two it is mixed with
        event: yaml.NodeEvent = parser.peek_event()
        if event.anchor is not None:
            raise _Refusal("anchors and aliases are not allowed: write the value out", event)
        if getattr(event, "tag", None) is not None:
            raise _Refusal("tags are not allowed", event)
        if self.depth >= MAX_DEPTH:
            raise _Refusal(f"nested deeper than {MAX_DEPTH} levels", event)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Loader(_Strict, yaml.BaseLoader):
    """Read by Python."""


_QUICK: Any = None
if yaml.__with_libyaml__:

    class _QuickLoader(_Strict, yaml.CBaseLoader):
        """Read by libyaml: `_Strict` comes first and composes, libyaml's own composer is not used."""

        def __init__(self, text: str) -> None:
            Composer.__init__(self)
            yaml.CBaseLoader.__init__(self, text)

    _QUICK = _QuickLoader


class _Walk:
    """Turns nodes into values and notes where each key stands."""

    def __init__(self, first_line: int) -> None:
        self._first_line = first_line
        self.lines: dict[str, int] = {}
        self.faults: list[tuple[int, str]] = []

    def value(self, node: yaml.Node, path: str) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._item(item, f"{path}.{index}") for index, item in enumerate(node.value)]
        text = str(node.value)
        return text if getattr(node, "style", None) else _plain(text)

    def _item(self, node: yaml.Node, path: str) -> Any:
        self.lines[path] = self._line(node)
        return self.value(node, path)

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = self._line(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self.faults.append(
                    (line, 'YAML: a key must be plain text; a placeholder stands in quotes: "{{ name }}"')
                )
                continue
            key = str(key_node.value)
            if key in found:
                self.faults.append((line, f"YAML: the key '{key}' stands here twice"))
                continue
            here = f"{path}.{key}" if path else key
            self.lines[here] = line
            found[key] = self.value(value_node, here)
        return found

    def _line(self, node: yaml.Node) -> int:
        return self._first_line + int(node.start_mark.line)


def _plain(text: str) -> Any:
    """The value of an unquoted scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    return text
