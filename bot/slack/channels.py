"""A channel for an incident: made once, taken for ours again after a try whose end nobody knows, and settled."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from slack_sdk import WebClient

from bot.contracts import Again, Attempt, Delivered, OnCall, Permanent, Transient
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
BEGUN_WITHIN_S: Final = 2.0
"""A call may last 8 s and a courier 10 s: what is not begun by then is left to the next try, which follows at once."""
PAUSES: Final = tuple(timedelta(seconds=s) for s in (1, 2, 4, 8))
"""Before an invitation that got no answer is tried again. All that is said in the channel waits for it; a message in a
channel without them would not reach those whom it calls."""
LONGEST_WISH: Final = timedelta(seconds=30)
"""For so long an invitation waits at most when Slack asks us to slow down."""
PURPOSE, TOPIC = "purpose", "topic"


@dataclass(frozen=True, slots=True)
class Channels:
    """Whoever declared the incident and who is on call are invited."""

    client: WebClient
    oncall: OnCall

    def open(self, incident: Incident, attempt: Attempt) -> Delivered:
        """Nothing where it has one already. Raises Transient, Permanent."""
        began = time.monotonic()
        if "left" in attempt.progress:
            return self._settle_in(str(attempt.progress["channel"]), (), incident, attempt, began)
        if incident.channel:
            return []
        name, cursor = channel_name(incident), attempt.progress.get("cursor")
        if cursor is None:
            try:
                channel = str(call(self.client.conversations_create, name=name)["channel"]["id"])
            except Refusal as refusal:
                if refusal.error != "name_taken":
                    raise Permanent(str(refusal)) from refusal
                cursor = ""
        if cursor is not None:
            found = self._adopt(name, str(cursor), incident, attempt, began)
            if isinstance(found, Again):
                return found
            name, channel = found
        return self._settle_in(channel, (ChannelOpened(channel, name),), incident, attempt, began)

    def _adopt(
        self, name: str, cursor: str, incident: Incident, attempt: Attempt, began: float
    ) -> tuple[str, str] | Again:
        """Finds the channel that an earlier try made, under either name; else takes a name nobody has."""
        other = f"{name[: CHANNEL_NAME_MAX - 7]}-{incident.id[-6:]}"
        while True:
            if _is_late(began):
                return Again(attempt.now, {"cursor": cursor})
            try:
                answer = call(
                    self.client.conversations_list,
                    limit=200,
                    cursor=cursor,
                    exclude_archived=True,
                    types="public_channel",
                )
            except Refusal as refusal:
                if cursor and refusal.error == "invalid_cursor":
                    return Again(attempt.now, {"cursor": ""})
                raise Permanent(str(refusal)) from refusal
            for channel in answer.get("channels", []):
                if channel["name"] in (name, other) and _made_for(channel, incident):
                    return str(channel["name"]), str(channel["id"])
            cursor = (answer.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                break
        return other, str(must(self.client.conversations_create, name=other)["channel"]["id"])

    def _settle_in(
        self, channel: str, opened: Sequence[Event], incident: Incident, attempt: Attempt, began: float
    ) -> Delivered:
        """People, purpose and topic. None of it is worth failing for: the channel itself is what counts, and is told
        at once. Whoever is needed in it is invited once more where Slack gave no answer; nobody else would do it."""
        left = list(attempt.progress.get("left", ())) or [*self._needed(incident, attempt.now), PURPOSE, TOPIC]
        tries = int(attempt.progress.get("tries", 0))
        while left and not _is_late(began):
            try:
                self._settle(channel, left[0], incident)
            except Transient as failure:
                if left[0] in (PURPOSE, TOPIC) or tries >= len(PAUSES):
                    log.warning("channel_not_settled", incident=incident.ref, reason=str(failure), left=left)
                    return opened
                wish = min(timedelta(seconds=failure.retry_after or 0), LONGEST_WISH)
                again = {"channel": channel, "left": left, "tries": tries + 1}
                return Again(attempt.now + max(PAUSES[tries], wish), again, opened)
            left = left[1:]
        return Again(attempt.now, {"channel": channel, "left": left, "tries": tries}, opened) if left else opened

    def _needed(self, incident: Incident, now: datetime) -> Sequence[str]:
        people = (incident.declared_by.id, *self.oncall.on_call(now))
        return [person for person in dict.fromkeys(people) if USER.fullmatch(person)]

    def _settle(self, channel: str, what: str, incident: Incident) -> None:
        """One call: the purpose, the topic, or this person's invitation. Raises Transient."""
        try:
            if what == PURPOSE:
                purpose = f"{incident.ref}: one incident, from alert to postmortem"
                call(self.client.conversations_setPurpose, channel=channel, purpose=purpose)
            elif what == TOPIC:
                topic = plain(f"{incident.severity} {incident.title}", TOPIC_MAX)
                call(self.client.conversations_setTopic, channel=channel, topic=topic)
            else:
                call(self.client.conversations_invite, channel=channel, users=what)
        except Refusal as refusal:
            if refusal.error not in HARMLESS_INVITES:
                log.warning("channel_not_settled", incident=incident.ref, reason=str(refusal))


def _is_late(began: float) -> bool:
    return time.monotonic() - began >= BEGUN_WITHIN_S


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
