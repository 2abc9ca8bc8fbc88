"""The bodies of interactions: what Slack tells an app when someone presses, chooses, submits or closes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .inputs import NoSuchChoice, chosen, option
from .model import Channel, Json, Message, View
from .state import State
from .wire import message_object, person, view_object

_VALUE_KEYS = (
    *("value", "rich_text_value", "selected_option", "selected_options", "selected_user", "selected_users"),
    *("selected_channel", "selected_channels", "selected_conversation", "selected_conversations"),
    *("selected_date", "selected_time", "selected_date_time"),
)


def _common(state: State, kind: str, user: str) -> Json:
    config = state.config
    return {
        "type": kind,
        "user": person(state, state.users[user]),
        "api_app_id": config.app_id,
        "token": config.verification_token,
        "team": {"id": config.team_id, "domain": config.team_domain},
        "enterprise": None,
        "is_enterprise_install": False,
    }


def action_entry(state: State, block_id: str, element: Json, sent: Mapping[str, Any]) -> Json:
    """One entry of `actions`: the control as the app made it, with what the person chose.

    What a button carries comes from the app's own block, never from the page. Raises NoSuchChoice.
    """
    kind = element["type"]
    entry: Json = {"type": kind, "action_id": element["action_id"], "block_id": block_id}
    entry["action_ts"] = state.new_ts()
    if kind in ("button", "workflow_button", "icon_button"):
        entry["text"] = element["text"]
        entry |= {key: element[key] for key in ("value", "url", "style") if key in element}
    elif kind == "feedback_buttons":
        entry["value"] = sent.get("value")
    elif kind == "overflow":
        entry["selected_option"] = option(element, _first(sent))
    else:
        entry |= chosen(element, _first(sent))
    if "placeholder" in element:
        entry["placeholder"] = element["placeholder"]
    return entry


def _first(sent: Mapping[str, Any]) -> Any:
    for key in _VALUE_KEYS:
        if key in sent:
            return sent[key]
    raise NoSuchChoice(f"nothing was chosen for {sent.get('action_id')}")


def block_actions(
    state: State,
    user: str,
    entry: Json,
    *,
    view: View | None = None,
    place: tuple[Channel, Message] | None = None,
    values: Mapping[str, Any] | None = None,
) -> Json:
    """A block_actions payload, from a view or from a message."""
    payload = _common(state, "block_actions", user)
    if view is not None:
        payload["trigger_id"] = state.new_trigger(user, view.id)
        payload["container"] = {"type": "view", "view_id": view.id}
        payload["view"] = view_object(state, view)
    if place is not None:
        channel, message = place
        ephemeral = message.only_for is not None
        payload["trigger_id"] = state.new_trigger(user)
        payload["container"] = {
            "type": "message",
            "message_ts": message.ts,
            "channel_id": channel.id,
            "is_ephemeral": ephemeral,
        }
        if message.thread_ts is not None:
            payload["container"]["thread_ts"] = message.thread_ts
        payload["channel"] = {"id": channel.id, "name": "directmessage" if channel.is_im else channel.name}
        if not ephemeral:
            payload["message"] = message_object(state, channel, message)
        payload["state"] = {"values": dict(values or {})}
        payload["response_url"] = state.new_response_url(user, channel.id, message.ts, ephemeral=ephemeral)
    payload["actions"] = [entry]
    return payload


def view_payload(state: State, kind: str, view: View) -> Json:
    """A view_submission or view_closed payload, without its trigger."""
    return {**_common(state, kind, view.user), "view": view_object(state, view)}
