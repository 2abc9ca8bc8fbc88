"""The cards: an incident as it stands, at full length and in brief; the command's answers are reached here too."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from bot.health.slo import worst
from bot.incident import change as changes
from bot.incident.advice import Advice, Next, SixStep, advise, six_steps
from bot.incident.events import Role
from bot.incident.links import links_of
from bot.incident.run import StepStatus
from bot.incident.runs import current_step
from bot.incident.state import Incident, Status
from bot.incident.timeline import count, listed, span
from bot.slack import steps
from bot.slack.actions import Do
from bot.slack.answers import drills_card, help_card, list_card, runbooks_card, timeline_card
from bot.slack.blocks import (
    OVERFLOW_MAX,
    Block,
    Message,
    actions,
    button,
    divider,
    fields,
    header,
    message,
    more,
    section,
    small,
)
from bot.slack.health import health_card
from bot.slack.parts import (
    LABELS,
    STATUS_MARKS,
    VERDICT_MARKS,
    Context,
    acknowledge,
    alerts_line,
    confidence,
    durations,
    has_cause,
    headline,
    postmortem_button,
    run_button,
    status_line,
    tested,
    trouble,
)
from bot.slack.text import channel, clock, line, link, name_of, user, when

__all__ = [
    "Context",
    "Message",
    "announcement",
    "drills_card",
    "health_card",
    "help_card",
    "incident_card",
    "list_card",
    "runbooks_card",
    "timeline_card",
]

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
CHANGES_SHOWN: Final = 3
"""Changes on the card; who wants all of them asks."""
LISTED_MAX: Final = 10
"""Incidents that an announcement shows beside its own, each with its button."""


def incident_card(incident: Incident, context: Context) -> Message:
    """The whole incident on one card, with the one thing to do now on top of the buttons."""
    if not incident.is_live:
        return _ended_card(incident, context)
    advice = advise(incident, context.policy)
    return message(
        headline(incident),
        [
            header(f"{incident.severity} · {incident.ref} · {incident.title}"),
            section(f"{status_line(incident)}\n{_why(advice)}"),
            fields(_facts(incident)),
            section(_steps(incident, advice)),
            section(_impact(incident)),
            section(_evidence(incident)),
            section(_changed(incident)),
            section(tested(incident)),
            small(_budget(incident)),
            section(_run(incident)),
            small(_last_update(incident)),
            _small_print(incident),
            small(_other_pagers(incident)),
            _troubles(incident),
            _links(incident, context),
            actions(*_buttons(incident, advice, context)),
        ],
    )


def announcement(incident: Incident, context: Context, others: Sequence[Incident] = ()) -> Message:
    """The incident in brief, for the channel where incidents are announced; `others` opened right after it."""
    where = channel(incident.channel)
    also = beside(others, context)
    if not incident.is_live:
        took = f" after {span(incident.resolved.at - incident.opened_at)}" if incident.resolved else ""
        words = (
            f"{STATUS_MARKS[incident.status]} {incident.ref} · {line(incident.title, 150)} · {incident.status}{took}"
        )
        return message(
            _headlines(incident, others), [small(" · ".join(part for part in (words, where) if part)), *also]
        )
    title = f"*{incident.severity} · {incident.ref} · {line(incident.title, 200)}*"
    ack = [acknowledge(incident)] if incident.status is Status.OPEN else []
    called = _why(advise(incident, context.policy)) if ack else ""
    place = f"Work goes on in {where}." if where else ""
    return message(
        _headlines(incident, others),
        [
            section("\n".join(part for part in (title, status_line(incident), called, place) if part)),
            small(_last_update(incident)),
            actions(*ack),
            *also,
        ],
    )


def with_others(card: Message, others: Sequence[Incident], context: Context) -> Message:
    """A card with the incidents that share its announcement, for while it is the announcement."""
    return message(card.text, [*card.blocks, *beside(others, context)])


def beside(others: Sequence[Incident], context: Context) -> list[Block | None]:
    """A line for each of the incidents that share an announcement, what nobody has yet first; the rest is counted."""
    if not others:
        return []
    ordered = sorted(others, key=lambda one: (list(STATUS_MARKS).index(one.status), one.severity, one.number))
    shown, rest = ordered[:LISTED_MAX], ordered[LISTED_MAX:]
    words = f"*{count(len(others), 'more incident')} opened with it*"
    standing = Counter(one.status for one in rest)
    left = ", ".join(f"{number} {status}" for status, number in standing.items())
    everything = link(f"{context.pages_url.rstrip('/')}/", "all incidents")
    return [divider(), section(words), *map(_in_one_line, shown), small(f"and {left} · {everything}" if rest else "")]


def _in_one_line(incident: Incident) -> Block | None:
    where = channel(incident.channel)
    title = f"*{incident.severity} · {incident.ref}* · {line(incident.title, 120)}"
    words = " · ".join(
        part for part in (f"{STATUS_MARKS[incident.status]} {title}", str(incident.status), where) if part
    )
    return section(words, button("Acknowledge", Do.ACK, incident.id) if incident.status is Status.OPEN else None)


def _headlines(incident: Incident, others: Sequence[Incident]) -> str:
    more = f", and {count(len(others), 'more incident')}" if others else ""
    return f"{headline(incident)}{more}"


def _why(advice: Advice) -> str:
    """The reason for the next step, its time as each reader's own clock shows it."""
    return f"Escalates at {clock(advice.due)}." if advice.due else advice.why


