"""Cuts a long answer into pages with Slack's opaque cursors."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Sequence
from typing import TypeVar

from .args import Args
from .model import SlackError

Item = TypeVar("Item")


def page(items: Sequence[Item], args: Args, *, default: int, most: int) -> tuple[list[Item], str]:
    """One page of `items` and the cursor of the next ("" when this is the last).

    Raises SlackError invalid_cursor or invalid_limit.
    """
    start = 0
    if args.text("cursor"):
        try:
            word, _, number = b64decode(args.text("cursor"), validate=True).decode().partition(":")
            start = int(number)
        except (Error, ValueError):
            raise SlackError("invalid_cursor") from None
        if word != "next":
            raise SlackError("invalid_cursor")
    end = start + args.count("limit", default, most)
    following = b64encode(f"next:{end}".encode()).decode() if end < len(items) else ""
    return list(items[start:end]), following
