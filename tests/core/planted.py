"""Secrets to plant: an example of each kind, and the piece of it that must never be found anywhere."""

from dataclasses import dataclass
from itertools import takewhile

from bot.incident.redact import redact
from bot.incident.secret_kinds import RULES


@dataclass(frozen=True, slots=True)
class Planted:
    """`text` is what somebody writes; `heart` is what opens the door."""

    kind: str
    text: str
    heart: str


def heart_of(text: str) -> str:
    """The longest word of what is blanked in a text."""
    left = redact(text)
    begin = _alike(text, left)
    end = _alike(text[begin:][::-1], left[begin:][::-1])
    return max(text[begin : len(text) - end].split(), key=len)


def _alike(one: str, other: str) -> int:
    """How many characters they begin with in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def planted() -> list[Planted]:
    """One of each kind: the example with the longest heart."""
    kinds = []
    for rule in RULES:
        text = max(rule.examples, key=lambda example: len(heart_of(example)))
        kinds.append(Planted(rule.name, text, heart_of(text)))
    return kinds
