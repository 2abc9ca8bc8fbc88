"""Opens, stacks, changes and closes views, for the Web API and for answers to a submission alike."""

from __future__ import annotations

from typing import Any

from .blockkit import controls, view_problems, view_too_large
from .content import refuse, stored
from .inputs import initial_values
from .model import Json, SlackError, View
from .state import TRIGGER_LIFE_S, State
from .wire import view_object

# https://docs.slack.dev/reference/methods/views.push#errors : push_limit_reached
STACK_MAX = 3


def read_view(state: State, raw: Any, *, modal: bool) -> Json:
    """A view as an app sent it, checked and with every id filled in; raises SlackError."""
    if view_too_large(raw):
        raise SlackError("view_too_large")
    problems = view_problems(raw)
    if problems:
        raise refuse("invalid_arguments", problems)
    if (raw["type"] == "modal") is not modal:
        kind = "modal" if modal else "home"
        raise SlackError(
            "invalid_arguments",
            response_metadata={"messages": [f"[ERROR] must be a {kind} view [json-pointer:/view/type]"]},
        )
    return {**raw, "blocks": stored(state, raw["blocks"])}


def spend(state: State, trigger_id: str) -> tuple[str, str | None]:
    """Use a trigger up; returns whose it is and the view it came from. Raises SlackError when it is no good."""
    trigger = state.triggers.get(trigger_id)
    if trigger is None:
        raise SlackError("invalid_trigger_id")
    if trigger.used:
        raise SlackError("exchanged_trigger_id")
    if state.clock() - trigger.issued > TRIGGER_LIFE_S:
        raise SlackError("expired_trigger_id")
    trigger.used = True
    return trigger.user, trigger.view


def _external_id_free(state: State, body: Json, ours: View | None = None) -> None:
    name = body.get("external_id")
    for view in [*state.views.values(), *state.homes.values()]:
        if name and view is not ours and view.body.get("external_id") == name:
            raise SlackError("duplicate_external_id")


def open_modal(state: State, user: str, body: Json) -> View:
    """Open a modal as the root of a stack of its own."""
    _external_id_free(state, body)
    name = state.new_id("V")
    view = View(name, user, body, state.new_hash(), root=name, values=initial_values(body["blocks"]))
    state.views[name] = view
    tell(state, view)
    return view


def push_modal(state: State, under: View, body: Json) -> View:
    """Put a modal on top of another; a stack holds three."""
    if len(stack(state, under)) >= STACK_MAX:
        raise SlackError("push_limit_reached")
    _external_id_free(state, body)
    view = View(
        state.new_id("V"),
        under.user,
        body,
        state.new_hash(),
        root=under.root,
        previous=under.id,
        values=initial_values(body["blocks"]),
    )
    state.views[view.id] = view
    tell(state, view)
    return view


def change_modal(state: State, view: View, body: Json) -> View:
    """Replace what a modal shows; inputs that keep their block_id and action_id keep what was typed."""
    _external_id_free(state, body, view)
    values = initial_values(body["blocks"])
    for block_id, fresh in values.items():
        for action_id, start in fresh.items():
            typed = view.values.get(block_id, {}).get(action_id)
            if typed is not None and typed["type"] == start["type"]:
                fresh[action_id] = typed
    view.body, view.values, view.hash = body, values, state.new_hash()
    tell(state, view)
    return view


def publish_home(state: State, user: str, body: Json) -> View:
    """Set what a person sees in the app's home tab."""
    home = state.homes.get(user)
    _external_id_free(state, body, home)
    if home is None:
        name = state.new_id("V")
        home = state.homes[user] = View(name, user, body, "", root=name)
    home.body, home.hash = body, state.new_hash()
    home.values = initial_values(body["blocks"])
    tell(state, home)
    return home


def tell(state: State, view: View) -> None:
    """Show the view, as it is now, on its person's pages."""
    kind = "view" if view.is_modal else "home"
    state.hub.publish({"type": kind, "view": view_object(state, view)}, to=view.user)


def stack(state: State, view: View) -> list[View]:
    """The modals of a view's stack, the root first."""
    return [one for one in state.views.values() if one.root == view.root]


def close(state: State, view: View, *, whole_stack: bool) -> list[View]:
    """Close a modal with all above it, or its whole stack; returns what was closed, the top first."""
    views = stack(state, view)
    closing = views if whole_stack else views[views.index(view) :]
    for one in reversed(closing):
        del state.views[one.id]
        state.hub.publish({"type": "view_closed", "view_id": one.id}, to=one.user)
    return closing[::-1]


def input_blocks(view: View) -> set[str]:
    """The block_ids in which a submission may report an error."""
    return {block["block_id"] for block in view.body["blocks"] if block["type"] == "input"}


def control(blocks: list[Json], block_id: str | None, action_id: str) -> tuple[str, Json] | None:
    """The control of that action_id (in that block, if named) and its block_id, or None."""
    for block, element in controls(blocks):
        if element.get("action_id") == action_id and block_id in (None, block["block_id"]):
            return block["block_id"], element
    return None
