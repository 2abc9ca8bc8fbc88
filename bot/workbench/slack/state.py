"""Everything a workspace remembers, with the lock that guards it and the ids and timestamps it hands out."""

from __future__ import annotations

import re
from collections.abc import Callable
from threading import RLock
from typing import TYPE_CHECKING

from .config import WorkspaceConfig
from .deliver import SOCKET_URL, EventQueue, Outbound, Poster
from .manifest import Manifest, parse_manifest, retarget
from .model import (
    Channel,
    Json,
    Message,
    Note,
    ResponseUrl,
    SlackError,
    Trigger,
    User,
    UserGroup,
    View,
)
from .sockets import SocketMode
from .stream import Hub

if TYPE_CHECKING:
    from .api_files import StoredFile

# https://docs.slack.dev/interactivity/handling-user-interaction#modal_responses
TRIGGER_LIFE_S = 3.0
# https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
RESPONSE_URL_LIFE_S = 30 * 60.0
RESPONSE_URL_USES = 5
# Long after it expired a trigger is still known as expired or exchanged, then forgotten.
TRIGGERS_KEPT_S = 600.0
TS = re.compile(r"\d{1,10}\.\d{6}")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class State:
    """The memory of one workspace. Hold `lock` to read or change it; never while waiting for the app."""

    def __init__(self, config: WorkspaceConfig, clock: Callable[[], float], post: Poster) -> None:
        self.config = config
        self.manifest: Manifest = parse_manifest(config.manifest)
        self.clock = clock
        self.lock = RLock()
        self.hub = Hub()
        self.public_url = config.public_url
        self.sockets = SocketMode(config.app_id)
        self.outbound = Outbound(config.signing_secret, clock, post, self.sockets)
        self.events = EventQueue(self.outbound, clock)
        self.users = _users(config, self.manifest)
        self.groups = {seed.id: UserGroup(seed.id, seed.handle, seed.name, seed.members) for seed in config.usergroups}
        self.channels = _channels(config, int(clock()))
        self.views: dict[str, View] = {}
        self.homes: dict[str, View] = {}
        self.triggers: dict[str, Trigger] = {}
        self.response_urls: dict[str, ResponseUrl] = {}
        self.ephemerals: dict[str, list[tuple[str, Message]]] = {user: [] for user in self.users}
        self.files: dict[str, StoredFile] = {}
        self._last_micros = 0
        self._counter = 0

    # -- names and times -------------------------------------------------------------------------------

    def new_id(self, prefix: str) -> str:
        """A fresh id of Slack's shape: a letter and ten capitals or digits."""
        self._counter += 1
        number, digits = self._counter, ""
        while number:
            number, place = divmod(number, 36)
            digits = _DIGITS[place] + digits
        return f"{prefix}0{digits.rjust(9, '0')}"

    def new_ts(self) -> str:
        """A message timestamp: the clock's time, later than every one before it."""
        self._last_micros = max(int(self.clock() * 1_000_000), self._last_micros + 1)
        seconds, micros = divmod(self._last_micros, 1_000_000)
        return f"{seconds:010d}.{micros:06d}"

    def new_hash(self) -> str:
        """A view's version stamp."""
        return f"{int(self.clock())}.{self.new_id('h')[-8:].lower()}"

    def new_trigger(self, user: str, view: str | None = None) -> str:
        """Leave for the app to open one view for `user` within three seconds."""
        _forget(self.triggers, self.clock() - TRIGGERS_KEPT_S)
        number = int(self.new_id("T")[1:], 36)
        trigger = Trigger(f"{number}.{int(self.clock())}.{number:032x}", user, self.clock(), view)
        self.triggers[trigger.id] = trigger
        return trigger.id

    def new_response_url(self, user: str, channel: str, message: str | None = None, *, ephemeral: bool = False) -> str:
        """An address at which the app may answer an interaction."""
        _forget(self.response_urls, self.clock() - RESPONSE_URL_LIFE_S)
        token = self.new_id("R")
        self.response_urls[token] = ResponseUrl(token, user, channel, self.clock(), message, ephemeral=ephemeral)
        return f"{self.public_url}/response/{token}"

    # -- looking things up -----------------------------------------------------------------------------

    @property
    def bot(self) -> User:
        """The bot's own user."""
        return self.users[self.config.bot_user_id]

    def user(self, name: str) -> User:
        """A user by id or by name; raises KeyError."""
        if name in self.users:
            return self.users[name]
        for user in self.users.values():
            if user.name == name.removeprefix("@"):
                return user
        raise KeyError(f"no user {name!r}")

    def channel(self, name: str) -> Channel:
        """A channel by id or by name (with or without #); raises KeyError."""
        if name in self.channels:
            return self.channels[name]
        channel = self.channel_named(name.removeprefix("#"))
        if channel is None:
            raise KeyError(f"no channel {name!r}")
        return channel

    def channel_named(self, name: str) -> Channel | None:
        """The public or private channel of that name, archived or not, or None."""
        return next((channel for channel in self.channels.values() if channel.name == name and not channel.is_im), None)

    def direct(self, user: str) -> Channel:
        """The direct message between the bot and a person, made when first asked for."""
        bot = self.config.bot_user_id
        for channel in self.channels.values():
            if channel.is_im and user in channel.members:
                return channel
        made = Channel(
            self.new_id("D"), user, user, int(self.clock()), is_im=True, is_private=True, members=[user, bot]
        )
        self.channels[made.id] = made
        return made

    def seen_by_bot(self, channel_id: str) -> Channel:
        """The channel if the bot may know of it; raises SlackError channel_not_found."""
        channel = self.channels.get(channel_id)
        if channel is None or (channel.is_private and self.config.bot_user_id not in channel.members):
            raise SlackError("channel_not_found")
        return channel

    def visible(self, user: str, channel: Channel) -> bool:
        """Whether a person sees the channel: public ones unless a guest, private ones as a member."""
        person = self.users[user]
        return user in channel.members or not (channel.is_private or person.is_guest)

    # -- telling the app and the pages -----------------------------------------------------------------

    def address(self, url: str | None) -> str | None:
        """Where to reach the app for what the manifest sends to `url`: its own connection if it opened one."""
        if self.manifest.socket_mode or self.sockets.connected:
            return SOCKET_URL
        return retarget(url, self.config.bot_url)

    @property
    def events_url(self) -> str | None:
        """Where events go; None when the manifest names no address and no bot is set."""
        return self.address(self.manifest.events_url)

    @property
    def interactivity_url(self) -> str | None:
        """Where clicks and submissions go."""
        return self.address(self.manifest.interactivity_url)

    def emit(self, subscription: str, event: Json) -> None:
        """Queue an event for the app if its manifest subscribes to it (`message.channels`, `app_mention`...)."""
        if subscription not in self.manifest.events:
            return
        config = self.config
        event_id = self.new_id("Ev")
        self.events.put(
            event_id,
            event["type"],
            {
                "token": config.verification_token,
                "team_id": config.team_id,
                "context_team_id": config.team_id,
                "context_enterprise_id": None,
                "api_app_id": config.app_id,
                "event": event,
                "type": "event_callback",
                "event_id": event_id,
                "event_time": int(self.clock()),
                "authorizations": [
                    {
                        "enterprise_id": None,
                        "team_id": config.team_id,
                        "user_id": config.bot_user_id,
                        "is_bot": True,
                        "is_enterprise_install": False,
                    }
                ],
                "is_ext_shared_channel": False,
                "event_context": f"4-{event_id}",
            },
        )


