"""The nouns of a workspace: people, channels, messages, views, and the error Slack answers with."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


class SlackError(Exception):
    """A Web API call that Slack refuses: `code` is its `error`, `extra` the further keys of the answer."""

    def __init__(self, code: str, **extra: Any) -> None:
        self.code = code
        self.extra = extra
        super().__init__(code)


@dataclass(frozen=True)
class User:
    """A member of the team: a person, a guest or the bot."""

    id: str
    name: str
    real_name: str
    title: str
    email: str
    color: str
    is_bot: bool = False
    is_guest: bool = False


@dataclass(frozen=True)
class UserGroup:
    """A group that can be mentioned by its handle."""

    id: str
    handle: str
    name: str
    members: tuple[str, ...]


@dataclass
class Message:
    """One message as stored; `ts` is its identity in its channel and sorts as text.

    `by_app` says that the bot posted it; `only_for` names the one person an ephemeral message is shown to.
    `extra` holds the keys of system messages (inviter, topic, purpose, name).
    """

    ts: str
    user: str
    text: str
    by_app: bool = False
    blocks: list[Json] = field(default_factory=list)
    attachments: list[Json] = field(default_factory=list)
    thread_ts: str | None = None
    subtype: str | None = None
    metadata: Json | None = None
    edited: Json | None = None
    reactions: dict[str, list[str]] = field(default_factory=dict)
    pinned: Json | None = None
    only_for: str | None = None
    username: str | None = None
    icons: Json | None = None
    extra: Json = field(default_factory=dict)

    @property
    def is_reply(self) -> bool:
        """Whether it lies in a thread under another message."""
        return self.thread_ts is not None and self.thread_ts != self.ts

    @property
    def in_channel(self) -> bool:
        """Whether the channel itself shows it: no reply, or a reply also sent to the channel."""
        return not self.is_reply or self.subtype == "thread_broadcast"


@dataclass(frozen=True)
class Note:
    """A channel's topic or purpose, who set it, and when (whole Unix seconds)."""

    value: str = ""
    creator: str = ""
    last_set: int = 0


@dataclass
class Channel:
    """A conversation: a public or private channel, or a direct message between a person and the bot."""

    id: str
    name: str
    creator: str
    created: int
    is_private: bool = False
    is_im: bool = False
    is_general: bool = False
    is_archived: bool = False
    topic: Note = Note()
    purpose: Note = Note()
    members: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    bookmarks: list[Json] = field(default_factory=list)
    previous_names: list[str] = field(default_factory=list)
    last_read: dict[str, str] = field(default_factory=dict)
    updated: int = 0
    _threads: dict[str, list[Message]] = field(default_factory=dict, repr=False)

    def add(self, message: Message) -> None:
        """Store a message in its place; `ts` never repeats in a workspace."""
        insort(self.messages, message, key=by_ts)
        if message.is_reply and message.thread_ts is not None:
            insort(self._threads.setdefault(message.thread_ts, []), message, key=by_ts)

    def remove(self, message: Message) -> None:
        """Forget a message; raises ValueError when it is not here."""
        self.messages.remove(message)
        if message.is_reply and message.thread_ts is not None:
            self._threads[message.thread_ts].remove(message)

    def since(self, ts: str) -> list[Message]:
        """The messages after that `ts`, oldest first."""
        return self.messages[bisect_right(self.messages, ts, key=by_ts) :]

    def find(self, ts: str) -> Message | None:
        """The message with that `ts`, reply or not, or None."""
        place = bisect_left(self.messages, ts, key=by_ts)
        if place < len(self.messages) and self.messages[place].ts == ts:
            return self.messages[place]
        return None

    def replies(self, ts: str) -> list[Message]:
        """The replies under the message `ts`, oldest first."""
        return list(self._threads.get(ts, ()))

    @property
    def kind(self) -> str:
        """Slack's `channel_type`: channel, group or im."""
        return "im" if self.is_im else "group" if self.is_private else "channel"


def by_ts(message: Message) -> str:
    """Sorting key: the order in which messages came."""
    return message.ts


@dataclass
class View:
    """A modal or a home tab that is open for one person; `body` holds what the app sent, as normalised."""

    id: str
    user: str
    body: Json
    hash: str
    root: str
    previous: str | None = None
    values: dict[str, dict[str, Json]] = field(default_factory=dict)

    @property
    def is_modal(self) -> bool:
        """Whether it is a modal (the other kind is the home tab)."""
        return bool(self.body["type"] == "modal")


@dataclass
class Trigger:
    """Leave to open one view: given with each interaction, good for three seconds and one use."""

    id: str
    user: str
    issued: float
    view: str | None = None
    used: bool = False


@dataclass
class ResponseUrl:
    """An address to answer one interaction at: thirty minutes, five uses.

    `message` is the ts of the message the click was on (None for a slash command), `ephemeral` whether only
    the person who clicked can see that message.
    """

    token: str
    user: str
    channel: str
    issued: float
    message: str | None = None
    ephemeral: bool = False
    uses: int = 0


@dataclass(frozen=True)
class Call:
    """A Web API call as it was received and answered; `status` is the HTTP status."""

    at: float
    method: str
    args: Mapping[str, Any]
    status: int
    answer: Mapping[str, Any]
