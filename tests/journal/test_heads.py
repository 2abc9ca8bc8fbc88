"""A database that was rewritten so that every chain fits again is told by the heads that were said outside."""

from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime

from click.testing import CliRunner, Result

from bot.cli import main
from bot.incident import commands as cmd
from bot.journal.chain import entry_hash
from bot.journal.chains import examine
from bot.journal.heads import Head, examine_heads, publish, published
from bot.journal.rows import envelope
from bot.journal.statements import ENTRIES_OF
from bot.journal.txn import Txn
from tests.journal.conftest import MAYA, House

FOUR, FIVE, SIX = (datetime(2026, 11, 21, hour, tzinfo=UTC) for hour in (4, 5, 6))


def note(house: House, text: str) -> None:
    (incident,) = house.journal.live()
    house.desk.handle(cmd.AddNote(incident=incident.id, by=MAYA, at=house.clock(), key=text, source="slack", text=text))


def opened(house: House) -> None:
    house.receive(house.alert("f1"))
    house.drain()


def head_at(house: House, at: datetime) -> Head | None:
    """What a server publishes that wants to publish the head of this hour."""
    return house.journal.write(lambda txn: publish(txn, at)).result()


def says(house: House, at: datetime) -> Head:
    new = head_at(house, at)
    assert new is not None
    return new


def found(house: House) -> list[str]:
    return [str(damage) for damage in house.journal.ask(lambda *of: list(examine_heads(*of)))]


def rewritten(house: House, seq: int) -> None:
    """Entry `seq` says something else, and every hash after it, and the incident's own row, are made to fit."""
    (incident,) = house.journal.live()
    rows = house.journal.ask(lambda direct, _: direct.named(ENTRIES_OF, {"incident_id": incident.id}))
    previous = rows[seq - 2]["hash"]
    for row in rows[seq - 1 :]:
        source = "cli" if row["seq"] == seq else row["source"]
        forged = entry_hash(envelope({**row, "source": source}), previous)
        values = f"source = '{source}', prev_hash = '{previous}', hash = '{forged}'"
        house.behind_its_back(f"UPDATE event SET {values} WHERE seq = {row['seq']}")
        previous = forged
    house.behind_its_back(f"UPDATE incident SET head_hash = '{previous}'")


def test_an_hour_s_head_covers_what_was_recorded_before_it(house: House) -> None:
    opened(house)
    first = says(house, FOUR)
    assert first.entries == 2
    house.clock.after(hours=1)
    note(house, "later")
    assert says(house, FIVE).entries == 3
    assert house.journal.ask(published)[0] == first
    assert found(house) == []


def test_an_hour_is_said_once_and_one_without_news_not_at_all(house: House) -> None:
    opened(house)
    says(house, FOUR)
    assert head_at(house, FOUR) is None
    assert head_at(house, FIVE) is None


def test_of_two_servers_one_says_it(house: House) -> None:
    opened(house)
    both = [house.journal.write(lambda txn: publish(txn, FOUR)) for _ in range(2)]
    assert [one.result() is None for one in both].count(True) == 1


def test_what_is_about_to_be_committed_is_covered_by_the_head_or_comes_after_it(house: House) -> None:
    opened(house)
    (incident,) = house.journal.live()
    asked: list[Future[Head | None]] = []

    def stands_still_before_its_commit(txn: Txn) -> None:
        common = {"incident": incident.id, "by": MAYA, "at": txn.now, "source": "slack"}
        house.desk.execute(txn, cmd.AddNote(**common, key="late", text="late"))  # type: ignore[arg-type]
        asked.append(house.journal.write(lambda txn: publish(txn, FOUR)))
        with suppress(TimeoutError):
            asked[0].result(0.5)

    house.journal.write(stands_still_before_its_commit).result()
    said = asked[0].result()
    assert said is not None
    assert said.entries == 3
    assert found(house) == []


def test_a_clock_that_was_set_back_over_a_full_hour_is_no_damage(house: House) -> None:
    opened(house)
    house.clock.after(hours=2)
    note(house, "at five")
    says(house, FIVE)
    house.clock.after(hours=-2)
    note(house, "at three again")
    assert found(house) == []
    (incident,) = house.journal.live()
    late = house.journal.entries(incident.id)[-1]
    assert (late.at, late.recorded_at) == (house.clock.now, FIVE)
    assert says(house, SIX).entries == 4
    assert found(house) == []


def test_a_history_made_to_fit_does_not_fit_its_heads(house: House) -> None:
    opened(house)
    note(house, "before four")
    said = says(house, FOUR)
    house.clock.after(hours=1)
    note(house, "before five")
    says(house, FIVE)
    rewritten(house, 2)
    assert house.journal.ask(examine).damage == ()
    assert found(house) == [
        "head of 2026-11-21 04:00 UTC: it was made of 3 entries, others stand there now",
        "head of 2026-11-21 05:00 UTC: it was made of 4 entries, others stand there now",
    ]
    house.behind_its_back("DELETE FROM head")
    anew = head_at(house, FOUR)
    assert anew is not None
    assert anew.hash != said.hash, "whoever forges the heads too cannot forge what was said outside"


def test_entries_that_were_taken_away_are_counted(house: House) -> None:
    opened(house)
    note(house, "the last")
    says(house, FOUR)
    house.behind_its_back("DELETE FROM event WHERE seq = 3")
    assert found(house) == ["head of 2026-11-21 04:00 UTC: it was made of 3 entries, 2 stand there now"]


def test_on_the_terminal_a_head_from_outside_is_compared_with_the_journal(house_on_file: House) -> None:
    house = house_on_file
    config = house.folder / "fixfirst.toml"
    config.write_text('workspace = "test"\ndata_dir = "."\n', encoding="utf-8")

    def verify(*words: str) -> Result:
        return CliRunner().invoke(main, ["audit", "verify", "--config", str(config), *words])

    opened(house)
    note(house, "before four")
    said = says(house, FOUR)
    assert verify("--head", said.hash).stdout == f"1 chains checked, 0 broken.\n{said}.\n"
    forged = verify("--head", "0" * 64)
    assert forged.exit_code == 1
    assert "was ever made from this journal as it stands" in forged.stderr
    assert verify("INC-1", "--head", said.hash).exit_code == 2
    rewritten(house, 2)
    told = verify("--head", said.hash)
    assert told.exit_code == 1
    assert told.stderr == "head of 2026-11-21 04:00 UTC: it was made of 3 entries, others stand there now\n"
