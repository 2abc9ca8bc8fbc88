"""The health report as people see it in chat: users first, then why, what to do, a picture, and all the numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from bot.health import versions
from bot.health.compare import compare
from bot.health.findings import Report
from bot.health.freeze import short_title
from bot.health.logs import CHECK as LOG
from bot.health.observation import Observation, number
from bot.health.report import checked, tally
from bot.health.versions import Comparison
from bot.incident import events as ev
from bot.incident.entry import Entry
from bot.incident.state import Incident, Status
from bot.incident.timeline import span
from bot.slack.actions import Do, evidence_value
from bot.slack.blocks import Block, Message, actions, button, confirm, header, image, message, section, small
from bot.slack.parts import VERDICT_MARKS, Context, run_button
from bot.slack.text import clock, cut, line, link, plain

_CHECK_MARKS: Final[Mapping[str, str]] = {
    "crit": ":red_circle:",
    "warn": ":large_yellow_circle:",
    "ok": ":white_check_mark:",
    "unknown": ":black_circle:",
}
_USERS_SHOWN: Final = 4
VERSIONS_SHOWN: Final = 3
"""Models whose versions are shown side by side; the rest is in the terminal's report."""
_QUERY_SHOWN: Final = 260


@dataclass(frozen=True, slots=True)
class Beside:
    """What is known beside the report: from when users felt it, its picture, how it compares, and its buttons."""

    since: datetime | None = None
    picture: str = ""
    lines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    buttons: tuple[Block | None, ...] = ()


NOTHING_BESIDE: Final = Beside()


def report_title(seen: Report) -> str:
    """The verdict first and in words, about whom, and the one thing to know; at most a header's 150 characters."""
    return plain(short_title(seen), 150)


def report_blocks(seen: Report, context: Context, beside: Beside = NOTHING_BESIDE) -> list[Block | None]:
    """The seven blocks, those left out that have nothing to say; and one for each model that serves in two versions."""
    return [
        header(report_title(seen)),
        section(f"*Users:* {_users(seen, beside.since)}"),
        section("\n".join(beside.lines)),
        section("\n".join(_why(seen))),
        section("\n".join(_what_to_do(seen, context))),
        *(section(side_by_side(one)) for one in seen.versions[:VERSIONS_SHOWN]),
        image(beside.picture, f"{report_title(seen)}. {_users(seen, None)}") if beside.picture else None,
        small(" · ".join(_small_print(seen, beside.notes))),
        actions(*beside.buttons),
    ]


def side_by_side(comparison: Comparison) -> str:
    """A model's versions as lines of mrkdwn."""
    title, *rest = versions.lines(comparison)
    return "\n".join([f":mag: *{line(title, 200)}*", *(line(text, 300) for text in rest[:12])])


def _felt(seen: Report) -> list[Observation]:
    bad = [check for check in seen.checks if check.group == "users" and check.bad]
    return sorted(bad, key=lambda check: check.status != "crit")


def _users(seen: Report, since: datetime | None) -> str:
    felt = _felt(seen)
    begun = since or min((check.since for check in felt if check.since), default=None)
    ago = max(seen.at, begun) - begun if begun else timedelta()
    for_long = f" ({span(ago)})" if ago >= timedelta(minutes=1) else ""
    when = f", since {clock(begun)}{for_long}" if begun else ""
    if not felt:
        return f"{line(seen.impact, 800)}{when}"
    return ", ".join(f"{line(check.text, 200)}{_limit(check)}" for check in felt[:_USERS_SHOWN]) + when


def _limit(check: Observation) -> str:
    """` (SLA 2.5 s)`, ` (limit 1.0%)`; empty where any at all is too many."""
    if not check.limit:
        return ""
    if check.check == "U2" and check.warn is not None:
        return f" (SLA {check.warn:g} s)"
    return f" (limit {number(check.limit, check.unit)})"


def _why(seen: Report) -> list[str]:
    if seen.verdict == "OK" or not seen.cause.strip():
        return []
    sure = f" ({line(seen.confidence, 60)})" if seen.confidence else ""
    told = [f"*Cause{sure}:* {line(seen.cause, 800)}"]
    return told + ([f"*Or else:* {line(seen.second, 400)}"] if seen.second else [])


