"""The cards: an incident as it stands, at full length and in brief, and what the slash command answers with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote as url_quote

from bot.incident.advice import Advice, Next, SixStep, advise, proposed_runbook, six_steps
from bot.incident.entry import Entry
from bot.incident.events import Role
from bot.incident.policy import Policy
from bot.incident.run import StepStatus
from bot.incident.runs import current_step
from bot.incident.state import Incident, Mark, Status
from bot.incident.timeline import count, span
from bot.slack import steps
from bot.slack.actions import Do, run_value
from bot.slack.blocks import (
    Block,
    Message,
    actions,
    button,
    context,
    fields,
    header,
    link_button,
    message,
    more,
    section,
)
from bot.slack.text import channel, clock, line, link, name_of, plain, told, user, when

TIMELINE_LINES: Final = 25
LIST_LINES: Final = 20
LABELS: Final[Mapping[Do, str]] = {
    Do.ACK: "Acknowledge",
    Do.RUN: "Run a runbook",
    Do.UPDATE: "Post an update",
    Do.MITIGATED: "Mitigated",
    Do.RESOLVE: "Resolve",
    Do.SEVERITY: "Change severity",
    Do.ROLE: "Assign a role",
    Do.IMPACT: "State the impact",
    Do.NOTE: "Add a note",
    Do.TIMELINE: "Timeline",
    Do.HEALTH: "Fleet health",
}
"""What each button says. The order is the order of usefulness while an incident lives."""
STATUS_MARKS: Final[Mapping[Status, str]] = {
    Status.OPEN: ":red_circle:",
    Status.ACKNOWLEDGED: ":large_orange_circle:",
    Status.MITIGATED: ":large_yellow_circle:",
    Status.RESOLVED: ":white_check_mark:",
    Status.CANCELLED: ":heavy_minus_sign:",
    Status.MERGED: ":heavy_minus_sign:",
}
VERDICT_MARKS: Final[Mapping[str, str]] = {
    "OUTAGE": ":red_circle:",
    "DEGRADED": ":large_orange_circle:",
    "OK": ":large_green_circle:",
    "BLIND": ":black_circle:",
}
_SHORT_ROLES: Final[Mapping[Role, str]] = {
    Role.COMMANDER: "Commander",
    Role.COMMUNICATIONS: "Communications",
    Role.SCRIBE: "Scribe",
}
_PRIMARY: Final[Mapping[Next, tuple[Do, str]]] = {
    Next.ACKNOWLEDGE: (Do.ACK, "Acknowledge"),
    Next.UPDATE: (Do.UPDATE, "Post an update"),
    Next.MITIGATED: (Do.MITIGATED, "Users are fine again"),
    Next.RESOLVE: (Do.RESOLVE, "Resolve"),
}
_NEXT_STEP: Final[Mapping[Next, str]] = {
    Next.ACKNOWLEDGE: "Acknowledge",
    Next.RUN: "Mitigate",
    Next.ANSWER_STEP: "Mitigate",
    Next.MITIGATED: "Mitigate",
    Next.UPDATE: "Communicate",
    Next.RESOLVE: "Resolve",
    Next.POSTMORTEM: "Postmortem",
}


@dataclass(frozen=True, slots=True)
class Context:
    """What cards need beside the incident: `pages_url` is where people reach our pages, without a slash at the end;
    `runbooks` gives titles to runbook ids."""

    policy: Policy
    pages_url: str
    runbooks: Mapping[str, str]

    def timeline_url(self, incident: Incident) -> str:
        return f"{self.pages_url.rstrip('/')}/incidents/{incident.ref}"

    def postmortem_url(self, incident: Incident) -> str:
        return f"{self.pages_url.rstrip('/')}/postmortems/{url_quote(incident.postmortem)}"


def incident_card(incident: Incident, context: Context) -> Message:
    """The whole incident on one card, with the one thing to do now on top of the buttons."""
    if not incident.is_live:
        return _ended_card(incident, context)
    advice = advise(incident, context.policy)
    return message(
        headline(incident),
        [
            header(f"{incident.severity} · {incident.ref} · {incident.title}"),
            section(f"{status_line(incident)}\n{_why(incident, advice, context.policy)}"),
            fields(_facts(incident)),
            section(_steps(incident, advice)),
            section(_impact(incident)),
            section(_evidence(incident)),
            section(_run(incident)),
            _small_print(incident),
            _troubles(incident),
            _links(incident, context),
            actions(*_buttons(incident, advice, context)),
        ],
    )


def announcement(incident: Incident, context: Context) -> Message:
    """The incident in brief, for the channel where incidents are announced."""
    where = channel(incident.channel)
    if not incident.is_live:
        took = f" after {span(incident.resolved.at - incident.opened_at)}" if incident.resolved else ""
        words = (
            f"{STATUS_MARKS[incident.status]} {incident.ref} · {line(incident.title, 150)} · {incident.status}{took}"
        )
        return message(headline(incident), [_context(" · ".join(part for part in (words, where) if part))])
    title = f"*{incident.severity} · {incident.ref} · {line(incident.title, 200)}*"
    ack = [acknowledge(incident)] if incident.status is Status.OPEN else []
    told_where = f"Work goes on in {where}." if where else ""
    return message(
        headline(incident),
        [section("\n".join(part for part in (title, status_line(incident), told_where) if part)), actions(*ack)],
    )


def timeline_card(incident: Incident, entries: Iterable[Entry], context: Context) -> Message:
    """The newest lines of the timeline, the oldest first, with a link to all of it."""
    lines = [
        f"{clock(entry.at)}  {words}"
        for entry in entries
        if entry.event is not None and (words := told(entry, incident, 200))
    ]
    shown = lines[-TIMELINE_LINES:]
    left = len(lines) - len(shown)
    intro = f"_{count(left, 'earlier line')} on the page._" if left else ""
    groups = [shown[start : start + 8] for start in range(0, len(shown), 8)]
    return message(
        f"Timeline of {incident.ref}: {count(len(lines), 'line')}",
        [
            section(f"*Timeline of {incident.ref}* · {line(incident.title, 150)}"),
            _context(intro),
            *(section("\n".join(group)) for group in groups),
            _context(link(context.timeline_url(incident), "The whole timeline")),
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
            _context(f"_and {left} more_" if left else ""),
            actions(button("Declare an incident", Do.DECLARE, ""), button("Fleet health", Do.HEALTH, "")),
        ],
    )


_WORDS: Final = (
    ("help", "this list"),
    ("declare [what is wrong]", "open an incident; anybody may"),
    ("ack", "take it; nobody else is called"),
    ("sev 1-4", "change the severity"),
    ("note <text>", "put something on the timeline"),
    ("timeline", "what happened so far"),
    ("health [model]", "what the telemetry says, and what to do first"),
    ("run [runbook]", "mitigate; every act is previewed before it happens"),
    ("mitigated [how]", "users are no longer hurt"),
    ("update <text>", "tell stakeholders"),
    ("resolve <reason>", "it is over; a postmortem is drafted"),
    ("postmortem", "open the draft"),
    ("list", "what is open"),
)


def help_card(context: Context) -> Message:
    """What every word of the slash command does."""
    words = "\n".join(line(f"`/incident {word}`  {what}") for word, what in _WORDS)
    known = count(len(context.runbooks), "runbook")
    return message(
        "What /incident can do",
        [
            section("*`/incident` and a word.* In an incident's channel it is about that incident."),
            section(words),
            _context(f"{known} at hand. Elsewhere, name the incident last: `/incident ack INC-42`."),
            actions(
                button("Declare an incident", Do.DECLARE, "", style="primary"),
                button("Open incidents", Do.LIST, ""),
                button("Fleet health", Do.HEALTH, ""),
            ),
        ],
    )


def headline(incident: Incident) -> str:
    """One line for a phone: severity, number, title, and where it stands."""
    title = plain(incident.title, 120).replace("<", "‹").replace("&", "＆")
    return f"{incident.severity} {incident.ref} {title}: {incident.status}"


def acknowledge(incident: Incident) -> Block:
    """The button that stops the escalation."""
    return button("Acknowledge", Do.ACK, incident.id, style="primary")


def status_line(incident: Incident) -> str:
    """Where it stands and since when, in words."""
    mark = STATUS_MARKS[incident.status]
    match incident.status:
        case Status.OPEN if incident.generation > 1:
            return f"{mark} *Back again, and nobody has it yet* · since {clock(incident.opened_at)}"
        case Status.OPEN:
            return f"{mark} *Nobody has it yet* · open since {clock(incident.opened_at)}"
        case Status.ACKNOWLEDGED:
            taken = incident.acknowledged
            return f"{mark} *{name_of(taken.by)} has it* · since {clock(taken.at)}" if taken else f"{mark} *Taken*"
        case Status.MITIGATED:
            since = f" · since {clock(incident.mitigated.at)}" if incident.mitigated else ""
            return f"{mark} *Mitigated, not yet resolved*{since}"
        case status:
            ended = incident.resolved
            by = f" by {name_of(ended.by)} · {when(ended.at)}" if ended else ""
            word = "Called off" if status is Status.CANCELLED else status.value.capitalize()
            return f"{mark} *{word}*{by}"


def durations(incident: Incident) -> str:
    """Time to acknowledge, to mitigate and to resolve, from when this round of the incident opened."""
    marks = (
        ("acknowledged", incident.acknowledged),
        ("mitigated", incident.mitigated),
        (str(incident.status), incident.resolved),
    )
    return " · ".join(f"{word} after {span(mark.at - incident.opened_at)}" for word, mark in marks if mark)


def alerts_line(incident: Incident) -> str:
    """The alerts counted, never listed, with the names of a few; empty when there were none."""
    if not incident.firing and not incident.recovered:
        return ""
    names = dict.fromkeys(line(str(sample.get("name") or sample.get("title") or ""), 60) for sample in incident.samples)
    shown = ", ".join([name for name in names if name][:3])
    cut_off = f" · the sender left out {incident.truncated}" if incident.truncated else ""
    such_as = f" · {shown}" if shown else ""
    return f"Alerts: {incident.firing} firing · {incident.recovered} recovered{such_as}{cut_off}"


def _context(*lines: str) -> Block | None:
    return context(*lines)


def _why(incident: Incident, advice: Advice, policy: Policy) -> str:
    if incident.status is Status.OPEN and incident.escalations >= policy.max_escalations:
        return "Everybody on the list has been called."
    return advice.why


def _facts(incident: Incident) -> list[tuple[str, str]]:
    commander = incident.roles.get(Role.COMMANDER, "")
    pairs = [
        ("Service", line(incident.service, 80)),
        ("Model", line(incident.model, 80)),
        (_SHORT_ROLES[Role.COMMANDER], user(commander) if commander else "_nobody yet_"),
    ]
    others = (Role.COMMUNICATIONS, Role.SCRIBE)
    return pairs + [(_SHORT_ROLES[role], user(incident.roles[role])) for role in others if incident.roles.get(role)]


def _steps(incident: Incident, advice: Advice) -> str:
    now = _NEXT_STEP.get(advice.step, "")
    return "\n".join(_step_line(step, step.name == now, incident) for step in six_steps(incident))


def _step_line(step: SixStep, is_now: bool, incident: Incident) -> str:
    if step.mark is None:
        return f":arrow_forward: *{step.name}*" if is_now else f":white_circle: {step.name}"
    by = f"{name_of(step.mark.by)}, {clock(step.mark.at)}"
    detail = "" if step.name == "Triage" and step.mark.what == incident.impact else line(step.detail, 120)
    mark = ":arrow_forward:" if is_now else ":white_check_mark:"
    return f"{mark} {step.name} · {by}" + (f" · {detail}" if detail else "")


def _impact(incident: Incident) -> str:
    since = f" (since {clock(incident.started_at)})" if incident.started_at else ""
    return f"*Impact*{since}\n{line(incident.impact, 1000)}" if incident.impact.strip() else ""


def _evidence(incident: Incident) -> str:
    found = incident.evidence
    if found is None:
        return f":black_circle: Telemetry could not be read: {line(incident.evidence_missing)}" * bool(
            incident.evidence_missing
        )
    mark = VERDICT_MARKS.get(found.verdict, ":black_circle:")
    return f"{mark} *Telemetry: {line(found.verdict, 40)}* · {line(found.impact, 400)}\n{line(found.cause, 400)}"


def _run(incident: Incident) -> str:
    if not incident.runs:
        return ""
    run = incident.active_run or list(incident.runs.values())[-1]
    step = current_step(run)
    asked = step is not None and incident.active_run is not None and step.status is StepStatus.ASKING
    seen = steps.preview(step.plan) if asked and step is not None and step.plan else ""
    return f":gear: {steps.standing(run)}\n{seen}".strip()


def _small_print(incident: Incident) -> Block | None:
    page = incident.pages.get(incident.generation)
    paged = ""
    if page is not None:
        pager = line(page.pager, 40)
        paged = f"{link(page.link, pager) if page.link else pager} accepted the page"
    return context(" · ".join(part for part in (alerts_line(incident), paged) if part))


def _troubles(incident: Incident) -> Block | None:
    return context(
        *(
            f":warning: Could not deliver {line(t.effect.replace('_', ' '), 60)} by {line(t.courier, 40)}: {line(t.reason)}"
            for t in incident.troubles[-2:]
        )
    )


def _links(incident: Incident, context_: Context) -> Block | None:
    links = [link(context_.timeline_url(incident), "Timeline")]
    if incident.postmortem:
        links.append(link(context_.postmortem_url(incident), "Postmortem"))
    where = channel(incident.channel)
    return context(" · ".join([*links, *([where] if where else []), f"detected {when(incident.detected_at)}"]))


def run_button(incident: Incident, runbook: str, context_: Context, style: str = "primary") -> Block:
    """Starts that runbook; any, when we have none of that name."""
    title = context_.runbooks.get(runbook)
    label = f"Run: {plain(title, 68)}" if title else LABELS[Do.RUN]
    value = run_value(incident.id, runbook if title else "")
    return button(label, Do.RUN, value, style="primary" if style else "")


def _buttons(incident: Incident, advice: Advice, context_: Context) -> list[Block | None]:
    first: list[Block] = []
    used: set[Do] = set() if incident.status is Status.OPEN else {Do.ACK}
    if advice.step is Next.ANSWER_STEP and (run := incident.active_run) and (step := current_step(run)):
        first = steps.buttons(incident.id, run, step)[:1]
    elif advice.step is Next.RUN:
        first, used = [run_button(incident, proposed_runbook(incident), context_)], used | {Do.RUN}
    elif advice.step in _PRIMARY:
        do, label = _PRIMARY[advice.step]
        first, used = [button(label, do, incident.id, style="primary")], used | {do}
    if incident.status is Status.MITIGATED:
        used.add(Do.MITIGATED)
    rest = [(label, do) for do, label in LABELS.items() if do not in used]
    shown = max(4, len(rest) - 5)
    return [
        *first,
        *(button(label, do, incident.id) for label, do in rest[:shown]),
        more(incident.id, rest[shown:]),
    ]


def _ended_card(incident: Incident, context_: Context) -> Message:
    ended = incident.resolved
    reason = line(ended.what, 800) if ended else ""
    postmortem = None
    if incident.postmortem and context_.pages_url.startswith(("http://", "https://")):
        postmortem = link_button("Open the postmortem", context_.postmortem_url(incident)) | {"style": "primary"}
    elif incident.status is Status.RESOLVED:
        postmortem = button("Open the postmortem", Do.POSTMORTEM, incident.id)
    snoozed = ""
    if incident.snoozed_until and incident.firing:
        snoozed = (
            f":zzz: {count(incident.firing, 'alert')} still firing; they page again at {clock(incident.snoozed_until)}."
        )
    run = _run(incident)
    return message(
        headline(incident),
        [
            header(f"{incident.severity} · {incident.ref} · {incident.title}"),
            section("\n".join(part for part in (status_line(incident), reason) if part)),
            section(snoozed),
            section(_impact(incident)),
            context(durations(incident)),
            context(" · ".join(part for part in (alerts_line(incident), run) if part)),
            _troubles(incident),
            _links(incident, context_),
            actions(
                postmortem,
                button("Timeline", Do.TIMELINE, incident.id),
                button("Add a note", Do.NOTE, incident.id),
            ),
        ],
    )


def _list_line(incident: Incident, now: datetime, context_: Context) -> str:
    mark = STATUS_MARKS[incident.status]
    who: Mark | None = incident.acknowledged
    holder = name_of(who.by) if who and incident.is_live else ""
    name = link(context_.timeline_url(incident), incident.ref)
    parts = (
        f"{mark} *{incident.severity}* {name} {line(incident.title, 100)}",
        "nobody has it" if incident.status is Status.OPEN else str(incident.status),
        holder,
        span(now - incident.opened_at),
        channel(incident.channel),
    )
    return " · ".join(part for part in parts if part)
