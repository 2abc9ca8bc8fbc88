"""The page's own API: what a person sees, and the doors through which the page acts for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import acts
from .inputs import NoSuchChoice
from .model import Channel, Json, Message, SlackError, User, by_ts
from .people import Outcome
from .state import State
from .wire import view_object
from .workspace import Workspace

# What a person reads when Slack refuses what they did in the page.
SENTENCES: Mapping[str, str] = {
    "is_archived": "This channel is archived: nobody can write in it.",
    "channel_not_found": "That channel is not there, or you cannot see it.",
    "msg_too_long": "That message is too long: Slack takes 40,000 characters.",
    "message_not_found": "That message is not there any more.",
    "thread_not_found": "That thread is not there any more.",
    "action_not_found": "That button is not there any more.",
    "not_found": "That window is not open any more.",
    "not_reactable": "A message only you can see takes no reactions.",
}


class BadRequest(ValueError):
    """The page sent something that no page of ours sends; says what."""


class Refused(ValueError):
    """Slack would not let the person do it; says why, to them."""


def person(state: State, user: User) -> Json:
    """A member as the page shows them."""
    return {
        "id": user.id,
        "name": user.name,
        "real_name": user.real_name,
        "title": user.title,
        "color": user.color,
        "is_bot": user.is_bot,
        "is_guest": user.is_guest,
        "groups": [group.handle for group in state.groups.values() if user.id in group.members],
    }


def overview(workspace: Workspace, user: str) -> Json:
    """GET /ui/state: everything a page needs to draw itself for one person."""
    state = workspace.state
    with state.lock:
        me = state.users[user]
        home = state.homes.get(user)
        return {
            "team": {
                "id": state.config.team_id,
                "name": state.config.team_name,
                "domain": state.config.team_domain,
            },
            "me": person(state, me),
            "users": [person(state, one) for one in state.users.values()],
            "usergroups": [
                {"id": group.id, "handle": group.handle, "name": group.name, "users": list(group.members)}
                for group in state.groups.values()
            ],
            "channels": [
                acts.channel_for(state, channel, user)
                for channel in state.channels.values()
                if state.visible(user, channel)
            ],
            "commands": [
                {
                    "command": command.command,
                    "description": command.description,
                    "usage_hint": command.usage_hint,
                }
                for command in state.manifest.commands
            ],
            "views": [view_object(state, view) for view in state.views.values() if view.user == user],
            "home": view_object(state, home) if home is not None else None,
            "bot": {"user_id": state.config.bot_user_id, "name": state.manifest.name},
        }


def messages(workspace: Workspace, user: str, channel_id: str, thread_ts: str | None) -> Json:
    """GET /ui/channels/{id}/messages: what one person sees there, whispers to them in their place."""
    state = workspace.state
    with state.lock:
        channel = state.channels.get(channel_id)
        if channel is None or not state.visible(user, channel):
            raise SlackError("channel_not_found")
        found = [message for message in channel.messages if _belongs(message, thread_ts)]
        found += [
            message
            for where, message in state.ephemerals[user]
            if where == channel_id and message.thread_ts == thread_ts
        ]
        found.sort(key=by_ts)
        return {"messages": [acts.shown(state, channel, message) for message in found]}


def _belongs(message: Message, thread_ts: str | None) -> bool:
    if thread_ts is None:
        return message.in_channel
    return thread_ts in (message.ts, message.thread_ts)


def _outcome(outcome: Outcome) -> Json:
    answer: Json = {"ok": outcome.ok}
    if outcome.error is not None:
        answer["error"] = outcome.error
    if outcome.errors:
        answer["errors"] = dict(outcome.errors)
    return answer


class Body:
    """The JSON a page sent; each reader raises BadRequest naming what is missing."""

    def __init__(self, raw: object) -> None:
        if not isinstance(raw, dict):
            raise BadRequest("the body must be a JSON object")
        self.raw: Json = raw

    def text(self, name: str) -> str:
        """A text that must be there."""
        value = self.raw.get(name)
        if not isinstance(value, str) or not value:
            raise BadRequest(f"{name} is missing")
        return value

    def mapping(self, name: str) -> Json:
        """An object; empty when left out."""
        value = self.raw.get(name, {})
        if not isinstance(value, dict):
            raise BadRequest(f"{name} must be an object")
        return value


def act(workspace: Workspace, door: str, raw: object) -> Json:
    """POST /ui/{door}: do what the page asks for a person.

    Raises Refused, with a sentence for them, when Slack would not let them; BadRequest for an unknown door,
    person or shape. What the app did wrong is in the answer.
    """
    body = Body(raw)
    user = known(workspace, body.text("user"))
    run = _DOORS.get(door)
    if run is None:
        raise BadRequest(f"there is no /ui/{door}")
    try:
        return run(workspace, user, body)
    except SlackError as error:
        raise Refused(SENTENCES.get(error.code, error.code)) from error
    except NoSuchChoice as error:
        raise Refused(str(error)) from error


def known(workspace: Workspace, user: str) -> str:
    """The id of a person of this workspace; raises BadRequest."""
    member = workspace.state.users.get(user)
    if member is None or member.is_bot:
        raise BadRequest(f"there is no person {user!r}")
    return user


def first(workspace: Workspace) -> str:
    """The person whom a page shows when it names nobody."""
    return workspace.config.personas[0].id


def _channel(workspace: Workspace, user: str, body: Body) -> Channel:
    channel = workspace.state.channels.get(body.text("channel"))
    if channel is None or not workspace.state.visible(user, channel):
        raise SlackError("channel_not_found")
    return channel


def _message(workspace: Workspace, user: str, body: Body) -> Json:
    channel, text = _channel(workspace, user, body), body.text("text")
    if text.startswith("/") and not text.startswith("//"):
        return _outcome(workspace.command(user, channel.id, text))
    thread = body.raw.get("thread_ts")
    message = workspace.say(user, channel.id, text, thread_ts=thread if isinstance(thread, str) else None)
    return {"ok": True, "ts": message.ts}


def _command(workspace: Workspace, user: str, body: Body) -> Json:
    return _outcome(workspace.command(user, _channel(workspace, user, body).id, body.text("text")))


def _action(workspace: Workspace, user: str, body: Body) -> Json:
    container: Mapping[str, Any] = body.mapping("container")
    kind = container.get("type")
    wanted = ("view_id",) if kind == "view" else ("channel", "ts")
    if any(not isinstance(container.get(key), str) for key in wanted):
        raise BadRequest(f"container needs {' and '.join(wanted)}")
    if kind != "view" and container["channel"] not in workspace.state.channels:
        raise SlackError("channel_not_found")
    body.text("action_id")
    return _outcome(workspace.act(user, container, body.raw))


def _submit(workspace: Workspace, user: str, body: Body) -> Json:
    return _outcome(workspace.submit(user, body.text("view_id"), body.mapping("values")))


def _close(workspace: Workspace, user: str, body: Body) -> Json:
    whole = body.raw.get("whole_stack") is True
    return _outcome(workspace.close_view(user, body.text("view_id"), whole_stack=whole))


def _reaction(workspace: Workspace, user: str, body: Body) -> Json:
    channel = _channel(workspace, user, body)
    on = body.raw.get("on") is not False
    return _outcome(workspace.react(user, channel.id, body.text("ts"), body.text("name"), on=on))


def _read(workspace: Workspace, user: str, body: Body) -> Json:
    workspace.read(user, _channel(workspace, user, body).id)
    return {"ok": True}


def _home(workspace: Workspace, user: str, body: Body) -> Json:  # noqa: ARG001 (a door like the others)
    home = workspace.open_home(user)
    return {"ok": True, "view": view_object(workspace.state, home) if home is not None else None}


_DOORS: Mapping[str, Callable[[Workspace, str, Body], Json]] = {
    "message": _message,
    "command": _command,
    "action": _action,
    "view/submit": _submit,
    "view/close": _close,
    "reaction": _reaction,
    "read": _read,
    "home": _home,
}
DOORS = tuple(_DOORS)
