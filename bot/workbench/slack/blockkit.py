"""Slack's Block Kit rules, read from its documentation: what a message, a modal and a home tab may hold.

Limits: https://docs.slack.dev/reference/block-kit/blocks and https://docs.slack.dev/reference/views.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from .elements import (
    ACTIONABLE,
    BLOCK_ID,
    IMAGE,
    IMAGE_URL,
    IN_ACTIONS,
    IN_CONTEXT,
    IN_CONTEXT_ACTIONS,
    IN_INPUT,
    IN_SECTION,
    SLACK_FILE,
    marked,
    one_of,
    plain,
    rich,
)
from .model import Json
from .shapes import Anything, Choice, Flag, List, Number, Problem, Shape, Spec, Text, Typed, check

MESSAGE_BLOCKS_MAX = 50
VIEW_BLOCKS_MAX = 100
# Slack refuses a message from about 13,200 characters in all its blocks (slackapi/bolt-js#2509) and names no
# number; 12,000, the markdown block's own limit, is safe.
MESSAGE_CHARACTERS_MAX = 12_000
VIEW_BYTES_MAX = 250_000
TABLE_ROWS_MAX = 100
TABLE_COLUMNS_MAX = 20

_HAS_ID: Mapping[str, Spec] = {"block_id": BLOCK_ID}


def _input_rules(block: Mapping[str, Any], pointer: str) -> Iterator[Problem]:
    element = block["element"]
    if element.get("dispatch_action_config") is not None and not block.get("dispatch_action"):
        yield Problem("dispatch_action_config needs dispatch_action: true", f"{pointer}/element")


def _even_rows(block: Mapping[str, Any], pointer: str) -> Iterator[Problem]:
    widths = {len(row) for row in block["rows"]}
    if len(widths) > 1:
        yield Problem("every row must have the same number of cells", f"{pointer}/rows")


def _rich_text() -> Mapping[str, Shape]:
    return _RICH


_RICH_TEXT = Typed(lambda: {"rich_text": BLOCKS["rich_text"]}, "block type")
_STYLE = Shape({}, {key: Flag() for key in ("bold", "italic", "strike", "code", "underline")})
_STYLED: Mapping[str, Spec] = {"style": _STYLE}
_INLINE: Mapping[str, Shape] = {
    "text": Shape({"text": Text()}, _STYLED),
    "link": Shape({"url": Text(3000)}, {**_STYLED, "text": Text(), "unsafe": Flag()}),
    "emoji": Shape({"name": Text()}, {**_STYLED, "unicode": Text(), "url": Text(), "skin_tone": Number(1, 6)}),
    "user": Shape({"user_id": Text()}, _STYLED),
    "usergroup": Shape({"usergroup_id": Text()}, _STYLED),
    "team": Shape({"team_id": Text()}, _STYLED),
    "channel": Shape({"channel_id": Text()}, _STYLED),
    "broadcast": Shape({"range": Choice(("here", "channel", "everyone"))}, _STYLED),
    "color": Shape({"value": Text()}, _STYLED),
    "date": Shape({"timestamp": Number(0), "format": Text()}, {**_STYLED, "fallback": Text(), "url": Text()}),
}
_RUN = List(Typed(lambda: _INLINE, "rich text element"), least=0)
_BORDER: Mapping[str, Spec] = {"border": Choice((0, 1))}
_RICH: Mapping[str, Shape] = {
    "rich_text_section": Shape({"elements": _RUN}),
    "rich_text_list": Shape(
        {
            "style": Choice(("bullet", "ordered")),
            "elements": List(Typed(lambda: {"rich_text_section": _RICH["rich_text_section"]}, "rich text element")),
        },
        {**_BORDER, "indent": Number(0, 8)},
    ),
    "rich_text_quote": Shape({"elements": _RUN}, _BORDER),
    "rich_text_preformatted": Shape({"elements": _RUN}, _BORDER),
}
_CELLS: Mapping[str, Shape] = {
    "raw_text": Shape({"text": Text(least=0)}),
    "raw_number": Shape({"text": Text(), "value": Anything()}),
}
_CELL = Typed(lambda: {**_CELLS, "rich_text": BLOCKS["rich_text"]}, "cell type")
_TASK = Shape(
    {
        "task_id": Text(),
        "title": Text(),
        "status": Choice(("pending", "in_progress", "complete", "error")),
    },
    {
        **_HAS_ID,
        "details": _RICH_TEXT,
        "output": _RICH_TEXT,
        "sources": List(Typed(lambda: {"url": Shape({"url": Text(url=True), "text": Text()})}), least=0),
    },
)
_CARD = Shape(
    {},
    {
        **_HAS_ID,
        "title": marked(150),
        "subtitle": marked(150),
        "body": marked(200),
        "icon": Typed(lambda: {"image": IMAGE}),
        "hero_image": Typed(lambda: {"image": IMAGE}),
        "actions": List(Typed(lambda: {"button": IN_ACTIONS["button"]}, "element type"), 25),
    },
    (one_of("title", "body", "hero_image", "actions", most=4),),
)
_IN_CONTAINER = (
    *("actions", "context", "divider", "file", "header", "image"),
    *("input", "rich_text", "section", "table", "video"),
)

BLOCKS: Mapping[str, Shape] = {
    "actions": Shape({"elements": List(Typed(lambda: IN_ACTIONS, "element type"), 25)}, _HAS_ID),
    "alert": Shape(
        {"text": rich(3000)},
        {**_HAS_ID, "level": Choice(("default", "info", "warning", "error", "success"))},
    ),
    "card": _CARD,
    "carousel": Shape({"elements": List(Typed(lambda: {"card": _CARD}, "element type"), 10)}, _HAS_ID),
    "container": Shape(
        {"child_blocks": List(Typed(lambda: {kind: BLOCKS[kind] for kind in _IN_CONTAINER}, "block type"), 10)},
        {
            **_HAS_ID,
            "title": plain(150),
            "subtitle": rich(150),
            "rich_text_title": _RICH_TEXT,
            "icon": Typed(lambda: {"image": IMAGE}),
            "width": Choice(("narrow", "standard", "wide", "full")),
            "is_collapsible": Flag(),
            "default_collapsed": Flag(),
            "has_header_divider": Flag(),
        },
    ),
    "context": Shape({"elements": List(Typed(lambda: IN_CONTEXT, "element type"), 10)}, _HAS_ID),
    "context_actions": Shape({"elements": List(Typed(lambda: IN_CONTEXT_ACTIONS, "element type"), 5)}, _HAS_ID),
    "data_table": Shape(
        {"caption": Text(), "rows": List(List(_CELL, TABLE_COLUMNS_MAX), 101, least=2)},
        {**_HAS_ID, "page_size": Number(1, 100), "row_header_column_index": Number(0, 19)},
        (_even_rows,),
    ),
    "divider": Shape({}, _HAS_ID),
    "file": Shape({"external_id": Text(), "source": Choice(("remote",))}, _HAS_ID),
    "header": Shape({"text": plain(150)}, _HAS_ID),
    "image": Shape(
        {"alt_text": Text(2000)},
        {**_HAS_ID, "title": plain(2000), "image_url": IMAGE_URL, "slack_file": SLACK_FILE},
        (one_of("image_url", "slack_file"),),
    ),
    "input": Shape(
        {"label": plain(2000), "element": Typed(lambda: IN_INPUT, "element type")},
        {**_HAS_ID, "hint": plain(2000), "optional": Flag(), "dispatch_action": Flag()},
        (_input_rules,),
    ),
    "markdown": Shape({"text": Text(12_000)}, _HAS_ID),
    "plan": Shape(
        {"title": Text()},
        {**_HAS_ID, "tasks": List(Typed(lambda: {"task_card": _TASK}, "block type"), least=0)},
    ),
    "rich_text": Shape({"elements": List(Typed(_rich_text, "rich text element"), least=0)}, _HAS_ID),
    "section": Shape(
        {},
        {
            **_HAS_ID,
            "text": rich(3000),
            "fields": List(rich(2000), 10),
            "accessory": Typed(lambda: IN_SECTION, "element type"),
            "expand": Flag(),
        },
        (one_of("text", "fields", most=2),),
    ),
    "table": Shape(
        {"rows": List(List(_CELL, TABLE_COLUMNS_MAX), TABLE_ROWS_MAX)},
        {
            **_HAS_ID,
            "column_settings": List(
                Shape({}, {"align": Choice(("left", "center", "right")), "is_wrapped": Flag()}),
                TABLE_COLUMNS_MAX,
            ),
        },
        (_even_rows,),
    ),
    "task_card": _TASK,
    "video": Shape(
        {
            "alt_text": Text(2000),
            "title": plain(199),
            "thumbnail_url": Text(3000, url=True),
            "video_url": Text(3000, url=True),
        },
        {
            **_HAS_ID,
            "title_url": Text(3000, url=True),
            "author_name": Text(49),
            "provider_name": Text(),
            "provider_icon_url": Text(3000, url=True),
            "description": plain(200),
        },
    ),
}
_NOT_IN_MESSAGES = frozenset({"file"})
_ONLY_IN_MESSAGES = frozenset(
    {"alert", "card", "carousel", "container", "context_actions", "data_table", "markdown", "plan"}
    | {"table", "task_card"}
)
_BLOCK = Typed(lambda: BLOCKS, "block type")
_VIEW_KEYS: Mapping[str, Spec] = {
    "private_metadata": Text(3000, least=0),
    "callback_id": Text(255, least=0),
    "external_id": Text(255, least=0),
}
_VIEWS: Mapping[str, Shape] = {
    "modal": Shape(
        {"title": plain(24), "blocks": List(_BLOCK, VIEW_BLOCKS_MAX)},
        {
            **_VIEW_KEYS,
            "submit": plain(24),
            "close": plain(24),
            "clear_on_close": Flag(),
            "notify_on_close": Flag(),
            "submit_disabled": Flag(),
        },
    ),
    "home": Shape({"blocks": List(_BLOCK, VIEW_BLOCKS_MAX)}, _VIEW_KEYS),
}


def message_problems(blocks: object, pointer: str = "/blocks") -> list[Problem]:
    """Every Block Kit rule that a message's blocks break, as Slack would name them; empty when sound."""
    problems = list(check(blocks, List(_BLOCK, MESSAGE_BLOCKS_MAX, least=0), pointer))
    if problems:
        return problems
    assert isinstance(blocks, list)
    for index, block in enumerate(blocks):
        if block["type"] in _NOT_IN_MESSAGES:
            problems.append(Problem(f"block type {block['type']} is not allowed here", f"{pointer}/{index}"))
    tables = [index for index, block in enumerate(blocks) if block["type"] == "table"]
    problems += [Problem("only one table block is allowed", f"{pointer}/{index}") for index in tables[1:]]
    problems += _unique_ids(blocks, pointer)
    return problems


