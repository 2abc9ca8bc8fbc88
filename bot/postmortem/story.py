"""The journal as a postmortem tells it: who did what, by role before name, with repeats folded."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from bot.incident import events as ev
from bot.incident.entry import Entry
from bot.incident.events import Precision
from bot.incident.people import Actor, Right
from bot.incident.state import Incident, behind
from bot.incident.timeline import kind, line, who

MENTION: Final = re.compile(r"<@([A-Z0-9]+)(?:\|[^>]*)?>")
SLACK_LINK: Final = re.compile(r"<((?:https?://|mailto:)[^\s|<>]+)(?:\|([^<>\n]*))?>")


class People:
    """What the people of one incident are called: the role first, because a draft is about what made sense there."""

    def __init__(self, incident: Incident, entries: Iterable[Entry]) -> None:
        self._actors: dict[str, Actor] = {entry.by.id: entry.by for entry in entries}
        self._roles: Mapping[str, str] = {user: str(role) for role, user in incident.roles.items()}

    def name(self, user: str) -> str:
        """The name alone; the id of somebody who never acted."""
        actor = self._actors.get(user)
        return user if actor is None else who(actor)

    def call(self, actor: Actor) -> str:
        """`Incident commander Maya`, `Responder Jonas`, `Sam`, `Alertmanager`."""
        name = who(actor)
        if not actor.is_person:
            return name
        role = self._roles.get(actor.id) or ("responder" if Right.RESPOND in actor.rights else "")
        return f"{role[0].upper()}{role[1:]} {name}" if role else name

    def call_user(self, user: str) -> str:
        """As `call`, for a bare user id."""
        actor = self._actors.get(user)
        return user if actor is None else self.call(actor)

    def without_slack(self, text: str) -> str:
        """Slack's markup as a person reads it: `<@U0MAYA>` is a name, `<https://x|here>` is `here (https://x)`."""
        said = SLACK_LINK.sub(_address, MENTION.sub(lambda found: self.name(found[1]), text))
        return said.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _address(found: re.Match[str]) -> str:
    address = found[1].removeprefix("mailto:")
    return f"{found[2]} ({address})" if found[2] and found[2] != address else address


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the timeline. `day` is set where it differs from the row above; `more` counts folded repeats."""

    day: str
    time: str
    kind: str
    text: str
    link: str
    more: int = 0


def story(incident: Incident, entries: Sequence[Entry], people: People) -> tuple[Line, ...]:
    """The timeline by the time things happened. Alert reports in a row that all burn (or none does) are one line."""
    lines: list[Line] = []
    day = ""
    burning: bool | None = None
    for entry in sorted(entries, key=lambda entry: (entry.at, entry.seq)):
        said = line(entry, incident, people.call(behind(entry, incident)))
        if said is None:
            continue
        burns = entry.event.firing > 0 if isinstance(entry.event, ev.AlertsReported) else None
        if burns is not None and burns is burning:
            lines[-1] = replace(lines[-1], more=lines[-1].more + 1)
            continue
        burning = burns
        today = f"{entry.at:%Y-%m-%d}"
        lines.append(
            Line(
                day="" if today == day else today,
                time=clock(entry.at, entry.precision),
                kind=kind(entry.event),
                text=people.without_slack(said),
                link=_link(entry.event),
            )
        )
        day = today
    return tuple(lines)


def clock(at: datetime, precision: Precision = Precision.EXACT) -> str:
    """The time of day, no more exact than it is known."""
    match precision:
        case Precision.EXACT:
            return f"{at:%H:%M:%S}"
        case Precision.MINUTE:
            return f"{at:%H:%M}"
        case Precision.ABOUT:
            return f"about {at:%H:%M}"


def _link(event: ev.Event) -> str:
    match event:
        case ev.MessagePinned(link=link) | ev.PageAccepted(link=link):
            return link
        case _:
            return ""
