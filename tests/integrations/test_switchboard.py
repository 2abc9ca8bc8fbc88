"""Every kind of step that acts is wired to the targets that its rule names, and is documented."""

import re
from pathlib import Path

from bot.incident.run import Risk
from bot.integrations import ACTS, CHECKS, TARGETS, WEIGHING_ACTS
from bot.runbook.courier import WAITS
from bot.runbook.kinds import KINDS, MANUAL

PAGE = (Path(__file__).parents[2] / "docs" / "runbook-kinds.md").read_text(encoding="utf-8")


def test_rules_acts_and_targets_fit_together() -> None:
    tables = {kind: rule.table for kind, rule in KINDS.items() if rule.table}
    wired = [*ACTS.items(), *WEIGHING_ACTS.items(), *CHECKS.items()]
    assert {kind: table for kind, (table, _) in wired} == tables
    reads = {kind for kind, rule in KINDS.items() if rule.table and (rule.risk is Risk.READ or rule.may_read)}
    assert reads == set(CHECKS)
    assert set(tables.values()) == {*TARGETS, "commands"}
    assert set(KINDS) >= WAITS


def test_every_kind_is_on_the_page() -> None:
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    named = {kind for row in rows for kind in re.findall(r"`([a-z0-9_.]+)`", row)}
    assert named == set(KINDS) - {MANUAL}
