"""From runbook and values to a run; no value can change what a query asks."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import nodes

from bot.incident.run import Risk
from bot.incident.runs import spec_from_json, spec_to_json
from bot.runbook import promql
from bot.runbook.model import Runbook
from bot.runbook.render import BadParams, offer, prefill, start
from bot.runbook.shelf import check
from bot.runbook.template import PARAM_TYPES, pieces, refusal, render

HOSTILE = (
    'a"} or vector(1) #',
    "../../secrets",
    "x\n- evil",
    "<!channel>",
    "a; rm -rf /",
    "{{ model }}",
    "..",
    ".",
    "",
    "a" * 5_000,
    "\uff41",
    "a\x00",
    "a\n",
)


def test_a_run_has_every_value_filled_in(good: Runbook) -> None:
    run = start(good, {"model": "meta/llama-70b", "node": "node-7"})
    cold, look, warm = run.steps
    assert (run.target, run.source_digest) == ("cache/meta/llama-70b", good.digest)
    assert cold.args == {"query": 'hits{model="meta/llama-70b"}', "expect": "< 0.5"}
    assert look.checklist[0] == "node-7 is up"
    assert (warm.title, warm.args) == ("Warm meta/llama-70b", {"endpoint": "warm", "model": "meta/llama-70b"})
    assert warm.verify is not None
    assert warm.verify.query == 'hits{model="meta/llama-70b"}'
    assert [step.risk for step in run.steps] == [Risk.READ, Risk.READ, Risk.DESTRUCTIVE]


def test_a_whole_number_stays_a_number_where_it_stands_alone(text: str) -> None:
    counting = text.replace("type: k8s_name, default: node-1", "type: int").replace(
        '  model: "{{ model }}"', '  model: "{{ node }}"\n  note: "to {{ node }}"\n  fixed: 3'
    )
    runbook, faults = check(counting, "warm-cache.md")
    assert faults == []
    assert runbook is not None
    args = start(runbook, {"model": "m", "node": "4"}).steps[2].args
    assert args == {"endpoint": "warm", "model": 4, "note": "to 4", "fixed": 3}


def test_a_step_without_a_timeout_gets_that_of_its_kind(good: Runbook) -> None:
    cold, look, warm = start(good, {"model": "m"}).steps
    assert (cold.timeout, look.timeout, warm.timeout) == (
        timedelta(seconds=60),
        timedelta(hours=1),
        timedelta(seconds=90),
    )


@dataclass(frozen=True)
class Destructive:
    """An endpoint that became dangerous after the runbook was written."""

    risk: Risk = Risk.DESTRUCTIVE
    undoable: bool = True
    needs: frozenset[str] = frozenset({"model"})

    def wrong(self, args: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        return iter(())


def test_the_risk_of_a_run_is_that_of_its_endpoint_today_and_never_less(good: Runbook) -> None:
    lowered = replace(good, steps=tuple(replace(step, risk=Risk.READ) for step in good.steps))
    targets = {"endpoints": {"warm": Destructive()}}
    risks = [step.risk for step in start(lowered, {"model": "m"}, targets=targets).steps]
    assert risks == [Risk.READ, Risk.READ, Risk.DESTRUCTIVE]


def test_the_steps_of_a_run_survive_the_journal(good: Runbook) -> None:
    for step in start(good, {"model": "m"}).steps:
        assert spec_from_json(spec_to_json(step)) == step


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_is_refused_before_anything_is_rendered(good: Runbook, value: str) -> None:
    with pytest.raises(BadParams) as refused:
        start(good, {"model": value})
    assert list(refused.value.problems) == ["model"]


def test_every_bad_value_is_named_at_once_and_strange_ones_too(good: Runbook) -> None:
    with pytest.raises(BadParams) as refused:
        start(good, {"node": "Node 7", "pod": "x"})
    assert refused.value.problems == {
        "pod": "this runbook has no such parameter",
        "model": "a value is needed",
        "node": "'Node 7' is not a Kubernetes name (lower-case letters, digits, - and .; at most 253)",
    }


def test_an_alert_offers_its_runbooks_with_the_values_it_carries(good: Runbook) -> None:
    (offered,) = offer([good], "CacheCold", {"model_name": "llama-70b", "node": "node-2"})
    assert (offered.runbook, offered.params) == (good, {"model": "llama-70b", "node": "node-2"})
    assert offered.missing == ()
    assert offer([good], "SomethingElse", {"model_name": "llama-70b"}) == []


def test_a_label_that_does_not_fit_is_asked_for_instead_of_used(good: Runbook) -> None:
    offered = prefill(good, {"model_name": 'x"} or vector(1) #', "node": "node-2"})
    assert offered.params == {"node": "node-2"}
    assert [param.name for param in offered.missing] == ["model"]


def test_a_default_stands_in_for_an_absent_label_but_not_for_a_bad_one(good: Runbook) -> None:
    assert prefill(good, {"model_name": "m"}).params["node"] == "node-1"
    assert [param.name for param in prefill(good, {"model_name": "m", "node": "-"}).missing] == ["node"]


def test_a_label_that_is_not_declared_cannot_be_reached(good: Runbook) -> None:
    assert set(prefill(good, {"model_name": "m", "instance": "evil"}).params) == {"model", "node"}


@pytest.mark.parametrize(
    ("kind", "good_one", "bad_one"),
    [
        ("model_name", "meta-llama/Llama-3.1-70B-Instruct", "meta/../etc"),
        ("model_name", "gpt-oss:20b@v2", "/etc"),
        ("k8s_name", "llm-gateway.v2", "Llm"),
        ("label_value", "a.b_c-D", "a/b"),
        ("int", "-42", "042"),
    ],
)
def test_types_accept_what_the_field_uses_and_no_more(kind: str, good_one: str, bad_one: str) -> None:
    assert refusal(kind, good_one) is None
    assert refusal(kind, bad_one) is not None


def strings_of(query: str) -> tuple[str, list[str]]:
    """A reader of double-quoted PromQL strings of its own: the query with them taken out, and their values."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"', query, re.DOTALL)
    unescaped = [re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text) for text in found]
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', query, flags=re.DOTALL), unescaped


