"""Brings cards, channels and messages to Slack: once where Slack allows it, recognisable as ours where it does not."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from slack_sdk import WebClient

from bot.contracts import Again, Attempt, Delivered, OnCall, Permanent, Transient
from bot.incident import effects as ef
from bot.incident.entry import Entry
from bot.incident.events import (
    AckDeadlineMissed,
    CardPosted,
    ChannelOpened,
    DeliveryFailed,
    Event,
    EvidenceCollected,
    HealthDoubted,
    IncidentOpened,
    PictureShown,
    Relapsed,
    Reopened,
    ResolveAsked,
    StepShown,
)
from bot.incident.react import Call, calls
from bot.incident.state import Incident
from bot.slack import cards, messages
from bot.slack.client import Refusal, call, must
from bot.slack.health import numbers_message
from bot.slack.pictures import PictureCourier, Pictures, is_late, later
from bot.slack.ports import Past
from bot.slack.quiet import Posted
from bot.slack.settings import Settings
from bot.slack.text import USER, plain, user

log = structlog.get_logger()

EVENT_TYPE: Final = "fixfirst"
"""Type of the metadata that every message of ours carries, so that a repeat finds it."""
ENTRY: Final = "entry:"
"""Surface of a message about a journal entry that has buttons."""
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
"""The card cannot be edited any more, so a new one is posted."""
CLOSED: Final = frozenset({"is_archived", "channel_not_found", "not_in_channel"})
"""Nothing can be posted to the channel any more."""
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
JUST_CALLED: Final = timedelta(minutes=1)
"""So soon after it, what a look shows belongs into the message that called somebody."""
QUICK_TRIES: Final = 3
"""A message waits only a moment for the card that another lane is about to post; after that, as long as any other."""
KNOWN_INCIDENTS: Final = 500
"""Of which is remembered what their messages were rendered from."""
LOOK_BACK: Final = 100
"""Messages looked through for our own; a channel of ours has few of anybody else's."""
CHANNEL_NAME_MAX: Final = 80
TOPIC_MAX: Final = 250


class Closed(Permanent):
    """The channel takes no messages any more."""


