"""What was changed of late, as the slash command answers it: all of it, with what differs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from bot.incident import change as changes
from bot.incident.change import KUBERNETES, Change
from bot.incident.timeline import count, span
from bot.slack.blocks import CHARACTERS_MAX, SECTION_MAX, Message, message, section, small
from bot.slack.parts import Context
from bot.slack.text import clock, line, link

LISTED: Final = 30
SETTINGS_LISTED: Final = 8
_ROOM: Final = CHARACTERS_MAX - 1_500
"""Characters of all entries together: the rest is for the heading and the small print."""


def changes_card(listed: Sequence[Change], whose: str, now: datetime, context: Context, missing: str = "") -> Message:
    """The changes, the newest first. `whose` names the model, service or incident; empty for everything.

    `missing` says why Kubernetes could not be asked; empty when it could.
    """
    what = f"{count(len(listed), 'change')}" if listed else "No change is known"
    of = f" · {line(whose, 120)}" if whose else ""
    groups = _groups([_entry(one, now) for one in listed[:LISTED]])
    left = len(listed) - sum(len(group) for group in groups)
    back = span(context.policy.changes_within)
    return message(
        f"{what}{f': {whose}' if whose else ''}.",
        [
            section(f":wrench: *{what}*{of}"),
            *(section("\n".join(group)) for group in groups),
            small(f"_and {left} earlier_" if left else ""),
            small(f":black_circle: Not seen: what Kubernetes shows ({line(missing, 200)})" if missing else ""),
            small(f"Of the last {back}, from what pipelines tell and what Kubernetes shows."),
        ],
    )


def _groups(entries: Sequence[str]) -> list[list[str]]:
    """The first entries, as many as a message takes, so that each section holds them whole."""
    groups: list[list[str]] = []
    room, place = _ROOM, 0
    for entry in entries:
        size = min(len(entry), SECTION_MAX) + 1
        if size > room:
            break
        if not groups or size > place:
            groups.append([])
            place = SECTION_MAX + 1
        groups[-1].append(entry)
        room, place = room - size, place - size
    return groups


def _entry(one: Change, now: datetime) -> str:
    said = f"{clock(one.at)} ({span(now - one.at)} ago) {line(changes.words(one), 300)}"
    said += f" · {link(one.url, 'open')}" if one.url else ""
    said += " · _seen in Kubernetes_" if one.source == KUBERNETES else ""
    rest = one.settings[3:SETTINGS_LISTED]
    return "\n".join([said, *(f"        {line(str(setting), 160)}" for setting in rest)])
