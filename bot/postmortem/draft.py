"""The draft of a postmortem: the journal tells what happened, people are asked what it means. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

from jinja2 import PackageLoader, StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bot.incident import events as ev
from bot.incident.entry import Entry
from bot.incident.events import Role
from bot.incident.links import Links, links_of
from bot.incident.run import Run, StepRun, StepStatus
from bot.incident.state import Incident, Status
from bot.incident.timeline import count, span
from bot.postmortem.blocks import fence
from bot.postmortem.keytimes import KeyTimes, key_times
from bot.postmortem.markdown import Markdown, escape, finish, link
from bot.postmortem.shelf import picture_name
from bot.postmortem.story import People, clock, story

CALLED_OFF: Final = frozenset({Status.CANCELLED, Status.MERGED})


@dataclass(frozen=True, slots=True)
class Said:
    """Something a person said at `at` (UTC), as text or as the name of its actor."""

    at: datetime
    who: str
    text: str


@dataclass(frozen=True, slots=True)
class ToldStep:
    """One step of a run: what it did, who approved it, what was measured, and what became of the way back."""

    title: str
    status: str
    did: str
    approved_by: str
    outcome: str
    undo: str


@dataclass(frozen=True, slots=True)
class ToldRun:
    """One run of a runbook with the person who started it."""

    title: str
    runbook: Markdown
    target: str
    status: str
    started: str
    steps: tuple[ToldStep, ...]


def draft(
    incident: Incident, entries: Sequence[Entry], now: datetime, pages_url: str, links: Links | None = None
) -> str:
    """The postmortem as Markdown, as far as the journal knows it at `now` (UTC).

    `entries` are the incident's own, in order. `pages_url` is where people read incidents, without a slash at the end;
    empty leaves the links out. `links` are the templates of where else to look.
    """
    told = [entry for entry in entries if not isinstance(entry.event, ev.PostmortemDrafted)]
    people = People(incident, told)
    times = key_times(incident)
    evidence = [entry for entry in told if isinstance(entry.event, ev.EvidenceCollected)]
    return _template().render(
        incident=incident,
        now=now,
        facts=[*_facts(incident, told, people, pages_url), *_elsewhere(incident, links or {})],
        summary=list(_summary(incident, told, times)),
        impacts=_said(told, ev.ImpactStated, people),
        budgets=list(_budgets(evidence)),
        times=times,
        evidence=evidence[0] if evidence else None,
        checks=_checks(evidence[0]) if evidence else [],
        pictures=[_picture(incident, name, pages_url) for name in pictured(incident)],
        runs=[_told_run(run, told, people, pages_url) for run in incident.runs.values()],
        mitigated=_said(told, ev.Mitigated, people),
        lines=story(incident, told, people),
        candidates=_candidates(evidence),
        updates=_said(told, ev.UpdatePosted, people),
    )


@cache
def _template() -> Template:
    """Templates are ours; what is put into them is data, and is escaped unless it is Markdown already."""
    environment = ImmutableSandboxedEnvironment(
        loader=PackageLoader("bot.postmortem"),
        undefined=StrictUndefined,
        finalize=finish,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"gen": lambda content, name: fence(name, content), "link": link, "span": span}
    environment.filters |= {"clock": clock, "day": lambda at: f"{at:%Y-%m-%d}", "minute": _minute}
    return environment.get_template("postmortem.md.j2")


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _said(entries: Sequence[Entry], kind: type[ev.Event], people: People) -> list[Said]:
    return [
        Said(entry.at, people.call(entry.by), people.without_slack(getattr(entry.event, "text", "")))
        for entry in entries
        if isinstance(entry.event, kind)
    ]


def _facts(incident: Incident, entries: Sequence[Entry], people: People, pages_url: str) -> Iterator[tuple[str, str]]:
    yield "Incident", link(incident.ref, f"{pages_url}/incidents/{incident.ref}")
    drill = any(isinstance(entry.event, ev.IncidentOpened) and entry.event.drill for entry in entries)
    yield "Severity", f"{incident.severity}, a drill" if drill else incident.severity
    yield "Incident is", "called off" if incident.status in CALLED_OFF else incident.status
    yield "Service", incident.service or "not named"
    yield "Model", incident.model or "not named"
    for role in Role:
        taken = people.name(incident.roles[role]) if role in incident.roles else "nobody"
        yield f"{role[0].upper()}{role[1:]}", taken
    reports = [entry.event.firing for entry in entries if isinstance(entry.event, ev.AlertsReported)]
    if reports:
        yield "Alerts", f"{max(reports)} firing at the peak"
    if incident.recurs:
        yield "Seen before", link("an earlier incident of the same alerts", f"{pages_url}/incidents/{incident.recurs}")
    if incident.channel_name:
        yield "Channel", f"#{incident.channel_name}"
    pages = [link(f"{page.pager}, round {page.generation}", page.link) for page in incident.pages.values()]
    if pages:
        yield "Pages", Markdown(", ".join(pages))
    books = dict.fromkeys(run.runbook for run in incident.runs.values())
    if books:
        yield "Runbooks", Markdown(", ".join(_runbook(book, pages_url) for book in books))


def _elsewhere(incident: Incident, links: Links) -> Iterator[tuple[str, str]]:
    made = [link(name, url) for name, url in links_of(incident, links)]
    if made:
        yield "Look", Markdown(", ".join(made))


def _runbook(book: str, pages_url: str) -> Markdown:
    return link(book, f"{pages_url}/runbooks/{book}")


def pictured(incident: Incident) -> list[str]:
    """The evidence whose pictures tell the story: that of the worst moment, and the last."""
    ids = [looked.evidence for looked in (incident.worst, incident.evidence) if looked is not None]
    return [one for one in dict.fromkeys(ids) if one in incident.frozen and "picture" in incident.frozen[one].parts]


def _picture(incident: Incident, evidence: str, pages_url: str) -> Markdown:
    look = incident.looks[evidence]
    said = escape(f"The 90 minutes before {look.at:%H:%M} UTC: {look.verdict}")
    place = link(evidence, f"{pages_url}/incidents/{incident.ref}/evidence/{evidence}")
    return Markdown(f"![{said}]({picture_name(incident, evidence)})\n\n{said}, kept as {place}.")


def _summary(incident: Incident, entries: Sequence[Entry], times: KeyTimes) -> Iterator[str]:
    """What, how long, who felt it, how it ended: one sentence each, only from what was recorded."""
    where = [part for part in (incident.service, incident.model) if part]
    yield _sentence(incident.title + (f" ({', '.join(where)})" if where else ""))
    by = incident.declared_by
    how = "somebody declared it" if by.is_person else f"the first alert fired ({by.name or by.id})"
    yield f"It was detected on {incident.detected_at:%Y-%m-%d at %H:%M} UTC, when {how}."
    seen = next((entry.event.impact for entry in entries if isinstance(entry.event, ev.EvidenceCollected)), "")
    if incident.impact:
        yield _sentence(f"Users: {incident.impact}")
    elif seen:
        yield _sentence(f"Users, as the telemetry saw it: {seen}")
    else:
        yield "Nobody has stated how users were affected."
    if incident.generation > 1:
        yield f"It came back; the key times are those of round {incident.generation}."
    yield _ending(incident, times)
    ended = [entry.event for entry in entries if isinstance(entry.event, ev.Resolved)]
    if ended and incident.status is Status.RESOLVED:
        yield from _proof(ended[-1])


def _proof(ended: ev.Resolved) -> Iterator[str]:
    """What proves that it is over, or what spoke against it when a person closed it all the same."""
    if ended.proof:
        yield _sentence(f"The telemetry proves it: {ended.proof}")
    elif ended.unproven:
        yield _sentence(f"It is not proven: {ended.unproven}")


def _ending(incident: Incident, times: KeyTimes) -> str:
    if incident.resolved is None:
        return f"It is not over: {incident.status}."
    if incident.status in CALLED_OFF:
        return _sentence(f"It was called off: {incident.resolved.what}")
    harm = times.spans[3].length
    since = incident.resolved.at - incident.detected_at
    length = f"{span(since)} after it was detected" if harm is None else f"{span(harm)} after users were first hit"
    return _sentence(f"It was resolved {length}: {incident.resolved.what}")


def _sentence(text: str) -> str:
    shown = text.strip()
    return shown if shown.endswith((".", "!", "?")) else f"{shown}."


def _checks(entry: Entry) -> list[Mapping[str, Any]]:
    """What was past a limit, the worst first; empty for a report whose details were redacted."""
    if not isinstance(entry.event, ev.EvidenceCollected):
        raise TypeError(f"{entry.id} is no evidence")
    past = [check for check in entry.event.report.get("checks", ()) if check["status"] in ("warn", "crit")]
    return sorted(past, key=lambda check: check["status"] != "crit")


def _budgets(evidence: Sequence[Entry]) -> Iterator[str]:
    """What it cost of each error budget, between the first report that knew it and the last."""
    seen: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for entry in evidence:
        reports = entry.event.report if isinstance(entry.event, ev.EvidenceCollected) else {}
        for slo in reports.get("slos", ()):
            if slo["left"] is not None:
                who = (slo["name"], slo["service"], slo["model"], slo.get("namespace", ""))
                seen.setdefault(who, []).append(slo)
    for standings in seen.values():
        first, last = standings[0], standings[-1]
        left = f"{last['left']:.0%} of the {last['days']} days' error budget is left"
        cost = first["left"] - last["left"]
        if len(standings) == 1:
            yield f"Objective {last['title']}: {left}."
        elif cost > 0:
            yield f"Objective {last['title']}: {cost:.1%} of the budget was used while this lasted, {left}."
        else:
            yield f"Objective {last['title']}: no budget was used while this lasted, {left}."


def _candidates(evidence: Sequence[Entry]) -> list[str]:
    """What the telemetry thought the cause was, each once; people decide whether it was."""
    causes: dict[str, None] = {}
    for entry in evidence:
        if isinstance(entry.event, ev.EvidenceCollected):
            causes |= dict.fromkeys(filter(None, (entry.event.cause, entry.event.report.get("second", ""))))
    return list(causes)


def _told_run(run: Run, entries: Sequence[Entry], people: People, pages_url: str) -> ToldRun:
    starter = next((e.by for e in entries if isinstance(e.event, ev.RunStarted) and e.event.run == run.id), None)
    by = f"{people.call(starter)} at " if starter else ""
    return ToldRun(
        title=run.title,
        runbook=_runbook(run.runbook, pages_url),
        target=run.target,
        status=run.status,
        started=f"{by}{run.started_at:%Y-%m-%d %H:%M:%S} UTC",
        steps=tuple(_told_step(step, people) for step in run.steps),
    )


def _told_step(step: StepRun, people: People) -> ToldStep:
    return ToldStep(
        title=step.spec.title,
        status=step.status + (f", {count(step.attempt, 'attempt')}" if step.attempt > 1 else ""),
        did="; ".join(step.plan.get("lines", ())),
        approved_by=people.call_user(step.approved_by) if step.approved_by else "",
        outcome="" if step.status is StepStatus.UNDONE else people.without_slack(step.outcome),
        undo=_undo(step),
    )


def _undo(step: StepRun) -> str:
    if step.status in (StepStatus.UNDONE, StepStatus.UNDOING):
        return step.status
    if step.lease_until is not None:
        return f"lent until {step.lease_until:%Y-%m-%d %H:%M} UTC"
    return str(step.plan.get("undo") or step.spec.no_undo or "")
