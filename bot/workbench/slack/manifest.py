"""Reads a Slack app manifest the way Slack's app settings do, and names every fault in it at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import yaml

# Lengths: slackapi/manifest-schema, schemas/manifest.schema.2.0.0.json.
NAME_MAX = 35
DESCRIPTION_MAX = 140
DISPLAY_NAME_MAX = 80
COMMANDS_MAX = 50
COMMAND_MAX = 32
COMMAND_DESCRIPTION_MAX = 2000
USAGE_HINT_MAX = 1000

# https://docs.slack.dev/reference/scopes : the bot scopes this workspace knows how to honour.
BOT_SCOPES = frozenset(
    """app_mentions:read assistant:write bookmarks:read bookmarks:write calls:read calls:write canvases:read
    canvases:write channels:history channels:join channels:manage channels:read channels:write.invites
    channels:write.topic chat:write chat:write.customize chat:write.public commands dnd:read emoji:read
    files:read files:write groups:history groups:read groups:write groups:write.invites groups:write.topic
    im:history im:read im:write im:write.topic links:read links:write metadata.message:read mpim:history
    mpim:read mpim:write mpim:write.topic pins:read pins:write reactions:read reactions:write reminders:read
    reminders:write team:read usergroups:read usergroups:write users.profile:read users:read users:read.email
    users:write workflow.steps:execute""".split()  # noqa: SIM905 (one scope a line would fill the page)
)

# https://docs.slack.dev/reference/events : event -> the bot scope it needs ("" where it needs none).
BOT_EVENTS: Mapping[str, str] = {
    "app_home_opened": "",
    "app_mention": "app_mentions:read",
    "app_uninstalled": "",
    "channel_archive": "channels:read",
    "channel_created": "channels:read",
    "channel_deleted": "channels:read",
    "channel_rename": "channels:read",
    "channel_unarchive": "channels:read",
    "group_archive": "groups:read",
    "group_rename": "groups:read",
    "group_unarchive": "groups:read",
    "member_joined_channel": "channels:read",
    "member_left_channel": "channels:read",
    "message.channels": "channels:history",
    "message.groups": "groups:history",
    "message.im": "im:history",
    "message.mpim": "mpim:history",
    "pin_added": "pins:read",
    "pin_removed": "pins:read",
    "reaction_added": "reactions:read",
    "reaction_removed": "reactions:read",
    "subteam_members_changed": "usergroups:read",
    "subteam_updated": "usergroups:read",
    "team_join": "users:read",
    "tokens_revoked": "",
    "user_change": "users:read",
}


class ManifestError(ValueError):
    """A manifest Slack would not accept; `faults` holds one plain sentence per fault, all of them."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("the Slack app manifest has faults:\n" + "\n".join(f"  - {fault}" for fault in faults))


@dataclass(frozen=True)
class SlashCommand:
    """One registered slash command; `should_escape` turns typed @names and #channels into Slack's tokens."""

    command: str
    description: str
    usage_hint: str
    url: str | None
    should_escape: bool


@dataclass(frozen=True)
class Manifest:
    """What the workspace needs to know of an app: its names, commands, scopes, subscriptions and addresses."""

    name: str
    display_name: str
    description: str
    commands: tuple[SlashCommand, ...]
    scopes: frozenset[str]
    events: frozenset[str]
    events_url: str | None
    interactivity_url: str | None
    home_tab: bool
    socket_mode: bool

    def command(self, name: str) -> SlashCommand | None:
        """The registered command of that name (with its slash), or None."""
        return next((known for known in self.commands if known.command == name), None)


def load_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest file (YAML, hence JSON too), check it, and return its mapping.

    Raises ManifestError for anything Slack would refuse, OSError when the file cannot be read.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ManifestError([f"{path.name} is not YAML: {error}"]) from error
    if not isinstance(data, dict):
        raise ManifestError([f"{path.name} holds no mapping at its top"])
    parse_manifest(data)
    return data


def parse_manifest(data: Mapping[str, Any]) -> Manifest:
    """Check a manifest mapping and return its parts; raises ManifestError with every fault found."""
    faults = list(_faults(data))
    if faults:
        raise ManifestError(faults)
    display = _mapping(data, "display_information")
    features = _mapping(data, "features")
    settings = _mapping(data, "settings")
    subscriptions = _mapping(settings, "event_subscriptions")
    interactivity = _mapping(settings, "interactivity")
    return Manifest(
        name=display["name"],
        display_name=_mapping(features, "bot_user")["display_name"],
        description=display.get("description", ""),
        commands=tuple(
            SlashCommand(
                command=entry["command"],
                description=entry["description"],
                usage_hint=entry.get("usage_hint", ""),
                url=entry.get("url"),
                should_escape=bool(entry.get("should_escape", False)),
            )
            for entry in features.get("slash_commands", [])
        ),
        scopes=frozenset(_mapping(_mapping(data, "oauth_config"), "scopes").get("bot", [])),
        events=frozenset(subscriptions.get("bot_events", [])),
        events_url=subscriptions.get("request_url"),
        interactivity_url=interactivity.get("request_url") if interactivity.get("is_enabled") else None,
        home_tab=bool(_mapping(features, "app_home").get("home_tab_enabled", False)),
        socket_mode=bool(settings.get("socket_mode_enabled", False)),
    )


