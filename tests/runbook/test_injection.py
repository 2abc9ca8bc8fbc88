"""What an attacker writes into a label: refused before anything is rendered, and harmless where it would pass."""

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.runbook import promql
from bot.runbook.model import Runbook
from bot.runbook.parse import parse
from bot.runbook.render import BadParams, prefill, start
from bot.runbook.template import PARAM_TYPES, refusal, render
from bot.slack.text import esc

EVIL = {
    "PromQL": 'llama"} or vector(1) #',
    "a query over two lines": "llama\nup",
    "a URL's path": "../../secrets",
    "a URL's query": "llama?admin=1",
    "an address": "https://evil.example/llama",
    "a shell": "llama; touch /tmp/pwned #",
    "a substitution": "$(reboot)",
    "an option": "--all-namespaces",
    "Redis by lines": "llama\r\nFLUSHALL\r\n",
    "HAProxy by lines": "llama; shutdown sessions server a/b",
    "YAML": "llama}, risk: read, x: {y: z",
    "YAML over lines": "llama\nrisk: read",
    "JSON": '", "mode": "off',
    "Slack": "<!channel>",
    "a Slack link": "<https://evil.example|Run it>",
    "a template": "{{ labels.secret }}",
    "a template's statement": "{% for x in y %}",
    "a byte of nothing": "llama\x00",
    "characters one cannot see": "lla\u200bma",
    "text that turns round": "\u202ellama",
    "digits of another script": "١٢",
    "nothing": "",
}
BOOK = """---
runbook: 1
id: everything
title: Everything on {{ value }}
owner: team-inference
alerts: [X]
params:
  value: {from: alert.labels.value, type: %s}
lock: all/{{ value }}
---
# Everything
## Steps
### Ask for {{ value }}
```yaml step
id: ask
do: promql.assert
with: {query: 'up{model="{{ value }}"}', expect: "> 0"}
```
### Tell
```yaml step
id: tell
do: notify.post
with: {text: "{{ value }} is down"}
```
### Act on {{ value }}
```yaml step
id: act
do: redis.set
with: {target: cache, key: "fallback:{{ value }}", value: "on"}
undo: auto
verify: {query: 'up{model="{{ value }}"}', expect: "> 0", within: 1m}
```
"""


def book(kind: str) -> Runbook:
    runbook, faults = parse(BOOK % kind, "everything.md")
    assert faults == []
    return runbook


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL)
@pytest.mark.parametrize("kind", PARAM_TYPES)
def test_it_is_refused_whatever_the_type_and_before_anything_is_rendered(
    kind: str, evil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rendered(*_: object) -> str:
        raise AssertionError("something was rendered")

    monkeypatch.setattr("bot.runbook.render.render", rendered)
    with pytest.raises(BadParams, match="value"):
        start(book(kind), {"value": evil})


@pytest.mark.parametrize("evil", EVIL.values(), ids=EVIL)
def test_a_label_that_does_not_fit_fills_nothing_in(evil: str) -> None:
    offer = prefill(book("label_value"), {"value": evil})
    assert offer.params == {}
    assert [param.name for param in offer.missing] == ["value"]


def test_a_label_that_is_not_declared_is_out_of_reach() -> None:
    assert prefill(book("label_value"), {"other": "llama"}).params == {}
    with pytest.raises(BadParams, match="no such parameter"):
        start(book("label_value"), {"value": "llama", "other": "x"})


def passing(kind: str) -> st.SearchStrategy[str]:
    wanted = PARAM_TYPES[kind]
    shapes = st.from_regex(wanted.pattern, fullmatch=True)
    return shapes.filter(lambda value: refusal(kind, value) is None)


@pytest.mark.parametrize("kind", PARAM_TYPES)
def test_what_passes_changes_no_structure_anywhere(kind: str) -> None:
    plain = start(book(kind), {"value": "1"})

    @given(passing(kind))
    def holds(value: str) -> None:
        made = start(book(kind), {"value": value})
        assert [(step.kind, step.risk, step.undo) for step in made.steps] == [
            (step.kind, step.risk, step.undo) for step in plain.steps
        ]
        query = promql_parser.parse(made.steps[0].args["query"])
        assert isinstance(query, promql_parser.VectorSelector)
        ((matcher,), name) = (query.matchers.matchers, query.name)
        assert (name, matcher.name, matcher.value) == ("up", "model", value)
        assert made.steps[2].args["key"] == f"fallback:{value}"
        assert esc(made.steps[1].args["text"]) == f"{value} is down", "nothing of it means anything in Slack"
        assert made.target == f"all/{value}"

    holds()


@given(st.text(max_size=60))
def test_even_a_value_that_no_type_would_let_pass_stays_inside_its_string_in_a_query(value: str) -> None:
    text = render('up{model="{{ value }}"}', {"value": value}, promql.escape)
    if "\x00" in value or any(0xD800 <= ord(c) <= 0xDFFF for c in value):
        return  # Prometheus takes neither
    query = promql_parser.parse(text)
    assert isinstance(query, promql_parser.VectorSelector)
    assert [matcher.name for matcher in query.matchers.matchers] == ["model"]


def test_a_value_is_never_rendered_twice() -> None:
    assert render("{{ a }}", {"a": "{{ b }}", "b": "secret"}) == "{{ b }}"
