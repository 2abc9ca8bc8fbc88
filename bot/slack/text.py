"""Words for Slack: untrusted text made harmless, lengths kept, times and people written as Slack shows them best."""

import re
from datetime import datetime
from typing import Final

from bot.incident import events as ev
from bot.incident import timeline
from bot.incident.entry import Entry
from bot.incident.people import BOT, Actor, ActorKind
from bot.incident.state import Incident

ELLIPSIS: Final = "…"
GAP: Final = "\u200b"
"""Zero width: breaks a mention without changing what is read."""

USER: Final = re.compile(r"[UW][A-Z0-9]+")
"""A person's id; those of pagers and command lines look different, and mention nobody."""
_CHANNEL: Final = re.compile(r"[CG][A-Z0-9]+")
_BROADCAST: Final = re.compile(r"@(?=(?:here|channel|everyone)\b)", re.IGNORECASE)
_SEQUENCE: Final = re.compile(r"<(?=[!@#a-z])", re.IGNORECASE)
# Control characters have no shape; the bidirectional ones make a text read other than it is.
_UNSEEN: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MARKED: Final = re.compile(r"<(?P<sign>[@#!]|(?=[a-z]+:))(?P<target>[^<>|]+)(?:\|(?P<label>[^<>]*))?>")
_HALF: Final = re.compile(r"(?:&[a-z]{0,3}|<[^<>]*)\Z")


def esc(text: str) -> str:
    """Text of people and outside systems as mrkdwn that mentions nobody and links nowhere.

    The three characters are Slack's own rule: https://docs.slack.dev/messaging/formatting-message-text#escaping.
    """
    clean = _UNSEEN.sub(" ", text)
    safe = clean.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _BROADCAST.sub(f"@{GAP}", safe)


def heard(text: str) -> str:
    """What somebody wrote, as they read it: Slack's own marks for people, links and dates turned back into words.

    https://docs.slack.dev/messaging/formatting-message-text
    """
    words = _MARKED.sub(_as_words, text)
    return words.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _as_words(mark: re.Match[str]) -> str:
    sign, target, label = mark["sign"], mark["target"], mark["label"] or ""
    if sign in ("@", "#"):
        return f"{sign}{label or target}"
    if sign == "!":
        return label or f"@{target.partition('^')[0]}"
    address = target.removeprefix("mailto:")
    return address if not label or label in (address, address.split("://")[-1]) else f"{label} ({address})"


def cut(text: str, limit: int) -> str:
    """At most `limit` characters, the last an ellipsis when some were left out; never half an entity or mention."""
    if len(text) <= limit:
        return text
    return _HALF.sub("", text[: limit - 1]).rstrip() + ELLIPSIS


def line(text: str, limit: int = 300) -> str:
    """Untrusted text as one line of mrkdwn; empty when nothing of it can be seen."""
    return cut(" ".join(esc(text).split()), limit)


def plain(text: str, limit: int, otherwise: str = "untitled") -> str:
    """Untrusted text as one line for a plain_text object, which may not be empty.

    Slack shows plain text as it stands, so nothing is escaped; sequences are broken up all the same, because fallback
    texts and notifications are made of them.
    """
    clean = " ".join(_UNSEEN.sub(" ", text).split())
    broken = _SEQUENCE.sub(f"<{GAP}", _BROADCAST.sub(f"@{GAP}", clean))
    if not broken.strip(GAP):
        return otherwise
    return broken if len(broken) <= limit else broken[: limit - 1].rstrip() + ELLIPSIS


def quote(text: str, limit: int = 2500) -> str:
    """Untrusted text, its own lines kept, as a quotation."""
    lines = cut(esc(text).strip(), limit).splitlines() or [ELLIPSIS]
    return "\n".join(f">{part}" for part in lines[:40])


def link(url: str, label: str) -> str:
    """A link of ours. `url` comes from settings or a pager's answer; anything but http(s) is shown as its label."""
    if not url.startswith(("https://", "http://")) or re.search(r"[\s<>|]", url):
        return esc(label)
    return f"<{url.replace('&', '&amp;')}|{line(label).replace('|', '/')}>"


def clock(at: datetime) -> str:
    """The time of day in each reader's own zone; UTC where Slack cannot say."""
    return f"<!date^{int(at.timestamp())}^{{time}}|{at:%H:%M} UTC>"


def when(at: datetime) -> str:
    """As `clock`, with the day."""
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time}}|{at:%Y-%m-%d %H:%M} UTC>"


def user(slack_id: str) -> str:
    """A mention of a real Slack id; anything else is only its text."""
    return f"<@{slack_id}>" if USER.fullmatch(slack_id) else line(slack_id, 80)


def channel(slack_id: str) -> str:
    """A link to a channel; empty for what is no Slack id."""
    return f"<#{slack_id}>" if _CHANNEL.fullmatch(slack_id) else ""


def name_of(actor: Actor) -> str:
    """An actor in prose: by name where we know one, since a mention wakes people; else as Slack shows the id."""
    if actor.kind is ActorKind.BOT:
        return BOT.name
    return line(actor.name, 80) or user(actor.id) or "somebody"


def told(entry: Entry, incident: Incident, limit: int = 300) -> str:
    """The timeline's line about the entry as mrkdwn; empty for bookkeeping. Only its own mentions stay mentions."""
    words = line(timeline.line(entry, incident) or "", limit)
    match entry.event:
        case ev.RoleAssigned(user=slack_id) | ev.MessagePinned(author=slack_id):
            return words.replace(esc(f"<@{slack_id}>"), user(slack_id), 1)
        case _:
            return words
