"""Turns what a person types into what Slack stores: escaped text with tokens for people, groups and channels."""

from __future__ import annotations

import re
from collections.abc import Callable

from .state import State

_TOKEN = re.compile(r"<(?:[@#!][^<>\s]+|https?://[^<>\s]+)>")
_NAME = re.compile(r"(?<![\w@#/])([@#])([\w.-]*\w)")
# Text that a client has escaped already is left as it is.
_AMPERSAND = re.compile(r"&(?!(?:amp|lt|gt);)")
_LINK = re.compile(r"https?://[^\s<>]+[^\s<>.,;:!?)'\"]")


def message_text(state: State, typed: str) -> str:
    """A typed message as stored: `@maya` -> `<@U0MAYA>`, `#general` -> `<#C0GENERAL|general>`, `&<>` escaped."""
    return _outside_tokens(typed, lambda text: _links(state, text))


def command_text(state: State, typed: str) -> str:
    """A typed command's text where the manifest asks for escaping: names carry their plain form too."""
    return _outside_tokens(typed, lambda text: _names(state, text, with_names=True))


def _outside_tokens(text: str, change: Callable[[str], str]) -> str:
    done, last = "", 0
    for token in _TOKEN.finditer(text):
        done += change(text[last : token.start()]) + token.group()
        last = token.end()
    return done + change(text[last:])


def _links(state: State, text: str) -> str:
    done, last = "", 0
    for link in _LINK.finditer(text):
        done += _names(state, text[last : link.start()], with_names=False)
        done += f"<{_AMPERSAND.sub('&amp;', link.group())}>"
        last = link.end()
    return done + _names(state, text[last:], with_names=False)


def _names(state: State, text: str, *, with_names: bool) -> str:
    escaped = _AMPERSAND.sub("&amp;", text).replace("<", "&lt;").replace(">", "&gt;")

    def token(match: re.Match[str]) -> str:
        sign, name = match.groups()
        if sign == "#":
            channel = state.channel_named(name)
            return f"<#{channel.id}|{name}>" if channel is not None else match.group()
        if name in ("here", "channel", "everyone"):
            return f"<!{name}>"
        for user in state.users.values():
            if user.name == name.lower():
                return f"<@{user.id}|{user.name}>" if with_names else f"<@{user.id}>"
        for group in state.groups.values():
            if group.handle == name.lower():
                return f"<!subteam^{group.id}|@{group.handle}>" if with_names else f"<!subteam^{group.id}>"
        return match.group()

    return _NAME.sub(token, escaped)
