"""What runbooks did and which alerts came over a span of time: asked of the database, no incident is folded for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import Integer, String, bindparam, cast, func, literal_column, or_, select

from bot.incident.events import NAMES, RunFinished, RunStarted
from bot.journal.direct import Direct
from bot.journal.store import Journal
from bot.journal.tables import alert, event, incident

MOST_INCIDENTS: Final = 2000
"""The newest that are looked at, with some 120,000 entries in a tenth of a second; what is archived is not."""
MOST_ALERTS: Final = 200
_STARTED, _FINISHED = NAMES[RunStarted], NAMES[RunFinished]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of a runbook. `outcome` is "done", "stopped", or empty while it is under way.

    `drill` is that of its incident: a run in a rehearsal says nothing about how often the runbook helps.
    """

    incident: int
    runbook: str
    target: str
    by: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str
    drill: bool


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """All alerts of one name: how many there are, how often they fired, and when one was last heard of."""

    name: str
    severity: str
    alerts: int
    times: int
    last_seen: datetime
    runbook: str


_NEWEST: Final = (
    select(incident.c.id, incident.c.number)
    .where(incident.c.workspace == bindparam("workspace"))
    .order_by(incident.c.number.desc())
    .limit(bindparam("newest", type_=Integer))
    .subquery("newest")
)
_OPENED: Final = event.alias("opened")
_RUNS: Final = (
    select(
        _NEWEST.c.number,
        event.c.kind,
        event.c.at,
        event.c.by,
        event.c.body["run"].as_string().label("run"),
        event.c.body["runbook"].as_string().label("runbook"),
        event.c.body["target"].as_string().label("target"),
        event.c.body["outcome"].as_string().label("outcome"),
        # As text, since the two databases spell a truth of JSON in two ways.
        _OPENED.c.body["drill"].as_string().label("drill"),
    )
    .select_from(_NEWEST)
    .join(event, event.c.incident == _NEWEST.c.id)
    .join(_OPENED, (_OPENED.c.incident == _NEWEST.c.id) & (_OPENED.c.seq == 1))
    .where(or_(event.c.kind == _STARTED, event.c.kind == _FINISHED), event.c.at >= bindparam("since"))
    .order_by(event.c.at, event.c.id)
)
_ALERTS: Final = (
    select(
        alert.c.name,
        func.min(alert.c.severity).label("severity"),
        func.count().label("alerts"),
        # A transition is a beginning or an end, so every other one is a beginning.
        cast(func.sum((alert.c.changes + 1) // 2), Integer).label("times"),
        func.max(alert.c.last_seen, type_=alert.c.last_seen.type).label("last_seen"),
        func.max(alert.c.runbook, type_=String).label("runbook"),
    )
    .where(
        alert.c.workspace == bindparam("workspace"),
        alert.c.last_seen >= bindparam("since"),
        alert.c.source != literal_column("'drill'"),
    )
    .group_by(alert.c.name)
    .order_by(func.sum(alert.c.changes).desc(), alert.c.name)
    .limit(bindparam("most", type_=Integer))
)


def runs(journal: Journal, now: datetime, span: timedelta) -> tuple[RunRecord, ...]:
    """The runs that began within `span` before `now`, the newest first. Raises Busy."""
    return journal.ask(partial(_runs, since=now - span))


def alerts(journal: Journal, now: datetime, span: timedelta) -> tuple[AlertRecord, ...]:
    """The alerts heard of within `span` before `now`, by name, the most frequent first. Raises Busy."""
    return journal.ask(partial(_alerts, since=now - span))


def _runs(direct: Direct, workspace: str, since: datetime) -> tuple[RunRecord, ...]:
    begun: dict[tuple[int, str], Mapping[str, Any]] = {}
    ended: dict[tuple[int, str], Mapping[str, Any]] = {}
    for row in direct.named(_RUNS, {"workspace": workspace, "since": since, "newest": MOST_INCIDENTS}):
        (begun if row["kind"] == _STARTED else ended)[row["number"], row["run"]] = row
    found = (_run(row, ended.get(key)) for key, row in begun.items())
    return tuple(sorted(found, key=lambda run: run.started_at, reverse=True))


def _run(begun: Mapping[str, Any], ended: Mapping[str, Any] | None) -> RunRecord:
    return RunRecord(
        incident=begun["number"],
        runbook=begun["runbook"],
        target=begun["target"],
        by=begun["by"]["name"] or begun["by"]["id"],
        started_at=begun["at"],
        ended_at=ended["at"] if ended else None,
        outcome=ended["outcome"] if ended else "",
        drill=str(begun["drill"]).lower() in ("1", "true"),
    )


def _alerts(direct: Direct, workspace: str, since: datetime) -> tuple[AlertRecord, ...]:
    rows = direct.all(_ALERTS, {"workspace": workspace, "since": since, "most": MOST_ALERTS})
    return tuple(AlertRecord(*row) for row in rows)
