import pytest

from bot.health.xid import XIDS, explain


def test_the_table_knows_every_number_of_the_catalogue() -> None:
    assert sorted(XIDS) == list(range(1, 173))


def test_every_meaning_fits_in_six_words_and_every_entry_says_what_to_do() -> None:
    for entry in XIDS.values():
        assert 1 <= len(entry.meaning.split()) <= 6, entry
        assert entry.do


@pytest.mark.parametrize(
    ("number", "kind", "owner", "severity"),
    [
        (13, "app", "app", "ok"),
        (31, "app", "app", "ok"),
        (45, "record", "app", "ok"),
        (48, "reset", "hardware", "crit"),
        (54, "physical", "hardware", "crit"),
        (63, "reset", "hardware", "warn"),
        (64, "reset", "hardware", "crit"),
        (74, "reset", "hardware", "crit"),
        (78, "vendor", "driver", "warn"),
        (79, "reboot", "hardware", "crit"),
        (94, "app", "hardware", "ok"),
        (95, "reset", "hardware", "crit"),
        (119, "reset", "driver", "crit"),
        (142, "vendor", "hardware", "crit"),
        (151, "reboot", "driver", "crit"),
        (154, "record", "driver", "ok"),
        (167, "reset", "hardware", "crit"),
    ],
)
def test_a_number_tells_whose_fault_it_is_and_how_bad(number: int, kind: str, owner: str, severity: str) -> None:
    entry = explain(number)

    assert (entry.kind, entry.owner, entry.severity) == (kind, owner, severity)


@pytest.mark.parametrize("number", [63, 94])
def test_where_the_sources_disagree_the_entry_says_so(number: int) -> None:
    note = explain(number).note

    assert "EKS" in note
    assert "gpud" in note


def test_what_needs_a_reset_or_a_reboot_is_critical_except_a_row_already_out_of_use() -> None:
    milder = {x.number for x in XIDS.values() if x.kind in {"reset", "reboot", "physical"} and x.severity != "crit"}

    assert milder == {63}


def test_a_number_that_no_catalogue_holds_is_a_warning_and_not_green() -> None:
    for number in (0, 173, 999, -1):
        assert explain(number).severity == "warn"
