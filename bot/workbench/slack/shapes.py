"""A small language for saying what JSON may look like, and the walk that names every place where it does not.

Slack words its findings the same way; block kit's rules themselves are written in it in blockkit.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_URL = re.compile(r"https?://[^\s/]+\S*", re.IGNORECASE)


@dataclass(frozen=True)
class Problem:
    """One rule broken: what, and where as a JSON pointer."""

    message: str
    pointer: str

    def __str__(self) -> str:
        return f"{self.message} [json-pointer:{self.pointer}]"


@dataclass(frozen=True)
class Text:
    """A string of `least` to `most` characters; `url` asks for an http(s) address."""

    most: int | None = None
    least: int = 1
    url: bool = False
    pattern: str | None = None


@dataclass(frozen=True)
class Flag:
    """true or false."""


@dataclass(frozen=True)
class Number:
    """A whole number between two bounds."""

    least: int | None = None
    most: int | None = None


@dataclass(frozen=True)
class Choice:
    """One of a few words or numbers."""

    of: tuple[str | int, ...]


@dataclass(frozen=True)
class Anything:
    """Whatever the app likes; for parts the workspace stores and does not read."""


@dataclass(frozen=True)
class List:
    """A list of `least` to `most` items of one spec."""

    item: Spec
    most: int | None = None
    least: int = 1


@dataclass(frozen=True)
class Shape:
    """An object: the keys it must have, those it may have, and rules that look at it as a whole.

    A rule takes the object and its pointer; it runs only where every key is sound by itself.
    """

    required: Mapping[str, Spec] = field(default_factory=dict)
    optional: Mapping[str, Spec] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Typed:
    """An object whose `type` says which of several shapes it has."""

    shapes: Callable[[], Mapping[str, Shape]]
    what: str = "type"


Spec = Text | Flag | Number | Choice | Anything | List | Shape | Typed
Rule = Callable[[Mapping[str, Any], str], Iterator[Problem]]


def check(value: object, spec: Spec, pointer: str) -> Iterator[Problem]:
    """Every way in which `value` is not what `spec` asks for, outermost first."""
    match spec:
        case Text():
            yield from _text(value, spec, pointer)
        case Flag():
            if not isinstance(value, bool):
                yield Problem("must be a boolean", pointer)
        case Number():
            yield from _number(value, spec, pointer)
        case Choice(of):
            if value not in of or isinstance(value, bool):
                yield Problem(f"must be one of: {', '.join(map(str, of))}", pointer)
        case List():
            yield from _list(value, spec, pointer)
        case Shape():
            yield from _shape(value, spec, pointer, typed=False)
        case Typed():
            yield from _typed(value, spec, pointer)
        case Anything():
            return


def _text(value: object, spec: Text, pointer: str) -> Iterator[Problem]:
    if not isinstance(value, str):
        yield Problem("must be a string", pointer)
    elif len(value) < spec.least:
        yield Problem(f"must be more than {spec.least - 1} characters", pointer)
    elif spec.most is not None and len(value) > spec.most:
        yield Problem(f"must be less than {spec.most + 1} characters", pointer)
    elif spec.url and not _URL.fullmatch(value):
        yield Problem("must be a valid url", pointer)
    elif spec.pattern is not None and not re.fullmatch(spec.pattern, value):
        yield Problem("has an invalid format", pointer)


def _number(value: object, spec: Number, pointer: str) -> Iterator[Problem]:
    if not isinstance(value, int) or isinstance(value, bool):
        yield Problem("must be an integer", pointer)
    elif spec.least is not None and value < spec.least:
        yield Problem(f"must be at least {spec.least}", pointer)
    elif spec.most is not None and value > spec.most:
        yield Problem(f"must be at most {spec.most}", pointer)


def _list(value: object, spec: List, pointer: str) -> Iterator[Problem]:
    if not isinstance(value, list):
        yield Problem("must be an array", pointer)
        return
    if len(value) < spec.least:
        yield Problem(f"no less than {spec.least} items allowed", pointer)
    if spec.most is not None and len(value) > spec.most:
        yield Problem(f"no more than {spec.most} items allowed", pointer)
    for index, item in enumerate(value):
        yield from check(item, spec.item, f"{pointer}/{index}")


def _typed(value: object, spec: Typed, pointer: str) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield Problem("must be an object", pointer)
        return
    kind = value.get("type")
    if kind is None:
        yield Problem("missing required field: type", pointer)
        return
    shape = spec.shapes().get(kind) if isinstance(kind, str) else None
    if shape is None:
        yield Problem(f"unsupported {spec.what}: {kind}", f"{pointer}/type")
        return
    yield from _shape(value, shape, pointer, typed=True)


def _shape(value: object, spec: Shape, pointer: str, *, typed: bool) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield Problem("must be an object", pointer)
        return
    sound = True
    for key in spec.required:
        if value.get(key) is None:
            sound = False
            yield Problem(f"missing required field: {key}", pointer)
    for key, part in value.items():
        known = spec.required.get(key) or spec.optional.get(key)
        if known is None:
            if not (typed and key == "type"):
                sound = False
                yield Problem(f"invalid additional property: {key}", pointer)
        elif part is not None:
            for problem in check(part, known, f"{pointer}/{key}"):
                sound = False
                yield problem
    if sound:
        for rule in spec.rules:
            yield from rule(value, pointer)
