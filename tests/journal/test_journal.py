"""What is promised once we said 2xx: it is on disk, it counts once, and a tampered line shows."""

import threading
from concurrent.futures import Future
from typing import Any

import pytest

from bot.desk import Outcome
from bot.incident import commands as cmd
from bot.incident.events import Severity
from bot.incident.people import Refused
from bot.incident.state import Incident, Status, fold
from bot.intake.alerts import Message
from bot.journal import Busy, Txn
from tests.journal.conftest import MAYA, House


def acknowledge(house: House, incident: Incident, key: str = "k1") -> cmd.Acknowledge:
    return cmd.Acknowledge(incident=incident.id, by=MAYA, at=house.clock(), key=key, source="slack")


def opened(house: House) -> Incident:
    house.receive(house.alert("f1"))
    house.drain()
    return house.journal.live()[0]


def test_the_same_command_twice_counts_once(house: House) -> None:
    incident = opened(house)
    first = house.desk.handle(acknowledge(house, incident))
    again = house.desk.handle(acknowledge(house, incident))
    assert len(first.entries) == 1
    assert again.entries == ()
    assert again.incident.status is Status.ACKNOWLEDGED


def test_a_declaration_delivered_twice_opens_one_incident(house: House) -> None:
    def declare(incident: str) -> Outcome:
        return house.desk.handle(
            cmd.Declare(
                incident=incident,
                by=MAYA,
                at=house.clock(),
                key="trigger-1",
                source="slack",
                title="gibberish",
                severity=Severity.SEV2,
            )
        )

    first, again = declare("fresh-id-1"), declare("fresh-id-2")
    assert again.incident.id == first.incident.id
    assert again.entries == ()
    assert len(house.journal.live()) == 1


def test_everything_answered_is_there_after_a_restart(house: House) -> None:
    incident = opened(house)
    house.desk.handle(acknowledge(house, incident))
    waiting = [job.effect for job in house.journal.ready_jobs(house.clock())]
    house.reopen()
    found = house.journal.find("INC-1")
    assert found is not None
    assert found.status is Status.ACKNOWLEDGED
    assert [job.effect for job in house.journal.ready_jobs(house.clock())] == waiting


def test_the_projection_is_what_the_entries_make(house: House) -> None:
    incident = opened(house)
    house.desk.handle(acknowledge(house, incident))
    assert fold(house.journal.entries(incident.id)) == house.journal.incident(incident.id)


def test_a_refused_command_leaves_no_trace(house: House) -> None:
    incident = opened(house)
    before = house.journal.entries(incident.id)
    command = cmd.Resolve(incident=incident.id, by=MAYA, at=house.clock(), key="k", source="slack", reason="")
    with pytest.raises(Refused):
        house.desk.handle(command)
    assert house.journal.entries(incident.id) == before


@pytest.mark.parametrize(
    "sabotage",
    [
        "UPDATE event SET body = '{}' WHERE seq = 2",
        "UPDATE event SET at = '2026-01-01 00:00:00.000000' WHERE seq = 2",
        "DELETE FROM event WHERE seq = 2",
        "UPDATE event SET source = 'cli' WHERE seq = 2",
    ],
)
def test_a_changed_or_missing_entry_shows(house: House, sabotage: str) -> None:
    incident = opened(house)
    house.desk.handle(acknowledge(house, incident))
    assert house.journal.verify(incident.id) is None
    house.behind_its_back(sabotage)
    assert house.journal.verify(incident.id) in (2, 3)


def test_redacted_text_is_gone_and_the_chain_still_holds(house: House) -> None:
    incident = opened(house)
    house.behind_its_back("UPDATE blob SET text = NULL, salt = NULL")
    house.reopen()
    found = house.journal.incident(incident.id)
    assert found is not None
    assert found.title == "[redacted]"
    assert house.journal.verify(incident.id) is None