def _what_to_do(seen: Report, context: Context) -> list[str]:
    """One thing to do; the rest waits for it."""
    told = []
    if seen.runbooks:
        first, *others = (_runbook(one, context) for one in seen.runbooks[:3])
        told.append(f"*Do now:* {first}" + (f"; then {', then '.join(others)}" if others else ""))
    return told + [f":no_entry_sign: *Not advised:* {line(text)}" for text in seen.not_advised[:3]]


def _runbook(runbook: str, context: Context) -> str:
    known = context.runbooks.get(runbook, "")
    return line(known, 120) if known else f"`{line(runbook, 80)}` (not among our runbooks)"


def _small_print(seen: Report, notes: Sequence[str]) -> list[str]:
    unseen = "; ".join(line(text, 120) for text in seen.unknowns[:3])
    more = f" and {len(seen.unknowns) - 3} more" if len(seen.unknowns) > 3 else ""
    blind = f" (not seen: {unseen}{more})" if unseen else ""
    return [f"{checked(seen)} checks: {tally(seen)}{blind}", f"data of {clock(seen.at)}", *notes]


def evidence_message(
    entry: Entry, found: ev.EvidenceCollected, incident: Incident, context: Context
) -> list[Block | None]:
    """The report about an incident. `incident` may be of any later time: the picture and the ratings come after it."""
    if not found.report:
        mark = VERDICT_MARKS.get(found.verdict, ":black_circle:")
        return [section(f"{mark} *{line(found.verdict, 40)}* · its details were taken out")]
    seen = Report.from_dict(found.report)
    frozen = incident.frozen.get(found.evidence)
    picture = incident.pictures.get(found.evidence)
    notes = [link(f"{context.timeline_url(incident)}/evidence/{found.evidence}", found.evidence)] if frozen else []
    notes += [f"no picture: {line(picture.reason, 160)}"] if picture and picture.reason else []
    return report_blocks(
        seen,
        context,
        Beside(
            since=frozen.since if frozen else None,
            picture=picture.file if picture else "",
            lines=tuple(_compared(entry, found, incident)),
            notes=(*notes, *_rated(found.evidence, incident)),
            buttons=_buttons(seen, found, incident, context),
        ),
    )


def _compared(entry: Entry, found: ev.EvidenceCollected, incident: Incident) -> list[str]:
    """Once it is mitigated or over: how it was at its worst, and how it is now."""
    worst = incident.worst
    calm = any(mark and entry.at >= mark.at for mark in (incident.mitigated, incident.resolved))
    if worst is None or not worst.report or not calm or worst.evidence == found.evidence:
        return []
    lines = compare(Report.from_dict(worst.report), Report.from_dict(found.report))
    return [
        f"*Against the worst of it* ({line(worst.evidence or worst.verdict, 40)})",
        *(f"• {line(one)}" for one in lines),
    ]


def _rated(evidence: str, incident: Incident) -> list[str]:
    said = [rating.right for (of, _), rating in incident.ratings.items() if of == evidence]
    return [f":+1: {sum(said)} :-1: {len(said) - sum(said)}"] if said else []


def _buttons(
    seen: Report, found: ev.EvidenceCollected, incident: Incident, context: Context
) -> tuple[Block | None, ...]:
    # A second runbook is not offered while one is under way, nor after one has helped; nor what an older look proposed.
    newest = incident.evidence is None or incident.evidence.evidence == found.evidence
    open_to_it = newest and incident.is_live and incident.active_run is None and incident.status is not Status.MITIGATED
    known = context.runbooks.get(found.runbook, "")
    run = run_button(incident, context) if known and open_to_it else None
    if run is not None:
        run = {
            **run,
            "confirm": {**confirm(f"Run: {plain(known, 90)}?", _reach(seen), "Yes, open it"), "style": "primary"},
        }
        if incident.status is Status.OPEN:
            del run["style"]  # first somebody takes it: that button is the one that stands out
    if not found.evidence:
        return (run,)
    value = evidence_value(incident.id, found.evidence)
    return (
        run,
        button("Full report", Do.FULL, value),
        button(":+1: Right", Do.RIGHT, value),
        button(":-1: Wrong", Do.WRONG, value),
    )


