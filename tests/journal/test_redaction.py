"""What somebody should not have written is taken out of the journal: gone from the disk, and on record that it is."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bot.cli import main
from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.change import Change, ChangeKind
from bot.incident.events import Severity
from bot.incident.people import Refused
from bot.incident.state import Incident
from bot.journal import Busy
from bot.journal.chains import examine
from bot.journal.redaction import clear_text
from tests.journal.conftest import MAYA, House

CUSTOMER = "the customer is Example & Sons of Springfield"


def with_a_note(house: House) -> Incident:
    """An incident whose third entry, a long note, and fourth, the impact, name a customer."""
    house.receive(house.alert("f1"))
    house.drain()
    (incident,) = house.journal.live()
    common = {"incident": incident.id, "at": house.clock(), "source": "slack"}
    house.desk.handle(cmd.AddNote(**common, by=MAYA, key="n", text=f"{CUSTOMER} " * 200))  # type: ignore[arg-type]
    return house.desk.handle(cmd.StateImpact(**common, by=MAYA, key="i", text=CUSTOMER)).incident  # type: ignore[arg-type]


def clears(house: House, incident: Incident, number: int, reason: str = "names a customer") -> None:
    asked = {"incident": incident.id, "by": MAYA, "at": house.clock(), "key": f"redact-{number}", "source": "cli"}
    house.journal.write(
        lambda txn: house.desk.execute(
            txn,
            cmd.RedactText(
                **asked,  # type: ignore[arg-type]
                entry=clear_text(txn, incident.id, number)[0].entry,
                number=number,
                reason=reason,
            ),
        )
    ).result()


def test_the_text_is_gone_the_record_says_who_and_why_and_the_chain_holds(house: House) -> None:
    incident = with_a_note(house)
    clears(house, incident, 3)
    clears(house, incident, 4)
    entries = house.journal.entries(incident.id)
    assert entries[2].event == ev.NoteAdded("[redacted]")
    assert entries[4].event == ev.TextRedacted(entries[2].id, 3, "names a customer")
    assert entries[4].by.id == MAYA.id
    assert CUSTOMER not in house.stored()
    assert house.journal.ask(examine).damage == ()


def test_nobody_remembers_the_text(house: House) -> None:
    incident = with_a_note(house)
    clears(house, incident, 4)
    found = house.journal.incident(incident.id)
    assert found is not None
    assert found.impact == "[redacted]"
    assert CUSTOMER not in repr(found)


@pytest.mark.parametrize(
    ("number", "said"), [(9, "There is no entry 9"), (2, "Entry 2 holds no text"), (3, "Entry 3 holds no text")]
)
def test_what_cannot_be_taken_out_is_refused_and_leaves_no_trace(house: House, number: int, said: str) -> None:
    incident = with_a_note(house)
    clears(house, incident, 3)
    if number == 2:
        clears(house, incident, 2)
    before = house.journal.entries(incident.id)
    with pytest.raises(Refused, match=said):
        clears(house, incident, number)
    assert house.journal.entries(incident.id) == before


def test_without_a_reason_nothing_is_taken_out(house: House) -> None:
    incident = with_a_note(house)
    with pytest.raises(Refused, match="Say why"):
        clears(house, incident, 3, reason=" ")
    assert CUSTOMER in house.stored()


Type = Callable[..., Result]


@pytest.fixture
def types(house_on_file: House) -> Type:
    """Types a command on the journal's own machine."""
    config = house_on_file.folder / "fixfirst.toml"
    config.write_text('workspace = "test"\ndata_dir = "."\n', encoding="utf-8")

    def run(*words: str) -> Result:
        return CliRunner().invoke(main, [words[0], "--config", str(config), *words[1:]])

    return run


def test_from_the_terminal_it_is_gone_from_every_file_while_a_server_runs(house_on_file: House, types: Type) -> None:
    with_a_note(house_on_file)
    assert "   3  " in types("timeline", "INC-1").stdout
    for number in ("3", "4"):
        done = types("redact", "INC-1", number, "--reason", "names a customer")
        assert done.exit_code == 0, done.output
        assert f"The text of entry {number} of INC-1 is out of the journal." in done.stdout
    assert [path.name for path in house_on_file.folder.iterdir() if b"Springfield" in path.read_bytes()] == []
    assert "(terminal) took the text of entry 3 out: names a customer" in types("timeline", "INC-1").stdout
    again = types("redact", "INC-1", "3", "--reason", "x")
    assert again.exit_code == 1
    assert "is gone already" in again.stderr
    assert types("verify").stdout == "1 chains checked, 0 broken.\n"


