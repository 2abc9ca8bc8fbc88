"""Incidents that are long over leave the journal for files of their own: nothing is lost, and all of it adds up."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from bot.incident import commands as cmd
from bot.incident.people import Refused
from bot.incident.state import Incident
from bot.journal import archive as archiving
from bot.journal import archive_file
from bot.journal.archive import Left, Moved, move_old
from bot.journal.archive_file import BadArchive, Content, read, write
from bot.journal.chains import examine
from bot.journal.heads import examine_heads, publish
from tests.hands import HandClock
from tests.journal.conftest import MAYA, House
from tests.journal.test_audit import types
from tests.migrations.fill import fill, redacts


def says(house: House, incident: Incident, kind: type[cmd.Command], **fields: object) -> Incident:
    house.clock.after(seconds=1)
    key = f"said:{house.clock.now.isoformat()}"
    asked = {"incident": incident.id, "by": MAYA, "at": house.clock.now, "key": key, "source": "slack", **fields}
    return house.desk.handle(kind(**asked), 30).incident  # type: ignore[arg-type]


def over(house: House, fingerprint: str = "f1", **alert: Any) -> Incident:
    """An incident from alert to resolve, with an impact that names a customer; everything outside is done."""
    house.receive(house.alert(fingerprint, **alert))
    house.drain()
    incident = house.journal.live()[0]
    says(house, incident, cmd.Acknowledge)
    says(house, incident, cmd.StateImpact, text="Jo of Example & Sons sees errors ✓")
    house.receive(house.alert(fingerprint, firing=False, **alert))
    house.drain()
    ended = says(house, incident, cmd.Resolve, reason="rolled back")
    everything_is_done(house)
    return ended


def everything_is_done(house: House) -> None:
    house.clock.after(minutes=1)  # for what leaves a little later
    until = house.clock.now + timedelta(days=1)
    while jobs := house.journal.ready_jobs(house.clock.now):
        for ready in jobs:
            job = house.journal.write(lambda txn, ready=ready: txn.claim(ready.id, until)).result()  # type: ignore[misc]
            assert job is not None
            house.journal.write(lambda txn, job=job: txn.finish(job)).result()  # type: ignore[misc]


def tells_head(house: House) -> None:
    house.clock.after(hours=1)
    at = house.clock.now.replace(minute=0, second=0, microsecond=0)
    assert house.journal.write(lambda txn: publish(txn, at)).result() is not None


def archives(house: House, folder: Path) -> list[Moved | Left]:
    return list(move_old(house.journal, folder, house.clock.now - timedelta(days=100)))


def misfits(house: House) -> list[str]:
    found = house.journal.ask(examine)
    heads = house.journal.ask(lambda *of: list(examine_heads(*of)))
    return [str(damage) for damage in (*found.damage, *heads)]


def rows(house: House, table: str) -> int:
    engine = create_engine(house.url)
    with engine.connect() as connection:
        found = int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())
    engine.dispose()
    return found


def test_what_is_long_over_is_in_a_file_and_what_is_not_stays(house: House, tmp_path: Path) -> None:
    old = over(house)
    house.clock.after(days=200)
    young = over(house, "f2", model="qwen3-32b", labels={"model": "qwen3-32b"})
    entries = house.journal.entries(old.id)
    assert archives(house, tmp_path) == [Moved("INC-1", len(entries), "2026/INC-1.jsonl.gz")]
    assert house.journal.find("INC-1") is None
    assert house.journal.find("INC-2") == young
    assert house.journal.recent() == (young,)
    content = read(tmp_path / "2026" / "INC-1.jsonl.gz")
    assert content.damage() == []
    assert [entry["id"] for entry in content.entries] == [entry.id for entry in entries]
    assert (content.status, content.head) == ("resolved", entries[-1].hash)
    assert [alert["fingerprint"] for alert in content.alerts] == ["f1"]


def test_nothing_of_it_is_left_in_the_journal_but_its_row_and_what_seals_it(house: House, tmp_path: Path) -> None:
    incident = over(house)
    house.clock.after(days=200)
    archives(house, tmp_path)
    assert [rows(house, table) for table in ("event", "blob", "outbox", "alert", "inbox")] == [0] * 5
    assert [rows(house, table) for table in ("incident", "archive")] == [1, 1]
    assert "Example & Sons" not in house.stored()
    left = house.journal.archived("inc-1")
    assert left is not None
    assert left == house.journal.archived(incident.id)
    assert (left.number, left.status, left.entries) == (1, "resolved", incident.seq)
    assert str(left).startswith("INC-1 of 2026-11-21 was archived on 2027-06-09; its ")


def test_numbers_chains_and_heads_still_add_up(house: House, tmp_path: Path) -> None:
    over(house)
    tells_head(house)
    other = over(house, "f2", model="qwen3-32b", labels={"model": "qwen3-32b"})
    tells_head(house)
    house.clock.after(days=200)
    says(house, other, cmd.AddNote, text="still of interest")
    before = house.journal.ask(examine)
    assert archives(house, tmp_path) == [
        Moved("INC-1", 6, "2026/INC-1.jsonl.gz"),
        Left("INC-2", "something was recorded in it since"),
    ]
    tells_head(house)
    assert misfits(house) == []
    assert house.journal.ask(examine) == before
    house.receive(house.alert("f1"))
    house.drain()
    assert [incident.number for incident in house.journal.live()] == [3]


@pytest.mark.parametrize(
    ("sabotage", "told"),
    [
        ("UPDATE incident SET head_hash = 'x' WHERE number = 1", "INC-1: what its archive was sealed with was changed"),
        ("DELETE FROM archive", "INC-1: entries 1 to "),
        ("UPDATE archive SET hashes = '[]'", "INC-1: what its archive was sealed with was changed"),
        ("UPDATE archive SET hashes = 'null'", "INC-1: what its archive was sealed with cannot be read"),
        ("UPDATE archive SET hashes = '[[1, 2]]'", "INC-1: what its archive was sealed with cannot be read"),
    ],
)
def test_what_seals_an_archive_cannot_be_changed_unnoticed(
    house: House, tmp_path: Path, sabotage: str, told: str
) -> None:
    over(house)
    tells_head(house)
    house.clock.after(days=200)
    archives(house, tmp_path)
    house.behind_its_back(sabotage)
    assert any(line.startswith(told) for line in misfits(house)), misfits(house)


def test_a_hash_changed_in_the_middle_no_longer_fits_the_head_of_its_hour(house: House, tmp_path: Path) -> None:
    incident = over(house)
    second = house.journal.entries(incident.id)[1].hash
    tells_head(house)
    house.clock.after(days=200)
    archives(house, tmp_path)
    house.behind_its_back(
        f"UPDATE archive SET hashes = replace(CAST(hashes AS text), '{second}', '{second[::-1]}')"
        + ("::json" if house.url.startswith("postgresql") else "")
    )
    assert misfits(house) == [
        "head of 2026-11-21 04:00 UTC: it was made of 6 entries, others stand there now",
    ]


def test_a_run_a_redaction_and_a_return_go_as_they_are(house: House, tmp_path: Path) -> None:
    fill(house)
    house.drain()
    for incident in house.journal.live():
        house.receive(house.alert("f2", firing=False), house.alert("g1", firing=False))
        house.drain()
        says(house, incident, cmd.Resolve, reason="over", despite_firing=True)
    house.clock.after(days=400)  # whoever held an effect has long lost it
    everything_is_done(house)
    redacts(house, house.journal.recent()[-1], 8)
    everything_is_done(house)
    numbered = {incident.ref: house.journal.entries(incident.id) for incident in house.journal.recent()}
    house.clock.after(days=400)
    moved = archives(house, tmp_path)
    assert [one.ref for one in moved if isinstance(one, Moved)] == ["INC-1", "INC-3"], moved
    assert misfits(house) == []
    for ref, entries in numbered.items():
        content = read(tmp_path / "2026" / f"{ref}.jsonl.gz")
        assert content.damage() == []
        assert [entry["hash"] for entry in content.entries] == [entry.hash for entry in entries]


def still_told(house: House, incident: Incident) -> None:
    says(house, incident, cmd.PostUpdate, text="all is well")


def still_fires(house: House, incident: Incident) -> None:
    house.receive(house.alert("f1"))  # its news are not worked in yet


def is_snoozed(house: House, incident: Incident) -> None:
    house.receive(house.alert("f9", model="mixtral", labels={"model": "mixtral"}))
    house.drain()
    says(house, house.journal.live()[0], cmd.Resolve, reason="known", despite_firing=True)
    everything_is_done(house)


@pytest.mark.parametrize("happens", [still_told, still_fires, is_snoozed])
def test_nothing_goes_that_still_has_something_before_it(
    house: House, tmp_path: Path, happens: Callable[[House, Incident], None]
) -> None:
    incident = over(house)
    happens(house, incident)
    house.clock.after(days=200)
    moved = archives(house, tmp_path)
    kept = {ref.ref for ref in house.journal.recent()}
    assert kept == ({"INC-2"} if happens is is_snoozed else {"INC-1"})
    assert all(isinstance(one, Moved) == (one.ref not in kept) for one in moved)


def test_a_damaged_incident_is_not_put_away(house: House, tmp_path: Path) -> None:
    over(house)
    house.clock.after(days=200)
    house.behind_its_back("UPDATE event SET source = 'elsewhere' WHERE seq = 2")
    assert archives(house, tmp_path) == [
        Left("INC-1", "it is damaged, see fixfirst audit verify: INC-1: entry 2 was changed")
    ]
    assert not list(tmp_path.rglob("*.gz"))
    assert house.journal.find("INC-1") is not None


def test_what_happens_while_the_file_is_written_keeps_the_incident(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = over(house)
    house.clock.after(days=200)
    writes = archive_file.write

    def meanwhile(*given: object) -> None:
        writes(*given)  # type: ignore[arg-type]
        says(house, incident, cmd.AddNote, text="one more thing")

    monkeypatch.setattr(archiving, "write", meanwhile)
    assert archives(house, tmp_path) == [Left("INC-1", "something happened in it just now")]
    monkeypatch.undo()
    assert house.journal.entries(incident.id)[-1].seq == 7
    everything_is_done(house)
    house.clock.after(days=200)
    assert archives(house, tmp_path) == [Moved("INC-1", 7, "2026/INC-1.jsonl.gz")]
    assert len(read(tmp_path / "2026" / "INC-1.jsonl.gz").entries) == 7


def test_a_death_between_the_file_and_the_journal_loses_and_doubles_nothing(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    incident = over(house)
    house.clock.after(days=200)
    entries = house.journal.entries(incident.id)

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as death:
        death.setattr(house.journal, "write", dies)
        with pytest.raises(KeyboardInterrupt):
            archives(house, tmp_path)
    assert house.journal.entries(incident.id) == entries
    assert misfits(house) == []
    house.reopen()
    assert archives(house, tmp_path) == [Moved("INC-1", len(entries), "2026/INC-1.jsonl.gz")]
    assert archives(house, tmp_path) == []
    assert [file.name for file in (tmp_path / "2026").iterdir()] == ["INC-1.jsonl.gz"]
    assert misfits(house) == []


def test_another_server_that_remembers_it_cannot_go_on_with_it(house: House, tmp_path: Path) -> None:
    incident = over(house)
    house.clock.after(days=200)
    terminal = House(tmp_path, house.url, house.clock)
    assert house.journal.incident(incident.id) is not None
    archives(terminal, tmp_path)
    terminal.journal.close()
    assert house.journal.incident(incident.id) is None
    with pytest.raises(Refused, match="There is no such incident"):
        says(house, incident, cmd.Reopen)
    assert misfits(house) == []


def test_alerts_and_clicks_go_on_while_a_year_is_put_away(house: House, tmp_path: Path) -> None:
    for number in range(12):
        over(house, f"old-{number}", labels={"model": str(number)}, group_key=f"v1:model={number}")
    house.clock.after(days=400)
    terminal = House(tmp_path, house.url, HandClock(house.clock.now))
    with ThreadPoolExecutor(1) as pool:
        putting_away = pool.submit(archives, terminal, tmp_path)
        house.receive(house.alert("new", labels={"model": "new"}, group_key="v1:model=new"))
        house.drain()
        (burning,) = house.journal.live()
        for number in range(20):
            says(house, burning, cmd.AddNote, text=f"note {number}")
        moved = putting_away.result(60)
    terminal.journal.close()
    assert [one.ref for one in moved if isinstance(one, Moved)] == [f"INC-{number}" for number in range(1, 13)]
    assert burning.ref == "INC-13"
    assert len(house.journal.entries(burning.id)) == 22
    assert misfits(house) == []


def test_two_that_put_away_at_once_move_each_incident_once(house: House, tmp_path: Path) -> None:
    for number in range(8):
        over(house, f"old-{number}", labels={"model": str(number)}, group_key=f"v1:model={number}")
    house.clock.after(days=400)
    others = [House(tmp_path, house.url, house.clock) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        moved = [one for part in pool.map(lambda other: archives(other, tmp_path), others) for one in part]
    for other in others:
        other.journal.close()
    assert sorted(one.ref for one in moved if isinstance(one, Moved)) == [f"INC-{number}" for number in range(1, 9)]
    assert rows(house, "archive") == 8
    assert misfits(house) == []
    assert all(read(file).damage() == [] for file in tmp_path.rglob("*.jsonl.gz"))


def test_an_alert_that_fires_again_after_years_is_news(house: House, tmp_path: Path) -> None:
    over(house)
    house.clock.after(days=800)
    archives(house, tmp_path)
    assert house.receive(house.alert("f1")) == 1
    house.drain()
    assert [incident.ref for incident in house.journal.live()] == ["INC-2"]
    assert rows(house, "alert") == 1


def test_the_file_of_another_database_is_not_written_over(house: House, tmp_path: Path) -> None:
    over(house)
    house.clock.after(days=200)
    theirs = tmp_path / "2026" / "INC-1.jsonl.gz"
    write(theirs, Content("theirs", "another-id", 1, "resolved", "", [], [], []), (), tmp_path)
    with pytest.raises(BadArchive, match="holds another incident"):
        archives(house, tmp_path)
    assert read(theirs).workspace == "theirs"
    assert house.journal.find("INC-1") is not None


def cut_off(file: Path) -> None:
    """As somebody would who wants the end forgotten: the file is whole in itself."""
    whole = read(file)
    entries = whole.entries[:-1]
    # What is sealed in it is written as it was, with one entry fewer.
    said = ["" for _ in entries]
    file.unlink()
    write(file, replace(whole, entries=entries, head=entries[-1]["hash"]), said, file.parent)
    assert read(file).damage() == []


def gone(file: Path) -> None:
    file.unlink()


def anothers(file: Path) -> None:
    shutil.copy(file.with_name("INC-2.jsonl.gz"), file)


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        (cut_off, "INC-1: its archive 2026/INC-1.jsonl.gz does not end as it did when it was made"),
        (anothers, "INC-1: its archive 2026/INC-1.jsonl.gz does not end as it did when it was made"),
        (gone, "INC-1: its archive cannot be read: "),
    ],
)
def test_what_became_of_archives_is_seen_by_the_journal(
    house: House, tmp_path: Path, happens: Callable[[Path], None], told: str
) -> None:
    for number in (1, 2):
        over(house, f"f{number}", labels={"model": str(number)}, group_key=f"v1:model={number}")
    house.clock.after(days=400)
    archives(house, tmp_path)
    look = partial(archiving.examine_files, folder=tmp_path)
    assert house.journal.ask(lambda direct, workspace: list(look(direct, workspace))) == []
    happens(tmp_path / "2026" / "INC-1.jsonl.gz")
    found = house.journal.ask(lambda direct, workspace: list(look(direct, workspace)))
    assert [str(damage)[: len(told)] for damage in found] == [told]


def test_a_command_reads_the_archives_too_where_it_is_asked_to(house: House) -> None:
    over(house)
    house.clock.after(days=400)
    (moved,) = move_old(house.journal, house.folder / "archive", house.clock.now - timedelta(days=100))
    assert isinstance(moved, Moved)
    assert types(house, "audit", "verify", "--archives").exit_code == 0
    (house.folder / "archive" / moved.file).unlink()
    assert types(house, "audit", "verify").exit_code == 0
    said = types(house, "audit", "verify", "--archives")
    assert said.exit_code == 1
    assert said.stderr.startswith("INC-1: its archive cannot be read: ")
