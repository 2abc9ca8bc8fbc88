"""Messages about entries of the journal: a call, a health report, a question; shown anew as what they say changes."""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from bot.contracts import Again, Attempt, Delivered, OnCall, Permanent
from bot.incident import effects as ef
from bot.incident.entry import Entry
from bot.incident.events import (
    AckDeadlineMissed,
    CardPosted,
    Event,
    EvidenceCollected,
    HealthDoubted,
    IncidentOpened,
    PictureShown,
    Relapsed,
    Reopened,
    ResolveAsked,
)
from bot.incident.react import Call, calls
from bot.incident.state import Incident
from bot.slack import messages
from bot.slack.blocks import Message
from bot.slack.health import numbers_message
from bot.slack.parts import Context
from bot.slack.pictures import PictureCourier, is_late, later
from bot.slack.ports import Past
from bot.slack.posting import Mark, Poster
from bot.slack.settings import Settings
from bot.slack.text import USER, user

log = structlog.get_logger()

SURFACE: Final = "entry:"
"""A message about an entry that has buttons has this and the entry's id as its surface among the incident's cards."""
JUST_CALLED: Final = timedelta(minutes=1)
"""So soon after it, what a look shows belongs into the message that called somebody."""
SETTLED_AFTER: Final = timedelta(hours=1)
"""So long after it, whatever changed a message has been shown in it, by this server, another, or one before."""
KNOWN_INCIDENTS: Final = 500
"""Of which is remembered what their messages were rendered from."""
STRIPES: Final = 64
"""Locks that all messages share: two lanes that edit the same one do it one after the other."""