def _forget(kept: dict[str, Trigger] | dict[str, ResponseUrl], before: float) -> None:
    """Drop what was issued before a time; the oldest lie first."""
    while kept:
        name = next(iter(kept))
        if kept[name].issued >= before:
            return
        del kept[name]


def _users(config: WorkspaceConfig, manifest: Manifest) -> dict[str, User]:
    users = {
        persona.id: User(
            persona.id,
            persona.name,
            persona.real_name,
            persona.title,
            persona.email,
            persona.color,
            is_guest=persona.is_guest,
        )
        for persona in config.personas
    }
    users[config.bot_user_id] = User(
        config.bot_user_id,
        manifest.display_name.lower(),
        manifest.name,
        manifest.description,
        "",
        "e01e5a",
        is_bot=True,
    )
    return users


def _channels(config: WorkspaceConfig, now: int) -> dict[str, Channel]:
    channels = {}
    for seed in config.channels:
        creator = next((member for member in seed.members if member != config.bot_user_id), config.bot_user_id)
        channels[seed.id] = Channel(
            seed.id,
            seed.name,
            creator,
            now,
            is_private=seed.is_private,
            is_general=seed.is_general,
            topic=Note(seed.topic, creator if seed.topic else "", now if seed.topic else 0),
            purpose=Note(seed.purpose, creator if seed.purpose else "", now if seed.purpose else 0),
            members=list(seed.members),
            updated=now,
        )
    return channels
