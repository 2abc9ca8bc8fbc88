"""Fills a database with some of everything, and keeps it as a file: what a release leaves behind for its successors.

    python -m tests.migrations.fill

writes `filled/REVISION.json` for the newest revision, by what the bot itself writes today. A file once released is
never written again: the code that could is gone by then.
"""

import json
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import DateTime, MetaData, create_engine

from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.change import Change
from bot.incident.effects import Page
from bot.incident.events import Role, Severity
from bot.incident.people import BOT
from bot.incident.state import Incident
from bot.journal import slots
from bot.journal.archive import Moved, move_old
from bot.journal.database import newest_schema
from bot.journal.evidence import Part, keep
from bot.journal.glass import break_glass
from bot.journal.heads import publish
from bot.journal.redaction import clear_text
from tests.core.case import act, ask, check
from tests.journal.conftest import MAYA, House

FILLED: Final = Path(__file__).parent / "filled"
Rows = dict[str, list[dict[str, Any]]]


def does(house: House, incident: Incident, kind: type[cmd.Command], **fields: Any) -> Incident:
    house.clock.after(minutes=1)
    by = fields.pop("by", MAYA)
    key = f"fill:{house.clock.now.isoformat()}"
    return house.desk.handle(
        kind(incident=incident.id, by=by, at=house.clock.now, key=key, source="slack", **fields), 30
    ).incident


def fill(house: House) -> None:
    """A night: an incident with a run, redacted, resolved and returned; one that was put away; one that burns on."""
    house.journal.beat()
    house.receive(house.alert("f1"), house.alert("f2", severity=Severity.SEV2))
    house.drain()
    (night,) = house.journal.live()
    does(house, night, cmd.Acknowledge)
    does(house, night, cmd.AssignRole, role=Role.COMMANDER, user="U0MAYA")
    does(house, night, cmd.StateImpact, text="Jo of Example & Sons sees errors ✓")
    does(house, night, cmd.RecordReceipt, by=BOT, events=(ev.PageAccepted("PagerDuty", 1, "https://pd.test/1"),))
    fields = {"run": "r1", "runbook": "roll-back", "title": "Roll back", "source_digest": "0" * 64, "target": "chat"}
    does(house, night, cmd.StartRun, **fields, params={"model": "llama-70b"}, steps=(check(), act(), ask()))
    does(house, night, cmd.RecordReceipt, by=BOT, events=(ev.StepSucceeded("r1", "check", "0.4 > 0.01"),))
    planned = ev.StepPlanned("r1", "rollback", {"lines": ["POST /rollback"]}, "digest")
    does(house, night, cmd.RecordReceipt, by=BOT, events=(planned,))
    does(house, night, cmd.ApproveStep, run="r1", step="rollback", digest="digest")
    redacts(house, night, 5)
    part = Part("errors", "series", "sum(rate(...))", b'{"points": [[0, 0.4]]}')
    house.journal.write(
        lambda txn: keep(txn.direct, txn.workspace, night.id, "EV-7F3K2QAB", [part], now=txn.now)
    ).result()
    looked = ev.EvidenceCollected("OUTAGE", "31 % errors", "recent change", "", {"cause_id": "x"}, "EV-7F3K2QAB")
    frozen = ev.EvidenceFrozen("EV-7F3K2QAB", {part.name: part.sha256}, 1)
    does(house, night, cmd.RecordReceipt, by=BOT, events=(looked, frozen))
    does(house, night, cmd.RateVerdict, evidence="EV-7F3K2QAB", right=False, actual="hardware", text="it was Jo's GPU")
    house.journal.write(lambda txn: break_glass(txn, MAYA, "Maya", "chat is down")).result()
    deliver_some(house)
    asks_a_model(house)
    tell_head(house)
    told = Change("run-812", "change", house.clock.now, model="llama-70b", revision="r42", by="Jo of Example & Sons")
    house.desk.note_change(told).result()
    does(house, night, cmd.Resolve, reason="rolled back", despite_firing=True)
    house.clock.after(minutes=31)
    house.desk.check_timers(night.id).result()
    other = house.desk.handle(
        cmd.Declare(
            incident="0199f0b2-0000-7000-8000-000000000001",
            by=MAYA,
            at=house.clock.now,
            key="fill:declared",
            source="slack",
            title="the gateway is slow",
            severity=Severity.SEV3,
        ),
        30,
    ).incident
    does(house, other, cmd.Cancel, reason="a test")
    puts_away(house, other)
    house.receive(house.alert("g1", model="qwen3-32b", labels={"service": "chat", "model": "qwen3-32b"}))
    house.drain()
    tell_head(house)
    house.receive(house.alert("f1", firing=False))


