"""What the slash command answers with, for the asker's eyes: timeline, list, help."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from bot.incident.brake import Brake, held_by
from bot.incident.drill import Drill
from bot.incident.entry import Entry
from bot.incident.run import RunStatus
from bot.incident.runs import lent
from bot.incident.state import Incident, Mark, Status
from bot.incident.timeline import count, span
from bot.slack import steps
from bot.slack.actions import Do
from bot.slack.blocks import (
    Message,
    actions,
    button,
    confirm,
    message,
    section,
    small,
)
from bot.slack.parts import STATUS_MARKS, Context
from bot.slack.text import channel, clock, line, link, name_of, told

TIMELINE_LINES: Final = 25
LIST_LINES: Final = 20
_WORDS: Final = (
    ("help", "this list"),
    ("declare [what is wrong]", "open an incident; anybody may"),
    ("ack", "take it; nobody else is called"),
    ("sev 1-4", "change the severity"),
    ("note <text>", "put something on the timeline"),
    ("timeline", "what happened so far"),
    ("health [model|node|gpu] [--full]", "what the telemetry says, and what to do first"),
    ("changes [model]", "what was deployed or set differently of late"),
    ("run [runbook]", "mitigate; every act is previewed before it happens"),
    ("runbooks [stop|start]", "what is under way and on loan; stop them all, let them act again"),
    ("drill [scenario|stop]", "practise: something is broken on purpose, or seems to be"),
    ("mitigated [how]", "users are no longer hurt"),
    ("update <text>", "tell stakeholders"),
    ("resolve <reason>", "it is over; a postmortem is drafted"),
    ("postmortem", "open the draft"),
    ("list", "what is open"),
)


def timeline_card(incident: Incident, entries: Iterable[Entry], context: Context) -> Message:
    """The newest lines of the timeline by the time things happened, the oldest first, with a link to all of it."""
    ordered = sorted(entries, key=lambda entry: (entry.at, entry.seq))
    lines = [f"{clock(entry.at)}  {words}" for entry in ordered if (words := told(entry, incident, 200))]
    shown = lines[-TIMELINE_LINES:]
    left = len(lines) - len(shown)
    intro = f"_{count(left, 'earlier line')} on the page._" if left else ""
    groups = [shown[start : start + 8] for start in range(0, len(shown), 8)]
    return message(
        f"Timeline of {incident.ref}: {count(len(lines), 'line')}",
        [
            section(f"*Timeline of {incident.ref}* · {line(incident.title, 150)}"),
            small(intro),
            *(section("\n".join(group)) for group in groups),
            small(link(context.timeline_url(incident), "The whole timeline")),
        ],
    )


def list_card(incidents: Sequence[Incident], now: datetime, context: Context) -> Message:
    """The incidents given, the worst first. `now` is what their ages count to."""
    ordered = sorted(incidents, key=lambda one: (not one.is_live, one.severity.value, one.opened_at))
    live = sum(one.is_live for one in ordered)
    what = f"{count(live, 'open incident')}" if live else "No open incident"
    lines = [_list_line(one, now, context) for one in ordered[:LIST_LINES]]
    left = len(ordered) - len(lines)
    groups = [lines[start : start + 5] for start in range(0, len(lines), 5)]
    return message(
        f"{what}.",
        [
            section(f"*{what}*"),
            *(section("\n".join(group)) for group in groups),
            small(f"_and {left} more_" if left else ""),
            actions(button("Declare an incident", Do.DECLARE, ""), button("Fleet health", Do.HEALTH, "")),
        ],
    )


def runbooks_card(
    incidents: Sequence[Incident], pulled: Brake | None, frozen_since: datetime | None, context: Context
) -> Message:
    """Whether runbooks may act, which are under way on these incidents, and what they have put in force for a time."""
    going = [(one, run) for one in incidents for run in one.runs.values() if run.status is RunStatus.RUNNING]
    loans = [(one, step) for one in incidents for _, step in lent(one.runs.values())]
    lines = [f"{link(context.timeline_url(one), one.ref)} · {steps.standing(run)}" for one, run in going[:LIST_LINES]]
    kept = [
        f"{link(context.timeline_url(one), one.ref)} · *{line(step.spec.title, 120)}* until {clock(step.lease_until)}"
        for one, step in loans[:LIST_LINES]
        if step.lease_until is not None
    ]
    what = f"{count(len(going), 'runbook')} under way" if going else "No runbook is under way"
    start = confirm("Let runbooks act again?", "Steps whose approval is too old ask anew.", "Yes, go on")
    held = held_by(pulled, frozen_since)
    return message(
        held[0] if held else f"{what}.",
        [
            *(section(f":octagonal_sign: *{line(words, 700)}*") for words in held),
            section("\n".join([f"*{what}*", *lines])),
            section("\n".join(["*On loan*", *kept])) if kept else None,
            actions(button("Let runbooks act again", Do.RELEASE, str(pulled.seq), confirm=start)) if pulled else None,
            small(f"{link(f'{context.pages_url}/runbooks', 'All runbooks')} · `/incident runbooks stop WHY`"),
        ],
    )


def drills_card(scenarios: Sequence[tuple[str, str]], going: Sequence[Drill]) -> Message:
    """What can be practised, name and what it is about, and what is."""
    lines = [f"`/incident drill {line(name, 40)}` · {line(about, 160)}" for name, about in scenarios]
    groups = [lines[start : start + 10] for start in range(0, min(len(lines), 40), 10)]
    now = [f"*{line(one.scenario, 40)}* since {clock(one.started_at)}, by {line(one.by, 60)}" for one in going]
    return message(
        f"{count(len(scenarios), 'drill')}.",
        [
            section("\n".join([":dart: *Going on now*", *now])) if now else None,
            section("*What can be practised*"),
            *(section("\n".join(group)) for group in groups),
            small("Marked, and counted in no runbook's success. `/incident drill stop` makes all whole again."),
        ],
    )


def _list_line(incident: Incident, now: datetime, context: Context) -> str:
    mark = STATUS_MARKS[incident.status]
    who: Mark | None = incident.acknowledged
    holder = name_of(who.by) if who and incident.is_live else ""
    name = link(context.timeline_url(incident), incident.ref)
    parts = (
        f"{mark} *{incident.severity}* {name} {line(incident.title, 100)}",
        "nobody has it" if incident.status is Status.OPEN else str(incident.status),
        holder,
        span(now - incident.opened_at),
        channel(incident.channel),
    )
    return " · ".join(part for part in parts if part)


def help_card(context: Context) -> Message:
    """What every word of the slash command does."""
    words = "\n".join(line(f"`/incident {word}`  {what}") for word, what in _WORDS)
    known = count(len(context.runbooks), "runbook")
    return message(
        "What /incident can do",
        [
            section("*`/incident` and a word.* In an incident's channel it is about that incident."),
            section(words),
            small(f"{known} at hand. Elsewhere, name the incident first: `/incident ack INC-42`."),
            actions(
                button("Declare an incident", Do.DECLARE, "", style="primary"),
                button("Open incidents", Do.LIST, ""),
                button("Fleet health", Do.HEALTH, ""),
            ),
        ],
    )
