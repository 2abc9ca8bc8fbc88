import re
from pathlib import Path

import pytest
import yaml

from bot.health.xid import XIDS, explain

RULES = Path(__file__).parents[2] / "bot" / "workbench" / "monitoring" / "rules.yml"
SHIPPED = {path.stem for path in (Path(__file__).parents[2] / "runbooks").glob("*.md")}


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


def alerting_on(name: str) -> set[int]:
    """The Xids that the workbench's rule compares the gauge with."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    (expression,) = [rule["expr"] for group in groups for rule in group["rules"] if rule.get("alert") == name]
    single = {int(number) for number in re.findall(r"XID_ERRORS == (\d+)", expression)}
    ranges = re.findall(r"XID_ERRORS >= (\d+) <= (\d+)", expression)
    return single | {number for low, high in ranges for number in range(int(low), int(high) + 1)}


def test_the_alerts_of_the_workbench_know_every_xid_that_needs_an_empty_node() -> None:
    severe = {entry.number: entry.runbook for entry in XIDS.values() if entry.severity == "crit"}

    assert alerting_on("GPUXidNeedsDrain") == {xid for xid, runbook in severe.items() if runbook == "gpu-off-the-bus"}
    assert alerting_on("GPUMemoryErrorUncontained") == {
        xid for xid, runbook in severe.items() if runbook == "gpu-ecc-uncontained"
    }


def test_every_runbook_of_an_xid_is_shipped_and_every_severe_one_has_one() -> None:
    assert {entry.runbook for entry in XIDS.values()} - {""} <= SHIPPED
    assert all(entry.runbook for entry in XIDS.values() if entry.severity == "crit")