def retarget(url: str | None, bot_url: str | None) -> str | None:
    """The address to call: the manifest's, moved to `bot_url`'s host, so one file serves Slack and a laptop.

    The manifest's path is kept unless `bot_url` brings a path of its own. None when neither names a host.
    """
    if bot_url is None:
        return url
    base = urlsplit(bot_url)
    path = base.path if base.path not in ("", "/") else urlsplit(url or "").path
    return urlunsplit((base.scheme, base.netloc, path or "/slack/events", "", ""))


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}


def _faults(data: Mapping[str, Any]) -> Iterator[str]:
    for key in ("display_information", "features", "oauth_config", "settings"):
        if not isinstance(data.get(key), Mapping):
            yield f"{key} is missing or is not a mapping"
    display = _mapping(data, "display_information")
    yield from _length(display, "name", "display_information.name", NAME_MAX, required=True)
    yield from _length(display, "description", "display_information.description", DESCRIPTION_MAX)
    features = _mapping(data, "features")
    bot_user = _mapping(features, "bot_user")
    yield from _length(bot_user, "display_name", "features.bot_user.display_name", DISPLAY_NAME_MAX, required=True)
    yield from _command_faults(features.get("slash_commands", []))
    yield from _scope_faults(data)


def _length(data: Mapping[str, Any], key: str, where: str, limit: int, *, required: bool = False) -> Iterator[str]:
    value = data.get(key)
    if value is None:
        if required:
            yield f"{where} is missing"
    elif not isinstance(value, str) or (required and not value):
        yield f"{where} must be text"
    elif len(value) > limit:
        yield f"{where} has {len(value)} characters; Slack allows {limit}"


def _command_faults(commands: object) -> Iterator[str]:
    if not isinstance(commands, list):
        yield "features.slash_commands must be a list"
        return
    if len(commands) > COMMANDS_MAX:
        yield f"features.slash_commands has {len(commands)} entries; Slack allows {COMMANDS_MAX}"
    seen: set[str] = set()
    for index, entry in enumerate(commands):
        where = f"features.slash_commands[{index}]"
        if not isinstance(entry, Mapping):
            yield f"{where} must be a mapping"
            continue
        name = entry.get("command")
        if not isinstance(name, str) or not name.startswith("/") or not 2 <= len(name) <= COMMAND_MAX:
            yield f"{where}.command must start with / and have 2 to {COMMAND_MAX} characters"
        elif " " in name or name != name.lower():
            yield f"{where}.command must be lower case and hold no spaces"
        elif name in seen:
            yield f"{where}.command {name} is there twice"
        else:
            seen.add(name)
        yield from _length(entry, "description", f"{where}.description", COMMAND_DESCRIPTION_MAX, required=True)
        yield from _length(entry, "usage_hint", f"{where}.usage_hint", USAGE_HINT_MAX)


def _scope_faults(data: Mapping[str, Any]) -> Iterator[str]:
    scopes = _mapping(_mapping(data, "oauth_config"), "scopes").get("bot", [])
    if not isinstance(scopes, list):
        yield "oauth_config.scopes.bot must be a list"
        return
    for scope in scopes:
        if scope not in BOT_SCOPES:
            yield f"oauth_config.scopes.bot: {scope!r} is not a bot scope"
    settings = _mapping(data, "settings")
    if _mapping(data, "features").get("slash_commands") and "commands" not in scopes:
        yield "features.slash_commands needs the bot scope commands"
    subscriptions = _mapping(settings, "event_subscriptions")
    events = subscriptions.get("bot_events", [])
    if not isinstance(events, list):
        yield "settings.event_subscriptions.bot_events must be a list"
        return
    for event in events:
        if event not in BOT_EVENTS:
            yield f"settings.event_subscriptions.bot_events: {event!r} is not a bot event"
        elif BOT_EVENTS[event] and BOT_EVENTS[event] not in scopes:
            yield f"settings.event_subscriptions.bot_events: {event} needs the bot scope {BOT_EVENTS[event]}"
    if not settings.get("socket_mode_enabled"):
        if events and not subscriptions.get("request_url"):
            yield "settings.event_subscriptions.request_url is missing"
        interactivity = _mapping(settings, "interactivity")
        if interactivity.get("is_enabled") and not interactivity.get("request_url"):
            yield "settings.interactivity.request_url is missing"