def test_one_failing_job_does_not_take_its_neighbours_with_it(house: House) -> None:
    def broken(_: Txn) -> None:
        raise RuntimeError("a bug")

    incident = opened(house)
    futures: list[Future[Any]] = [
        house.journal.write(broken),
        house.desk.submit(acknowledge(house, incident)),
        house.journal.write(broken),
    ]
    assert isinstance(futures[0].exception(), RuntimeError)
    assert futures[1].result().incident.status is Status.ACKNOWLEDGED
    assert isinstance(futures[2].exception(), RuntimeError)


def test_what_nobody_waits_for_any_more_is_not_done_and_no_bug(
    house_on_file: House, caplog: pytest.LogCaptureFixture
) -> None:
    house = house_on_file
    go_on = threading.Event()
    begun = threading.Event()

    def stands_still(_: Txn) -> bool:
        begun.set()
        return go_on.wait(10)

    stalled = house.journal.write(stands_still)
    assert begun.wait(10)
    given_up: list[Future[Any]] = [
        house.desk.write(lambda txn: txn.enqueue("nobody", [])),
        house.desk.receive([Message("alertmanager", (house.alert("f1"),), 0)]),
        house.desk.drain("a group"),
    ]
    assert all(future.cancel() for future in given_up)
    go_on.set()
    assert stalled.result(10)
    assert house.journal.waiting_groups() == []
    assert caplog.records == []


def test_a_closed_journal_says_that_it_is_busy(house: House) -> None:
    house.journal.close()
    with pytest.raises(Busy):
        house.receive(house.alert("f1"))
    house.open()


def test_what_a_dead_process_had_claimed_is_given_back(house: House) -> None:
    opened(house)
    job = house.journal.ready_jobs(house.clock())[0]
    claimed = house.journal.write(lambda txn: txn.claim(job.id, txn.now.replace(year=2030))).result()
    assert claimed is not None
    assert job.id not in [ready.id for ready in house.journal.ready_jobs(house.clock())]
    house.journal.write(lambda txn: txn.release_all()).result()
    back = {ready.id: ready for ready in house.journal.ready_jobs(house.clock())}
    assert back[job.id].attempts == 1, "so the next one knows that somebody may have done it"


def test_a_claim_that_was_lost_cannot_settle_the_job(house: House) -> None:
    opened(house)
    job = house.journal.ready_jobs(house.clock())[0]
    mine = house.journal.write(lambda txn: txn.claim(job.id, txn.now)).result()
    house.clock.after(seconds=1)
    theirs = house.journal.write(lambda txn: txn.claim(job.id, txn.now.replace(year=2030))).result()
    assert mine is not None
    assert theirs is not None
    assert not house.journal.write(lambda txn: txn.finish(mine)).result()
    assert house.journal.write(lambda txn: txn.finish(theirs)).result()


def test_numbers_count_up_and_refs_are_found(house: House) -> None:
    opened(house)
    house.receive(house.alert("g1", labels={"service": "search"}, service="search"))
    house.drain()
    refs = {incident.ref for incident in house.journal.live()}
    assert refs == {"INC-1", "INC-2"}
    for way in ("INC-2", "inc-2", "2"):
        found = house.journal.find(way)
        assert found is not None
        assert found.number == 2
    assert house.journal.find("INC-99") is None
    for nobody in ("INC-99999999999999999999999", "2147483648", "9" * 5_000, "\udcff", "a\0b", "\u0663" * 20, ""):
        assert house.journal.find(nobody) is None
        assert house.journal.archived(nobody) is None


def test_a_service_that_is_down_crowds_out_no_other(house: House) -> None:
    for number in range(40):
        name = f"svc-{number}"
        house.receive(house.alert(name, labels={"service": name}, service=name))
    house.drain()
    ready = house.journal.ready_jobs(house.clock())
    assert ready[0].effect.courier == "pager"
    assert {job.effect.courier for job in ready} == {"pager", "slack", "health", "changes"}
