"""Shows users, channels, messages and views in the shapes Slack puts on the wire."""

from __future__ import annotations

from typing import Any

from .model import Channel, Json, Message, User, UserGroup, View
from .state import State

# A transparent pixel's worth of address: `.example` can never resolve (RFC 2606), so nothing is fetched.
AVATARS = "https://avatars.night-shift.example"
SLACKBOT = User("USLACKBOT", "slackbot", "Slackbot", "", "", "757575", is_bot=False)


def bot_profile(state: State) -> Json:
    """The app's face on its messages."""
    config = state.config
    return {
        "id": config.bot_id,
        "app_id": config.app_id,
        "name": state.manifest.name,
        "icons": {f"image_{size}": f"{AVATARS}/{config.bot_id}-{size}.png" for size in (36, 48, 72)},
        "deleted": False,
        "updated": 0,
        "team_id": config.team_id,
    }


def user_object(state: State, user: User) -> Json:
    """A user as users.info gives it; the e-mail address only with the scope users:read.email."""
    first, _, last = user.real_name.partition(" ")
    profile: Json = {
        "title": user.title,
        "phone": "",
        "skype": "",
        "real_name": user.real_name,
        "real_name_normalized": user.real_name,
        "display_name": user.name,
        "display_name_normalized": user.name,
        "status_text": "",
        "status_emoji": "",
        "status_emoji_display_info": [],
        "status_expiration": 0,
        "avatar_hash": f"g{user.id.lower()}",
        "first_name": first,
        "last_name": last,
        "status_text_canonical": "",
        "team": state.config.team_id,
        **{f"image_{size}": f"{AVATARS}/{user.id}-{size}.png" for size in (24, 32, 48, 72, 192, 512)},
    }
    if user.is_bot:
        profile |= {"api_app_id": state.config.app_id, "always_active": True, "bot_id": state.config.bot_id}
    elif "users:read.email" in state.manifest.scopes and user.email:
        profile["email"] = user.email
    return {
        "id": user.id,
        "team_id": state.config.team_id,
        "name": user.name,
        "deleted": False,
        "color": user.color,
        "real_name": user.real_name,
        "tz": "Europe/Berlin",
        "tz_label": "Central European Time",
        "tz_offset": 3600,
        "profile": profile,
        "is_admin": False,
        "is_owner": False,
        "is_primary_owner": False,
        "is_restricted": user.is_guest,
        "is_ultra_restricted": False,
        "is_bot": user.is_bot,
        "is_app_user": False,
        "updated": 0,
        "is_email_confirmed": not user.is_bot,
        "who_can_share_contact_card": "EVERYONE",
    }


def group_object(state: State, group: UserGroup, *, with_users: bool, with_count: bool) -> Json:
    """A user group as usergroups.list gives it."""
    shown: Json = {
        "id": group.id,
        "team_id": state.config.team_id,
        "is_usergroup": True,
        "is_subteam": True,
        "name": group.name,
        "description": "",
        "handle": group.handle,
        "is_external": False,
        "date_create": 0,
        "date_update": 0,
        "date_delete": 0,
        "auto_type": None,
        "auto_provision": False,
        "created_by": group.members[0] if group.members else "",
        "updated_by": group.members[0] if group.members else "",
        "deleted_by": None,
        "prefs": {"channels": [], "groups": []},
    }
    if with_users:
        shown["users"] = list(group.members)
    if with_users or with_count:
        shown["user_count"] = len(group.members)
    return shown


def channel_object(state: State, channel: Channel) -> Json:
    """A conversation as the bot sees it in conversations.info and its siblings."""
    bot = state.config.bot_user_id
    if channel.is_im:
        return {
            "id": channel.id,
            "created": channel.created,
            "is_archived": False,
            "is_im": True,
            "is_org_shared": False,
            "context_team_id": state.config.team_id,
            "updated": channel.updated * 1000,
            "user": next((member for member in channel.members if member != bot), bot),
            "is_user_deleted": False,
            "is_open": True,
            "priority": 0,
        }
    shown: Json = {
        "id": channel.id,
        "name": channel.name,
        "is_channel": not channel.is_private,
        "is_group": False,
        "is_im": False,
        "is_mpim": False,
        "is_private": channel.is_private,
        "created": channel.created,
        "is_archived": channel.is_archived,
        "is_general": channel.is_general,
        "unlinked": 0,
        "name_normalized": channel.name,
        "is_shared": False,
        "is_org_shared": False,
        "is_pending_ext_shared": False,
        "pending_shared": [],
        "context_team_id": state.config.team_id,
        "updated": channel.updated * 1000,
        "creator": channel.creator,
        "is_ext_shared": False,
        "shared_team_ids": [state.config.team_id],
        "pending_connected_team_ids": [],
        "is_member": bot in channel.members,
        "topic": vars(channel.topic).copy(),
        "purpose": vars(channel.purpose).copy(),
        "previous_names": list(channel.previous_names),
    }
    if bot in channel.members:
        shown["last_read"] = channel.last_read.get(bot, "0000000000.000000")
    return shown