class Courier:
    """Delivers what concerns chat. `picture` gives the PNG kept with an evidence, by the incident's id and its own."""

    def __init__(
        self,
        client: WebClient,
        settings: Settings,
        context: cards.Context,
        oncall: OnCall,
        past: Past,
        *,
        picture: Pictures,
    ) -> None:
        self._client = client
        self._settings = settings
        self._context = context
        self._oncall = oncall
        self._past = past
        self._pictures = PictureCourier(client, picture)
        self._lock = threading.Lock()
        self._shown: dict[tuple[str, str], str] = {}
        self._up_to_date: dict[str, Incident] = {}
        self._posted = Posted()

    def deliver(self, effect: ef.Effect, incident: Incident, attempt: Attempt) -> Delivered:
        """Carries one effect out. Raises Transient, Permanent."""
        match effect:
            case ef.RefreshCard():
                return self._refresh(incident, attempt)
            case ef.OpenChannel():
                return self._open_channel(incident, attempt)
            case ef.Tell():
                return self._tell(effect, incident, attempt)
            case ef.ShowStep():
                return self._show_step(effect, incident, attempt)
            case ef.TellNumbers():
                return self._tell_numbers(effect, incident, attempt)
            case ef.ShowPicture():
                return self._show_picture(effect, incident, attempt)
            case other:
                raise TypeError(f"Slack cannot carry out {type(other).__name__}")

    def _refresh(self, incident: Incident, attempt: Attempt) -> Sequence[Event]:
        """The card lives in the incident's channel, and the intake channel has an announcement.

        While there is no such channel yet, or it is archived, the card itself lives in the intake channel. Where only
        the intake channel refuses, the card says so, and the next refresh tries it again.
        """
        posted: list[Event] = []
        full = cards.incident_card(incident, self._context)
        has_channel = bool(incident.channel)
        if incident.channel:
            try:
                posted += self._show("incident", incident.channel, full, incident, attempt)
            except Closed as closed:
                has_channel = False
                log.info("incident_channel_closed", incident=incident.ref, reason=str(closed))
        if not _is_announced_elsewhere(incident, has_channel=has_channel):
            others = self._past.announced_with(incident)
            brief = cards.announcement(incident, self._context, others)
            announced = brief if has_channel else cards.with_others(full, others, self._context)
            try:
                posted += self._show("intake", self._settings.intake_channel, announced, incident, attempt)
            except Permanent as refused:
                reason = f"in the intake channel: {refused}"
                if not has_channel:
                    raise Permanent(reason) from refused
                posted += self._admit(reason, posted, incident, attempt)
        if self._is_up_to_date(incident):
            return posted
        about = [place for place in incident.cards.values() if place.surface.startswith(ENTRY)]
        for place in {(place.channel, place.ts): place for place in about}.values():  # what came into it shows it whole
            self._show_again(place, incident)
        self._brought_up_to_date(incident)
        return posted

    def _admit(self, reason: str, posted: Sequence[Event], incident: Incident, attempt: Attempt) -> Sequence[Event]:
        """Says on the incident's own card that the other one is missing, and why; once for as long as it is the same.

        On the card at once: what fails in chat calls for no refresh, or it would fail in a circle.
        """
        log.warning("intake_card_not_shown", incident=incident.ref, reason=reason)
        missing = DeliveryFailed(ef.RefreshCard.courier, ef.EFFECT_NAMES[ef.RefreshCard], reason)
        if missing in incident.troubles:
            return []
        new = {event.surface: event for event in posted if isinstance(event, CardPosted)}
        told = replace(incident, troubles=(*incident.troubles, missing), cards={**incident.cards, **new})
        card = cards.incident_card(told, self._context)
        return [*self._show("incident", incident.channel, card, told, attempt), missing]

    def _show_again(self, place: CardPosted, incident: Incident) -> None:
        """A message about an entry once more: what can no longer be pressed has no button any more."""
        entry = self._past.entry(place.surface.removeprefix(ENTRY))
        if entry is None:
            return
        content = _content(self._render(entry, incident, place))
        if self._remembered(incident.id, place.surface) != _digest(content):
            try:
                self._edit(place.channel, place.ts, content, {"incident": incident.id, "entry": entry.id})
            except Permanent as refused:  # an old button is refused anyway; the cards' own receipts must not be lost
                log.info("message_not_edited", incident=incident.ref, reason=str(refused))
            self._remember(incident.id, place.surface, _digest(content))

    def _show(
        self, surface: str, channel: str, message: cards.Message, incident: Incident, attempt: Attempt
    ) -> list[Event]:
        content = _content(message)
        digest = _digest(content)
        mark = {"incident": incident.id, "surface": surface}
        place = incident.cards.get(surface)
        ts = place.ts if place else self._find(channel, mark) if attempt.number > 1 else ""
        # Where other servers show it too, what this one showed last may have been replaced long ago.
        if place and self._past.is_ours_alone and self._remembered(incident.id, surface) == digest:
            return []
        if ts and not self._edit(channel, ts, content, mark):
            ts = ""
        elif ts:
            self._remember(incident.id, surface, digest)
            return [] if place else [CardPosted(surface, channel, ts)]
        attempt.still_ours()
        ts = self._post(channel, content, mark, attempt.now)
        self._remember(incident.id, surface, digest)
        if surface == "incident":
            self._pin(channel, ts)
        return [CardPosted(surface, channel, ts)]

    def _is_up_to_date(self, incident: Incident) -> bool:
        """Whether nothing happened, but to its alerts, since its messages were brought up to date.

        In a storm an incident's card is edited again and again for its alerts; of those, messages say nothing.
        """
        with self._lock:
            return self._up_to_date.get(incident.id) == _but_for_alerts(incident)

    def _brought_up_to_date(self, incident: Incident) -> None:
        with self._lock:
            self._up_to_date.pop(incident.id, None)
            self._up_to_date[incident.id] = _but_for_alerts(incident)
            while len(self._up_to_date) > KNOWN_INCIDENTS:
                self._up_to_date.pop(next(iter(self._up_to_date)))

    def _remembered(self, incident: str, surface: str) -> str:
        with self._lock:
            return self._shown.get((incident, surface), "")

    def _remember(self, incident: str, surface: str, digest: str) -> None:
        with self._lock:
            self._shown[incident, surface] = digest
            while len(self._shown) > 2_000:
                self._shown.pop(next(iter(self._shown)))

    def _post(self, channel: str, content: dict[str, Any], mark: dict[str, str], now: datetime, **more: Any) -> str:
        metadata = {"event_type": EVENT_TYPE, "event_payload": mark}
        self._posted.note(channel, now)
        try:
            answer = call(
                self._client.chat_postMessage,
                channel=channel,
                metadata=metadata,
                unfurl_links=False,
                unfurl_media=False,
                **content,
                **more,
            )
        except Refusal as refusal:
            raise _refused(refusal) from refusal
        return str(answer["ts"])

    def _edit(self, channel: str, ts: str, content: dict[str, Any], mark: dict[str, str]) -> bool:
        metadata = {"event_type": EVENT_TYPE, "event_payload": mark}
        try:
            call(self._client.chat_update, channel=channel, ts=ts, metadata=metadata, **content)
        except Refusal as refusal:
            if refusal.error in GONE:
                return False
            raise Permanent(str(refusal)) from refusal
        return True

    def _find(self, channel: str, mark: dict[str, str], thread_ts: str = "") -> str:
        """The ts of our own message with this mark, empty when there is none; for after a call with unknown outcome."""
        method = self._client.conversations_replies if thread_ts else self._client.conversations_history
        where = {"channel": channel, "ts": thread_ts} if thread_ts else {"channel": channel}
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

    def _pin(self, channel: str, ts: str) -> None:
        try:
            call(self._client.pins_add, channel=channel, timestamp=ts)
        except Refusal as refusal:
            log.info("card_not_pinned", reason=refusal.error)

    def _open_channel(self, incident: Incident, attempt: Attempt) -> Sequence[Event]:
        if incident.channel:
            return []
        name = channel_name(incident)
        try:
            channel = call(self._client.conversations_create, name=name)["channel"]["id"]
        except Refusal as refusal:
            if refusal.error != "name_taken":
                raise Permanent(str(refusal)) from refusal
            name, channel = self._adopt(name, incident)
        self._settle_in(str(channel), incident, attempt.now)
        return [ChannelOpened(str(channel), name)]

    def _adopt(self, name: str, incident: Incident) -> tuple[str, str]:
        """Finds the channel of that name when it is ours from an earlier try; else takes a name nobody has."""
        cursor = ""
        while True:
            answer = must(
                self._client.conversations_list, limit=200, cursor=cursor, exclude_archived=True, types="public_channel"
            )
            for channel in answer.get("channels", []):
                if channel["name"] == name and _made_for(channel, incident):
                    return name, str(channel["id"])
            cursor = (answer.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                break
        other = f"{name[: CHANNEL_NAME_MAX - 7]}-{incident.id[-6:]}"
        return other, str(must(self._client.conversations_create, name=other)["channel"]["id"])

    def _settle_in(self, channel: str, incident: Incident, now: datetime) -> None:
        """Purpose, topic and people. None of it is worth failing for: the channel itself is what counts."""
        topic = plain(f"{incident.severity} {incident.title}", TOPIC_MAX)
        purpose = f"{incident.ref}: one incident, from alert to postmortem"
        people = [u for u in (incident.declared_by.id, *self._oncall.on_call(now)) if USER.fullmatch(u)]
        calls: list[tuple[Callable[..., Any], dict[str, Any]]] = [
            (self._client.conversations_setPurpose, {"channel": channel, "purpose": purpose}),
            (self._client.conversations_setTopic, {"channel": channel, "topic": topic}),
        ]
        for person in dict.fromkeys(people):
            calls.append((self._client.conversations_invite, {"channel": channel, "users": person}))
        for method, arguments in calls:
            try:
                call(method, **arguments)
            except Refusal as refusal:
                if refusal.error not in HARMLESS_INVITES:
                    log.warning("channel_not_settled", incident=incident.ref, reason=str(refusal))

    def _show_step(self, effect: ef.ShowStep, incident: Incident, attempt: Attempt) -> Sequence[Event]:
        """The step's message as it is now; one for its whole life, so that no stale button is left behind."""
        step = incident.runs[effect.run].step(effect.step)
        message = messages.step_message(incident, effect.run, effect.step)
        content = _content(message)
        mark = {"incident": incident.id, "run": effect.run, "step": effect.step}
        if step.ts and self._edit(step.channel, step.ts, content, mark):
            return []
        channel, ts, is_new = self._say(incident, content, mark, attempt)
        if not is_new:
            self._edit(channel, ts, content, mark)
        return [StepShown(effect.run, effect.step, channel, ts)]

    def _tell(self, effect: ef.Tell, incident: Incident, attempt: Attempt) -> Sequence[Event]:
        entry = self._past.entry(effect.entry)
        if entry is None:
            raise Permanent("the entry to tell about is gone")
        mark = {"incident": incident.id, "entry": entry.id}
        surface = f"{ENTRY}{entry.id}"
        called = self._call_before(entry, incident)
        if called is not None:
            place = CardPosted(surface, called.channel, called.ts)
            content = _content(self._render(entry, _with(place, incident), place))
            if self._edit(place.channel, place.ts, content, mark):
                return [place]  # and then it is shown once more: the lane of the card may have had it in hand
        message = self._render(entry, incident)
        channel, ts, _ = self._say(incident, _content(message), mark, attempt)
        if not any(block["type"] == "actions" for block in message.blocks):
            return []
        self._remember(incident.id, surface, _digest(_content(message)))
        return [CardPosted(surface, channel, ts)]

    def _call_before(self, entry: Entry, incident: Incident) -> CardPosted | None:
        """The message that called somebody just before this look, if no other look came into it.

        Who was called opens that message; and a channel has one less of them in the minute when it fills.
        """
        if not isinstance(entry.event, EvidenceCollected):
            return None
        for place in reversed(list(incident.cards.values())):
            before = self._past.entry(place.surface.removeprefix(ENTRY)) if place.surface.startswith(ENTRY) else None
            if before is None or before.id == entry.id:
                continue
            is_call = isinstance(before.event, IncidentOpened | Reopened | Relapsed)
            return place if is_call and entry.at - before.at < JUST_CALLED else None
        return None

    def _render(self, entry: Entry, incident: Incident, place: CardPosted | None = None) -> cards.Message:
        """The message about the entry; at a place that it shares with an earlier one, below that."""
        here = (place.channel, place.ts) if place else None
        under = None
        for earlier in [one for one in incident.cards.values() if (one.channel, one.ts) == here]:
            other = self._past.entry(earlier.surface.removeprefix(ENTRY))
            if other is not None and other.id != entry.id:
                under = messages.render(other, incident, self._context, self._mention(other, incident), under)
        return messages.render(entry, incident, self._context, self._mention(entry, incident), under)

    def _tell_numbers(self, effect: ef.TellNumbers, incident: Incident, attempt: Attempt) -> Delivered:
        """In the thread under the report, once it is posted and the channel is quiet; nowhere when it never is."""
        place = incident.cards.get(f"{ENTRY}{effect.entry}")
        entry = self._past.entry(effect.entry)
        if place is None:
            return [] if is_late(attempt) else later(attempt)
        if entry is None or not isinstance(entry.event, EvidenceCollected):
            return []
        quiet_at = self._posted.quiet_at(place.channel)
        if attempt.now < quiet_at and not is_late(attempt):
            return Again(quiet_at, attempt.progress)
        message = numbers_message(entry.event, incident)
        mark = {"incident": incident.id, "entry": entry.id, "part": "numbers"}
        there = attempt.number > 1 and self._find(place.channel, mark, place.ts)
        if message is not None and not there:
            attempt.still_ours()
            self._post(place.channel, _content(message), mark, attempt.now, thread_ts=place.ts)
        return []

    def _show_picture(self, effect: ef.ShowPicture, incident: Incident, attempt: Attempt) -> Delivered:
        """The report's message once more, with its picture."""
        look = incident.looks.get(effect.evidence)
        entry = self._past.entry(look.entry) if look else None
        place = incident.cards.get(f"{ENTRY}{entry.id}") if entry else None
        if entry is None or place is None:
            return self._pictures.wait(effect, attempt, "its report has no message")

        def show(file: str) -> None:
            shown = PictureShown(effect.evidence, file)
            told = replace(incident, pictures={**incident.pictures, effect.evidence: shown})
            content = _content(self._render(entry, told, place))
            metadata = {"event_type": EVENT_TYPE, "event_payload": {"incident": incident.id, "entry": entry.id}}
            call(self._client.chat_update, channel=place.channel, ts=place.ts, metadata=metadata, **content)
            self._remember(incident.id, place.surface, _digest(content))

        return self._pictures.show(effect, incident, attempt, show)

    def _say(
        self, incident: Incident, content: dict[str, Any], mark: dict[str, str], attempt: Attempt
    ) -> tuple[str, str, bool]:
        """Posts in the incident's channel; without one, or once it is archived, in the thread under the intake card.

        An earlier try's message is taken for it. Gives channel, ts, and whether it was posted just now.
        """
        card = incident.cards.get("intake")
        places = [(incident.channel, "")] if incident.channel else []
        places += [(card.channel, card.ts)] if card else []
        for channel, thread in places:
            try:
                found = self._find(channel, mark, thread) if attempt.number > 1 else ""
                if found:
                    return channel, found, False
                attempt.still_ours()
                more = {"thread_ts": thread} if thread else {}
                return channel, self._post(channel, content, mark, attempt.now, **more), True
            except Closed as closed:
                if (channel, thread) == places[-1]:
                    raise
                log.info("incident_channel_closed", incident=incident.ref, reason=str(closed))
        soon = 0.2 if attempt.number <= QUICK_TRIES else None
        raise Transient("the incident has neither a channel nor a card yet", retry_after=soon)

    def _mention(self, entry: Entry, incident: Incident) -> str:
        """Who is called by name, as it stood when the entry was made."""
        people = self._oncall.on_call(entry.at)
        match calls(entry.event):
            case Call.NOBODY:
                return ""
            case Call.ON_CALL:
                called = people[:1]
            case Call.NEXT_ON_CALL:
                level = min(entry.event.level if isinstance(entry.event, AckDeadlineMissed) else 1, len(people) - 1)
                called = people[level : level + 1] if people else ()
            case Call.ASKER:
                wish = self._past.entry(entry.event.ask) if isinstance(entry.event, HealthDoubted) else None
                asker = wish.by.id if wish is not None and isinstance(wish.event, ResolveAsked) else ""
                return user(asker) if USER.fullmatch(asker) else ""
            case Call.RESPONDERS:
                taken = incident.acknowledged.by.id if incident.acknowledged else ""
                called = (taken,) if USER.fullmatch(taken) else people[:1]
        if not called and self._settings.responders:
            return f"<!subteam^{self._settings.responders[0]}>"
        return " ".join(user(person) for person in called)


def _but_for_alerts(incident: Incident) -> Incident:
    return replace(incident, seq=0, firing=0, recovered=0, alerts_changed_at=None, samples=(), truncated=0)


def _with(place: CardPosted, incident: Incident) -> Incident:
    return replace(incident, cards={**incident.cards, place.surface: place})


def _is_announced_elsewhere(incident: Incident, *, has_channel: bool) -> bool:
    """Whether another's announcement is all that is said of it in the intake channel; its card is in its own then.

    Without a channel of its own, and without hope of one, it has its card in the intake channel as any other.
    """
    if not incident.announced_with or "intake" in incident.cards:
        return False
    may_come = not incident.channel and all(trouble.effect != ef.OPEN_CHANNEL for trouble in incident.troubles)
    return has_channel or may_come


def _refused(refusal: Refusal) -> Permanent:
    return (Closed if refusal.error in CLOSED else Permanent)(str(refusal))


def _content(message: cards.Message) -> dict[str, Any]:
    return {"text": message.text, "blocks": message.blocks}


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _made_for(channel: Mapping[str, Any], incident: Incident) -> bool:
    """Whether it is ours from an earlier try: we are in it, and it is not older than the incident.

    An older one of that name is from another life of the journal, whose numbers began at 1 too.
    """
    made = datetime.fromtimestamp(float(channel.get("created", 0)), UTC)
    return bool(channel.get("is_member")) and made >= incident.opened_at - CLOCKS_DIFFER


def channel_name(incident: Incident) -> str:
    """`inc-42-llama-70b-answers-with-errors`: lower case letters, digits and hyphens, at most 80 characters."""
    slug = re.sub(r"[^a-z0-9]+", "-", incident.title.lower()).strip("-")
    return f"inc-{incident.number}-{slug}"[:CHANNEL_NAME_MAX].rstrip("-")
