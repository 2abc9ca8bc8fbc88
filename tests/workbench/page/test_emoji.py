"""Emoji: every one that the bot uses is drawn by the page itself, since a machine may have no font for them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from .conftest import Desk

BOT = Path(__file__).parents[3] / "bot" / "slack"
NAME = re.compile(r"(?<![\w:]):([a-z][a-z0-9_+-]*):(?![\w:])")


def used() -> list[str]:
    """The short names in the texts of the bot's Slack room."""
    texts = (
        node.value
        for path in sorted(BOT.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return sorted({name for text in texts for name in NAME.findall(text)})


def test_every_emoji_of_the_bot_is_drawn(desk: Desk) -> None:
    names = used()
    assert {"red_circle", "clipboard", "white_check_mark"} <= set(names)
    drawn = desk.open().evaluate(
        """async (names) => {
          const { emoji } = await import("/static/js/text/emoji.js");
          const drawn = [];
          for (const name of names) {
            const node = emoji(name);
            if (node.nodeName !== "IMG") continue;
            if (await node.decode().then(() => true, () => false)) drawn.push(name);
          }
          return drawn;
        }""",
        names,
    )
    assert set(names) - set(drawn) == set()
