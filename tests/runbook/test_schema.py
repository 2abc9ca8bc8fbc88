"""The JSON Schema for editors and the linter are of one mind, as far as a schema can tell."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from bot.runbook import keys, strict_yaml
from bot.runbook.kinds import KINDS, Arg, KindRule
from bot.runbook.parse import parse
from bot.runbook.schema import schema
from bot.runbook.shelf import check
from bot.runbook.template import PARAM_TYPES

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "runbooks").glob("*.md"))
PUBLISHED = ROOT / "docs" / "runbook.schema.json"

STEP = {
    "id": "warm",
    "do": "http.request",
    "with": {"endpoint": "warm", "model": "{{ model }}"},
    "verify": {"query": "up", "expect": "> 0.5", "for": "30s", "within": "5m"},
    "undo": {"none": "no harm"},
}
LOOK = {"id": "look", "do": "promql.assert", "with": {"query": "up", "expect": "empty"}}
HEAD = {"runbook": 1, "id": "any", "title": "Any", "owner": "team", "params": {"model": {"type": "model_name"}}}

GOOD_STEPS: tuple[dict[str, Any], ...] = (
    STEP,
    LOOK,
    {**STEP, "undo": "auto", "lease": "1h30m", "on_fail": "undo"},
    {**STEP, "timeout": "90s", "retry": 5, "risk": "destructive", "on_fail": "continue"},
    {**STEP, "with": {"endpoint": "warm", "replicas": 4}},
    {**STEP, "verify": {"query": 'x{a="{{ model }}"} > 1', "expect": "nonempty", "within": "7d"}},
    {**LOOK, "risk": "reversible", "verify": STEP["verify"], "undo": {"none": "it is {{ model }}"}},
    {"id": "yes", "do": "ask.approve", "with": {"text": "{ is {{ model }} fine? }"}},
    {"id": "by-hand", "do": "manual", "risk": "read"},
)


def broken(step: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The step with some keys changed; None takes one out."""
    return {key: value for key, value in {**step, **changes}.items() if value is not None}


BROKEN_STEPS = (
    broken(STEP, id=None),
    broken(STEP, id="Warm it"),
    broken(STEP, id="auto"),
    broken(STEP, do=None),
    broken(STEP, do="htp.request"),
    broken(STEP, **{"with": None}),
    broken(STEP, **{"with": {"model": "m"}}),
    broken(STEP, **{"with": {"endpoint": "{{ model }}"}}),
    broken(STEP, **{"with": {"endpoint": "warm", "model": [1]}}),
    broken(STEP, **{"with": {"endpoint": "warm", "model": True}}),
    broken(STEP, **{"with": {"endpoint": "warm", "model": 0.5}}),
    broken(STEP, **{"with": {"endpoint": "warm", "model": ""}}),
    broken(STEP, **{"with": {"endpoint": "warm", "model": "{% raw %}"}}),
    broken(STEP, **{"with": {"endpoint": "warm", "model": "{{ model|upper }}"}}),
    broken(STEP, **{"with": {"endpoint": "warm", "model": "{{ model.x }}"}}),
    broken(STEP, **{"with": {"endpoint": "warm", "model": "{{{ model }}}"}}),
    broken(STEP, risk="read"),
    broken(STEP, risk="reversible"),
    broken(STEP, risk="high"),
    broken(STEP, timeout="soon"),
    broken(STEP, timeout="0s"),
    broken(STEP, timeout=""),
    broken(STEP, timeout=90),
    broken(STEP, retry=6),
    broken(STEP, retry=-1),
    broken(STEP, retry="2"),
    broken(STEP, verify=None),
    broken(STEP, verify="up"),
    broken(STEP, verify={"query": "up", "expect": "> 0.5"}),
    broken(STEP, verify={"query": "up", "expect": "more", "within": "5m"}),
    broken(STEP, verify={"query": " ", "expect": "empty", "within": "5m"}),
    broken(STEP, verify={"query": "up", "expect": "empty", "within": "5m", "no_data": "ok"}),
    broken(STEP, undo=None),
    broken(STEP, undo={}),
    broken(STEP, undo={"none": "  "}),
    broken(STEP, undo={"nothing": "x"}),
    broken(STEP, lease="1h"),
    broken(STEP, on_fail="undo"),
    broken(STEP, on_fail="panic"),
    broken(STEP, when="up == 1"),
    broken(LOOK, **{"with": {"query": "up"}}),
    broken(LOOK, **{"with": {"query": "up", "expect": "empty", "within": "5m"}}),
    broken(LOOK, verify=STEP["verify"]),
    broken(LOOK, undo="auto"),
    broken(LOOK, lease="1h"),
    broken(LOOK, on_fail="undo"),
    broken(LOOK, risk="destructive"),
    {"id": "by-hand", "do": "manual", "with": {"text": "x"}},
)
BROKEN_HEADS = (
    broken(HEAD, id=None),
    broken(HEAD, title=None),
    broken(HEAD, owner=None),
    broken(HEAD, runbook=2),
    broken(HEAD, runbook="1"),
    broken(HEAD, id="a_b"),
    broken(HEAD, title="Restart {{ model }}"),
    broken(HEAD, owner=" "),
    broken(HEAD, owner=7),
    broken(HEAD, alert=["A"]),
    broken(HEAD, alerts="A"),
    broken(HEAD, alerts=["A B"]),
    broken(HEAD, lock="{{ model.x }}"),
    broken(HEAD, params={"Model": {"type": "int"}}),
    broken(HEAD, params={"model": {}}),
    broken(HEAD, params={"model": {"type": "text"}}),
    broken(HEAD, params={"model": {"type": "int", "from": "labels.x"}}),
    broken(HEAD, params={"model": {"type": "int", "default": "many"}}),
    broken(HEAD, params={"model": {"type": "int", "default": True}}),
    broken(HEAD, params={"model": {"type": "int", "label": "x"}}),
)


