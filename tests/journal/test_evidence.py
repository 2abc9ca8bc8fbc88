"""What was kept of the telemetry is sealed by the chain, goes with a redaction, and moves into the archive."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.people import BOT, Refused
from bot.incident.state import Incident
from bot.journal.archive_file import read
from bot.journal.backup import back_up
from bot.journal.chains import examine
from bot.journal.database import file_of
from bot.journal.direct import Direct
from bot.journal.evidence import Part, find, keep
from bot.journal.ratings import ratings, tally
from tests.journal.conftest import MAYA, House
from tests.journal.test_archive import archives, everything_is_done, over, says
from tests.migrations.fill import redacts

ID = "EV-7F3K2QAB"
PARTS = (
    Part("errors", "series", "sum(rate(errors[5m]))", json.dumps({"points": [[0, 0.4]]}).encode()),
    Part("picture", "picture", "", b"\x89PNG" + bytes(range(256))),
)


def looks(house: House, incident: Incident, evidence: str = ID, parts: tuple[Part, ...] = PARTS) -> Incident:
    """The telemetry says that Jo's GPU is gone, and what it showed is kept."""
    house.journal.write(lambda txn: keep(txn.direct, txn.workspace, incident.id, evidence, parts, now=txn.now)).result()
    report = {"cause_id": "hardware", "unknowns": ["GPU of Example & Sons"]}
    events = (
        ev.EvidenceCollected("OUTAGE", "all fail", "Hardware", "", report, evidence),
        ev.EvidenceFrozen(evidence, {part.name: part.sha256 for part in parts}, 1),
    )
    return says(house, incident, cmd.RecordReceipt, by=BOT, events=events)


def misfits(house: House) -> list[str]:
    return [str(damage) for damage in house.journal.ask(examine).damage]


def test_what_was_kept_comes_back_as_it_was_and_is_kept_once(house: House) -> None:
    incident = looks(house, over(house))
    looks(house, incident, parts=(Part("errors", "series", "another", b"{}"),))
    kept = house.journal.ask(lambda direct, whose: find(direct, whose, incident.id, ID))
    assert kept is not None
    assert kept.parts == PARTS
    assert house.journal.ask(lambda direct, whose: find(direct, whose, incident.id, "EV-OTHER")) is None


@pytest.mark.parametrize(
    ("sabotage", "said"),
    [
        ("UPDATE evidence SET content = 'eJwDAAAAAAE=' WHERE part = 'errors'", "has another evidence errors"),
        ("UPDATE evidence SET content = 'nonsense' WHERE part = 'errors'", "has another evidence errors"),
        (
            "UPDATE evidence SET content = NULL, redacted_at = CURRENT_TIMESTAMP WHERE part = 'picture'",
            "evidence picture, and nobody redacted it",
        ),
        ("DELETE FROM evidence WHERE part = 'picture'", "has lost its evidence picture"),
    ],
)
def test_whoever_changes_kept_evidence_is_found_out(house: House, sabotage: str, said: str) -> None:
    looks(house, over(house))
    assert misfits(house) == []
    house.behind_its_back(sabotage)
    (found,) = misfits(house)
    assert said in found


def test_a_redacted_look_takes_what_was_kept_of_it_along(house: House) -> None:
    incident = looks(house, over(house))
    number = next(e.seq for e in house.journal.entries(incident.id) if isinstance(e.event, ev.EvidenceCollected))
    redacts(house, incident, number)
    kept = house.journal.ask(lambda direct, whose: find(direct, whose, incident.id, ID))
    assert kept is not None
    assert [part.content for part in kept.parts] == [None, None]
    assert misfits(house) == []


def test_an_archived_incident_takes_its_evidence_into_its_file(house: House, tmp_path: Path) -> None:
    incident = looks(house, over(house))
    everything_is_done(house)
    house.clock.after(days=200)
    archives(house, tmp_path)
    content = read(tmp_path / "2026" / "INC-1.jsonl.gz")
    assert [part["part"] for part in content.evidence] == ["errors", "picture"]
    assert content.damage() == []
    assert house.journal.ask(lambda direct, whose: find(direct, whose, incident.id, ID)) is None
    assert misfits(house) == []


def test_an_archive_whose_evidence_was_changed_says_so(house: House, tmp_path: Path) -> None:
    looks(house, over(house))
    everything_is_done(house)
    house.clock.after(days=200)
    archives(house, tmp_path)
    content = read(tmp_path / "2026" / "INC-1.jsonl.gz")
    changed = replace(content, evidence=[{**part, "content": "eJwDAAAAAAE="} for part in content.evidence])
    assert "another evidence errors" in str(changed.damage()[0])


def test_a_backup_holds_the_evidence_and_proves_it(house_on_file: House, tmp_path: Path) -> None:
    house = house_on_file
    looks(house, over(house))
    source = file_of(house.url)
    assert source is not None
    assert back_up(source, tmp_path / "copy.db", "test").damage == ()
    house.behind_its_back("DELETE FROM evidence")
    assert "has lost its evidence" in str(back_up(source, tmp_path / "other.db", "test").damage[0])


def test_the_last_word_of_each_person_counts_and_a_word_said_twice_is_one(house: House) -> None:
    incident = looks(house, over(house))
    says(house, incident, cmd.RateVerdict, evidence=ID, right=True)
    before = house.journal.entries(incident.id)
    says(house, incident, cmd.RateVerdict, evidence=ID, right=True)
    assert house.journal.entries(incident.id) == before
    says(house, incident, cmd.RateVerdict, evidence=ID, right=False, actual="recent-change", text="the flag")
    (rated,) = house.journal.ask(ratings)
    assert (rated.ref, rated.by.id, rated.said.right) == (incident.ref, MAYA.id, False)
    assert (rated.said.cause, rated.said.actual, rated.said.text) == ("hardware", "recent-change", "the flag")


def test_to_count_the_ratings_no_report_is_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    incident = looks(house, looks(house, over(house)), "EV-AAAAAAAA")
    says(house, incident, cmd.RateVerdict, evidence=ID, right=True)
    says(house, incident, cmd.RateVerdict, evidence=ID, right=False, actual="crash", text="the flag")
    says(house, incident, cmd.RateVerdict, evidence="EV-AAAAAAAA", right=True)
    read: list[str] = []
    real = Direct.all

    def listening(*given: Any) -> Any:
        rows = real(*given)
        read.append(str(rows))
        return rows

    monkeypatch.setattr(Direct, "all", listening)
    assert house.journal.ask(tally) == {"right": 1, "wrong": 1}
    assert "the flag" not in "".join(read), "not even what people said"
    assert len(house.journal.ask(ratings)) == 2
    assert "the flag" in "".join(read)
    assert "Example & Sons" not in "".join(read), "that is in the report"


def test_a_verdict_that_was_never_given_cannot_be_rated(house: House) -> None:
    incident = over(house)
    with pytest.raises(Refused, match="has no such evidence"):
        says(house, incident, cmd.RateVerdict, evidence=ID, right=True)
