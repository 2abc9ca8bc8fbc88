"""Brings cards, channels and messages to Slack: once where Slack allows it, recognisable as ours where it does not."""

from collections.abc import Sequence
from dataclasses import replace

import structlog
from slack_sdk import WebClient

from bot.contracts import Attempt, Delivered, OnCall, Permanent
from bot.incident import effects as ef
from bot.incident.events import CardPosted, DeliveryFailed, DeliverySettled, Event, StepShown
from bot.incident.state import Incident, ends
from bot.slack import cards, messages
from bot.slack.channels import Channels
from bot.slack.entries import EntryMessages
from bot.slack.pictures import PictureCourier, Pictures
from bot.slack.ports import Past
from bot.slack.posting import Closed, Poster
from bot.slack.settings import Settings

log = structlog.get_logger()


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
        self._settings = settings
        self._context = context
        self._past = past
        self._poster = Poster(client)
        self._channels = Channels(client, oncall)
        self._entries = EntryMessages(
            self._poster, settings, context, oncall, past, pictures=PictureCourier(client, picture)
        )

    def deliver(self, effect: ef.Effect, incident: Incident, attempt: Attempt) -> Delivered:
        """Carries one effect out. Raises Transient, Permanent."""
        match effect:
            case ef.RefreshCard():
                return self._refresh(incident, attempt)
            case ef.OpenChannel():
                return self._channels.open(incident, attempt)
            case ef.Tell():
                return self._entries.tell(effect, incident, attempt)
            case ef.ShowStep():
                return self._show_step(effect, incident, attempt)
            case ef.TellNumbers():
                return self._entries.tell_numbers(effect, incident, attempt)
            case ef.ShowPicture():
                return self._entries.show_picture(effect, incident, attempt)
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
        whole = True
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
                whole = False
                posted += self._admit(reason, posted, incident, attempt)
        self._entries.bring_up_to_date(incident, attempt.since or attempt.now)
        return [*posted, *(_settled(incident) if whole else [])]

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

    def _show(
        self, surface: str, channel: str, message: cards.Message, incident: Incident, attempt: Attempt
    ) -> list[Event]:
        mark = {"incident": incident.id, "surface": surface}
        place = incident.cards.get(surface)
        ts = place.ts if place else self._poster.find(channel, mark) if attempt.number > 1 else ""
        # Where other servers show it too, what this one showed last may have been replaced long ago.
        if place and self._past.is_ours_alone and self._poster.is_shown(incident.id, surface, message):
            return []
        if ts and not self._poster.edit(channel, ts, message, mark):
            ts = ""
        elif ts:
            self._poster.remember(incident.id, surface, message)
            return [] if place else [CardPosted(surface, channel, ts)]
        attempt.still_ours()
        ts = self._poster.post(channel, message, mark, attempt.now)
        self._poster.remember(incident.id, surface, message)
        if surface == "incident":
            self._poster.pin(channel, ts)
        return [CardPosted(surface, channel, ts)]

    def _show_step(self, effect: ef.ShowStep, incident: Incident, attempt: Attempt) -> Sequence[Event]:
        """The step's message as it is now; one for its whole life, so that no stale button is left behind."""
        step = incident.runs[effect.run].step(effect.step)
        message = messages.step_message(incident, effect.run, effect.step)
        mark = {"incident": incident.id, "run": effect.run, "step": effect.step}
        if step.ts and self._poster.edit(step.channel, step.ts, message, mark):
            return []
        channel, ts, is_new = self._poster.say(incident, message, mark, attempt)
        if not is_new:
            self._poster.edit(channel, ts, message, mark)
        return [StepShown(effect.run, effect.step, channel, ts)]


def _settled(incident: Incident) -> list[Event]:
    """That the cards are shown takes off them that they were not."""
    over = DeliverySettled(ef.RefreshCard.courier, ef.EFFECT_NAMES[ef.RefreshCard])
    return [over] if any(ends(over, trouble) for trouble in incident.troubles) else []


def _is_announced_elsewhere(incident: Incident, *, has_channel: bool) -> bool:
    """Whether another's announcement is all that is said of it in the intake channel; its card is in its own then.

    Without a channel of its own, and without hope of one, it has its card in the intake channel as any other.
    """
    if not incident.announced_with or "intake" in incident.cards:
        return False
    may_come = not incident.channel and all(trouble.effect != ef.OPEN_CHANNEL for trouble in incident.troubles)
    return has_channel or may_come