@pytest.fixture(scope="module")
def judge() -> Draft202012Validator:
    Draft202012Validator.check_schema(schema())
    return Draft202012Validator(schema())


def linted(head: dict[str, Any], *steps: dict[str, Any]) -> list[str]:
    """What the linter says of them; JSON is YAML too."""
    blocks = [f"### Step\n```yaml step\n{json.dumps(step, indent=1)}\n```\n" for step in steps]
    return [
        str(fault)
        for fault in check(f"---\n{json.dumps(head, indent=1)}\n---\n## Steps\n{''.join(blocks)}", "any.md")[1]
    ]


@pytest.mark.parametrize("step", GOOD_STEPS, ids=json.dumps)
def test_a_good_step_is_good_to_both(judge: Draft202012Validator, step: dict[str, Any]) -> None:
    assert linted(HEAD, step) == []
    assert list(judge.iter_errors(step)) == []


@pytest.mark.parametrize("step", BROKEN_STEPS, ids=json.dumps)
def test_a_broken_step_is_refused_by_both(judge: Draft202012Validator, step: dict[str, Any]) -> None:
    assert linted(HEAD, step)
    assert not judge.is_valid(step)


@pytest.mark.parametrize("head", BROKEN_HEADS, ids=json.dumps)
def test_a_broken_front_matter_is_refused_by_both(judge: Draft202012Validator, head: dict[str, Any]) -> None:
    assert linted(head, LOOK)
    assert not judge.is_valid(head)


@pytest.mark.parametrize("kind", sorted(PARAM_TYPES))
def test_a_default_fits_its_type_for_both(judge: Draft202012Validator, kind: str) -> None:
    for default, good in (("7", True), (7, True), ("a b", False), ("x" * 300, False)):
        head = broken(HEAD, params={"model": {"type": kind, "default": default}})
        assert (not linted(head, LOOK), judge.is_valid(head)) == (good, good), default


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_block_of_a_shipped_runbook_is_valid(judge: Draft202012Validator, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    blocks = [text.split("---\n")[1], *(part.partition("\n```")[0] for part in text.split("```yaml step\n")[1:])]
    assert len(blocks) > len([step for step in parse(text, str(path))[0].steps if step.where])
    for block in blocks:
        value = strict_yaml.read(block, 1).value
        assert [error.message for error in judge.iter_errors(value)] == [], block


def test_the_published_schema_is_the_one_that_the_command_prints() -> None:
    assert json.loads(PUBLISHED.read_text(encoding="utf-8")) == schema()


def test_every_kind_and_key_has_words_for_people() -> None:
    assert set(keys.ABOUT_KINDS) == set(KINDS)
    described = schema()["$defs"]["step"]["properties"]
    assert {name: part["description"] for name, part in described.items()} == {
        name: key.about for name, key in keys.STEP.items()
    }


@pytest.mark.parametrize("what", Arg)
def test_every_sort_of_value_has_a_schema_and_a_new_kind_is_one_more_entry(what: Arg) -> None:
    made = schema({**KINDS, "new.kind": KindRule(KINDS["promql.assert"].risk, {"key": what})})
    assert not Draft202012Validator(made).is_valid({"id": "a", "do": "new.kind"})
    assert not Draft202012Validator(made).is_valid({"id": "a", "do": "new.kind", "with": {"key": [], "other": "x"}})
