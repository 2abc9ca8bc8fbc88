"""Web API, chat.*: posting, editing and removing messages."""

from __future__ import annotations

from collections.abc import Mapping

from . import acts
from .args import Args, missing
from .content import EDIT_TEXT_MAX, Content, for_one_person, read_content
from .method import SPECIAL, TIER_3, TIER_4, Method
from .model import Channel, Json, Message, SlackError
from .state import TS, State
from .wire import message_object, permalink


def _destination(state: State, name: str) -> Channel:
    """Where a message goes: a channel by id or #name, or a person, whose direct message is opened."""
    if not name:
        raise SlackError("channel_not_found")
    if name in state.users:
        if name == state.config.bot_user_id:
            raise SlackError("channel_not_found")
        return state.direct(name)
    if name not in state.channels:
        named = state.channel_named(name.removeprefix("#"))
        name = named.id if named else name
    return state.seen_by_bot(name)


def _may_write(state: State, channel: Channel) -> None:
    if channel.is_archived:
        raise SlackError("is_archived")
    open_to_all = "chat:write.public" in state.manifest.scopes and not channel.is_private
    if state.config.bot_user_id not in channel.members and not open_to_all:
        raise SlackError("not_in_channel")


def _thread(channel: Channel, args: Args) -> str | None:
    """The parent's ts for a reply, also when the app named one of its replies; None outside threads."""
    ts = args.text("thread_ts")
    if not ts:
        return None
    if not TS.fullmatch(ts):
        raise SlackError(
            "invalid_thread_ts",
            response_metadata={"messages": [f"[ERROR] {ts} is not a valid thread_ts"]},
        )
    parent = channel.find(ts)
    if parent is None:
        raise SlackError("thread_not_found")
    if parent.subtype is not None and parent.subtype in acts.HOUSE_SUBTYPES - {"tombstone"}:
        raise SlackError("cannot_reply_to_message")
    return parent.thread_ts or parent.ts


def _face(state: State, args: Args) -> Json:
    named = [key for key in ("username", "icon_emoji", "icon_url") if args.text(key)]
    if named and "chat:write.customize" not in state.manifest.scopes:
        provided = ",".join(sorted(state.manifest.scopes))
        raise SlackError("missing_scope", needed="chat:write.customize", provided=provided)
    face: Json = {"username": args.text("username") or None}
    if args.text("icon_emoji"):
        face["icons"] = {"emoji": args.text("icon_emoji")}
    elif args.text("icon_url"):
        face["icons"] = {"image_48": args.text("icon_url")}
    return face


def _spoken(state: State, content: Content, thread: str | None, face: Json) -> Message:
    return Message(
        ts=state.new_ts(),
        user=state.config.bot_user_id,
        text=content.text or "",
        by_app=True,
        blocks=content.blocks or [],
        attachments=content.attachments or [],
        thread_ts=thread,
        metadata=content.metadata or None,
        **face,
    )


def post_message(state: State, args: Args) -> Json:
    """chat.postMessage."""
    channel = _destination(state, args.text("channel"))
    _may_write(state, channel)
    content = read_content(state, args)
    if content.empty:
        raise SlackError("no_text")
    message = _spoken(state, content, _thread(channel, args), _face(state, args))
    if message.thread_ts is not None and args.flag("reply_broadcast"):
        message.subtype = "thread_broadcast"
    acts.post(state, channel, message)
    answer: Json = {
        "channel": channel.id,
        "ts": message.ts,
        "message": message_object(state, channel, message),
    }
    if content.warnings:
        answer["warning"] = ",".join(content.warnings)
        answer["response_metadata"] = {"warnings": list(content.warnings)}
    return answer


def post_ephemeral(state: State, args: Args) -> Json:
    """chat.postEphemeral."""
    channel = _destination(state, args.text("channel"))
    user = args.required("user")
    _may_write(state, channel)
    if user not in channel.members:
        raise SlackError("user_not_in_channel")
    content = for_one_person(read_content(state, args, text_max=EDIT_TEXT_MAX * 10))
    if content.empty:
        raise SlackError("no_text")
    message = _spoken(state, content, _thread(channel, args), _face(state, args))
    acts.whisper(state, channel, user, message)
    return {"message_ts": message.ts}


def _own(channel: Channel, ts: str, refusal: str) -> Message:
    message = channel.find(ts)
    if message is None:
        raise SlackError("message_not_found")
    if not message.by_app:
        raise SlackError(refusal)
    return message


def update(state: State, args: Args) -> Json:
    """chat.update: a part left out stays as it was, but a text without blocks takes the blocks away."""
    channel = state.seen_by_bot(args.text("channel"))
    if not args.text("ts"):
        raise missing("ts")
    message = _own(channel, args.text("ts"), "cant_update_message")
    if channel.is_archived:
        raise SlackError("is_inactive")
    content = read_content(state, args, text_max=EDIT_TEXT_MAX)
    if content.text is None and content.blocks is None and content.attachments is None:
        raise SlackError("no_text")
    before = message_object(state, channel, message, with_metadata=False)
    if content.blocks is not None:
        message.blocks = content.blocks
    elif content.text is not None:
        message.blocks = []
        message.edited = {"user": state.config.bot_user_id, "ts": state.new_ts()}
    message.text = message.text if content.text is None else content.text
    if content.attachments is not None:
        message.attachments = content.attachments
    if content.metadata is not None:
        message.metadata = content.metadata or None
    acts.change(state, channel, message, before)
    wire = message_object(state, channel, message)
    return {"channel": channel.id, "ts": message.ts, "text": message.text, "message": wire}


def delete(state: State, args: Args) -> Json:
    """chat.delete."""
    channel = state.seen_by_bot(args.text("channel"))
    message = _own(channel, args.required("ts"), "cant_delete_message")
    acts.delete(state, channel, message)
    return {"channel": channel.id, "ts": args.text("ts")}


def get_permalink(state: State, args: Args) -> Json:
    """chat.getPermalink."""
    channel = state.seen_by_bot(args.text("channel"))
    message = channel.find(args.text("message_ts"))
    if message is None:
        raise SlackError("message_not_found")
    return {"channel": channel.id, "permalink": permalink(state, channel, message)}


_WRITE = ("chat:write",)
METHODS: Mapping[str, Method] = {
    "chat.postMessage": Method(post_message, SPECIAL, _WRITE, paused=True),
    "chat.postEphemeral": Method(post_ephemeral, TIER_4, _WRITE),
    "chat.update": Method(update, TIER_3, _WRITE),
    "chat.delete": Method(delete, TIER_3, _WRITE),
    "chat.getPermalink": Method(get_permalink, SPECIAL),
}