def test_a_journal_that_goes_away_after_it_does_not_hide_that_it_is_done(
    house_on_file: House, types: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_a_note(house_on_file)
    asked = iter([False, True])

    def goes_away(_: object) -> list[int]:
        if next(asked):
            raise Busy("the journal could not be read: disk I/O error\n[SQL: SELECT 1]")
        return []

    monkeypatch.setattr("bot.journal.redaction.with_words_of_alerts", goes_away)
    done = types("redact", "INC-1", "3", "--reason", "names a customer")
    assert done.exit_code == 0, done.output
    assert "The text of entry 3 of INC-1 is out of the journal." in done.stdout
    assert done.stderr.endswith("could not be looked at: the journal could not be read: disk I/O error\n")


def with_a_change_in_two(house: House) -> int:
    """Two incidents that heard of one change that names a customer; gives the number of its entry in the first."""
    for fingerprint, model in (("f1", "llama-70b"), ("g1", "qwen3-32b")):
        house.receive(house.alert(fingerprint, model=model, labels={"service": "chat", "model": model}))
        house.drain()
    change = Change("run-812", "change", house.clock(), ChangeKind.INFRA, title=CUSTOMER, environment="production")
    assert set(house.desk.note_change(change).result()[1]) == {"INC-1", "INC-2"}
    (first,) = [one for one in house.journal.live() if one.ref == "INC-1"]
    (entry,) = [one for one in house.journal.entries(first.id) if isinstance(one.event, ev.ChangeFound)]
    return entry.seq


def test_a_change_goes_from_every_incident_and_from_where_the_next_would_take_it(
    house_on_file: House, types: Type
) -> None:
    number = with_a_change_in_two(house_on_file)
    done = types("redact", "INC-1", str(number), "--reason", "names a customer")
    assert done.exit_code == 0, done.output
    assert "So is the same change in INC-2." in done.stdout
    assert [path.name for path in house_on_file.folder.iterdir() if b"Springfield" in path.read_bytes()] == []
    for ref in ("INC-1", "INC-2"):
        assert "names a customer" in types("timeline", ref).stdout, "each says who took it out"
    (left,) = house_on_file.desk.changes()
    assert (left.title, left.environment) == ("A change whose text was taken out", "")
    again = replace(left, title=CUSTOMER, environment="production")
    is_new, _ = house_on_file.desk.note_change(again).result()
    assert not is_new, "it is not taken up again"
    assert types("verify").stdout == "2 chains checked, 0 broken.\n"


def test_a_change_that_is_only_in_the_ledger_yet_can_still_be_taken_out(house: House) -> None:
    number = with_a_change_in_two(house)
    house.behind_its_back("UPDATE blob SET text = NULL, salt = NULL WHERE text LIKE '%Springfield%'")
    assert CUSTOMER in house.stored()
    (first,) = [one for one in house.journal.live() if one.ref == "INC-1"]
    clears(house, first, number)
    assert CUSTOMER not in house.stored()


def test_a_declared_title_can_be_taken_out(house: House) -> None:
    opened = house.desk.handle(
        cmd.Declare(
            incident="fresh", by=MAYA, at=house.clock(), key="d", source="slack", title=CUSTOMER, severity=Severity.SEV2
        )
    ).incident
    clears(house, opened, 1)
    assert [item.title for item in house.journal.recent()] == ["[redacted]"]


def told_by_an_alert(house: House) -> Incident:
    """An incident whose first entry, the title, and second, the alert, name a customer."""
    labels = {"service": "chat", "model": "llama-70b", "owner": CUSTOMER}
    house.receive(house.alert("f1", title=CUSTOMER, labels=labels))
    house.drain()
    (incident,) = house.journal.live()
    return incident


def test_what_an_alert_said_is_gone_from_the_ledger_of_alerts_too(house: House) -> None:
    incident = told_by_an_alert(house)
    clears(house, incident, 1)
    clears(house, incident, 2)
    assert CUSTOMER not in house.stored()
    assert house.journal.ask(examine).damage == ()


def test_an_alert_that_is_said_again_goes_by_its_name_and_does_not_bring_its_words_back(house: House) -> None:
    incident = told_by_an_alert(house)
    clears(house, incident, 1)
    clears(house, incident, 2)
    told: dict[str, Any] = {"title": CUSTOMER, "labels": {"service": "chat", "model": "llama-70b", "owner": CUSTOMER}}
    house.reopen()  # a server that has forgotten what it knew by heart
    house.receive(house.alert("f1", **told))
    house.receive(house.alert("f2", labels={"service": "chat", "model": "llama-70b"}))
    house.drain()
    house.receive(house.alert("f1", firing=False, **told), house.alert("f2", firing=False))
    house.drain()
    house.clock.after(minutes=10)
    house.receive(house.alert("f1", **told))
    house.drain()
    (again,) = [one.event for one in house.journal.entries(incident.id)[-1:]]
    assert isinstance(again, ev.AlertsReported)
    assert [sample["title"] for sample in again.samples] == ["LLMErrorRatioHigh [redacted]"]
    assert CUSTOMER not in house.stored()


def test_what_stays_and_what_may_bring_it_back_is_said(house_on_file: House, types: Type) -> None:
    told_by_an_alert(house_on_file)
    done = types("redact", "INC-1", "1", "--reason", "names a customer")
    assert "The alerts of its group that are known go by their names from now on." in done.stdout
    assert "An alert that is not known yet would bring the words back: mend its rule or labels." in done.stdout
    assert "Words of alerts still stand in entry 2." in done.stdout
    done = types("redact", "INC-1", "2", "--reason", "names a customer")
    assert "Words of alerts" not in done.stdout
    assert [path.name for path in house_on_file.folder.iterdir() if b"Springfield" in path.read_bytes()] == []
