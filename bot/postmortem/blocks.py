"""The parts of a draft that the bot wrote, fenced by markers, so that a new draft never overwrites what people wrote.

A block is `<!-- gen:NAME sha256:HASH -->`, its lines, `<!-- /gen -->`. The hash tells whether anybody has touched it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from bot.postmortem.markdown import Markdown

OPENS: Final = re.compile(r"<!-- gen:(?P<name>[a-z-]{1,40}) sha256:(?P<hash>[0-9a-f]{16}) -->")
CLOSES: Final = "<!-- /gen -->"


@dataclass(frozen=True, slots=True)
class Block:
    """One block as it stands in a text; `untouched` when its lines still fit the hash in its marker."""

    name: str
    text: str
    untouched: bool


def fence(name: str, content: str) -> Markdown:
    """The content between its markers."""
    lines = content.strip("\n").split("\n")
    return Markdown("\n".join([f"<!-- gen:{name} sha256:{_digest(lines)} -->", *lines, CLOSES]))


def merge(old: str, new: str) -> str:
    """`old` with every untouched block as `new` has it; all else in `old`, edited blocks included, stays to the letter.

    A block that people removed stays away, and one that `new` no longer has stays as it is.
    """
    fresh = {part.name: part.text for part in _parts(new) if isinstance(part, Block)}
    return "\n".join(
        fresh.get(part.name, part.text) if isinstance(part, Block) and part.untouched else _text(part)
        for part in _parts(old)
    )


def _text(part: Block | str) -> str:
    return part.text if isinstance(part, Block) else part


def _parts(text: str) -> Iterator[Block | str]:
    """Blocks, and single lines between them. A marker without its end is only a line."""
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        opened = OPENS.fullmatch(lines[at].strip())
        end = _end(lines, at + 1) if opened else None
        if opened is None or end is None:
            yield lines[at]
            at += 1
            continue
        yield Block(opened["name"], "\n".join(lines[at : end + 1]), _digest(lines[at + 1 : end]) == opened["hash"])
        at = end + 1


def _end(lines: list[str], at: int) -> int | None:
    for number, line in enumerate(lines[at:], start=at):
        if line.strip() == CLOSES:
            return number
        if OPENS.fullmatch(line.strip()):
            return None
    return None


def _digest(lines: list[str]) -> str:
    """Guards against accidents, not against forgery; white space at line ends, which editors change, does not count."""
    return sha256("\n".join(line.rstrip() for line in lines).encode()).hexdigest()[:16]


def without_markers(text: str) -> str:
    """The text as readers see it: marker lines are gone, what stands between them stays."""
    return "\n".join(line for line in text.split("\n") if not OPENS.fullmatch(line.strip()) and line.strip() != CLOSES)