def message_object(state: State, channel: Channel, message: Message, *, with_metadata: bool = True) -> Json:
    """A message as history, events and interaction payloads show it."""
    shown: Json = {"type": "message", "ts": message.ts, "text": message.text, "user": message.user}
    if message.subtype is not None:
        shown["subtype"] = message.subtype
    if message.by_app:
        shown |= {
            "bot_id": state.config.bot_id,
            "app_id": state.config.app_id,
            "team": state.config.team_id,
            "bot_profile": bot_profile(state),
        }
    elif message.subtype is None:
        shown |= {"client_msg_id": f"00000000-0000-4000-8000-{message.ts.replace('.', '')[-12:]}"}
        shown["team"] = state.config.team_id
    if message.username is not None:
        shown["username"] = message.username
    if message.icons is not None:
        shown["icons"] = message.icons
    if message.blocks:
        shown["blocks"] = message.blocks
    if message.attachments:
        shown["attachments"] = message.attachments
    shown |= _thread_keys(channel, message)
    if message.edited is not None:
        shown["edited"] = message.edited
    if message.reactions:
        shown["reactions"] = reactions(message)
    if message.pinned is not None:
        shown |= {"pinned_to": [channel.id], "pinned_info": message.pinned}
    if with_metadata and message.metadata is not None:
        shown["metadata"] = message.metadata
    return shown | message.extra


def _thread_keys(channel: Channel, message: Message) -> Json:
    if message.only_for is not None:
        return {} if message.thread_ts is None else {"thread_ts": message.thread_ts}
    if message.is_reply and message.thread_ts is not None:
        parent = channel.find(message.thread_ts)
        return {"thread_ts": message.thread_ts, "parent_user_id": parent.user if parent else message.user}
    replies = channel.replies(message.ts)
    if not replies:
        return {}
    people = list(dict.fromkeys(reply.user for reply in replies))
    return {
        "thread_ts": message.ts,
        "reply_count": len(replies),
        "reply_users_count": len(people),
        "latest_reply": replies[-1].ts,
        "reply_users": people[:5],
        "is_locked": False,
        "subscribed": False,
    }


def reactions(message: Message) -> list[Json]:
    """A message's reactions in the order they first came."""
    return [{"name": name, "users": list(users), "count": len(users)} for name, users in message.reactions.items()]


def view_object(state: State, view: View) -> Json:
    """A view as views.* answer it and as submissions carry it."""
    body = view.body
    return {
        "id": view.id,
        "team_id": state.config.team_id,
        "type": body["type"],
        "blocks": body["blocks"],
        "private_metadata": body.get("private_metadata", ""),
        "callback_id": body.get("callback_id", ""),
        "state": {"values": view.values},
        "hash": view.hash,
        "title": body.get("title", {"type": "plain_text", "text": "View Title", "emoji": True}),
        "clear_on_close": bool(body.get("clear_on_close", False)),
        "notify_on_close": bool(body.get("notify_on_close", False)),
        "close": body.get("close"),
        "submit": body.get("submit"),
        "previous_view_id": view.previous,
        "root_view_id": view.root,
        "app_id": state.config.app_id,
        "external_id": body.get("external_id", ""),
        "app_installed_team_id": state.config.team_id,
        "bot_id": state.config.bot_id,
    }


def person(state: State, user: User) -> dict[str, Any]:
    """The user as interaction payloads name them."""
    return {"id": user.id, "username": user.name, "name": user.name, "team_id": state.config.team_id}


def permalink(state: State, channel: Channel, message: Message) -> str:
    """The address of a message, of Slack's shape but in this workspace."""
    address = f"{state.public_url}/archives/{channel.id}/p{message.ts.replace('.', '')}"
    if message.is_reply:
        return f"{address}?thread_ts={message.thread_ts}&cid={channel.id}"
    return address
