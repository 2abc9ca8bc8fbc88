"""Runbooks as the pages show them: what each would do and cost, how it has done, and what is wrong with it. Pure."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bot.incident.run import Risk, Verify
from bot.incident.timeline import count, span
from bot.journal.catalogue import AlertRecord, RunRecord
from bot.runbook.kinds import KINDS, Targets, costlier, least_risk
from bot.runbook.model import Runbook, Step
from bot.runbook.shelf import Book

HISTORY: Final = 30
"""Runs on a runbook's page."""
PERSON, UNKNOWN = "person", "unknown"
_COST: Final[Mapping[str, str]] = {
    Risk.READ: "only looks",
    PERSON: "a person",
    Risk.REVERSIBLE: "can be undone",
    Risk.DESTRUCTIVE: "cannot be taken back",
    UNKNOWN: "not known",
}
_TALLY: Final[Mapping[str, tuple[str, str]]] = {
    Risk.READ: ("only looks", "only look"),
    PERSON: ("for a person", "for a person"),
    Risk.REVERSIBLE: ("can be undone", "can be undone"),
    Risk.DESTRUCTIVE: ("cannot be taken back", "cannot be taken back"),
    UNKNOWN: ("not known", "not known"),
}


@dataclass(frozen=True, slots=True)
class StepLine:
    """One step as it stands in its file. `risk` is a word for its colour, `cost` the words for people."""

    number: int
    title: str
    kind: str
    risk: str
    cost: str
    way_back: str
    lease: str
    proof: str
    proven: str


@dataclass(frozen=True, slots=True)
class RunLine:
    """One run. `outcome` is done, stopped or under way; `length` is empty for one that has not ended."""

    ref: str
    at: datetime
    ago: str
    by: str
    target: str
    outcome: str
    length: str
    drill: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """How a runbook has done. `rate` is in words, empty where no run has ended; rehearsals count only as such."""

    rate: str
    done: int
    ended: int
    last: RunLine | None
    rehearsed: RunLine | None
    history: tuple[RunLine, ...]


@dataclass(frozen=True, slots=True)
class BookView:
    """One runbook in the list. `key` is its page's name; empty where another one has that name already."""

    key: str
    title: str
    file: str
    owner: str
    alerts: tuple[str, ...]
    steps: tuple[StepLine, ...]
    tally: str
    standing: Standing
    faults: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class AlertView:
    """An alert that no runbook here names. `named` is the runbook that its own label asks for."""

    name: str
    severity: str
    often: str
    last_seen: datetime
    ago: str
    named: str


def keyed(books: Iterable[Book]) -> Mapping[str, Book]:
    """Books by the name of their page, the good ones first: a faulty one takes nobody's name."""
    found: dict[str, Book] = {}
    for book in sorted(books, key=lambda book: bool(book.faults)):
        found.setdefault(_name(book), book)
    return found


def catalogue(
    books: Sequence[Book], records: Sequence[RunRecord], targets: Targets, now: datetime
) -> tuple[BookView, ...]:
    """All runbooks in the order of their titles."""
    pages = keyed(books)
    per_book: defaultdict[str, list[RunRecord]] = defaultdict(list)
    for record in records:
        per_book[record.runbook].append(record)
    shown = [
        book_view(book, per_book[_name(book)] if pages[_name(book)] is book else [], targets, now, pages)
        for book in books
    ]
    return tuple(sorted(shown, key=lambda view: (view.title.lower(), view.file)))


def book_view(
    book: Book, records: Sequence[RunRecord], targets: Targets, now: datetime, pages: Mapping[str, Book]
) -> BookView:
    """One runbook with its own `records`, the newest first."""
    runbook, name = book.runbook, _name(book)
    lines = tuple(_step(number, step, runbook, targets) for number, step in enumerate(runbook.steps, 1))
    return BookView(
        key=name if pages.get(name) is book else "",
        title=runbook.title or book.path.name,
        file=book.path.name,
        owner=runbook.owner,
        alerts=runbook.alerts,
        steps=lines,
        tally=_tally(lines),
        standing=standing(records, now),
        faults=tuple((fault.line, fault.message) for fault in book.faults),
    )


