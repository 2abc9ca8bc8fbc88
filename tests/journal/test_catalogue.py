"""What runbooks did and which alerts came, counted on both databases."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.events import Severity
from bot.incident.people import BOT
from bot.incident.run import Risk, StepSpec
from bot.journal import catalogue
from tests.journal.conftest import MAYA, House

SPAN = timedelta(days=90)
CHECK = StepSpec("check", "Are errors up?", "promql.assert", {}, Risk.READ)


def opens(house: House, incident: str, *, drill: bool = False) -> None:
    common = {"incident": incident, "by": MAYA, "at": house.clock.now, "key": f"open:{incident}", "source": "test"}
    command = cmd.Declare(**common, title="it fails", severity=Severity.SEV2)  # type: ignore[arg-type]

    def write(txn):  # type: ignore[no-untyped-def]
        opened = ev.IncidentOpened(txn.next_number(), "it fails", Severity.SEV2, house.clock.now, drill=drill)
        txn.append(command, opened, 1)

    house.journal.write(write).result()


def does(house: House, kind: type[cmd.Command], incident: str, key: str, **fields: object) -> None:
    common = {"incident": incident, "by": MAYA, "at": house.clock.now, "key": key, "source": "test"}
    house.desk.handle(kind(**{**common, **fields}))  # type: ignore[arg-type]


def starts(house: House, incident: str, run: str, runbook: str = "rollback") -> None:
    fields = {"run": run, "runbook": runbook, "title": runbook, "source_digest": "0" * 64, "target": "deploy/llama-70b"}
    does(house, cmd.StartRun, incident, f"start:{run}", **fields, steps=(CHECK,))


def ends(house: House, incident: str, run: str, *, well: bool = True) -> None:
    if well:
        ended = (ev.StepSucceeded(run, "check", "0.31"),)
        does(house, cmd.RecordReceipt, incident, f"end:{run}", events=ended, by=BOT)
    else:
        does(house, cmd.StopRun, incident, f"end:{run}", run=run)


def test_runs_are_told_with_their_end_the_newest_first(house: House) -> None:
    opens(house, "i1")
    starts(house, "i1", "r1")
    house.clock.now += timedelta(minutes=3)
    ends(house, "i1", "r1")
    starts(house, "i1", "r2", "serve-from-cache")
    house.clock.now += timedelta(minutes=1)
    ends(house, "i1", "r2", well=False)
    house.clock.now += timedelta(minutes=1)
    starts(house, "i1", "r3")
    third, second, first = catalogue.runs(house.journal, house.clock.now, SPAN)
    assert (first.runbook, first.incident, first.by, first.target) == ("rollback", 1, "Maya", "deploy/llama-70b")
    assert (first.outcome, first.drill) == ("done", False)
    assert first.ended_at is not None
    assert first.ended_at - first.started_at == timedelta(minutes=3)
    assert (second.runbook, second.outcome) == ("serve-from-cache", "stopped")
    assert (third.outcome, third.ended_at) == ("", None)


def test_a_run_in_a_drill_is_marked_and_one_of_an_older_time_is_not_told(house: House) -> None:
    opens(house, "old")
    starts(house, "old", "r0")
    house.clock.now += SPAN + timedelta(hours=1)
    ends(house, "old", "r0")
    opens(house, "i2", drill=True)
    starts(house, "i2", "r2")
    (run,) = catalogue.runs(house.journal, house.clock.now, SPAN)
    assert (run.incident, run.drill, run.outcome) == (2, True, "")


def test_only_the_newest_incidents_are_looked_at(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for incident in ("i1", "i2"):
        opens(house, incident)
        starts(house, incident, f"run-of-{incident}", incident)
    monkeypatch.setattr(catalogue, "MOST_INCIDENTS", 1)
    assert [run.incident for run in catalogue.runs(house.journal, house.clock.now, SPAN)] == [2]


def test_alerts_are_told_by_name_the_most_frequent_first(house: House) -> None:
    quiet = house.alert("q", name="Quiet", severity=Severity.SEV3, runbook="")
    loud = [
        house.alert(name, name="Loud", severity=severity)
        for name, severity in (("a", Severity.SEV2), ("b", Severity.SEV1))
    ]
    house.receive(house.alert("old", name="Old"))
    house.clock.now += SPAN + timedelta(hours=1)
    house.receive(quiet, *loud)
    for firing in (False, True, True, True):
        house.clock.now += timedelta(minutes=10)
        ended = None if firing else house.clock.now
        house.receive(replace(loud[0], firing=firing, starts_at=house.clock.now, ends_at=ended))
    first, second = catalogue.alerts(house.journal, house.clock.now, SPAN)
    assert (first.name, first.severity, first.alerts, first.times) == ("Loud", "SEV1", 2, 3), "repeats do not count"
    assert (first.runbook, first.last_seen) == ("rollback-model-deploy", house.clock.now)
    assert (second.name, second.severity, second.times, second.runbook) == ("Quiet", "SEV3", 1, "")