def view_problems(view: object, pointer: str = "/view") -> list[Problem]:
    """Every rule that a modal or home tab breaks, as Slack would name them; empty when sound."""
    problems = list(check(view, Typed(lambda: _VIEWS, "view type"), pointer))
    if problems:
        return problems
    assert isinstance(view, dict)
    blocks = view["blocks"]
    for index, block in enumerate(blocks):
        if block["type"] in _ONLY_IN_MESSAGES:
            problems.append(Problem(f"block type {block['type']} is not allowed here", f"{pointer}/blocks/{index}"))
    if view["type"] == "modal" and view.get("submit") is None and any(b["type"] == "input" for b in blocks):
        problems.append(Problem("missing required field: submit", pointer))
    focused = [element for element in interactive(blocks) if element.get("focus_on_load")]
    if len(focused) > 1:
        problems.append(Problem("only one element may have focus_on_load", f"{pointer}/blocks"))
    return [*problems, *_unique_ids(blocks, f"{pointer}/blocks")]


def view_too_large(view: object) -> bool:
    """Whether a view is over the 250 kB that Slack takes."""
    return len(json.dumps(view, ensure_ascii=False).encode()) > VIEW_BYTES_MAX


def characters(blocks: list[Json]) -> int:
    """How many characters of text a message's blocks hold together."""
    return sum(len(part) for part in _texts(blocks))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "text" and isinstance(item, str):
                yield item
            else:
                yield from _texts(item)


