"""What can happen in a channel, whoever did it: each act changes the state, tells the pages and queues events."""

from __future__ import annotations

from copy import deepcopy

from .model import Channel, Json, Message, Note
from .state import State
from .wire import message_object, reactions

_MESSAGE_EVENTS = {"channel": "message.channels", "group": "message.groups", "im": "message.im"}
# Who reads messages the way a person does: these lines of the house are not news to anyone.
HOUSE_SUBTYPES = frozenset(
    {"channel_join", "channel_leave", "channel_topic", "channel_purpose", "channel_name"}
    | {"channel_archive", "channel_unarchive", "group_join", "tombstone"}
)

# A page forgets whispers when it is reloaded in real Slack; here the latest stay until the workspace ends.
EPHEMERALS_KEPT = 200


def shown(state: State, channel: Channel, message: Message) -> Json:
    """A message as the browser page gets it."""
    wire = message_object(state, channel, message)
    if message.only_for is not None:
        wire["ephemeral"] = True
    if message.pinned is not None:
        wire["pinned"] = True
    return wire


def tell_pages(state: State, channel: Channel, event: Json) -> None:
    """Send an event to everyone who sees the channel."""
    state.hub.publish(lambda user: event if state.visible(user, channel) else None)


def tell_channel(state: State, channel: Channel) -> None:
    """Send the channel, as each person sees it, to everyone who sees it."""
    state.hub.publish(
        lambda user: (
            {"type": "channel", "channel": channel_for(state, channel, user)} if state.visible(user, channel) else None
        )
    )


def channel_for(state: State, channel: Channel, user: str) -> Json:
    """A channel as one person's page lists it, with what is unread there."""
    read = channel.last_read.get(user, "")
    news = [
        message
        for message in channel.since(read)
        if message.user != user and message.in_channel and message.subtype not in HOUSE_SUBTYPES
    ]
    member = user in channel.members
    return {
        "id": channel.id,
        "name": state.bot.real_name if channel.is_im else channel.name,
        "is_private": channel.is_private,
        "is_im": channel.is_im,
        "is_archived": channel.is_archived,
        "topic": channel.topic.value,
        "purpose": channel.purpose.value,
        "members": list(channel.members),
        "created": channel.created,
        "is_member": member,
        "unread": len(news) if member else 0,
        "mention": member and any(channel.is_im or mentions(state, message, user) for message in news),
        "last_ts": channel.messages[-1].ts if channel.messages else None,
    }


def mentions(state: State, message: Message, user: str) -> bool:
    """Whether a message calls a person: by name, by a group of theirs, or everyone here."""
    text = message.text + str(message.blocks)
    calls = [f"<@{user}>", f"<@{user}|", "<!channel", "<!here", "<!everyone"]
    calls += [f"<!subteam^{group.id}" for group in state.groups.values() if user in group.members]
    return any(call in text for call in calls)


def post(state: State, channel: Channel, message: Message) -> Message:
    """Put a message into its channel: pages, unread counts, message events, mentions of the bot."""
    channel.add(message)
    if not message.by_app and message.subtype is None:
        channel.last_read[message.user] = message.ts
    tell_pages(
        state,
        channel,
        {"type": "message", "channel": channel.id, "message": shown(state, channel, message)},
    )
    _tell_parent(state, channel, message)
    tell_channel(state, channel)
    if state.config.bot_user_id in channel.members:
        wire = message_object(state, channel, message, with_metadata=False)
        where = {"channel": channel.id, "event_ts": message.ts}
        state.emit(_MESSAGE_EVENTS[channel.kind], {**wire, **where, "channel_type": channel.kind})
        if f"<@{state.config.bot_user_id}>" in message.text and message.subtype is None and not message.by_app:
            state.emit("app_mention", {**wire, "type": "app_mention", **where})
    return message


