"""Markdown to HTML for a page: no raw HTML, no scripts, no pictures but ours, links only where they may lead.

Two walls: the parser passes no HTML of its input through, and what it makes goes through an allow-list.
"""

import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Final

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token

from bot.postmortem.blocks import without_markers
from bot.postmortem.shelf import PICTURE

TAGS: Final = frozenset(
    {"a", "blockquote", "br", "code", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s"}
    | {"img", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"}
)
ATTRIBUTES: Final = {"a": {"href"}, "img": {"src", "alt"}, "ol": {"start"}} | {
    f"h{level}": {"id"} for level in range(1, 7)
}
LINK: Final = re.compile(r"(?:https?://|mailto:|#)[^\s\\]+|/(?![/\\])[^\s\\]*", re.IGNORECASE)
CALLOUT: Final = re.compile(r"\[!(NOTE|TIP|IMPORTANT|WARNING|CAUTION)\]\s*")
BOXES: Final = {"[ ] ": "☐ ", "[x] ": "☑ ", "[X] ": "☑ "}
CALLOUTS: Final = {"note", "tip", "important", "warning", "caution"}
FRONT_MATTER: Final = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def to_html(markdown: str) -> str:
    """What may stand on a page as it is. Markers of generated blocks and a front matter do not show."""
    parser = _parser()
    tokens = parser.parse(without_markers(FRONT_MATTER.sub("", markdown, count=1)))
    _anchor(tokens)
    _mark_callouts(tokens)
    _mark_boxes(tokens)
    _tell_pictures(tokens)
    return nh3.clean(
        parser.renderer.render(tokens, parser.options, {}),
        tags=set(TAGS),
        attributes=ATTRIBUTES,
        attribute_filter=_permitted,
        allowed_classes={"blockquote": CALLOUTS},
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer",
    )


@cache
def _parser() -> MarkdownIt:
    """Only whole addresses become links: a file name such as `serve.py` is no place in Paraguay."""
    parser = MarkdownIt("js-default", {"html": False, "linkify": True})
    if parser.linkify is None:
        raise RuntimeError("markdown-it was installed without linkify")
    parser.linkify.set({"fuzzy_link": False, "fuzzy_email": False, "fuzzy_ip": False})
    return parser


def _permitted(_tag: str, attribute: str, value: str) -> str | None:
    """A link may lead to http(s), a mailbox, a place on this page or a page of ours; `//elsewhere` is none of these.

    The allow-list lets `title` and `lang` through on every tag, and nobody here needs them.
    """
    if attribute == "src" and not PICTURE.fullmatch(value):
        return None
    if attribute in ("title", "lang") or (attribute == "href" and not LINK.fullmatch(value)):
        return None
    return value


def _anchor(tokens: Sequence[Token]) -> None:
    """Headings get an id, so that one can point at them."""
    taken: set[str] = set()
    for opening, inline in pairwise(tokens):
        if opening.type != "heading_open":
            continue
        text = "".join(child.content for child in inline.children or () if child.type in ("text", "code_inline"))
        stem = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "section"
        anchor, count = stem, 1
        while anchor in taken:
            count += 1
            anchor = f"{stem}-{count}"
        taken.add(anchor)
        opening.attrSet("id", anchor)


def _mark_callouts(tokens: Sequence[Token]) -> None:
    """`> [!WARNING]` is a warning, as on GitHub."""
    for quote, _, inline in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if quote.type != "blockquote_open" or inline.type != "inline" or not inline.children:
            continue
        found = CALLOUT.match(inline.children[0].content)
        if found:
            quote.attrSet("class", found[1].lower())
            inline.children[0].content = inline.children[0].content[found.end() :]


def _mark_boxes(tokens: Sequence[Token]) -> None:
    """`- [ ]` is an item to tick off, as on GitHub; here it is only read."""
    for item, _, inline in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if item.type != "list_item_open" or inline.type != "inline" or not inline.children:
            continue
        first = inline.children[0]
        first.content = BOXES.get(first.content[:4], first.content[:4]) + first.content[4:]


def _tell_pictures(tokens: Sequence[Token]) -> None:
    """A picture from elsewhere would tell its server who reads; its words stand in its place."""
    for token in tokens:
        children = token.children or []
        for nth, child in enumerate(children):
            if child.type == "image" and not PICTURE.fullmatch(str(child.attrGet("src"))):
                children[nth] = Token("text", "", 0, content=child.content)
