"""docs/runbooks.md is held against the tables that the linter checks by."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from bot.runbook import keys
from bot.runbook.kinds import KINDS
from bot.runbook.model import Fault
from bot.runbook.report import as_text
from bot.runbook.schema import schema
from bot.runbook.shelf import check, load
from bot.runbook.template import PARAM_TYPES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")


def tables() -> Iterator[list[list[str]]]:
    """The cells of each table, without its heading."""
    for block in re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE):
        yield [[cell.strip() for cell in row.split("|")[1:-1]] for row in block.splitlines()[2:]]


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_every_key_type_and_kind_is_in_a_table_as_it_is() -> None:
    described = [
        [[f"`{name}`", "must" if key.required else "", key.about] for name, key in part.items()]
        for part in (keys.FRONT_MATTER, keys.PARAM, keys.STEP, keys.VERIFY)
    ]
    types = [[f"`{name}`", kind.says] for name, kind in PARAM_TYPES.items()]
    head, param, *rest, kinds, _ = tables()
    assert [head, param, *rest] == [*described[:2], types, *described[2:]]
    assert [row[0] for row in kinds] == [f"`{name}`" for name in KINDS]
    for (name, rule), (_, risk, given, about) in zip(KINDS.items(), kinds, strict=True):
        assert (risk, about) == (rule.risk.value, keys.ABOUT_KINDS[name])
        assert re.findall(r"`([^`]+)`", given) == [*rule.args, *rule.optional]
        assert ("any further key" in given) == (rule.more is not None)


def test_every_shipped_runbook_is_in_the_table_with_the_targets_it_names() -> None:
    shipped, _ = load(ROOT / "runbooks")
    rows = {re.findall(r"\[(.+)\]\(\.\./runbooks/\1\.md\)", row[0])[0]: row[3] for row in list(tables())[-1]}
    assert set(rows) == set(shipped)
    for name, runbook in shipped.items():
        named = {
            f"{KINDS[step.kind].table}.{step.args.get('target', step.args.get('endpoint'))}"
            for step in runbook.steps
            if KINDS[step.kind].table
        }
        assert set(re.findall(r"`([^`]+)`", rows[name])) == named


def test_the_example_has_no_fault() -> None:
    (example,) = re.findall(r"^````markdown\n(.*?)^````$", PAGE, re.DOTALL | re.MULTILINE)
    runbook, faults = check(example, "warm-cache.md")
    assert faults == []
    assert runbook is not None
    assert len(runbook.steps) == 3


def test_the_workflow_runs_the_command_that_there_is() -> None:
    workflow, remark = fenced("yaml")
    steps = yaml.safe_load(workflow)["jobs"]["lint"]["steps"]
    assert steps[-1]["run"] == "fixfirst lint books/runbooks"
    head = "---\nrunbook: 1\nid: a\ntitle: a\nowner: a\n---\n## Steps\n### a\n"
    assert check(f"{head}```yaml step\n{remark}id: a\ndo: manual\n```\n", "a.md")[1] == []
    assert (ROOT / "docs" / remark.strip().rpartition("=")[2].removeprefix("../docs/")).is_file()


def test_the_editor_finds_the_faults_in_what_the_command_prints() -> None:
    task, settings = map(json.loads, fenced("json"))
    pattern = task["tasks"][0]["problemMatcher"]["pattern"]
    found = re.fullmatch(pattern["regexp"], as_text([Fault("books/a b.md", 12, "one: two")]))
    assert found is not None
    assert (found[pattern["file"]], found[pattern["line"]], found[pattern["message"]]) == (
        "books/a b.md",
        "12",
        "one: two",
    )
    assert all((ROOT / path).is_file() for path in settings["yaml.schemas"])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_editor_that_knows_the_kind_wants_what_the_page_says(kind: str) -> None:
    step = {"id": "a", "do": kind, "unknown": 1}
    errors = [error.message for error in Draft202012Validator(schema()).iter_errors(step)]
    assert any("unknown" in error for error in errors)
    assert any("'with' is a required property" in error for error in errors) == bool(KINDS[kind].args)