def _reach(seen: Report) -> str:
    """What hangs on it, in numbers where there are some; the acts themselves are previewed one by one."""
    capacity = next((check.text for check in seen.checks if check.check == "U5" and check.status != "unknown"), "")
    remains = [drain.reason for drain in seen.drains]
    known = "; ".join(line(text, 120) for text in (remains or [capacity]) if text)
    return (
        f"{known[:1].upper()}{known[1:]}. Nothing happens yet: every act is shown first."
        if known
        else ("Nothing happens yet: every act is shown first and waits for you.")
    )


def health_card(report: Mapping[str, Any], context: Context, incident_id: str = "", *, full: bool = False) -> Message:
    """The report for whoever asked for it (`Report` as JSON).

    Under it what is past a limit, or every number where all of it was wanted. The button that starts a runbook is there
    only for an incident.
    """
    seen = Report.from_dict(report)
    if full:
        return full_card(report, context)
    run = button("Run a runbook", Do.RUN, incident_id, style="primary") if incident_id and seen.runbooks else None
    word = "" if seen.scope.whole else f" {line(seen.about, 60)}"
    # No file can be shown to one person alone (slackapi/node-slack-sdk#1790), so the picture is drawn elsewhere.
    ways = (
        f"`/incident health{word} --full` shows all",
        f"`fixfirst health{word} --picture FILE.png` draws the last 90 minutes",
    )
    beside = Beside(notes=ways, buttons=(run,))
    return message(report_title(seen), [*report_blocks(seen, context, beside), *_groups(_numbers(seen, bad=True))])


def full_card(report: Mapping[str, Any], context: Context) -> Message:
    """Every check with its value, its limits and what was asked; the whole queries stand on the evidence's page."""
    seen = Report.from_dict(report)
    checks = sorted(seen.checks, key=lambda check: list(_CHECK_MARKS).index(check.status))
    lines = [f"{_check_line(check)}{_limits(check)}{_query(check)}" for check in checks]
    return message(report_title(seen), [*report_blocks(seen, context), *_groups(lines, 4)])


def numbers_message(found: ev.EvidenceCollected, incident: Incident) -> Message | None:
    """The numbers behind a report, for the thread under it; None when there are none, or they were taken out."""
    if not found.report:
        return None
    seen = Report.from_dict(found.report)
    if all(check.status == "unknown" for check in seen.checks):
        return None
    logs = _log_lines(seen)
    return message(
        f"{incident.ref}: the numbers of {found.evidence or seen.verdict}",
        [*_groups(_numbers(seen)), section(logs) if logs else None],
    )


def _numbers(seen: Report, *, bad: bool = False) -> list[str]:
    """All of them, or those past a limit."""
    checks = sorted(seen.checks, key=lambda check: list(_CHECK_MARKS).index(check.status))
    return [f"{_check_line(check)}{_limits(check)}" for check in checks if check.bad or not bad]


def _groups(lines: Sequence[str], size: int = 8) -> list[Block | None]:
    return [section("\n".join(lines[start : start + size])) for start in range(0, len(lines), size)]


def _log_lines(seen: Report) -> str:
    """What the logs of restarting containers told, as they told it."""
    told = [sample.labels for check in seen.checks if check.check == LOG for sample in check.series]
    lines = [line(f"{one['pod']}: {one['line']}", 320) for one in told if one.get("line")]
    return cut("\n".join(["*From the logs*", *(f">{text}" for text in lines)]), 2900) if lines else ""


def _check_line(check: Observation) -> str:
    whom = f" · {line(check.offender, 80)}" if check.offender and check.bad else ""
    return f"{_CHECK_MARKS[check.status]} {line(check.title, 60)}: {line(check.text, 160)}{whom}"


def _limits(check: Observation) -> str:
    """` (warn > 1.0%, crit ≥ 10.0%)`."""
    signs = (">", "≥") if check.direction == "above" else ("<", "≤")
    given = [("warn", signs[0], check.warn), ("crit", signs[1], check.crit)]
    told = [f"{name} {sign} {number(limit, check.unit)}" for name, sign, limit in given if limit is not None]
    return f" ({', '.join(told)})".replace(">", "&gt;").replace("<", "&lt;") if told else ""


def _query(check: Observation) -> str:
    asked = line(check.query.replace("`", "'"), _QUERY_SHOWN)
    return f"\n`{asked}`" if asked else ""