@given(st.text() | st.sampled_from(HOSTILE))
def test_no_value_changes_the_shape_of_a_query(value: str) -> None:
    query = render('sum(rate(x{model="{{ m }}",code="200"}[30s])) > 0', {"m": value}, promql.escape)
    shape, strings = strings_of(query)
    assert shape == 'sum(rate(x{model="",code=""}[30s])) > 0'
    assert strings == [value, "200"]


@given(st.text() | st.sampled_from(HOSTILE))
def test_a_value_is_never_read_as_a_template(value: str) -> None:
    assert render("a {{ m }} b", {"m": value, "model": "SECRET"}) == f"a {value} b"


@given(st.sampled_from(sorted(PARAM_TYPES)), st.text())
def test_what_a_type_accepts_has_no_character_that_means_something_elsewhere(kind: str, value: str) -> None:
    if refusal(kind, value) is None:
        assert value.isascii()
        assert not set(value) & set("\"'`{}()<>&|;$\\ \t\r\n*?#%")
        assert not {".", "..", ""} & set(value.split("/"))


FRAGMENTS = st.lists(
    st.sampled_from(["{{", "}}", "{%", "%}", "{#", "#}", " ", "a", "b_1", ".", "|", "-", "{", "}", "\n", "raw"])
)


@given(FRAGMENTS.map("".join))
def test_what_our_grammar_accepts_jinja_reads_as_the_same_names_and_no_more(text: str) -> None:
    """Jinja's own parser is the judge, although nothing here is ever given to Jinja to render."""
    split = list(pieces(text))
    if any(sort == "wrong" for sort, _ in split):
        return
    tree = jinja2.Environment(autoescape=True, keep_trailing_newline=True).parse(text)
    output = [node for part in tree.body for node in getattr(part, "nodes", [part])]
    assert all(isinstance(node, nodes.Name | nodes.TemplateData) for node in output)
    assert [node.name for node in output if isinstance(node, nodes.Name)] == [
        content for sort, content in split if sort == "name"
    ]
