"""What a person can do in the workspace, and what their Slack shows them when the app answers badly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import acts, modals
from .args import Args
from .content import TEXT_MAX, Content, for_one_person, read_content
from .deliver import Answer
from .inputs import filled, initial_values, left_out
from .model import Channel, Json, Message, SlackError, View
from .payloads import action_entry, block_actions, view_payload
from .state import State
from .typed import command_text, message_text

NO_CONNECTION = "We had some trouble connecting. Try again?"


@dataclass(frozen=True)
class Outcome:
    """How an act went for the person: `error` is what their Slack told them, `errors` what stands by inputs."""

    ok: bool
    error: str | None = None
    errors: Mapping[str, str] = field(default_factory=dict)


OK = Outcome(ok=True)


def say(state: State, user: str, channel_id: str, typed: str, thread_ts: str | None = None) -> Message:
    """Write a message; someone who is not in a public channel joins it by writing. Raises SlackError."""
    with state.lock:
        channel = state.channels[channel_id]
        if channel.is_archived:
            raise SlackError("is_archived")
        if not state.visible(user, channel):
            raise SlackError("channel_not_found")
        if len(typed) > TEXT_MAX:
            raise SlackError("msg_too_long")
        if user not in channel.members:
            acts.join(state, channel, user)
        if thread_ts is not None:
            parent = channel.find(thread_ts)
            if parent is None:
                raise SlackError("thread_not_found")
            thread_ts = parent.thread_ts or parent.ts
        text = message_text(state, typed)
        return acts.post(state, channel, Message(state.new_ts(), user, text, thread_ts=thread_ts))


def command(state: State, user: str, channel_id: str, typed: str) -> Outcome:
    """Type a slash command; the app's answer, or Slack's word on its failure, shows in the channel."""
    name, _, text = typed.strip().partition(" ")
    with state.lock:
        channel, person, config = state.channels[channel_id], state.users[user], state.config
        known = state.manifest.command(name)
        url = state.address(known.url) if known is not None else None
        if known is None or url is None:
            error = (
                f"{name} is not a valid command. In Slack, all messages that start with the "
                '"/" character are interpreted as commands.'
            )
            acts.slackbot_says(state, channel, user, error)
            return Outcome(ok=False, error=error)
        fields = {
            "token": config.verification_token,
            "team_id": config.team_id,
            "team_domain": config.team_domain,
            "channel_id": channel.id,
            "channel_name": "directmessage" if channel.is_im else channel.name,
            "user_id": user,
            "user_name": person.name,
            "command": name,
            "text": command_text(state, text.strip()) if known.should_escape else text.strip(),
            "api_app_id": config.app_id,
            "is_enterprise_install": "false",
            "response_url": state.new_response_url(user, channel.id),
            "trigger_id": state.new_trigger(user),
        }
    answer = state.outbound.form(url, fields)
    with state.lock:
        if answer.status != 200:
            code = "operation_timeout" if answer.failure == "http_timeout" else "dispatch_failed"
            error = f'{name} failed with the error "{code}"'
            acts.slackbot_says(state, channel, user, error)
            return Outcome(ok=False, error=error)
        return _command_answer(state, channel, user, name, answer)


def _command_answer(state: State, channel: Channel, user: str, name: str, answer: Answer) -> Outcome:
    if not answer.body.strip():
        return OK
    said = answer.json()
    if not said and not answer.headers.get("content-type", "").startswith("application/json"):
        said = {"text": answer.body.decode("utf-8", "replace")}
    try:
        content = read_content(state, Args(said))
        if not content.empty:
            show(state, channel, user, content, in_channel=said.get("response_type") == "in_channel")
    except SlackError as error:
        told = f'{name} failed with the error "{error.code}"'
        acts.slackbot_says(state, channel, user, told)
        return Outcome(ok=False, error=told)
    return OK


def show(
    state: State,
    channel: Channel,
    user: str,
    content: Content,
    *,
    in_channel: bool,
    thread_ts: str | None = None,
) -> Message:
    """Show what the app answered to an interaction: to everyone, or to that person only. Raises SlackError."""
    if not in_channel:
        for_one_person(content)
    message = Message(
        state.new_ts(),
        state.config.bot_user_id,
        content.text or "",
        by_app=True,
        blocks=content.blocks or [],
        attachments=content.attachments or [],
        thread_ts=thread_ts,
    )
    if in_channel:
        return acts.post(state, channel, message)
    return acts.whisper(state, channel, user, message)


def seen(state: State, user: str, channel_id: str, ts: str) -> tuple[Channel, Message]:
    """The message of that ts as the person sees it, an ephemeral one too; raises SlackError."""
    channel = state.channels[channel_id]
    if not state.visible(user, channel):
        raise SlackError("channel_not_found")
    message = channel.find(ts)
    if message is None:
        for where, whispered in state.ephemerals.get(user, []):
            if where == channel_id and whispered.ts == ts:
                message = whispered
    if message is None:
        raise SlackError("message_not_found")
    return channel, message


def act(state: State, user: str, container: Mapping[str, str], sent: Mapping[str, Any]) -> Outcome:
    """Use a control of a message or of an open view: press a button, choose in a menu.

    `container` names the message (channel, ts) or the view (view_id); `sent` the control (block_id,
    action_id) and what was chosen. Raises SlackError when the control is not there, inputs.NoSuchChoice when
    it does not offer the choice.
    """
    with state.lock:
        url = state.interactivity_url
        if container.get("type") == "view" or "view_id" in container:
            view = _view_of(state, user, container["view_id"])
            entry = _entry(state, view.body["blocks"], sent)
            typed = (sent.get("state") or {}).get("values") or {}
            view.values = filled(view.body["blocks"], view.values, _with_choice(typed, entry))
            payload = block_actions(state, user, entry, view=view)
            where = None
        else:
            channel, message = seen(state, user, container["channel"], container["ts"])
            blocks = [*message.blocks, *(b for a in message.attachments for b in a.get("blocks", []))]
            entry = _entry(state, blocks, sent)
            typed = (sent.get("state") or {}).get("values") or {}
            values = filled(blocks, initial_values(blocks), _with_choice(typed, entry))
            payload = block_actions(state, user, entry, place=(channel, message), values=values)
            where = channel
    if url is None:
        return _failed(state, user, where, "This app is not configured to handle interactive responses.")
    answer = state.outbound.form(url, {"payload": json.dumps(payload, ensure_ascii=False)})
    if answer.ok:
        return OK
    if answer.failure == "http_timeout":
        return _failed(state, user, where, "Operation timed out. Apps need to respond within 3 seconds.")
    if answer.failure is not None:
        return _failed(state, user, where, NO_CONNECTION)
    return _failed(state, user, where, f"This app responded with Status Code {answer.status}.")


def _failed(state: State, user: str, channel: Channel | None, error: str) -> Outcome:
    with state.lock:
        if channel is not None:
            acts.slackbot_says(state, channel, user, error)
        state.hub.publish({"type": "toast", "text": error, "level": "error"}, to=user)
    return Outcome(ok=False, error=error)


def _entry(state: State, blocks: list[Json], sent: Mapping[str, Any]) -> Json:
    wanted = sent.get("block_id")
    found = modals.control(blocks, wanted, sent["action_id"])
    if found is None and wanted not in {block.get("block_id") for block in blocks}:
        # Pressed while the app was editing the message: its blocks have new ids, the button may be the same.
        found = modals.control(blocks, None, sent["action_id"])
        if found is not None and found[1].get("value") != sent.get("value"):
            found = None
    if found is None:
        raise SlackError("action_not_found")
    block_id, element = found
    return action_entry(state, block_id, element, sent)


def _with_choice(typed: Json, entry: Json) -> Json:
    """What was typed so far with this choice on top; the other controls of the same block keep theirs."""
    chosen = {block: {**typed.get(block, {}), **values} for block, values in _choice(entry).items()}
    return {**typed, **chosen}


def _choice(entry: Json) -> Json:
    """The state that a choice leaves behind; buttons and overflow menus leave none."""
    if entry["type"] in ("button", "overflow", "workflow_button", "icon_button", "feedback_buttons"):
        return {}
    return {entry["block_id"]: {entry["action_id"]: entry}}


def _view_of(state: State, user: str, view_id: str) -> View:
    view = state.views.get(view_id) or next((home for home in state.homes.values() if home.id == view_id), None)
    if view is None or view.user != user:
        raise SlackError("not_found")
    return view


def submit(state: State, user: str, view_id: str, given: Mapping[str, Any]) -> Outcome:
    """Submit a modal with what was filled in (see inputs.filled for the shapes of `given`).

    Slack itself refuses a form that is not complete; the app may answer with errors, another view, or
    nothing, which closes the modal. Raises SlackError when the view is not open.
    """
    with state.lock:
        view = _view_of(state, user, view_id)
        view.values = filled(view.body["blocks"], view.values, given)
        lacking = left_out(view.body["blocks"], view.values)
        if lacking:
            return Outcome(ok=False, errors=lacking)
        url = state.interactivity_url
        payload = view_payload(state, "view_submission", view)
        payload["trigger_id"] = state.new_trigger(user, view.id)
        payload["response_urls"] = []
    if url is None:
        return Outcome(ok=False, error=NO_CONNECTION)
    answer = state.outbound.form(url, {"payload": json.dumps(payload, ensure_ascii=False)})
    if answer.status != 200:
        return Outcome(ok=False, error=NO_CONNECTION)
    with state.lock:
        if view_id not in state.views:
            return OK
        try:
            return _submission_answer(state, view, answer)
        except SlackError:
            return Outcome(ok=False, error=NO_CONNECTION)


def _submission_answer(state: State, view: View, answer: Answer) -> Outcome:
    said = answer.json()
    match said.get("response_action"):
        case None:
            if answer.body.strip() not in (b"", b"{}"):
                return Outcome(ok=False, error=NO_CONNECTION)
            modals.close(state, view, whole_stack=False)
        case "clear":
            modals.close(state, view, whole_stack=True)
        case "update":
            modals.change_modal(state, view, modals.read_view(state, said.get("view"), modal=True))
        case "push":
            modals.push_modal(state, view, modals.read_view(state, said.get("view"), modal=True))
        case "errors":
            errors = said.get("errors")
            if not isinstance(errors, dict) or not errors or set(errors) - modals.input_blocks(view):
                return Outcome(ok=False, error=NO_CONNECTION)
            return Outcome(ok=False, errors={name: str(text) for name, text in errors.items()})
        case _:
            return Outcome(ok=False, error=NO_CONNECTION)
    return OK


def close(state: State, user: str, view_id: str, *, whole_stack: bool = False) -> Outcome:
    """Close a modal by its close button, or (`whole_stack`) by the cross; an app that asked hears of it."""
    with state.lock:
        view = _view_of(state, user, view_id)
        cleared = whole_stack or bool(view.body.get("clear_on_close"))
        url = state.interactivity_url
        payloads = []
        for one in modals.close(state, view, whole_stack=cleared):
            if one.body.get("notify_on_close"):
                payload = view_payload(state, "view_closed", one)
                payloads.append({**payload, "is_cleared": cleared})
    for payload in payloads:
        if url is not None:
            state.outbound.form(url, {"payload": json.dumps(payload, ensure_ascii=False)})
    return OK


def react(state: State, user: str, channel_id: str, ts: str, name: str, *, on: bool) -> Outcome:
    """Put an emoji on a message or take it off. Raises SlackError when there is no such message."""
    with state.lock:
        channel, message = seen(state, user, channel_id, ts)
        if message.only_for is not None:
            raise SlackError("not_reactable")
        acts.react(state, channel, message, user, name.strip(":"), on=on)
    return OK


def open_home(state: State, user: str) -> View | None:
    """Open the app's home tab: the app hears of it, and what it last published is shown."""
    with state.lock:
        channel = state.direct(user)
        event: Json = {
            "type": "app_home_opened",
            "user": user,
            "channel": channel.id,
            "tab": "home",
            "event_ts": state.new_ts(),
        }
        home = state.homes.get(user)
        if home is not None:
            event["view"] = view_payload(state, "home", home)["view"]
        state.emit("app_home_opened", event)
        return home


def read(state: State, user: str, channel_id: str) -> None:
    """Mark a channel as read up to its last message."""
    with state.lock:
        channel = state.channels[channel_id]
        if channel.messages:
            channel.last_read[user] = channel.messages[-1].ts
        state.hub.publish({"type": "channel", "channel": acts.channel_for(state, channel, user)}, to=user)