def change(state: State, channel: Channel, message: Message, before: Json) -> None:
    """Tell everyone that a message now reads differently; `before` is how it was on the wire."""
    wire = message_object(state, channel, message, with_metadata=False)
    tell_pages(
        state,
        channel,
        {"type": "message_changed", "channel": channel.id, "message": shown(state, channel, message)},
    )
    ts = state.new_ts()
    _emit_change(
        state,
        channel,
        {"subtype": "message_changed", "message": wire, "previous_message": before, "ts": ts, "event_ts": ts},
    )


def delete(state: State, channel: Channel, message: Message) -> None:
    """Take a message away; a thread's parent leaves a tombstone so that its replies keep a place."""
    before = message_object(state, channel, message, with_metadata=False)
    if channel.replies(message.ts) and not message.is_reply:
        message.text, message.blocks, message.attachments = "This message was deleted.", [], []
        message.subtype, message.user, message.by_app = "tombstone", "USLACKBOT", False
        message.metadata, message.reactions, message.pinned = None, {}, None
        change(state, channel, message, before)
        return
    channel.remove(message)
    tell_pages(state, channel, {"type": "message_deleted", "channel": channel.id, "ts": message.ts})
    _tell_parent(state, channel, message)
    ts = state.new_ts()
    _emit_change(
        state,
        channel,
        {
            "subtype": "message_deleted",
            "previous_message": before,
            "deleted_ts": message.ts,
            "ts": ts,
            "event_ts": ts,
        },
    )


def _emit_change(state: State, channel: Channel, keys: Json) -> None:
    if state.config.bot_user_id in channel.members:
        event = {"type": "message", "hidden": True, "channel": channel.id, "channel_type": channel.kind}
        state.emit(_MESSAGE_EVENTS[channel.kind], event | deepcopy(keys))


def _tell_parent(state: State, channel: Channel, message: Message) -> None:
    if not message.is_reply or message.thread_ts is None:
        return
    parent = channel.find(message.thread_ts)
    if parent is not None:
        tell_pages(
            state,
            channel,
            {"type": "message_changed", "channel": channel.id, "message": shown(state, channel, parent)},
        )


def whisper(state: State, channel: Channel, user: str, message: Message) -> Message:
    """Show a message to one person only; it is in nobody's history."""
    message.only_for = user
    kept = state.ephemerals.setdefault(user, [])
    kept.append((channel.id, message))
    del kept[:-EPHEMERALS_KEPT]
    state.hub.publish({"type": "ephemeral", "channel": channel.id, "message": shown(state, channel, message)}, to=user)
    return message


def slackbot_says(state: State, channel: Channel, user: str, text: str) -> Message:
    """Slack's own word to one person, the way it tells of a command that failed."""
    return whisper(state, channel, user, Message(ts=state.new_ts(), user="USLACKBOT", text=text))


def _note(state: State, channel: Channel, user: str, subtype: str, text: str, **extra: str) -> None:
    post(
        state,
        channel,
        Message(ts=state.new_ts(), user=user, text=text, subtype=subtype, extra=dict(extra)),
    )


def join(state: State, channel: Channel, user: str, inviter: str | None = None) -> None:
    """Make someone a member; the bot hears of it when it is a member itself."""
    channel.members.append(user)
    extra = {"inviter": inviter} if inviter else {}
    subtype = "group_join" if channel.is_private else "channel_join"
    _note(state, channel, user, subtype, f"<@{user}> has joined the channel", **extra)
    if state.config.bot_user_id in channel.members:
        event: Json = {
            "type": "member_joined_channel",
            "user": user,
            "channel": channel.id,
            "channel_type": "G" if channel.is_private else "C",
            "team": state.config.team_id,
            "event_ts": state.new_ts(),
        }
        state.emit("member_joined_channel", event | extra)


def leave(state: State, channel: Channel, user: str) -> None:
    """Take someone out of a channel."""
    channel.members.remove(user)
    _note(state, channel, user, "channel_leave", f"<@{user}> has left the channel")
    event = {
        "type": "member_left_channel",
        "user": user,
        "channel": channel.id,
        "channel_type": "G" if channel.is_private else "C",
        "team": state.config.team_id,
        "event_ts": state.new_ts(),
    }
    state.emit("member_left_channel", event)