class EntryMessages:
    """Posts them, and shows them again when what they say, or what can be pressed in them, has changed. Thread-safe."""

    def __init__(
        self,
        poster: Poster,
        settings: Settings,
        context: Context,
        oncall: OnCall,
        past: Past,
        *,
        pictures: PictureCourier,
    ) -> None:
        self._poster = poster
        self._settings = settings
        self._context = context
        self._oncall = oncall
        self._past = past
        self._pictures = pictures
        self._lock = threading.Lock()
        self._editing = tuple(threading.Lock() for _ in range(STRIPES))
        self._up_to_date: dict[str, Incident] = {}

    def tell(self, effect: ef.Tell, incident: Incident, attempt: Attempt) -> Sequence[Event]:
        """The message about one entry. Raises Transient, Permanent."""
        entry = self._past.entry(effect.entry)
        if entry is None:
            raise Permanent("the entry to tell about is gone")
        if self._was_overtaken(entry, incident) and not self._is_there(entry, incident, attempt):
            return []
        surface = f"{SURFACE}{entry.id}"
        called = self._call_before(entry, incident)
        if called is not None:
            place = CardPosted(surface, called.channel, called.ts)
            if self._add_to(place, entry, _with(place, incident)):
                return [place]  # and then the lane of the card looks at it: it may have had it in hand
        message = self._render(entry, incident)
        channel, ts, _ = self._poster.say(incident, message, _mark(entry, incident), attempt)
        if not any(block["type"] == "actions" for block in message.blocks):
            return []
        self._poster.remember(incident.id, ts, message)
        return [CardPosted(surface, channel, ts)]

    def _add_to(self, place: CardPosted, entry: Entry, incident: Incident) -> bool:
        """Shows the entry in a message that is there already; False where it cannot be edited any more.

        What other servers show there meanwhile is not known here, so where there are any it is shown once more.
        """
        with self._alone_with(place):
            message = self._render(entry, incident, place)
            if not self._poster.edit(place.channel, place.ts, message, _mark(entry, incident)):
                return False
            if self._past.is_ours_alone:
                self._poster.remember(incident.id, place.ts, message)
            return True

    def _alone_with(self, place: CardPosted) -> threading.Lock:
        """Held while the message is edited, so that what is remembered of it is what was shown last."""
        return self._editing[hash((place.channel, place.ts)) % STRIPES]

    def _was_overtaken(self, entry: Entry, incident: Incident) -> bool:
        """Whether the same person has been called again since: after an hour without Slack the latest call is enough.

        Who is called only by the one, or only by the other, reads both.
        """
        if not isinstance(entry.event, AckDeadlineMissed) or incident.escalated_at is None:
            return False
        level, latest = entry.event.level, incident.escalations
        return level < latest and self._next(level, entry.at) == self._next(latest, incident.escalated_at)

    def _is_there(self, entry: Entry, incident: Incident, attempt: Attempt) -> bool:
        """Whether an earlier try has posted it. Raises Transient, Permanent."""
        if attempt.number == 1 or not incident.channel:
            return False
        return bool(self._poster.find(incident.channel, _mark(entry, incident)))

    def _next(self, level: int, at: datetime) -> tuple[str, ...]:
        """Whom a call of this level is for, as the rota stood then: one person, or nobody where there is none."""
        people = self._oncall.on_call(at)
        place = min(level, len(people) - 1)
        return people[place : place + 1] if people else ()

    def tell_numbers(self, effect: ef.TellNumbers, incident: Incident, attempt: Attempt) -> Delivered:
        """In the thread under the report, once it is posted and the channel is quiet; nowhere when it never is.

        Raises Transient, Permanent.
        """
        place = incident.cards.get(f"{SURFACE}{effect.entry}")
        entry = self._past.entry(effect.entry)
        if place is None:
            return [] if is_late(attempt) else later(attempt)
        if entry is None or not isinstance(entry.event, EvidenceCollected):
            return []
        quiet_at = self._poster.quiet_at(place.channel)
        if attempt.now < quiet_at and not is_late(attempt):
            return Again(quiet_at, attempt.progress)
        message = numbers_message(entry.event, incident)
        mark = {**_mark(entry, incident), "part": "numbers"}
        there = attempt.number > 1 and self._poster.find(place.channel, mark, place.ts)
        if message is not None and not there:
            attempt.still_ours()
            self._poster.post(place.channel, message, mark, attempt.now, place.ts)
        return []

    def show_picture(self, effect: ef.ShowPicture, incident: Incident, attempt: Attempt) -> Delivered:
        """The report's message once more, with its picture. Raises Transient."""
        look = incident.looks.get(effect.evidence)
        entry = self._past.entry(look.entry) if look else None
        place = incident.cards.get(f"{SURFACE}{entry.id}") if entry else None
        if entry is None or place is None:
            return self._pictures.wait(effect, attempt, "its report has no message")

        def show(file: str) -> None:
            shown = PictureShown(effect.evidence, file)
            told = replace(incident, pictures={**incident.pictures, effect.evidence: shown})
            message = self._render(entry, told, place)
            with self._alone_with(place):
                self._poster.update(place.channel, place.ts, message, _mark(entry, incident))
                self._poster.remember(incident.id, place.ts, message)

        return self._pictures.show(effect, incident, attempt, show)

    def bring_up_to_date(self, incident: Incident, wanted: datetime) -> None:
        """Shows again what may have changed since `wanted`, when somebody first asked for it. Raises Transient.

        In a storm an incident's card is edited again and again for its alerts; of those, messages say nothing.
        """
        state = _but_for_alerts(incident)
        with self._lock:
            if self._up_to_date.get(incident.id) == state:
                return
        about = [place for place in incident.cards.values() if place.surface.startswith(SURFACE)]
        shared = Counter((place.channel, place.ts) for place in about)
        for place in {(place.channel, place.ts): place for place in about}.values():  # what came into it shows it whole
            alone = shared[place.channel, place.ts] == 1
            if not is_settled(place.surface.removeprefix(SURFACE), incident, wanted, alone=alone):
                self._show_again(place, incident)
        with self._lock:
            self._up_to_date.pop(incident.id, None)
            self._up_to_date[incident.id] = state
            while len(self._up_to_date) > KNOWN_INCIDENTS:
                self._up_to_date.pop(next(iter(self._up_to_date)))

    def _show_again(self, place: CardPosted, incident: Incident) -> None:
        """What can no longer be pressed has no button any more."""
        entry = self._past.entry(place.surface.removeprefix(SURFACE))
        if entry is None:
            return
        message = self._render(entry, incident, place)
        with self._alone_with(place):
            if self._poster.is_shown(incident.id, place.ts, message):
                return
            try:
                self._poster.edit(place.channel, place.ts, message, _mark(entry, incident))
            except Permanent as refused:  # an old button is refused anyway; the cards' own receipts must not be lost
                log.info("message_not_edited", incident=incident.ref, reason=str(refused))
            self._poster.remember(incident.id, place.ts, message)

    def _call_before(self, entry: Entry, incident: Incident) -> CardPosted | None:
        """The message that called somebody just before this look, if no other look came into it.

        Who was called opens that message; and a channel has one less of them in the minute when it fills.
        """
        if not isinstance(entry.event, EvidenceCollected):
            return None
        for place in reversed(list(incident.cards.values())):
            before = (
                self._past.entry(place.surface.removeprefix(SURFACE)) if place.surface.startswith(SURFACE) else None
            )
            if before is None or before.id == entry.id:
                continue
            is_call = isinstance(before.event, IncidentOpened | Reopened | Relapsed)
            return place if is_call and entry.at - before.at < JUST_CALLED else None
        return None

    def _render(self, entry: Entry, incident: Incident, place: CardPosted | None = None) -> Message:
        """The message about the entry; at a place that it shares with an earlier one, below that."""
        here = (place.channel, place.ts) if place else None
        under = None
        for earlier in [one for one in incident.cards.values() if (one.channel, one.ts) == here]:
            other = self._past.entry(earlier.surface.removeprefix(SURFACE))
            if other is not None and other.id != entry.id:
                under = messages.render(other, incident, self._context, self._mention(other, incident), under)
        return messages.render(entry, incident, self._context, self._mention(entry, incident), under)

    def _mention(self, entry: Entry, incident: Incident) -> str:
        """Who is called by name, as it stood when the entry was made."""
        people = self._oncall.on_call(entry.at)
        match calls(entry.event):
            case Call.NOBODY:
                return ""
            case Call.ON_CALL:
                called = people[:1]
            case Call.NEXT_ON_CALL:
                called = self._next(entry.event.level if isinstance(entry.event, AckDeadlineMissed) else 1, entry.at)
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