def redacts(house: House, incident: Incident, number: int) -> None:
    asked: dict[str, Any] = {"incident": incident.id, "by": MAYA, "at": house.clock.now, "key": f"fill:redact-{number}"}
    house.journal.write(
        lambda txn: house.desk.execute(
            txn,
            cmd.RedactText(
                **asked,
                source="cli",
                entry=clear_text(txn, incident.id, number)[0].entry,
                number=number,
                reason="a customer",
            ),
        )
    ).result()


def deliver_some(house: House) -> None:
    """One effect is delivered, one is given up, one is in hand, and the rest wait."""
    jobs = {type(job.effect): job for job in house.journal.ready_jobs(house.clock.now)}
    until = house.clock.now.replace(year=house.clock.now.year + 1)
    page = house.journal.write(lambda txn: txn.claim(jobs.pop(Page).id, until)).result()
    assert page is not None
    house.journal.write(lambda txn: txn.finish(page)).result()
    for job, ends in zip(list(jobs.values())[:2], (True, False), strict=True):
        claimed = house.journal.write(lambda txn, job=job: txn.claim(job.id, until)).result()  # type: ignore[misc]
        if ends:
            house.journal.write(lambda txn, claimed=claimed: txn.bury(claimed, "no such channel")).result()  # type: ignore[misc]


def asks_a_model(house: House) -> None:
    """One round of a canary is over."""
    job, at = "canary:chat", house.clock.now.replace(minute=0, second=0, microsecond=0)
    house.journal.write(lambda txn: slots.take(txn.direct, txn.workspace, job, at)).result()
    found = {"canary": "chat", "model": "llama-70b", "ended_at": house.clock.now.isoformat(), "tried": []}
    house.journal.write(lambda txn: slots.report(txn.direct, txn.workspace, job, at, cost=1_500, result=found)).result()


def puts_away(house: House, incident: Incident) -> None:
    """The incident is told everywhere, and archived when it has been over for a month."""
    until = house.clock.now + timedelta(minutes=1)
    while jobs := [job for job in house.journal.ready_jobs(house.clock.now) if job.incident == incident.id]:
        for ready in jobs:
            job = house.journal.write(lambda txn, ready=ready: txn.claim(ready.id, until)).result()  # type: ignore[misc]
            assert job is not None
            house.journal.write(lambda txn, job=job: txn.finish(job)).result()  # type: ignore[misc]
    house.clock.after(days=31)
    (moved,) = move_old(house.journal, house.folder / "archive", house.clock.now - timedelta(days=30))
    assert isinstance(moved, Moved)


def tell_head(house: House) -> None:
    house.clock.after(hours=1)
    at = house.clock.now.replace(minute=0, second=0, microsecond=0)
    assert house.journal.write(lambda txn: publish(txn, at)).result() is not None


def is_ours(table: str, *_: object) -> bool:
    """Whether the table is not the queue's, whose rows nobody misses."""
    return not table.startswith("procrastinate_")


def pour_out(url: str) -> Rows:
    """All rows of all tables of ours, as plain JSON, in the order of their primary keys; times are UTC."""
    engine, found = create_engine(url), MetaData()
    with engine.connect() as connection:
        found.reflect(connection, only=is_ours)
        rows = {
            table.name: [
                {name: _plain(value) for name, value in row.items()}
                for row in connection.execute(table.select().order_by(*table.primary_key.columns)).mappings()
            ]
            for table in found.sorted_tables
            if table.name != "alembic_version"
        }
    engine.dispose()
    return rows


def _plain(value: Any) -> Any:
    if not isinstance(value, datetime):
        return value
    return (value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value).isoformat()


def pour_in(url: str, rows: Rows) -> None:
    """The other way round, into a database whose tables are there and empty."""
    engine, found = create_engine(url), MetaData()
    with engine.begin() as connection:
        found.reflect(connection, only=is_ours)
        for table in found.sorted_tables:
            times = [column.name for column in table.columns if isinstance(column.type, DateTime)]
            for row in rows.get(table.name, []):
                told = {name: datetime.fromisoformat(row[name]).replace(tzinfo=UTC) for name in times if row[name]}
                connection.execute(table.insert(), {**row, **told})
    engine.dispose()


def main() -> None:
    revision = newest_schema()
    target = FILLED / f"{revision}.json"
    if target.exists():
        sys.exit(f"{target} is there already; what was released is not written again")
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder))
        fill(house)
        house.journal.close()
        rows = pour_out(house.url)
    FILLED.mkdir(exist_ok=True)
    target.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