def archive(state: State, channel: Channel, user: str, *, on: bool) -> None:
    """Close a channel to writing, or open it again."""
    word = "archive" if on else "unarchive"
    if on:
        _note(state, channel, user, f"channel_{word}", f"<@{user}> archived the channel")
    channel.is_archived = on
    channel.updated = int(state.clock())
    if not on:
        _note(state, channel, user, f"channel_{word}", f"<@{user}> un-archived the channel")
    tell_channel(state, channel)
    kind = "group" if channel.is_private else "channel"
    state.emit(
        f"{kind}_{word}",
        {"type": f"{kind}_{word}", "channel": channel.id, "user": user, "event_ts": state.new_ts()},
    )


def rename(state: State, channel: Channel, user: str, name: str) -> None:
    """Give a channel a new name; the old one stays on its record."""
    old, channel.name = channel.name, name
    channel.previous_names.insert(0, old)
    channel.updated = int(state.clock())
    text = f'<@{user}> has renamed the channel from "{old}" to "{name}"'
    _note(state, channel, user, "channel_name", text, old_name=old, name=name)
    kind = "group" if channel.is_private else "channel"
    event = {
        "type": f"{kind}_rename",
        "channel": {
            "id": channel.id,
            "is_channel": not channel.is_private,
            "is_mpim": False,
            "name": name,
            "name_normalized": name,
            "created": channel.created,
        },
        "event_ts": state.new_ts(),
    }
    state.emit(f"{kind}_rename", event)


def set_topic(state: State, channel: Channel, user: str, topic: str) -> None:
    """Set the line at the top of a channel."""
    channel.topic = Note(topic, user, int(state.clock()))
    text = f"<@{user}> set the channel topic: {topic}" if topic else f"<@{user}> cleared the channel topic"
    _note(state, channel, user, "channel_topic", text, topic=topic)


def set_purpose(state: State, channel: Channel, user: str, purpose: str) -> None:
    """Set what a channel is for."""
    channel.purpose = Note(purpose, user, int(state.clock()))
    text = f"<@{user}> set the channel description: {purpose}"
    _note(state, channel, user, "channel_purpose", text, purpose=purpose)


def react(state: State, channel: Channel, message: Message, user: str, name: str, *, on: bool) -> bool:
    """Put an emoji on a message or take it off; False when it was so already."""
    users = message.reactions.get(name, [])
    if (user in users) is on:
        return False
    if on:
        message.reactions[name] = [*users, user]
    elif users == [user]:
        del message.reactions[name]
    else:
        users.remove(user)
    tell_pages(
        state,
        channel,
        {"type": "reaction", "channel": channel.id, "ts": message.ts, "reactions": reactions(message)},
    )
    if state.config.bot_user_id in channel.members:
        kind = "reaction_added" if on else "reaction_removed"
        event = {
            "type": kind,
            "user": user,
            "reaction": name,
            "item": {"type": "message", "channel": channel.id, "ts": message.ts},
            "item_user": message.user,
            "event_ts": state.new_ts(),
        }
        state.emit(kind, event)
    return True


def pin(state: State, channel: Channel, message: Message, user: str) -> None:
    """Pin a message to its channel."""
    message.pinned = {"channel": channel.id, "pinned_by": user, "pinned_ts": int(state.clock())}
    tell_pages(
        state,
        channel,
        {"type": "message_changed", "channel": channel.id, "message": shown(state, channel, message)},
    )
    if state.config.bot_user_id in channel.members:
        item = {
            "type": "message",
            "channel": channel.id,
            "message": message_object(state, channel, message, with_metadata=False),
            "created": int(state.clock()),
            "created_by": user,
        }
        event = {
            "type": "pin_added",
            "user": user,
            "channel_id": channel.id,
            "item": item,
            "item_user": message.user,
            "pin_count": sum(1 for one in channel.messages if one.pinned is not None),
            "event_ts": state.new_ts(),
        }
        state.emit("pin_added", event)
