"""A channel for an incident: made once, taken for ours again after a try whose end nobody knows, and settled."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from slack_sdk import WebClient

from bot.contracts import OnCall, Permanent
from bot.incident.events import ChannelOpened, Event
from bot.incident.state import Incident
from bot.slack.client import Refusal, call, must
from bot.slack.text import USER, plain

log = structlog.get_logger()

CLOCKS_DIFFER: Final = timedelta(minutes=2)
"""How far Slack's clock may be behind ours when it says that a channel was made after its incident."""
HARMLESS_INVITES: Final = frozenset(
    {
        "already_in_channel",
        "cant_invite_self",
        "user_not_found",
        "cant_invite",
        "user_is_restricted",
        "ura_max_channels",
    }
)
CHANNEL_NAME_MAX: Final = 80
TOPIC_MAX: Final = 250


@dataclass(frozen=True, slots=True)
class Channels:
    """Whoever declared the incident and who is on call are invited."""

    client: WebClient
    oncall: OnCall

    def open(self, incident: Incident, now: datetime) -> Sequence[Event]:
        """Nothing where it has one already. Raises Transient, Permanent."""
        if incident.channel:
            return []
        name = channel_name(incident)
        try:
            channel = call(self.client.conversations_create, name=name)["channel"]["id"]
        except Refusal as refusal:
            if refusal.error != "name_taken":
                raise Permanent(str(refusal)) from refusal
            name, channel = self._adopt(name, incident)
        self._settle_in(str(channel), incident, now)
        return [ChannelOpened(str(channel), name)]

    def _adopt(self, name: str, incident: Incident) -> tuple[str, str]:
        """Finds the channel that an earlier try made, under either name; else takes a name nobody has."""
        other = f"{name[: CHANNEL_NAME_MAX - 7]}-{incident.id[-6:]}"
        cursor = ""
        while True:
            answer = must(
                self.client.conversations_list, limit=200, cursor=cursor, exclude_archived=True, types="public_channel"
            )
            for channel in answer.get("channels", []):
                if channel["name"] in (name, other) and _made_for(channel, incident):
                    return str(channel["name"]), str(channel["id"])
            cursor = (answer.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                break
        return other, str(must(self.client.conversations_create, name=other)["channel"]["id"])

    def _settle_in(self, channel: str, incident: Incident, now: datetime) -> None:
        """Purpose, topic and people. None of it is worth failing for: the channel itself is what counts."""
        topic = plain(f"{incident.severity} {incident.title}", TOPIC_MAX)
        purpose = f"{incident.ref}: one incident, from alert to postmortem"
        people = [u for u in (incident.declared_by.id, *self.oncall.on_call(now)) if USER.fullmatch(u)]
        calls: list[tuple[Callable[..., Any], dict[str, Any]]] = [
            (self.client.conversations_setPurpose, {"channel": channel, "purpose": purpose}),
            (self.client.conversations_setTopic, {"channel": channel, "topic": topic}),
        ]
        for person in dict.fromkeys(people):
            calls.append((self.client.conversations_invite, {"channel": channel, "users": person}))
        for method, arguments in calls:
            try:
                call(method, **arguments)
            except Refusal as refusal:
                if refusal.error not in HARMLESS_INVITES:
                    log.warning("channel_not_settled", incident=incident.ref, reason=str(refusal))


def _made_for(channel: Mapping[str, Any], incident: Incident) -> bool:
    """Whether it is ours from an earlier try: we are in it, and it is not older than the incident.

    An older one of that name is from another life of the journal, whose numbers began at 1 too. One that was made in an
    earlier round is ours: so long may it take until Slack's answer gets through.
    """
    made = datetime.fromtimestamp(float(channel.get("created", 0)), UTC)
    return bool(channel.get("is_member")) and made >= incident.detected_at - CLOCKS_DIFFER


def channel_name(incident: Incident) -> str:
    """`inc-42-llama-70b-answers-with-errors`: lower case letters, digits and hyphens, at most 80 characters."""
    slug = re.sub(r"[^a-z0-9]+", "-", incident.title.lower()).strip("-")
    return f"inc-{incident.number}-{slug}"[:CHANNEL_NAME_MAX].rstrip("-")