def _unique_ids(blocks: list[Json], pointer: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, block in enumerate(blocks):
        name = block.get("block_id")
        if name is not None and name in seen:
            yield Problem(f"block_id must be unique: {name}", f"{pointer}/{index}/block_id")
        elif name is not None:
            seen.add(name)
        actions: set[str] = set()
        for element in interactive([block]):
            action = element.get("action_id")
            if action is not None and action in actions:
                yield Problem(f"action_id must be unique in its block: {action}", f"{pointer}/{index}")
            elif action is not None:
                actions.add(action)


def interactive(blocks: list[Json]) -> Iterator[Json]:
    """Every element of the blocks that a person can use, in order."""
    for _, element in controls(blocks):
        yield element


def controls(blocks: list[Json]) -> Iterator[tuple[Json, Json]]:
    """Every element that a person can use, in order, each with the block it lies in."""
    for block in blocks:
        inner = [block.get("accessory"), block.get("element"), *block.get("elements", [])]
        for element in [*inner, *block.get("actions", [])]:
            if isinstance(element, dict) and element.get("type") in ACTIONABLE:
                yield block, element
            elif isinstance(element, dict) and element.get("type") == "card":
                yield from ((block, inside) for _, inside in controls([element]))
        yield from controls(block.get("child_blocks", []))
