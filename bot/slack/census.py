"""What stands in Slack under our own mark, for comparing it with the record."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from slack_sdk import WebClient

from bot.slack.client import must
from bot.slack.posting import EVENT_TYPE
from bot.slack.text import cut

LOOK_BACK: Final = 100
"""Messages of each channel; a fail-over loses seconds."""
CHANNELS: Final = 20
SHOWN: Final = 120


@dataclass(frozen=True, slots=True)
class Told:
    """One message of ours. `mark` tells it from every other; `entry` is that of the journal it tells of, if any."""

    channel: str
    incident: str
    entry: str
    mark: str
    text: str


def told(client: WebClient, channels: Sequence[str]) -> list[Told]:
    """Our latest messages in these channels, the newest first. Raises Transient, Permanent."""
    return [message for channel in channels[:CHANNELS] for message in _told_in(client, channel)]


def _told_in(client: WebClient, channel: str) -> Iterator[Told]:
    answer = must(client.conversations_history, channel=channel, limit=LOOK_BACK, include_all_metadata=True)
    for message in answer.get("messages", []):
        metadata = message.get("metadata") or {}
        payload = metadata.get("event_payload") or {}
        if metadata.get("event_type") == EVENT_TYPE and payload.get("incident"):
            yield Told(
                channel=channel,
                incident=str(payload["incident"]),
                entry=str(payload.get("entry", "")),
                mark=f"{channel}:{json.dumps(payload, sort_keys=True)}",
                text=cut(str(message.get("text", "")), SHOWN),
            )
