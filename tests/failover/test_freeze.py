"""While nobody has confirmed the database: people are woken, nothing acts and nothing is closed by itself.

The operator's own `database_epoch` is what changes here, as on a database that hides its timeline.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from bot.audit.findings import Check
from bot.hands import Hands
from bot.incident import commands as cmd
from bot.incident import effects as ef
from bot.incident.events import Severity
from bot.incident.failover import HELD
from bot.incident.logbook import Kind
from bot.incident.people import Refused
from bot.incident.run import RunStatus, StepStatus
from bot.incident.runs import all_of, undoable
from bot.incident.state import Incident, Status
from bot.journal import Journal, logbook
from bot.journal.backup import back_up, restore
from bot.journal.database import file_of
from bot.journal.epoch import Glance
from bot.slack.actions import StepDo
from tests.core.case import MAYA as MAYA_HERSELF
from tests.databases import PostgreSQL
from tests.failover.look import is_frozen, looks, notices, presses_confirm
from tests.journal.conftest import House
from tests.story.night import GUEST, JONAS, MAYA, SAM, Night, measuring, open_night
from tests.story.test_runbooks import CACHED, ERRORS, answers, at_the_preview, run, shown, step


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    with open_night(tmp_path, settings={"[doors]": 'database_epoch = "1"\n\n[doors]'}) as night:
        night.app.crier.look()
        with measuring(night, {ERRORS: 0.3, CACHED: 0.3}):
            yield night


def is_restored(night: Night) -> None:
    """The operator has put another database in its place, and says so."""
    night.config = replace(night.config, database_epoch="2")
    night.crash()
    looks(night)


def now(night: Night, incident: Incident) -> Incident:
    found = night.app.journal.incident(incident.id)
    assert found is not None
    return found


def test_the_first_look_freezes_nothing_and_tells_nobody(night: Night) -> None:
    looks(night)
    night.crash()
    looks(night)
    assert not is_frozen(night)
    assert "failed over" not in notices(night)


def test_people_are_woken_and_nothing_is_closed_by_itself(night: Night) -> None:
    quiet = night.burns("quiet", severity="info", model_name="qwen-32b")
    night.recovers("quiet", severity="info", model_name="qwen-32b")
    assert quiet.severity is Severity.SEV4
    is_restored(night)
    burning = night.burns()
    assert night.pages() == [("1", "triggered")]
    night.after(minutes=6)
    assert now(night, burning).escalations == 1, "whoever is next is called"
    night.after(minutes=10)
    assert now(night, quiet).status is Status.OPEN, "whether it is quiet nobody can tell from half a record"
    presses_confirm(night, MAYA)
    night.after(seconds=5)
    assert now(night, quiet).status is Status.RESOLVED


def test_an_approved_step_waits_and_a_lease_that_runs_out_waits_too(night: Night) -> None:
    at_the_preview(night)
    is_restored(night)
    assert "nobody has confirmed yet" in answers(night, 3, StepDo.APPROVE)
    assert step(night, 3) is StepStatus.ASKING
    presses_confirm(night, JONAS)
    night.after(seconds=1)
    assert "nothing was done" in answers(night, 3, StepDo.APPROVE)
    night.after(seconds=1)
    answers(night, 3, StepDo.APPROVE)
    assert step(night, 3) is StepStatus.VERIFYING, "the fresh preview counts"
    assert run(night).status is RunStatus.RUNNING


@pytest.mark.parametrize("kind", [cmd.UndoStep, cmd.UndoRun])
def test_nothing_is_undone_on_request(night: Night, kind: type[cmd.UndoStep | cmd.UndoRun]) -> None:
    at_the_preview(night)
    answers(night, 3, StepDo.APPROVE)
    night.after(seconds=1)
    assert step(night, 3) is StepStatus.VERIFYING
    is_restored(night)
    which: dict[str, Any] = {"step": "roll-back"} if kind is cmd.UndoStep else {"shown": all_of(undoable(run(night)))}
    asked: dict[str, Any] = {"by": MAYA_HERSELF, "at": night.clock(), "source": "test", "key": "undo"}
    with pytest.raises(Refused, match="nobody has confirmed yet"):
        night.app.desk.handle(kind(incident=night.incident.id, **asked, **which, run=run(night).id))


def test_what_has_been_approved_and_not_carried_out_is_held_by_whoever_would_take_it(night: Night) -> None:
    at_the_preview(night)
    night.bench.workspace.click(MAYA, night.incident.channel, shown(night, 3).ts, StepDo.APPROVE, None)
    (job,) = (job for job in night.app.journal.ready_jobs(night.clock.now) if isinstance(job.effect, HELD))
    night.config = replace(night.config, database_epoch="2")
    night.crash()  # nobody has looked yet
    night.app.outbox.deliver(job.id)
    (again,) = (one for one in night.app.journal.ready_jobs(night.clock.now + timedelta(minutes=1)) if one.id == job.id)
    assert isinstance(again.effect, ef.ApplyStep)
    assert again.attempts > 0, "so that the next try looks before it acts"
    assert step(night, 3) is StepStatus.RUNNING
    assert night.bench.fleet.model("llama-70b")["rolling_to"] is None
    is_restored(night)
    presses_confirm(night, MAYA)
    night.after(seconds=10)
    assert step(night, 3) is StepStatus.VERIFYING


def test_only_a_responder_confirms_and_once_is_enough(night: Night) -> None:
    is_restored(night)
    assert "failed over (1 to 2)" in notices(night)
    assert "Guests" in presses_confirm(night, GUEST)
    assert "Only responders" in presses_confirm(night, SAM)
    assert is_frozen(night)
    assert "Confirmed" in presses_confirm(night, JONAS)
    assert "Nothing waits" in presses_confirm(night, MAYA)
    looks(night)
    assert "Jonas Weber confirmed the database" in notices(night)
    kinds = [record.kind for record in night.app.journal.ask(logbook.records)]
    assert kinds == [Kind.FIRST_SEEN, Kind.FAILED_OVER, Kind.RECONCILED, Kind.CONFIRMED, Kind.RECONCILED]


def test_of_brake_and_freeze_the_one_that_still_holds_is_said(night: Night) -> None:
    is_restored(night)
    hands = Hands(night.app.desk)
    assert hands.read("runbooks", {}).startswith("Nothing is carried out since")
    night.types(JONAS, "/incident runbooks stop it drains <the wrong> nodes")
    shown = night.types(MAYA, "/incident runbooks")
    assert "it drains" in shown
    assert "nobody has confirmed yet" in shown
    started = night.types(MAYA, "/incident runbooks start")
    assert "They are not stopped any more. Nothing is carried out since" in started
    assert "act again" not in started
    night.types(JONAS, "/incident runbooks stop it drains <the wrong> nodes")
    confirmed = presses_confirm(night, MAYA)
    assert "Confirmed. All runbooks are stopped since" in confirmed
    assert "act again" not in confirmed
    assert hands.read("runbooks", {}).startswith("All runbooks are stopped since")
    assert "Runbooks act again." in night.types(MAYA, "/incident runbooks start")
    assert hands.read("runbooks", {}).startswith("Runbooks may act.")


def test_what_cannot_be_asked_is_said(night: Night) -> None:
    night.burns()
    night.bench.pagerduty.outage = "500"
    is_restored(night)
    night.bench.pagerduty.outage = "none"
    assert "Alertmanager could not be asked: Alertmanager does not answer" in notices(night)
    assert "PagerDuty could not be asked: PagerDuty answered 500" in notices(night)
    assert "Slack agrees with the record." in notices(night)


def test_a_restored_backup_freezes_until_somebody_has_looked_at_what_is_missing(night: Night, tmp_path: Path) -> None:
    journal = file_of(night.config.database)
    assert journal is not None
    back_up(journal, tmp_path / "monday.db", night.config.workspace)
    incident = night.burns()
    night.stop_bot()
    restore(tmp_path / "monday.db", journal, night.config.workspace, night.clock())
    night.start_bot()
    looks(night)
    assert is_frozen(night)
    assert "The journal was restored from monday.db: what came after that is missing." in notices(night)
    assert "is open and belongs to nothing that is open here" in notices(night), "the page of the incident it has lost"
    assert night.app.journal.incident(incident.id) is None
    assert "Confirmed" in presses_confirm(night, MAYA)
    assert not is_frozen(night)


def test_while_chat_is_down_the_freeze_is_told_by_the_pager_and_in_chat_when_it_is_back(night: Night) -> None:
    night.foretold |= {"service_unavailable", "ratelimited", "fatal_error", "internal_error"}
    night.bench.workspace.faults.down = True
    is_restored(night)
    assert [text for text in events(night) if "failed over" in text] != []
    told_before = len(events(night))
    night.after(minutes=2)
    looks(night)
    assert len(events(night)) == told_before, "the pager is told once"
    night.bench.workspace.faults.clear()
    night.after(minutes=1)
    looks(night)
    assert "failed over" in notices(night)


def events(night: Night) -> list[str]:
    """What PagerDuty's Events API was sent, in a line each."""
    bodies = [call.body for call in night.bench.pagerduty.calls if isinstance(call.body, dict)]
    return [str(body.get("payload", {}).get("summary")) for body in bodies if "event_action" in body]