def is_settled(entry: str, incident: Incident, at: datetime, *, alone: bool) -> bool:
    """Whether the report of this journal entry had nothing new to show at `at`, nor has since.

    For long a newer look has had its run button, or the incident is over. `alone` is a report in a message of its own,
    in which no other button waits for somebody. What people said of it, and what was taken out of the incident, may be
    news at any time.
    """
    of = next((id_ for id_, look in incident.looks.items() if look.entry == entry), "")
    if not of or incident.redacted or any(rated == of for rated, _ in incident.ratings):
        return False
    long_ago = at - SETTLED_AFTER
    marks = (incident.acknowledged, incident.mitigated, incident.resolved)
    quiet = all(moment <= long_ago for moment in (incident.opened_at, *(mark.at for mark in marks if mark)))
    superseded = any(incident.looks[of].at < look.at <= long_ago for look in incident.looks.values())
    return (superseded and (alone or quiet)) or (quiet and not incident.is_live)


def _but_for_alerts(incident: Incident) -> Incident:
    return replace(incident, seq=0, firing=0, recovered=0, alerts_changed_at=None, samples=(), truncated=0)


def _with(place: CardPosted, incident: Incident) -> Incident:
    return replace(incident, cards={**incident.cards, place.surface: place})


def _mark(entry: Entry, incident: Incident) -> Mark:
    return {"incident": incident.id, "entry": entry.id}
