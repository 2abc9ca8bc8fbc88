"""Web API for who is there: auth.test, users.*, usergroups.*, team.info, bots.info, and connections."""

from __future__ import annotations

from collections.abc import Mapping

from .args import Args
from .method import SPECIAL, TIER_2, TIER_3, TIER_4, Method
from .model import Json, SlackError
from .paging import page
from .state import State
from .wire import AVATARS, SLACKBOT, bot_profile, group_object, user_object


def api_test(state: State, args: Args) -> Json:  # noqa: ARG001 (every method has this signature)
    """api.test: says back what it was told, and fails with the error it was asked for."""
    told = {name: value for name, value in args.raw.items() if name != "token"}
    if args.text("error"):
        raise SlackError(args.text("error"), args=told)
    return {"args": told} if told else {}


def auth_test(state: State, args: Args) -> Json:  # noqa: ARG001
    """auth.test."""
    config = state.config
    return {
        "url": f"https://{config.team_domain}.slack.com/",
        "team": config.team_name,
        "user": state.bot.name,
        "team_id": config.team_id,
        "user_id": config.bot_user_id,
        "bot_id": config.bot_id,
        "is_enterprise_install": False,
    }


def users_info(state: State, args: Args) -> Json:
    """users.info."""
    name = args.required("user")
    if name == SLACKBOT.id:
        return {"user": user_object(state, SLACKBOT)}
    if name not in state.users:
        raise SlackError("user_not_found")
    return {"user": user_object(state, state.users[name])}


def users_list(state: State, args: Args) -> Json:
    """users.list: everyone, bots and Slackbot too."""
    part, following = page([*state.users.values(), SLACKBOT], args, default=1000, most=1000)
    return {
        "members": [user_object(state, user) for user in part],
        "cache_ts": int(state.clock()),
        "response_metadata": {"next_cursor": following},
    }


def users_by_email(state: State, args: Args) -> Json:
    """users.lookupByEmail."""
    email = args.text("email").lower()
    for user in state.users.values():
        if email and user.email.lower() == email:
            return {"user": user_object(state, user)}
    raise SlackError("users_not_found")


def groups_list(state: State, args: Args) -> Json:
    """usergroups.list."""
    with_users, with_count = args.flag("include_users"), args.flag("include_count")
    return {
        "usergroups": [
            group_object(state, group, with_users=with_users, with_count=with_count) for group in state.groups.values()
        ]
    }


def groups_users(state: State, args: Args) -> Json:
    """usergroups.users.list."""
    group = state.groups.get(args.required("usergroup"))
    if group is None:
        raise SlackError("no_such_subteam")
    return {"users": list(group.members)}


def team_info(state: State, args: Args) -> Json:
    """team.info."""
    config = state.config
    if args.text("team", config.team_id) != config.team_id:
        raise SlackError("team_not_found")
    return {
        "team": {
            "id": config.team_id,
            "name": config.team_name,
            "url": f"https://{config.team_domain}.slack.com/",
            "domain": config.team_domain,
            "email_domain": "",
            "icon": {"image_default": True, "image_68": f"{AVATARS}/team-68.png"},
            "avatar_base_url": f"{AVATARS}/",
            "is_verified": False,
        }
    }


def bots_info(state: State, args: Args) -> Json:
    """bots.info."""
    if args.text("bot", state.config.bot_id) != state.config.bot_id:
        raise SlackError("bot_not_found")
    profile = {**bot_profile(state), "user_id": state.config.bot_user_id}
    del profile["team_id"]
    return {"bot": profile}


def connections_open(state: State, args: Args) -> Json:  # noqa: ARG001
    """apps.connections.open: an address for one Socket Mode connection; takes the app-level token."""
    return {"url": state.sockets.new_url()}


_USERS = ("users:read",)
_GROUPS = ("usergroups:read",)
METHODS: Mapping[str, Method] = {
    "auth.test": Method(auth_test, SPECIAL),
    "users.info": Method(users_info, TIER_4, _USERS),
    "users.list": Method(users_list, TIER_2, _USERS),
    "users.lookupByEmail": Method(users_by_email, TIER_3, ("users:read.email",)),
    "usergroups.list": Method(groups_list, TIER_2, _GROUPS),
    "usergroups.users.list": Method(groups_users, TIER_2, _GROUPS),
    "team.info": Method(team_info, TIER_3, ("team:read",)),
    "apps.connections.open": Method(connections_open, TIER_3),
    "bots.info": Method(bots_info, TIER_3, _USERS),
}