def standing(records: Sequence[RunRecord], now: datetime) -> Standing:
    """What these runs of one runbook, the newest first, say about it."""
    real = [record for record in records if not record.drill]
    ended = [record for record in real if record.outcome]
    done = sum(record.outcome == "done" for record in ended)
    return Standing(
        rate=f"{100 * done // len(ended)} %" if ended else "",
        done=done,
        ended=len(ended),
        last=next((_run(record, now) for record in real), None),
        rehearsed=next((_run(record, now) for record in records if record.drill), None),
        history=tuple(_run(record, now) for record in records[:HISTORY]),
    )


def orphans(records: Iterable[AlertRecord], books: Iterable[Book], now: datetime) -> tuple[AlertView, ...]:
    """The alerts that no good runbook is offered for, in the order given."""
    good = [book.runbook for book in books if not book.faults]
    named: Collection[str] = {alert for runbook in good for alert in runbook.alerts}
    ids = {runbook.id for runbook in good}
    return tuple(
        AlertView(
            name=record.name or "without a name",
            severity=record.severity,
            often=f"fired {count(record.times, 'time')}, as {count(record.alerts, 'alert')}",
            last_seen=record.last_seen,
            ago=_ago(record.last_seen, now),
            named=record.runbook,
        )
        for record in records
        if record.name not in named and record.runbook not in ids
    )


def _name(book: Book) -> str:
    return book.runbook.id or book.path.stem


def _step(number: int, step: Step, runbook: Runbook, targets: Targets) -> StepLine:
    risk = _risk(step, targets)
    return StepLine(
        number=number,
        title=step.title,
        kind=step.kind,
        risk=risk,
        cost=_COST[risk],
        way_back=_way_back(step, runbook) if risk in (Risk.REVERSIBLE, Risk.DESTRUCTIVE) else "",
        lease=span(step.lease) if step.lease else "",
        proof=f"{step.verify.query} {step.verify.expect}" if step.verify else "",
        proven=_proven(step.verify) if step.verify else "",
    )


def _risk(step: Step, targets: Targets) -> str:
    """A word for what it costs, whatever is wrong with the file: what could be undone and is not, cannot be."""
    rule = KINDS.get(step.kind)
    if rule is None:
        return UNKNOWN
    if rule.asks:
        return PERSON
    least = least_risk(rule, step.args, targets)
    risk = costlier(step.risk or least, least)
    return Risk.DESTRUCTIVE if risk is Risk.REVERSIBLE and step.undo is None else risk


def _proven(verify: Verify) -> str:
    held = f"for {span(verify.hold)}, " if verify.hold else ""
    return f"{held}within {span(verify.within)}"


def _way_back(step: Step, runbook: Runbook) -> str:
    if step.undo == "auto":
        return "puts back what was there"
    if step.undo:
        other = next((one.title for one in runbook.steps if one.id == step.undo), step.undo)
        return f"by the step “{other}”"
    return f"none: {step.no_undo}" if step.no_undo else "none"


def _tally(lines: Sequence[StepLine]) -> str:
    """`4 steps: 2 only look, 1 can be undone`."""
    if not lines:
        return "no steps"
    counts = Counter(line.risk for line in lines)
    parts = [f"{counts[risk]} {words[counts[risk] > 1]}" for risk, words in _TALLY.items() if counts[risk]]
    return f"{count(len(lines), 'step')}: {', '.join(parts)}"


def _run(record: RunRecord, now: datetime) -> RunLine:
    return RunLine(
        ref=f"INC-{record.incident}",
        at=record.started_at,
        ago=_ago(record.started_at, now),
        by=record.by,
        target=record.target,
        outcome=record.outcome or "under way",
        length=span(record.ended_at - record.started_at) if record.ended_at else "",
        drill=record.drill,
    )


def _ago(at: datetime, now: datetime) -> str:
    days = (now - at).days
    return f"{days} days ago" if days >= 2 else f"{span(max(now - at, timedelta(0)))} ago"
