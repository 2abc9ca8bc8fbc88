"""Web API, views.*: modals and the home tab."""

from __future__ import annotations

from collections.abc import Mapping

from . import modals
from .args import Args, missing
from .method import TIER_4, Method
from .model import Json, SlackError, View
from .state import State
from .wire import view_object


def _view(state: State, args: Args, *, modal: bool) -> Json:
    raw = args.structure("view", "invalid_arguments")
    if raw is None:
        raise missing("view")
    return modals.read_view(state, raw, modal=modal)


def open_view(state: State, args: Args) -> Json:
    """views.open."""
    trigger = args.required("trigger_id")
    body = _view(state, args, modal=True)
    user, _ = modals.spend(state, trigger)
    return {"view": view_object(state, modals.open_modal(state, user, body))}


def push(state: State, args: Args) -> Json:
    """views.push: with a trigger that came from the modal underneath."""
    trigger = args.required("trigger_id")
    body = _view(state, args, modal=True)
    _, under = modals.spend(state, trigger)
    below = state.views.get(under or "")
    if below is None:
        raise SlackError("not_found")
    return {"view": view_object(state, modals.push_modal(state, below, body))}


def _known(state: State, args: Args) -> View:
    if not (args.text("view_id") or args.text("external_id")):
        raise missing("view_id")
    for view in [*state.views.values(), *state.homes.values()]:
        if args.text("view_id") in ("", view.id) and args.text("external_id") in (
            "",
            view.body.get("external_id"),
        ):
            return view
    raise SlackError("not_found")


def update(state: State, args: Args) -> Json:
    """views.update: with `hash`, only if nobody changed the view since."""
    known = _known(state, args)
    body = _view(state, args, modal=known.is_modal)
    if args.text("hash") not in ("", known.hash):
        raise SlackError("hash_conflict")
    if known.is_modal:
        return {"view": view_object(state, modals.change_modal(state, known, body))}
    return {"view": view_object(state, modals.publish_home(state, known.user, body))}


def publish(state: State, args: Args) -> Json:
    """views.publish: the home tab of one person."""
    user = args.required("user_id")
    if user not in state.users:
        raise missing("user_id")
    if not state.manifest.home_tab:
        raise SlackError("not_enabled")
    body = _view(state, args, modal=False)
    home = state.homes.get(user)
    if args.text("hash") and (home is None or home.hash != args.text("hash")):
        raise SlackError("hash_conflict")
    return {"view": view_object(state, modals.publish_home(state, user, body))}


METHODS: Mapping[str, Method] = {
    "views.open": Method(open_view, TIER_4),
    "views.push": Method(push, TIER_4),
    "views.update": Method(update, TIER_4),
    "views.publish": Method(publish, TIER_4),
}
