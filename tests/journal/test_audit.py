"""What somebody does to the database behind the bot's back is found, and said for what it is."""

from typing import Any

import pytest
from click.testing import CliRunner

from bot.cli import main
from bot.incident import commands as cmd
from bot.incident.state import Incident
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
    "DELETE FROM event WHERE seq IN (2, 3)": ["INC-1: entry 2 is missing", "INC-1: entry 3 is missing"],
    "DELETE FROM event WHERE seq > 3": [
        "INC-1: entry 4 is missing: the end was cut off",
        "INC-1: entry 5 is missing: the end was cut off",
    ],
    "UPDATE incident SET seq = 4": ["INC-1: the incident's own row was changed: it ends at entry 4, not 5"],
    "UPDATE incident SET head_hash = 'x'": [
        "INC-1: entry 5 is not the one that the incident's own row ends with: one of them was replaced"
    ],
    "UPDATE incident SET number = 3": ["INC-1: the whole incident is missing", "INC-2: the whole incident is missing"],
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
    config = house.folder / "fixfirst.toml"
    config.write_text(f'workspace = "test"\ndatabase = "{house.url}"\n', encoding="utf-8")
    said = CliRunner().invoke(main, ["audit", "verify", "--config", str(config)])
    assert (said.exit_code, said.output) == (0, "1 chains checked, 0 broken.\n")
