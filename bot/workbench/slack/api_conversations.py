"""Web API, conversations.*: channels, their members and what was said in them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from . import acts
from .args import Args
from .method import TIER_2, TIER_3, TIER_4, Method
from .model import Channel, Json, Message, SlackError
from .paging import page
from .state import TS, State
from .wire import channel_object, message_object

NAME_MAX = 80
NOTE_MAX = 250
INVITES_MAX = 100


def _name(state: State, args: Args, ours: Channel | None = None) -> str:
    """A channel name that may be taken, by Slack's rules; archived channels keep theirs."""
    name = args.text("name").removeprefix("#")
    if not name:
        raise SlackError("invalid_name_required")
    if len(name) > NAME_MAX:
        raise SlackError("invalid_name_maxlength")
    if name != name.lower() or not re.fullmatch(r"[\w-]+", name):
        raise SlackError("invalid_name_specials")
    if not re.search(r"[^\W_]", name):
        raise SlackError("invalid_name_punctuation")
    taken = state.channel_named(name)
    if taken is not None and taken is not ours:
        raise SlackError("name_taken")
    return name


def _member(state: State, args: Args, *, archived: bool = False) -> Channel:
    """The channel of the call, which the bot must be in and which must be open unless `archived`."""
    channel = state.seen_by_bot(args.text("channel"))
    if channel.is_archived and not archived:
        raise SlackError("is_archived")
    if state.config.bot_user_id not in channel.members:
        raise SlackError("not_in_channel")
    return channel


def _shared(state: State, args: Args) -> Channel:
    """The channel of the call, which must be no direct message."""
    channel = state.seen_by_bot(args.text("channel"))
    if channel.is_im:
        raise SlackError("method_not_supported_for_channel_type")
    return channel


def create(state: State, args: Args) -> Json:
    """conversations.create."""
    name = _name(state, args)
    bot, now = state.config.bot_user_id, int(state.clock())
    channel = Channel(
        state.new_id("C"),
        name,
        bot,
        now,
        is_private=args.flag("is_private"),
        updated=now,
    )
    state.channels[channel.id] = channel
    acts.join(state, channel, bot)
    if not channel.is_private:
        kept = {"id": channel.id, "name": name, "created": now, "creator": bot}
        ts = state.new_ts()
        state.emit("channel_created", {"type": "channel_created", "channel": kept, "event_ts": ts})
    return {"channel": channel_object(state, channel)}


def info(state: State, args: Args) -> Json:
    """conversations.info."""
    channel = state.seen_by_bot(args.text("channel"))
    shown = channel_object(state, channel)
    if args.flag("include_num_members"):
        shown["num_members"] = len(channel.members)
    return {"channel": shown}


def list_channels(state: State, args: Args) -> Json:
    """conversations.list."""
    types = args.names("types") or ["public_channel"]
    if set(types) - {"public_channel", "private_channel", "im", "mpim"}:
        raise SlackError("invalid_types")
    kinds = {"public_channel": "channel", "private_channel": "group", "im": "im"}
    wanted = {kinds[kind] for kind in types if kind in kinds}
    found = [
        channel
        for channel in state.channels.values()
        if channel.kind in wanted
        and not (channel.is_archived and args.flag("exclude_archived"))
        and (not channel.is_private or state.config.bot_user_id in channel.members)
    ]
    part, following = page(found, args, default=100, most=1000)
    shown = [
        channel_object(state, channel) | ({} if channel.is_im else {"num_members": len(channel.members)})
        for channel in part
    ]
    return {"channels": shown, "response_metadata": {"next_cursor": following}}


def members(state: State, args: Args) -> Json:
    """conversations.members."""
    channel = state.seen_by_bot(args.text("channel"))
    part, following = page(channel.members, args, default=100, most=1000)
    return {"members": part, "response_metadata": {"next_cursor": following}}