def test_the_audit_finds_a_freeze_and_so_the_heartbeat_stops(night: Night) -> None:
    is_restored(night)
    night.app.auditor.audit()
    findings = [finding for finding in night.app.auditor.findings() if finding.check is Check.FAILOVER]
    assert [finding.about for finding in findings] == [""]
    presses_confirm(night, MAYA)
    night.app.auditor.audit()
    assert [finding for finding in night.app.auditor.findings() if finding.check is Check.FAILOVER] == []


def test_back_on_the_server_that_was_left_it_freezes_although_that_one_knows_of_nothing(
    tmp_path: Path, postgres: PostgreSQL
) -> None:
    """Split brain: the old primary comes back to life and takes the bot's connections again."""
    house = House(tmp_path, postgres.new())
    glance = house.journal.write(lambda txn: (txn.standing(), txn.glance())[1]).result()
    house.journal.epoch.remember(Glance("00000009", glance.latest, untold=False))  # as after a while on the other
    assert house.journal.write(lambda txn: txn.standing()).result().frozen
    house.journal.close()


def test_a_server_that_slept_through_a_fail_over_believes_the_record_of_the_others(
    tmp_path: Path, postgres: PostgreSQL
) -> None:
    house = House(tmp_path, postgres.new())
    house.journal.write(lambda txn: txn.standing()).result()
    house.journal.epoch.remember(Glance("00000000", 0, untold=False))
    assert not house.journal.write(lambda txn: txn.standing()).result().frozen, "the record is younger than its memory"
    house.journal.close()


