"""Answers at a response_url: five within thirty minutes, to show, replace or take away a message."""

from __future__ import annotations

import json

from . import acts
from .args import Args
from .content import Content, for_one_person, read_content
from .model import Json, Message, ResponseUrl, SlackError
from .people import show
from .state import RESPONSE_URL_LIFE_S, RESPONSE_URL_USES, State
from .wire import message_object


def respond(state: State, token: str, body: bytes) -> tuple[int, Json]:
    """Take one answer; returns the HTTP status and body that Slack would give."""
    try:
        said = json.loads(body)
    except ValueError:
        return 400, {"ok": False, "error": "invalid_payload"}
    if not isinstance(said, dict):
        return 400, {"ok": False, "error": "invalid_payload"}
    with state.lock:
        known = state.response_urls.get(token)
        if known is None or state.clock() - known.issued > RESPONSE_URL_LIFE_S:
            return 404, {"ok": False, "error": "expired_url"}
        if known.uses >= RESPONSE_URL_USES:
            return 404, {"ok": False, "error": "used_url"}
        known.uses += 1
        try:
            _apply(state, known, Args(said))
        except SlackError as error:
            return 400, {"ok": False, "error": error.code, **error.extra}
    return 200, {"ok": True}


def _apply(state: State, known: ResponseUrl, args: Args) -> None:
    channel = state.channels[known.channel]
    message = _original(state, known)
    if args.flag("delete_original"):
        if message is None:
            raise SlackError("message_not_found")
        _take_away(state, known, message)
        return
    content = read_content(state, args)
    if content.empty:
        raise SlackError("no_text")
    if args.flag("replace_original") and message is not None:
        _replace(state, known, message, content)
        return
    shown = show(
        state,
        channel,
        known.user,
        content,
        in_channel=args.text("response_type") == "in_channel",
        thread_ts=args.text("thread_ts") or None,
    )
    if known.message is None:
        known.message, known.ephemeral = shown.ts, shown.only_for is not None


def _original(state: State, known: ResponseUrl) -> Message | None:
    if known.message is None:
        return None
    if known.ephemeral:
        for _, whispered in state.ephemerals[known.user]:
            if whispered.ts == known.message:
                return whispered
        return None
    return state.channels[known.channel].find(known.message)


def _take_away(state: State, known: ResponseUrl, message: Message) -> None:
    channel = state.channels[known.channel]
    if message.only_for is None:
        acts.delete(state, channel, message)
        return
    state.ephemerals[known.user].remove((channel.id, message))
    gone = {"type": "message_deleted", "channel": channel.id, "ts": message.ts}
    state.hub.publish(gone, to=known.user)


def _replace(state: State, known: ResponseUrl, message: Message, content: Content) -> None:
    channel = state.channels[known.channel]
    if message.only_for is not None:
        for_one_person(content)
    before = message_object(state, channel, message, with_metadata=False)
    message.text = content.text or ""
    message.blocks = content.blocks or []
    message.attachments = content.attachments or []
    if message.only_for is None:
        acts.change(state, channel, message, before)
        return
    changed = {"type": "ephemeral", "channel": channel.id, "message": acts.shown(state, channel, message)}
    state.hub.publish(changed, to=known.user)