def _window(args: Args, messages: list[Message]) -> list[Message]:
    """The messages between `oldest` and `latest`, ends included when asked."""
    oldest, latest = args.text("oldest", "0"), args.text("latest")
    for name, value in (("oldest", oldest), ("latest", latest)):
        if value and not re.fullmatch(r"\d{1,10}(\.\d{1,6})?", value):
            raise SlackError(f"invalid_ts_{name}")
    low = _micros(oldest)
    high = _micros(latest) if latest else None
    if args.flag("inclusive"):
        return [m for m in messages if low <= _micros(m.ts) and (high is None or _micros(m.ts) <= high)]
    return [m for m in messages if low < _micros(m.ts) and (high is None or _micros(m.ts) < high)]


def _micros(ts: str) -> int:
    seconds, _, fraction = ts.partition(".")
    return int(seconds) * 1_000_000 + int(fraction.ljust(6, "0") or 0)


def _pages(state: State, args: Args, channel: Channel, found: list[Message], default: int) -> Json:
    part, following = page(found, args, default=default, most=999)
    with_metadata = args.flag("include_all_metadata")
    answer: Json = {
        "messages": [message_object(state, channel, one, with_metadata=with_metadata) for one in part],
        "has_more": bool(following),
    }
    if following:
        answer["response_metadata"] = {"next_cursor": following}
    return answer


def history(state: State, args: Args) -> Json:
    """conversations.history: newest first, replies left to their threads."""
    channel = _member(state, args, archived=True)
    found = _window(args, [message for message in channel.messages if message.in_channel])
    pins = sum(1 for message in channel.messages if message.pinned is not None)
    return _pages(state, args, channel, found[::-1], 100) | {"pin_count": pins}


def replies(state: State, args: Args) -> Json:
    """conversations.replies: the thread's parent, then its replies, oldest first."""
    channel = _member(state, args, archived=True)
    ts = args.text("ts")
    message = channel.find(ts) if TS.fullmatch(ts) else None
    if message is None:
        raise SlackError("thread_not_found")
    parent = channel.find(message.thread_ts) if message.thread_ts else message
    if parent is None:
        raise SlackError("thread_not_found")
    return _pages(state, args, channel, [parent, *_window(args, channel.replies(parent.ts))], 1000)


def invite(state: State, args: Args) -> Json:
    """conversations.invite: up to a hundred people; `force` goes on past those who cannot come."""
    channel = _shared(state, args)
    users = args.names("users")
    if not users:
        raise SlackError("no_user")
    if len(users) > INVITES_MAX:
        raise SlackError("too_many_users")
    channel = _member(state, args)
    errors: list[Json] = []
    fine: list[str] = []
    for user in dict.fromkeys(users):
        if user == state.config.bot_user_id:
            problem = "cant_invite_self"
        elif user not in state.users:
            problem = "user_not_found"
        elif user in channel.members:
            problem = "already_in_channel"
        else:
            fine.append(user)
            continue
        errors.append({"user": user, "ok": False, "error": problem})
    if errors and not (args.flag("force") and fine):
        raise SlackError(errors[0]["error"], **({"errors": errors} if len(users) > 1 else {}))
    for user in fine:
        acts.join(state, channel, user, inviter=state.config.bot_user_id)
    answer: Json = {"channel": channel_object(state, channel)}
    return answer | ({"errors": errors} if errors else {})


def join(state: State, args: Args) -> Json:
    """conversations.join: public channels only."""
    channel = _shared(state, args)
    if channel.is_private:
        raise SlackError("method_not_supported_for_channel_type")
    if channel.is_archived:
        raise SlackError("is_archived")
    if state.config.bot_user_id in channel.members:
        return {
            "channel": channel_object(state, channel),
            "warning": "already_in_channel",
            "response_metadata": {"warnings": ["already_in_channel"]},
        }
    acts.join(state, channel, state.config.bot_user_id)
    return {"channel": channel_object(state, channel)}


def leave(state: State, args: Args) -> Json:
    """conversations.leave."""
    channel = _shared(state, args)
    if channel.is_archived:
        raise SlackError("is_archived")
    if channel.is_general:
        raise SlackError("cant_leave_general")
    if state.config.bot_user_id not in channel.members:
        return {"not_in_channel": True}
    if len(channel.members) == 1 and channel.is_private:
        raise SlackError("last_member")
    acts.leave(state, channel, state.config.bot_user_id)
    return {}