def test_a_database_that_hides_its_timeline_is_watched_by_the_operators_word_alone(
    tmp_path: Path, postgres: PostgreSQL
) -> None:
    url = postgres.new()
    house = House(tmp_path, url)
    house.behind_its_back("REVOKE EXECUTE ON FUNCTION pg_walfile_name(pg_lsn) FROM PUBLIC")
    house.behind_its_back(
        "CREATE ROLE kept_in_the_dark LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO kept_in_the_dark"
    )
    journal = Journal(
        create_engine(url.replace("postgres:@", "kept_in_the_dark@")), "test", house.clock, lambda _: None, epoch="b"
    )
    assert journal.write(lambda txn: txn.standing()).result().epoch == "b"
    journal.close()
    house.behind_its_back("GRANT EXECUTE ON FUNCTION pg_walfile_name(pg_lsn) TO PUBLIC")
    house.journal.close()


def test_a_changed_record_is_found(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.journal.close()
    journal = Journal(create_engine(house.url), "test", house.clock, lambda _: None, epoch="a")
    journal.write(lambda txn: txn.standing()).result()
    assert journal.ask(lambda *of: list(logbook.examine_logbook(*of))) == []
    with create_engine(house.url).begin() as connection:
        connection.execute(text("""UPDATE logbook SET body = '{"epoch": "b"}'"""))
    damage = journal.ask(lambda *of: list(logbook.examine_logbook(*of)))
    assert [str(one) for one in damage] == ["logbook: entry 1 was changed, or one before it is missing"]
    journal.close()
