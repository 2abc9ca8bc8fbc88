"""Web API for what hangs on messages and channels: reactions, pins and bookmarks."""

from __future__ import annotations

import re
from collections.abc import Mapping

from . import acts
from .args import Args
from .method import TIER_2, TIER_3, Method
from .model import Channel, Json, Message, SlackError
from .state import TS, State
from .wire import message_object, permalink

EMOJI = re.compile(r"[a-z0-9_+'-]{1,100}(::skin-tone-[2-6])?")
REACTIONS_MAX = 23  # https://slack.com/help/articles/202931348 : different emoji a person may add to a message
PINS_MAX = 100
BOOKMARKS_MAX = 100


def _item(state: State, args: Args, *, writing: bool) -> tuple[Channel, Message]:
    ts = args.text("timestamp")
    if not args.text("channel") or not ts:
        raise SlackError("no_item_specified")
    channel = state.seen_by_bot(args.text("channel"))
    if not TS.fullmatch(ts):
        raise SlackError("bad_timestamp")
    message = channel.find(ts)
    if message is None:
        raise SlackError("message_not_found")
    if writing and channel.is_archived:
        raise SlackError("is_archived")
    return channel, message


def _emoji(args: Args) -> str:
    name = args.text("name").strip(":")
    if not EMOJI.fullmatch(name):
        raise SlackError("invalid_name")
    return name


def reactions_add(state: State, args: Args) -> Json:
    """reactions.add."""
    name = _emoji(args)
    channel, message = _item(state, args, writing=True)
    bot = state.config.bot_user_id
    if sum(1 for users in message.reactions.values() if bot in users) >= REACTIONS_MAX:
        raise SlackError("too_many_reactions")
    if not acts.react(state, channel, message, bot, name, on=True):
        raise SlackError("already_reacted")
    return {}


def reactions_remove(state: State, args: Args) -> Json:
    """reactions.remove."""
    name = _emoji(args)
    channel, message = _item(state, args, writing=True)
    if not acts.react(state, channel, message, state.config.bot_user_id, name, on=False):
        raise SlackError("no_reaction")
    return {}


def reactions_get(state: State, args: Args) -> Json:
    """reactions.get."""
    channel, message = _item(state, args, writing=False)
    shown = message_object(state, channel, message, with_metadata=False)
    shown["permalink"] = permalink(state, channel, message)
    return {"type": "message", "channel": channel.id, "message": shown}


def pins_add(state: State, args: Args) -> Json:
    """pins.add."""
    channel, message = _item(state, args, writing=True)
    if state.config.bot_user_id not in channel.members:
        raise SlackError("not_in_channel")
    if message.pinned is not None:
        raise SlackError("already_pinned")
    if sum(1 for one in channel.messages if one.pinned is not None) >= PINS_MAX:
        raise SlackError("too_many_pins")
    acts.pin(state, channel, message, state.config.bot_user_id)
    return {}


def pins_list(state: State, args: Args) -> Json:
    """pins.list: the latest pin first."""
    channel = state.seen_by_bot(args.text("channel"))
    pinned = [(message, message.pinned) for message in channel.messages if message.pinned is not None]
    pinned.sort(key=lambda pair: pair[1]["pinned_ts"], reverse=True)
    return {
        "items": [
            {
                "type": "message",
                "created": pin["pinned_ts"],
                "created_by": pin["pinned_by"],
                "channel": channel.id,
                "message": message_object(state, channel, message, with_metadata=False)
                | {"permalink": permalink(state, channel, message)},
            }
            for message, pin in pinned
        ]
    }


def bookmarks_add(state: State, args: Args) -> Json:
    """bookmarks.add: links only, as apps use it."""
    channel = state.seen_by_bot(args.text("channel_id"))
    title = args.required("title")
    if args.required("type") != "link":
        raise SlackError("invalid_bookmark_type")
    link = args.text("link")
    if not re.match(r"https?://", link):
        raise SlackError("invalid_link")
    emoji = args.text("emoji")
    if emoji and not re.fullmatch(r":[^:\s]+:", emoji):
        raise SlackError("invalid_emoji")
    if len(channel.bookmarks) >= BOOKMARKS_MAX:
        raise SlackError("too_many_bookmarks")
    now, config = int(state.clock()), state.config
    bookmark = {
        "id": state.new_id("Bk"),
        "channel_id": channel.id,
        "title": title,
        "link": link,
        "emoji": emoji or None,
        "icon_url": None,
        "entity_id": None,
        "type": "link",
        "date_created": now,
        "date_updated": 0,
        "rank": f"{len(channel.bookmarks):04d}",
        "last_updated_by_user_id": config.bot_user_id,
        "last_updated_by_team_id": config.team_id,
        "shortcut_id": None,
        "app_id": config.app_id,
        "app_action_id": None,
    }
    channel.bookmarks.append(bookmark)
    acts.tell_channel(state, channel)
    return {"bookmark": bookmark}


def bookmarks_list(state: State, args: Args) -> Json:
    """bookmarks.list."""
    return {"bookmarks": list(state.seen_by_bot(args.text("channel_id")).bookmarks)}


METHODS: Mapping[str, Method] = {
    "reactions.add": Method(reactions_add, TIER_3, ("reactions:write",)),
    "reactions.remove": Method(reactions_remove, TIER_2, ("reactions:write",)),
    "reactions.get": Method(reactions_get, TIER_3, ("reactions:read",)),
    "pins.add": Method(pins_add, TIER_2, ("pins:write",)),
    "pins.list": Method(pins_list, TIER_2, ("pins:read",)),
    "bookmarks.add": Method(bookmarks_add, TIER_2, ("bookmarks:write",)),
    "bookmarks.list": Method(bookmarks_list, TIER_3, ("bookmarks:read",)),
}