def archive(state: State, args: Args) -> Json:
    """conversations.archive."""
    channel = _shared(state, args)
    if channel.is_archived:
        raise SlackError("already_archived")
    if channel.is_general:
        raise SlackError("cant_archive_general")
    acts.archive(state, _member(state, args), state.config.bot_user_id, on=True)
    return {}


def unarchive(state: State, args: Args) -> Json:
    """conversations.unarchive."""
    channel = _shared(state, args)
    if not channel.is_archived:
        raise SlackError("not_archived")
    acts.archive(state, channel, state.config.bot_user_id, on=False)
    return {}


def rename(state: State, args: Args) -> Json:
    """conversations.rename: a bot may rename only what it made."""
    _shared(state, args)
    channel = _member(state, args)
    if channel.creator != state.config.bot_user_id:
        raise SlackError("not_authorized")
    name = _name(state, args, channel)
    if name != channel.name:
        acts.rename(state, channel, state.config.bot_user_id, name)
    return {"channel": channel_object(state, channel)}


def set_topic(state: State, args: Args) -> Json:
    """conversations.setTopic."""
    channel = _member(state, args)
    if len(args.text("topic")) > NOTE_MAX:
        raise SlackError("too_long")
    acts.set_topic(state, channel, state.config.bot_user_id, args.text("topic"))
    return {"channel": channel_object(state, channel)}


def set_purpose(state: State, args: Args) -> Json:
    """conversations.setPurpose."""
    channel = _member(state, args)
    purpose = args.text("purpose")
    if len(purpose) > NOTE_MAX:
        raise SlackError("too_long")
    acts.set_purpose(state, channel, state.config.bot_user_id, purpose)
    return {"channel": channel_object(state, channel), "purpose": purpose}


def open_direct(state: State, args: Args) -> Json:
    """conversations.open: the direct message with one person, or again one already known by its id."""
    if args.text("channel"):
        channel = state.seen_by_bot(args.text("channel"))
    else:
        users = args.names("users")
        if not users:
            raise SlackError("users_list_not_supplied")
        if any(user not in state.users or user == state.config.bot_user_id for user in users):
            raise SlackError("user_not_found")
        if len(users) > 1:
            raise SlackError("invalid_user_combination")
        known = any(channel.is_im and users[0] in channel.members for channel in state.channels.values())
        channel = state.direct(users[0])
        shown = channel_object(state, channel) if args.flag("return_im") else {"id": channel.id}
        return {"channel": shown} | ({"no_op": True, "already_open": True} if known else {})
    shown = channel_object(state, channel) if args.flag("return_im") else {"id": channel.id}
    return {"channel": shown, "no_op": True, "already_open": True}


_READ = ("channels:read", "groups:read", "im:read")
_HISTORY = ("channels:history", "groups:history", "im:history")
_MANAGE = ("channels:manage", "groups:write", "im:write")
_INVITE = ("channels:manage", "channels:write.invites", "groups:write", "groups:write.invites")
_TOPIC = (
    *("channels:manage", "channels:write.topic", "groups:write", "groups:write.topic"),
    *("im:write", "im:write.topic"),
)
METHODS: Mapping[str, Method] = {
    "conversations.create": Method(create, TIER_2, _MANAGE),
    "conversations.info": Method(info, TIER_3, _READ),
    "conversations.list": Method(list_channels, TIER_2, _READ),
    "conversations.members": Method(members, TIER_4, _READ),
    "conversations.history": Method(history, TIER_3, _HISTORY),
    "conversations.replies": Method(replies, TIER_3, _HISTORY),
    "conversations.invite": Method(invite, TIER_3, _INVITE),
    "conversations.join": Method(join, TIER_3, ("channels:join",)),
    "conversations.leave": Method(leave, TIER_3, _MANAGE),
    "conversations.archive": Method(archive, TIER_2, _MANAGE),
    "conversations.unarchive": Method(unarchive, TIER_2, _MANAGE),
    "conversations.rename": Method(rename, TIER_2, _MANAGE),
    "conversations.setTopic": Method(set_topic, TIER_2, _TOPIC),
    "conversations.setPurpose": Method(set_purpose, TIER_2, _TOPIC),
    "conversations.open": Method(open_direct, TIER_3, ("im:write",)),
}
