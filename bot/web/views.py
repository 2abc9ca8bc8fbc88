"""Incidents as the pages show them: small frozen records of words, made from the fold and the journal. Pure."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from bot.health.observation import number
from bot.incident.advice import Next, advise, six_steps
from bot.incident.change import words
from bot.incident.entry import Entry
from bot.incident.events import EvidenceCollected
from bot.incident.policy import Policy
from bot.incident.run import Run, RunStatus, StepRun, StepStatus
from bot.incident.state import Incident, Status, Tested
from bot.incident.timeline import count, span, who
from bot.postmortem.keytimes import key_times
from bot.postmortem.shelf import number_of
from bot.postmortem.story import People

_HEADING: Final = re.compile(r"<h2 id=\"([^\"]*)\">(.*?)</h2>", re.DOTALL)
_TAG: Final = re.compile(r"<[^>]*>")
_BADNESS: Final = {"crit": 0, "warn": 1, "unknown": 2, "ok": 3}
_SIGN: Final = {"crit": "critical", "warn": "warning", "ok": "ok", "unknown": "not seen"}


@dataclass(frozen=True, slots=True)
class StepView:
    """One of the six steps; `state` is done, now, todo, or skipped when the incident ended without it."""

    name: str
    state: str
    by: str = ""
    at: datetime | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CardView:
    """An incident at a glance. `length` is how long it has burned, or burned; `todo` names the next step."""

    ref: str
    title: str
    severity: str
    status: str
    live: bool
    about: tuple[str, ...]
    detected_at: datetime
    length: str
    alerts: str
    steps: tuple[StepView, ...]
    todo: str
    why: str
    postmortem: str
    generation: int


@dataclass(frozen=True, slots=True)
class CheckView:
    """One number of the evidence; `status` is crit, warn, ok or unknown, `sign` the word for it."""

    title: str
    status: str
    sign: str
    text: str
    offender: str
    limits: str = ""
    query: str = ""


@dataclass(frozen=True, slots=True)
class LookView:
    """One look at the telemetry, to choose from."""

    id: str
    at: datetime
    verdict: str


@dataclass(frozen=True, slots=True)
class EvidenceView:
    """What the telemetry said. `pictured` says that a picture was kept with it."""

    verdict: str
    impact: str
    cause: str
    confidence: str
    unknowns: tuple[str, ...]
    bad: tuple[CheckView, ...]
    calm: tuple[CheckView, ...]
    id: str = ""
    pictured: bool = False


@dataclass(frozen=True, slots=True)
class RunStepView:
    """One step of a runbook run, with the lines a person reads below its title."""

    title: str
    status: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RunView:
    """One runbook run."""

    title: str
    runbook: str
    target: str
    status: str
    started_at: datetime
    steps: tuple[RunStepView, ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """One key figure: `value` is a span, or says that it is not known; `note` says why, else how it is counted."""

    name: str
    meaning: str
    value: str
    known: bool
    note: str


@dataclass(frozen=True, slots=True)
class PostmortemView:
    """A postmortem in the list. `title` and `severity` come from the journal, where it still knows the incident."""

    name: str
    day: str
    ref: str
    title: str
    severity: str
    length: str


def card(incident: Incident, now: datetime, policy: Policy) -> CardView:
    """The incident at a glance at `now` (UTC)."""
    advice = advise(incident, policy)
    until = now if incident.resolved is None else incident.resolved.at
    alerts = [f"{incident.firing} firing"] if incident.firing else []
    alerts += [f"{incident.recovered} recovered"] if incident.recovered else []
    return CardView(
        ref=incident.ref,
        title=incident.title,
        severity=incident.severity.value,
        status=incident.status.value,
        live=incident.is_live,
        about=tuple(filter(None, (incident.service, incident.model))),
        detected_at=incident.detected_at,
        length=span(until - incident.detected_at),
        alerts=", ".join(alerts),
        steps=steps(incident),
        todo=_todo(advice.step) if incident.is_live else "",
        why=advice.why,
        postmortem=incident.postmortem,
        generation=incident.generation,
    )


def _todo(step: Next) -> str:
    match step:
        case Next.RUN:
            return "Run the runbook"
        case Next.ANSWER_STEP:
            return "Answer the runbook"
        case Next.MITIGATED:
            return "Say that it is mitigated"
        case Next.UPDATE:
            return "Tell the stakeholders"
        case other:
            return other.value.capitalize()


def steps(incident: Incident) -> tuple[StepView, ...]:
    """The six steps, with the first undone one of a live incident as the one to do now."""
    shown: list[StepView] = []
    waiting = incident.is_live
    for step in six_steps(incident):
        if step.mark is not None:
            cancelled = step.name == "Resolve" and incident.status is Status.CANCELLED
            name = "Called off" if cancelled else step.name
            at = None if step.name == "Postmortem" else step.mark.at
            by = "drafted" if step.name == "Postmortem" else who(step.mark.by)
            shown.append(StepView(name, "done", by, at, "" if step.name == "Postmortem" else step.mark.what))
            continue
        over = not incident.is_live and step.name != "Postmortem"
        state = "skipped" if over else "now" if waiting else "todo"
        shown.append(StepView(step.name, state))
        waiting = False
    return tuple(shown)


def _tested(said: Tested) -> tuple[str, str]:
    """What the telemetry said last to the question whether it is over."""
    return "Proven healthy" if said.holds else "Not proven healthy", f"{said.text} ({said.at:%H:%M} UTC)"


def facts(incident: Incident, entries: Sequence[Entry], now: datetime) -> tuple[tuple[str, str], ...]:
    """The header of an incident's page: label and value, only what is known."""
    people = People(incident, entries)
    over = incident.resolved
    burned = span((over.at if over else now) - incident.detected_at)
    rows = [
        ("Detected", f"{incident.detected_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("Detected to end" if over else "Since detection", burned),
        ("Users hit since", f"{incident.started_at:%Y-%m-%d %H:%M} UTC" if incident.started_at else ""),
        ("Service", incident.service),
        ("Model", incident.model),
        ("Alerts", _alerts(incident)),
        *([_tested(incident.tested)] if incident.tested else []),
        *((role.value.capitalize(), people.name(user)) for role, user in incident.roles.items()),
        ("Channel", f"#{incident.channel_name}" if incident.channel_name else ""),
        ("Round", str(incident.generation) if incident.generation > 1 else ""),
    ]
    return tuple((label, value) for label, value in rows if value)


def _alerts(incident: Incident) -> str:
    if not incident.group_key:
        return ""
    return f"{incident.firing} firing, {incident.recovered} recovered"


def troubles(incident: Incident) -> tuple[tuple[str, int], ...]:
    """What could not be delivered, each once, with how often; the first to happen comes first."""
    told = (f"{one.effect.replace('_', ' ')} by {one.courier}. {one.reason}" for one in incident.troubles)
    return tuple(Counter(told).items())


def evidence(incident: Incident) -> EvidenceView | None:
    """The latest evidence, the worst first; one whose details were redacted keeps its headline."""
    told = incident.evidence
    if told is None:
        return None
    frozen = incident.frozen.get(told.evidence)
    return replace(evidence_of(told), pictured=frozen is not None and "picture" in frozen.parts)


def evidence_of(told: EvidenceCollected) -> EvidenceView:
    """One look at the telemetry, the worst first."""
    report: Mapping[str, Any] = told.report
    signals, certainty = report.get("signals"), report.get("certainty", "")
    checks = sorted((_check(one) for one in report.get("checks", ())), key=lambda check: _BADNESS.get(check.status, 3))
    return EvidenceView(
        verdict=told.verdict,
        impact=told.impact,
        cause=told.cause,
        confidence=f"{certainty}{', ' * bool(certainty)}{report.get('agree')} of {count(signals, 'signal')}"
        if signals
        else "",
        unknowns=tuple(report.get("unknowns", ())),
        bad=tuple(check for check in checks if check.status in ("crit", "warn")),
        calm=tuple(check for check in checks if check.status not in ("crit", "warn")),
        id=told.evidence,
    )


@dataclass(frozen=True, slots=True)
class ChangeView:
    """One change: when, what kind, what in a line, which settings and text differ, and where its author shows it."""

    at: datetime
    kind: str
    text: str
    settings: tuple[str, ...]
    diff: str
    link: str


def changes(incident: Incident) -> tuple[ChangeView, ...]:
    """What was changed shortly before the incident and since, the newest first."""
    return tuple(
        ChangeView(
            one.at, one.kind.value, words(one), tuple(str(setting) for setting in one.settings), one.diff, one.url
        )
        for one in incident.changes
    )


def _check(one: Mapping[str, Any]) -> CheckView:
    given = [(name, one.get(name)) for name in ("warn", "crit") if one.get(name) is not None]
    side = "under" if one.get("direction") == "below" else "over"
    limits = ", ".join(
        f"{name} {side} {number(limit, one.get('unit', 'count'))}" for name, limit in given if limit is not None
    )
    sign = _SIGN.get(one["status"], "")
    return CheckView(one["title"], one["status"], sign, one["text"], one["offender"], limits, one.get("query", ""))


def looks(incident: Incident) -> tuple[LookView, ...]:
    """Every look at the telemetry that has a page, in order."""
    return tuple(LookView(name, look.at, look.verdict) for name, look in incident.looks.items())


def runs(incident: Incident, entries: Sequence[Entry]) -> tuple[RunView, ...]:
    """The runbook runs, the latest first."""
    people = People(incident, entries)
    return tuple(_run(run, people) for run in reversed(list(incident.runs.values())))


def _run(run: Run, people: People) -> RunView:
    status = "under way" if run.status is RunStatus.RUNNING else run.status.value
    told = tuple(_run_step(step, people) for step in run.steps)
    return RunView(run.title, run.runbook, run.target, status, run.started_at, told)


def _run_step(step: StepRun, people: People) -> RunStepView:
    lent = f"{step.lease_until:%H:%M} UTC, then it is undone" if step.lease_until else ""
    way_back = "" if step.status is StepStatus.UNDONE else str(step.plan.get("undo") or step.spec.no_undo)
    rows = [
        ("Does", "; ".join(step.plan.get("lines", ()))),
        ("Approved by", people.name(step.approved_by) if step.approved_by else ""),
        ("Result", step.outcome),
        ("Lent until", lent),
        ("Way back", way_back),
    ]
    return RunStepView(step.spec.title, step.status.value, tuple((label, text) for label, text in rows if text))


def figures(incident: Incident) -> tuple[Figure, ...]:
    """TTD, TTA, TTM, TTR as they stand on a postmortem's page."""
    return tuple(
        Figure(
            name=figure.name,
            meaning=figure.meaning,
            value="not known" if figure.length is None else span(figure.length),
            known=figure.length is not None,
            note=figure.why_not or figure.remark or figure.formula,
        )
        for figure in key_times(incident).spans
    )


def postmortem(name: str, incident: Incident | None) -> PostmortemView:
    """What the file name (of the shelf's form) and the journal say about a postmortem."""
    day, ref = name[:10], f"INC-{number_of(name)}"
    if incident is None:
        return PostmortemView(name, day, ref, name.removesuffix(".md").split("-", 5)[5].replace("-", " "), "", "")
    length = span(incident.resolved.at - incident.detected_at) if incident.resolved else ""
    return PostmortemView(name, day, ref, incident.title, incident.severity.value, length)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading to jump to; `html` is its text, safe as it is."""

    anchor: str
    html: str


def outline(html: str) -> tuple[Heading, ...]:
    """The second-level headings of a rendered text, in order."""
    return tuple(Heading(anchor, _TAG.sub("", text)) for anchor, text in _HEADING.findall(html))
