"""Free text as Markdown that shows itself and does nothing: no heading, cell, link, tag or marker comes out of it."""

import re
from typing import Final

SPECIAL: Final = re.compile(r"[\\`*\[\]<>|~&$]|(?<= )#")
"""What can mean something in the middle of a line, including HTML, entities, GitHub's mathematics, a heading's end."""
EDGE_UNDERSCORE: Final = re.compile(r"(?<!\w)_+|_+(?!\w)")
"""An underscore inside a word is only itself, so `request_success_total` stays readable in the source."""
LINE_START: Final = re.compile(r"^(?:[-+=#](?=[-+=#\s]|$)|\d{1,9}(?=[.)](?:\s|$)))")
ADDRESS: Final = re.compile(r"https?://[a-zA-Z0-9][a-zA-Z0-9._~:/?#@!$&'()+,;=%-]*[a-zA-Z0-9/=]")
"""Without what closes a cell or a link, and without the full stop of the sentence around it."""
INVISIBLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
"""Controls, line separators, and the marks that make text run backwards."""


class Markdown(str):
    """Text that is Markdown already and is not escaped again."""

    __slots__ = ()


def plain(text: str) -> str:
    """One line without controls; runs of white space become one blank."""
    return " ".join(INVISIBLE.sub(" ", text).split())


def escape(text: str) -> Markdown:
    """`text` in one line, to stand anywhere a paragraph, a heading or a table cell may hold text.

    A whole web address stays one that can be clicked: it shows where it leads.
    """
    line = plain(text)
    parts: list[str] = []
    done = 0
    for found in ADDRESS.finditer(line):
        parts += [_escape_words(line[done : found.start()]), f"<{found[0]}>"]
        done = found.end()
    escaped = "".join([*parts, _escape_words(line[done:])])
    start = LINE_START.match(escaped)
    if start is None:
        return Markdown(escaped)
    cut = start.end() if start[0].isdigit() else 0
    return Markdown(f"{escaped[:cut]}\\{escaped[cut:]}")


def _escape_words(text: str) -> str:
    return EDGE_UNDERSCORE.sub(lambda found: "\\_" * len(found[0]), SPECIAL.sub(r"\\\g<0>", text))


def link(text: str, url: str) -> Markdown:
    """A link where the address is a web address, else only the text."""
    address = plain(url).replace(" ", "%20")
    if not address.lower().startswith(("https://", "http://")):
        return escape(text)
    safe = re.sub(r"[<>()\\|\"`]", lambda found: f"%{ord(found[0]):02X}", address)
    return Markdown(f"[{escape(text)}]({safe})")


def finish(value: object) -> str:
    """What a template prints: everything is escaped unless it is Markdown already."""
    return value if isinstance(value, Markdown) else escape(str(value))
