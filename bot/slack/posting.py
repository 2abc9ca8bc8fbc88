"""Messages of ours in Slack: posted with a mark, found again by it after a try that got no answer, edited in place."""

import hashlib
import json
import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import structlog
from slack_sdk import WebClient

from bot.contracts import Attempt, Permanent, Transient
from bot.incident.state import Incident
from bot.slack.blocks import Message
from bot.slack.client import Refusal, call
from bot.slack.quiet import Posted

log = structlog.get_logger()

EVENT_TYPE: Final = "fixfirst"
"""Type of the metadata that every message of ours carries, so that a repeat finds it."""
GONE: Final = frozenset(
    {
        "message_not_found",
        "channel_not_found",
        "is_inactive",
        "is_archived",
        "not_in_channel",
        "cant_update_message",
        "edit_window_closed",
    }
)
"""The message cannot be edited any more, so a new one is posted."""
CLOSED: Final = frozenset({"is_archived", "channel_not_found", "not_in_channel"})
"""Nothing can be posted to the channel any more."""
QUICK_TRIES: Final = 3
"""A message waits only a moment for the card that another lane is about to post; after that, as long as any other."""
LOOK_BACK: Final = 100
"""Messages looked through for our own; a channel of ours has few of anybody else's."""
KNOWN_MESSAGES: Final = 2_000
"""Of which is remembered how they were shown last."""

Mark = Mapping[str, str]
"""What tells one message of ours from every other; it travels in the message's metadata."""


class Closed(Permanent):
    """The channel takes no messages any more."""


class Poster:
    """One for all that a server posts. Thread-safe."""

    def __init__(self, client: WebClient) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._shown: dict[tuple[str, str], str] = {}
        self._posted = Posted()

    def post(self, channel: str, message: Message, mark: Mark, now: datetime, thread: str = "") -> str:
        """The new message's ts; `thread` is that of the message under which it goes. Raises Transient, Permanent."""
        self._posted.note(channel, now)
        more = {"thread_ts": thread} if thread else {}
        try:
            answer = call(
                self._client.chat_postMessage,
                channel=channel,
                unfurl_links=False,
                unfurl_media=False,
                **_content(message),
                **_metadata(mark),
                **more,
            )
        except Refusal as refusal:
            raise _refused(refusal) from refusal
        return str(answer["ts"])

    def say(self, incident: Incident, message: Message, mark: Mark, attempt: Attempt) -> tuple[str, str, bool]:
        """Posts in the incident's channel; without one, or once it is archived, in the thread under the intake card.

        An earlier try's message is taken for it. Gives channel, ts, and whether it was posted just now. Raises
        Transient, Permanent.
        """
        card = incident.cards.get("intake")
        places = [(incident.channel, "")] if incident.channel else []
        places += [(card.channel, card.ts)] if card else []
        for channel, thread in places:
            try:
                found = self.find(channel, mark, thread) if attempt.number > 1 else ""
                if found:
                    return channel, found, False
                attempt.still_ours()
                return channel, self.post(channel, message, mark, attempt.now, thread), True
            except Closed as closed:
                if (channel, thread) == places[-1]:
                    raise
                log.info("incident_channel_closed", incident=incident.ref, reason=str(closed))
        soon = 0.2 if attempt.number <= QUICK_TRIES else None
        raise Transient("the incident has neither a channel nor a card yet", retry_after=soon)

    def edit(self, channel: str, ts: str, message: Message, mark: Mark) -> bool:
        """False where it cannot be edited any more. Raises Transient, Permanent."""
        try:
            self.update(channel, ts, message, mark)
        except Refusal as refusal:
            if refusal.error in GONE:
                return False
            raise Permanent(str(refusal)) from refusal
        return True

    def update(self, channel: str, ts: str, message: Message, mark: Mark) -> None:
        """As `edit`, with Slack's own word for why not. Raises Transient, Refusal."""
        call(self._client.chat_update, channel=channel, ts=ts, **_content(message), **_metadata(mark))

    def find(self, channel: str, mark: Mark, thread: str = "") -> str:
        """The ts of our own message with this mark, empty when there is none; for after a call with unknown outcome.

        Raises Transient, Permanent.
        """
        method = self._client.conversations_replies if thread else self._client.conversations_history
        where = {"channel": channel, "ts": thread} if thread else {"channel": channel}
        try:
            answer = call(method, **where, limit=LOOK_BACK, include_all_metadata=True)
        except Refusal as refusal:
            raise _refused(refusal) from refusal
        for message in answer.get("messages", []):
            metadata = message.get("metadata") or {}
            payload = metadata.get("event_payload") or {}
            if metadata.get("event_type") == EVENT_TYPE and all(payload.get(k) == v for k, v in mark.items()):
                return str(message["ts"])
        return ""

    def pin(self, channel: str, ts: str) -> None:
        """Best effort: a card that is not pinned is a card still. Raises Transient."""
        try:
            call(self._client.pins_add, channel=channel, timestamp=ts)
        except Refusal as refusal:
            log.info("card_not_pinned", reason=refusal.error)

    def quiet_at(self, channel: str) -> datetime:
        """From when on nothing of ours disturbs there."""
        return self._posted.quiet_at(channel)

    def is_shown(self, incident: str, surface: str, message: Message) -> bool:
        """Whether this server showed it just so the last time."""
        with self._lock:
            return self._shown.get((incident, surface)) == _digest(message)

    def remember(self, incident: str, surface: str, message: Message) -> None:
        """It is shown so now."""
        with self._lock:
            self._shown[incident, surface] = _digest(message)
            while len(self._shown) > KNOWN_MESSAGES:
                self._shown.pop(next(iter(self._shown)))


def _refused(refusal: Refusal) -> Permanent:
    return (Closed if refusal.error in CLOSED else Permanent)(str(refusal))


def _content(message: Message) -> dict[str, Any]:
    return {"text": message.text, "blocks": message.blocks}


def _metadata(mark: Mark) -> dict[str, Any]:
    return {"metadata": {"event_type": EVENT_TYPE, "event_payload": dict(mark)}}


def _digest(message: Message) -> str:
    return hashlib.sha256(json.dumps(_content(message), sort_keys=True).encode()).hexdigest()
