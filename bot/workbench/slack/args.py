"""Reads the arguments of a Web API call, which may come as form text, query text or JSON, into typed values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .model import SlackError


class Args:
    """The arguments of one call; every reader takes text and JSON alike, as Slack does."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw

    def given(self, name: str) -> bool:
        """Whether the argument came at all, however empty."""
        return self.raw.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        """An argument as text."""
        value = self.raw.get(name)
        if value is None:
            return default
        if isinstance(value, str):
            return value
        if isinstance(value, (dict, list)):
            raise SlackError("invalid_array_arg")
        return json.dumps(value)

    def required(self, name: str) -> str:
        """An argument that must be there; raises SlackError invalid_arguments naming it."""
        value = self.text(name)
        if not value:
            raise missing(name)
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A yes or no: true, 1 and yes mean yes."""
        value = self.raw.get(name)
        if value is None:
            return default
        return value is True or str(value).lower() in ("true", "1", "yes")

    def count(self, name: str, default: int, most: int) -> int:
        """A limit between 1 and `most`; raises SlackError invalid_limit for anything that is not a number."""
        text = self.text(name)
        if not text:
            return default
        try:
            value = int(text)
        except ValueError:
            raise SlackError("invalid_limit") from None
        if value < 1:
            raise SlackError("invalid_limit")
        return min(value, most)

    def names(self, name: str) -> list[str]:
        """A list of ids: comma-separated text or a JSON list."""
        value = self.raw.get(name)
        if isinstance(value, list):
            return [str(item) for item in value]
        return [item.strip() for item in self.text(name).split(",") if item.strip()]

    def structure(self, name: str, error: str) -> Any:
        """A JSON argument, given as JSON or as its text; None when absent, SlackError `error` when broken."""
        value = self.raw.get(name)
        if not isinstance(value, str):
            return value
        if not value:
            return None
        try:
            return json.loads(value)
        except ValueError:
            raise SlackError(error) from None


def missing(name: str) -> SlackError:
    """What Slack answers when a required argument is not there."""
    return SlackError(
        "invalid_arguments",
        response_metadata={"messages": [f"[ERROR] missing required field: {name}"]},
    )
