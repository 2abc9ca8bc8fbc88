"""What somebody does to the database behind the bot's back is found, and said for what it is."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bot.cli import main
from bot.incident import commands as cmd
from bot.incident.state import Incident
from bot.journal.brake import pull, release
from bot.journal.chain import entry_hash
from bot.journal.chains import Chain, Examined, examine
from bot.journal.direct import Direct
from bot.journal.ids import new_id
from bot.journal.rows import envelope
from bot.journal.statements import ENTRIES_OF
from tests.journal.conftest import MAYA, House
from tests.migrations.fill import redacts


def worked(house: House, key: str = "f1", service: str = "chat") -> Incident:
    """An incident of five entries, the last of them a note."""
    house.receive(house.alert(key, labels={"service": service}, service=service, model=service))
    house.drain()
    incident = house.journal.live()[0]
    common: dict[str, Any] = {"incident": incident.id, "by": MAYA, "at": house.clock(), "source": "slack"}
    house.desk.handle(cmd.Acknowledge(**common, key=f"{key}-ack"))
    house.desk.handle(cmd.AddNote(**common, key=f"{key}-one", text="looking"))
    return house.desk.handle(cmd.AddNote(**common, key=f"{key}-two", text="restarted the gateway")).incident


def audit(house: House, only: str = "") -> Examined:
    return house.journal.ask_of_one_moment(lambda direct, workspace: examine(direct, workspace, only))


def found(house: House) -> list[str]:
    return [str(one) for one in audit(house).damage]


def test_a_journal_that_nobody_touched_holds(house: House) -> None:
    worked(house)
    worked(house, "f2", "search")
    assert audit(house) == Examined(2, 10, ())


DAMAGE = {
    "UPDATE event SET source = 'cli' WHERE seq = 2": ["INC-1: entry 2 was changed"],
    "UPDATE event SET body = '{}' WHERE seq = 5": ["INC-1: entry 5 was changed"],
    "DELETE FROM event WHERE seq = 3": ["INC-1: entry 3 is missing"],
    "DELETE FROM event WHERE seq IN (2, 3)": ["INC-1: entries 2 to 3 are missing"],
    "DELETE FROM event WHERE seq = 5": ["INC-1: entry 5 is missing: the end was cut off"],
    "DELETE FROM event WHERE seq > 3": ["INC-1: entries 4 to 5 are missing: the end was cut off"],
    "UPDATE incident SET seq = 4": ["INC-1: the incident's own row was changed: it ends at entry 4, not 5"],
    "UPDATE incident SET head_hash = 'x'": [
        "INC-1: entry 5 is not the one that the incident's own row ends with: one of them was replaced"
    ],
    "UPDATE incident SET number = 2": ["INC-1: the whole incident is missing"],
    "UPDATE incident SET number = 3000000": ["INC-1 to INC-2999999: 2999999 whole incidents are missing"],
    "UPDATE incident SET seq = 2000000000": ["INC-1: entries 6 to 2000000000 are missing: the end was cut off"],
    "UPDATE event SET seq = 2000000000 WHERE seq = 5": [
        "INC-1: entries 5 to 1999999999 are missing",
        "INC-1: entry 2000000000 was changed",
        "INC-1: the incident's own row was changed: it ends at entry 5, not 2000000000",
    ],
    "UPDATE event SET body = 'null' WHERE seq = 5": ["INC-1: entry 5 was changed"],
    "UPDATE event SET body = '[]' WHERE seq = 5": ["INC-1: entry 5 was changed"],
    "UPDATE event SET body = '\"x\"' WHERE seq = 5": ["INC-1: entry 5 was changed"],
    "UPDATE event SET kind = 'evidence.frozen' WHERE seq = 2": ["INC-1: entry 2 was changed"],
    "UPDATE event SET kind = 'incident.text_redacted' WHERE seq = 2": ["INC-1: entry 2 was changed"],
    """UPDATE event SET kind = 'evidence.frozen', body = '{"evidence": [1], "parts": 5}' WHERE seq = 2""": [
        "INC-1: entry 2 was changed"
    ],
    """UPDATE event SET kind = 'incident.text_redacted', body = '{"entry": [1]}' WHERE seq = 2""": [
        "INC-1: entry 2 was changed"
    ],
    "UPDATE event SET \"by\" = '[1]' WHERE seq = 2": ["INC-1: entry 2 was changed"],
    "UPDATE event SET kind = 'nobody.knows' WHERE seq = 2": ["INC-1: entry 2 was changed"],
    "UPDATE blob SET text = 'nothing happened' WHERE text LIKE 'restarted%'": [
        "INC-1: entry 5 has another text than it was written with"
    ],
    "DELETE FROM blob WHERE text LIKE 'restarted%'": ["INC-1: entry 5 has lost its text, and nobody redacted it"],
}


@pytest.mark.parametrize("sabotage", DAMAGE)
def test_damage_is_named(house: House, sabotage: str) -> None:
    worked(house)
    house.behind_its_back(sabotage)
    assert found(house) == DAMAGE[sabotage]


GARBAGE = {
    "UPDATE event SET body = 'not json' WHERE seq = 2": ["INC-1: entry 2 cannot be read: its body is none"],
    "UPDATE event SET body = x'ff00' WHERE seq = 2": ["INC-1: entry 2 cannot be read: its body is none"],
    "UPDATE event SET at = 'garbage' WHERE seq = 2": ["INC-1: entry 2 cannot be read: its at is none"],
    "UPDATE event SET recorded_at = '' WHERE seq = 2": ["INC-1: entry 2 cannot be read: its recorded_at is none"],
    "UPDATE event SET hash = x'ff' WHERE seq = 2": ["INC-1: entry 2 cannot be read: its hash is none"],
    "UPDATE event SET source = CAST(x'ff' AS TEXT) WHERE seq = 2": ["INC-1: entry 2 was changed"],
    "UPDATE event SET seq = 'zz' WHERE seq = 2": [
        "INC-1: an entry cannot be read: its seq is none",
        "INC-1: entry 2 is missing",
    ],
    "UPDATE event SET body = 'x', seq = 2000000000 WHERE seq = 5": [
        "INC-1: entry 2000000000 cannot be read: its body is none",
        "INC-1: entry 5 is missing: the end was cut off",
    ],
    """UPDATE event SET body = '{"a": "\\ud800"}' WHERE seq = 2""": ["INC-1: entry 2 was changed"],
    "UPDATE incident SET seq = 'zz'": ["INC-1: the incident's own row cannot be read: its seq is none"],
    "UPDATE incident SET number = 'zz'": ["INC-zz: the incident's own row cannot be read: its number is none"],
    "UPDATE blob SET text = x'ff00' WHERE text LIKE 'restarted%'": [
        "INC-1: entry 5 has another text than it was written with"
    ],
    "UPDATE blob SET digest = x'ff' WHERE text LIKE 'restarted%'": [
        "INC-1: entry 5 has lost its text, and nobody redacted it"
    ],
}
"""What SQLite keeps in any column, and PostgreSQL in none of its kind."""


def test_an_incident_whose_own_row_cannot_be_read_is_not_told_to_be_missing_too(house_on_file: House) -> None:
    first = worked(house_on_file)
    worked(house_on_file, "f2", "search")
    house_on_file.behind_its_back(f"UPDATE incident SET seq = 'zz' WHERE id = '{first.id}'")
    assert found(house_on_file) == ["INC-1: the incident's own row cannot be read: its seq is none"]


@pytest.mark.parametrize("sabotage", GARBAGE)
def test_what_cannot_even_be_read_is_named(house_on_file: House, sabotage: str) -> None:
    worked(house_on_file)
    house_on_file.behind_its_back(sabotage)
    assert found(house_on_file) == GARBAGE[sabotage]


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        (None, "incident.note_added", "INC-1: entry 5 cannot be read: its body is none"),
        ({"evidence": [1], "parts": 5}, "evidence.frozen", "INC-1: entry 5 cannot be read: its evidence has no parts"),
        ({"evidence": [1], "parts": {"p": 5}}, "evidence.frozen", "INC-1: entry 5 has lost its evidence p"),
        ({"entry": ["x"], "reason": 7}, "incident.text_redacted", "has lost its text, and nobody redacted it"),
    ],
)
def test_a_body_of_any_shape_under_a_hash_that_fits_keeps_nobody_from_looking(
    house_on_file: House, body: object, kind: str, told: str
) -> None:
    incident = worked(house_on_file)
    rows = house_on_file.journal.ask(lambda direct, _: direct.named(ENTRIES_OF, {"incident_id": incident.id}))
    forged = entry_hash(envelope({**rows[4], "kind": kind, "body": body}), rows[4]["prev_hash"])
    said = json.dumps(body)
    house_on_file.behind_its_back(
        f"UPDATE event SET kind = '{kind}', body = '{said}', hash = '{forged}' WHERE seq = 5".replace(":", "\\:")
    )
    house_on_file.behind_its_back(f"UPDATE incident SET head_hash = '{forged}'")
    assert [line for line in found(house_on_file) if told in line]


LOGBOOK = {
    "UPDATE logbook SET body = 'x' WHERE seq = 1": ["logbook: entry 1 cannot be read: its body is none"],
    "UPDATE logbook SET body = 'null' WHERE seq = 1": ["logbook: entry 1 was changed, or one before it is missing"],
    "UPDATE logbook SET at = 'x' WHERE seq = 1": ["logbook: entry 1 cannot be read: its at is none"],
    "UPDATE logbook SET kind = 'x' WHERE seq = 1": ["logbook: entry 1 was changed, or one before it is missing"],
    "UPDATE logbook SET seq = 'zz' WHERE seq = 2": ["logbook: a record cannot be read: its seq is none"],
}


@pytest.mark.parametrize("sabotage", LOGBOOK)
def test_a_logbook_that_cannot_be_read_is_named_on_the_terminal(house_on_file: House, sabotage: str) -> None:
    house_on_file.journal.write(lambda txn: pull(txn, MAYA, "one")).result()
    house_on_file.journal.write(lambda txn: release(txn, MAYA)).result()
    house_on_file.behind_its_back(sabotage)
    said = types(house_on_file, "audit", "verify")
    assert (said.exit_code, said.stderr.splitlines()) == (1, LOGBOOK[sabotage])


def types(house: House, *words: str) -> Result:
    config = house.folder / "fixfirst.toml"
    config.write_text(f'workspace = "test"\ndatabase = "{house.url}"\n', encoding="utf-8")
    return CliRunner().invoke(main, [*words, "--config", str(config)])


def test_two_rows_that_were_swapped_are_named_with_their_places(house: House) -> None:
    worked(house)
    for before, after in ((3, 103), (4, 3), (103, 4)):
        house.behind_its_back(f"UPDATE event SET seq = {after} WHERE seq = {before}")
    assert found(house) == [
        "INC-1: entry 3 was swapped: it was written as entry 4",
        "INC-1: entry 4 was swapped: it was written as entry 3",
    ]


@pytest.mark.parametrize(
    ("seq", "said"),
    [
        (3, "INC-1: entry 4 was not written after entry 3 as it stands: one of them was replaced"),
        (5, "INC-1: entry 5 is not the one that the incident's own row ends with: one of them was replaced"),
    ],
)
def test_an_entry_that_was_replaced_with_a_hash_of_its_own_does_not_fit_the_next(
    house: House, seq: int, said: str
) -> None:
    incident = worked(house)
    rows = house.journal.ask(lambda direct, _: direct.named(ENTRIES_OF, {"incident_id": incident.id}))
    row = rows[seq - 1]
    forged = entry_hash(envelope({**row, "source": "cli"}), row["prev_hash"])
    house.behind_its_back(f"UPDATE event SET source = 'cli', hash = '{forged}' WHERE seq = {seq}")
    assert found(house) == [said]


def test_an_incident_without_its_own_row_is_found_by_its_entries(house_on_file: House) -> None:
    incident = worked(house_on_file)
    house_on_file.behind_its_back("DELETE FROM outbox")
    house_on_file.behind_its_back("DELETE FROM incident")
    assert found(house_on_file) == [f"{incident.id}: the incident's own row is missing, its entries are there"]


def test_a_redacted_text_is_no_damage(house: House) -> None:
    incident = worked(house)
    for number in (5, 6):
        redacts(house, incident, number)  # the second takes out why the first was
    assert found(house) == []


def test_a_text_that_was_emptied_behind_the_bot_s_back_is_not_taken_for_redacted(house: House) -> None:
    redacts(house, worked(house), 4)
    house.behind_its_back("UPDATE blob SET text = NULL, salt = NULL, redacted_at = CURRENT_TIMESTAMP")
    assert found(house) == [f"INC-1: entry {seq} has lost its text, and nobody redacted it" for seq in (1, 2, 5, 6)]


def test_one_incident_can_be_looked_at_alone(house: House) -> None:
    first = worked(house)
    second = worked(house, "f2", "search")
    house.behind_its_back(f"UPDATE event SET source = 'cli' WHERE seq = 2 AND incident = '{first.id}'")
    assert len(audit(house, first.id).damage) == 1
    assert audit(house, second.id) == Examined(1, 5, ())


@pytest.fixture
def busy(house: House, monkeypatch: pytest.MonkeyPatch) -> Incident:
    """An incident to which something is added each time that its chain is looked at."""
    incident = worked(house)
    reads = Chain.read.__func__  # type: ignore[attr-defined]

    def read(cls: type[Chain], direct: Direct, incident_id: str, ref: str) -> Chain:
        said: dict[str, Any] = {"incident": incident.id, "by": MAYA, "at": house.clock(), "source": "slack"}
        house.desk.handle(cmd.AddNote(**said, key=new_id(), text="written meanwhile"))
        chain: Chain = reads(cls, direct, incident_id, ref)
        house.desk.handle(cmd.AddNote(**said, key=new_id(), text="and once more"))
        return chain

    monkeypatch.setattr(Chain, "read", classmethod(read))
    return incident


def test_what_is_written_while_it_is_looked_at_is_no_damage(house: House, busy: Incident) -> None:
    assert audit(house) == Examined(1, 5, ())
    assert audit(house, busy.id) == Examined(1, 7, ())


def test_on_the_terminal_a_journal_at_work_holds(house: House, busy: Incident) -> None:
    said = types(house, "audit", "verify")
    assert (said.exit_code, said.output) == (0, "1 chains checked, 0 broken.\n")
