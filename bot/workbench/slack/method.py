"""What the workspace knows of each Web API method besides what it does: its rate tier and its scopes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .args import Args
from .model import Json, SlackError
from .state import State

# https://docs.slack.dev/apis/web-api/rate-limits : calls a minute per method, workspace and app.
TIER_1, TIER_2, TIER_3, TIER_4 = 1, 20, 50, 100
SPECIAL = 600

_FAMILY = {"channel": "channels:", "group": "groups:", "im": "im:"}
_TYPES = {"public_channel": "channel", "private_channel": "group", "im": "im", "mpim": "im"}


@dataclass(frozen=True)
class Method:
    """One Web API method: `run` returns the answer's keys without `ok`, or raises SlackError.

    `scopes` lists the bot scopes of which one is enough; those of the families channels:, groups: and im:
    count only for conversations of that kind. `pause` spaces calls to one channel (chat.postMessage).
    """

    run: Callable[[State, Args], Json]
    per_minute: int
    scopes: tuple[str, ...] = ()
    paused: bool = False


def check_scopes(state: State, name: str, method: Method, args: Args) -> None:
    """Raise SlackError missing_scope, with `needed` and `provided`, unless the manifest grants the call."""
    granted = state.manifest.scopes
    for kind in _kinds(state, name, args):
        family = _FAMILY[kind]
        fitting = [
            scope
            for scope in method.scopes
            if scope.startswith(family) or not scope.startswith(tuple(_FAMILY.values()))
        ]
        if fitting and not granted.intersection(fitting):
            raise SlackError(
                "missing_scope", needed=",".join(fitting), provided=",".join(sorted(granted)) or "identify"
            )


def _kinds(state: State, name: str, args: Args) -> Iterable[str]:
    if name == "conversations.create":
        return ["group" if args.flag("is_private") else "channel"]
    if name == "conversations.open":
        return ["im"]
    if name == "conversations.list":
        return [_TYPES.get(kind, "channel") for kind in args.names("types") or ["public_channel"]]
    channel = state.channels.get(args.text("channel") or args.text("channel_id"))
    return [channel.kind if channel is not None else "channel"]