def _last_update(incident: Incident) -> str:
    """What stakeholders were last told, where they look for it."""
    told = incident.communicated
    return f":mega: *Update*, {clock(told.at)}, {name_of(told.by)}: {line(told.what, 400)}" if told else ""


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
        missing = line(incident.evidence_missing)
        return f":black_circle: Telemetry could not be read: {missing}" if missing else ""
    mark = VERDICT_MARKS.get(found.verdict, ":black_circle:")
    cause = f"*Likely cause* · {line(found.cause, 400)}{confidence(found)}" if has_cause(found) else ""
    at = found.report.get("at")
    since = f" at {clock(datetime.fromisoformat(at))}" if isinstance(at, str) else ""
    return f"{mark} *Telemetry: {line(found.verdict, 40)}*{since} · {line(found.impact, 400)}\n{cause}"


def _changed(incident: Incident) -> str:
    """What was changed shortly before and since, the newest first: where to look before anywhere else."""
    if not incident.changes:
        return ""
    shown, left = incident.changes[:CHANGES_SHOWN], len(incident.changes) - CHANGES_SHOWN
    lines = [f"{clock(one.at)} {line(changes.words(one), 240)}{_to_its_page(one.url)}" for one in shown]
    lines += [f"_and {left} more_: `/incident changes {incident.ref}`"] if left > 0 else []
    return "\n".join([":wrench: *What changed* shortly before, and since", *lines])


def _to_its_page(url: str) -> str:
    return f" · {link(url, 'open')}" if url else ""


def _budget(incident: Incident) -> str:
    """The error budget that stands worst, as the telemetry last said."""
    found = incident.evidence
    standing = worst(found.report.get("slos", ())) if found else None
    return f":hourglass_flowing_sand: {line(standing['line'], 200)}" if standing else ""


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
    return small(" · ".join(part for part in (alerts_line(incident), paged) if part))


def _other_pagers(incident: Incident) -> str:
    """Where else the page went because it was not accepted in time, and who has taken it."""
    asked = incident.handed_on
    taken = {one.pager: line(one.accepted, 80) for one in asked if one.accepted}
    if incident.generation in incident.pages:
        return f":pager: Paged by {listed(taken.values())} too" if taken else ""
    if not asked or (incident.acknowledged and not taken):
        return ""
    if taken:
        now = f"paged by {listed(taken.values())}"
    else:
        now = f"now asking {line(asked[-1].pager, 40)}" if asked[-1].pager else "there is no other pager to ask"
    late = [line(one.silent, 40) for one in asked if one.silent not in taken]
    waited = span(timedelta(seconds=asked[0].seconds))
    return f":pager: {listed(late)} {'has' if len(late) == 1 else 'have'} not accepted the page for {waited}; {now}"


def _troubles(incident: Incident) -> Block | None:
    latest = list(dict.fromkeys(reversed(incident.troubles)))[:2]
    return small(*(trouble(failed) for failed in reversed(latest)))


def _links(incident: Incident, context: Context) -> Block | None:
    links = [link(context.timeline_url(incident), "Timeline")]
    if incident.postmortem:
        links.append(link(context.postmortem_url(incident), "Postmortem"))
    elsewhere = " · ".join(link(url, name) for name, url in links_of(incident, context.links))
    return small(
        " · ".join([*links, f"detected {when(incident.detected_at)}"]), f":mag: {elsewhere}" if elsewhere else ""
    )


def _buttons(incident: Incident, advice: Advice, context: Context) -> list[Block | None]:
    first: list[Block] = []
    used = {Do.TIMELINE}  # a link on the card
    if incident.status is not Status.OPEN:
        used.add(Do.ACK)
    if advice.step is Next.ANSWER_STEP and (run := incident.active_run) and (step := current_step(run)):
        first = steps.buttons(incident.id, run, step)[:1]
    elif advice.step is Next.RUN:
        first, used = [run_button(incident, context)], used | {Do.RUN}
    elif advice.step in _PRIMARY:
        do, label = _PRIMARY[advice.step]
        first, used = [button(label, do, incident.id, style="primary")], used | {do}
    if incident.status is Status.MITIGATED:
        used.add(Do.MITIGATED)
    rest = [(label, do) for do, label in LABELS.items() if do not in used]
    if incident.active_run is not None:
        # A second runbook beside one under way is the exception, and easily pressed instead of its step.
        rest.sort(key=lambda one: one[1] is Do.RUN)
    shown = max(3, len(rest) - OVERFLOW_MAX)  # few enough for one row beside the first
    return [
        *first,
        *(button(label, do, incident.id) for label, do in rest[:shown]),
        more(incident.id, rest[shown:]),
    ]


def _ended_card(incident: Incident, context: Context) -> Message:
    ended = incident.resolved
    reason = line(ended.what, 800) if ended else ""
    snoozed = ""
    if incident.snoozed_until and incident.firing:
        burning, again = count(incident.firing, "alert"), clock(incident.snoozed_until)
        snoozed = f":no_bell: {burning} still firing; they page again at {again}."
    run = _run(incident)
    return message(
        headline(incident),
        [
            header(f"{incident.severity} · {incident.ref} · {incident.title}"),
            section("\n".join(part for part in (status_line(incident), reason) if part)),
            section(snoozed),
            section(_impact(incident)),
            small(durations(incident)),
            small(tested(incident)),
            small(" · ".join(part for part in (alerts_line(incident), run) if part)),
            _troubles(incident),
            _links(incident, context),
            actions(
                postmortem_button(incident, context),
                button("Timeline", Do.TIMELINE, incident.id),
                button("Add a note", Do.NOTE, incident.id),
            ),
        ],
    )
