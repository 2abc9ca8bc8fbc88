"""Meaning: what a well-formed runbook may still not say."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pytest

from bot.incident.run import Risk
from bot.runbook.kinds import KINDS, Arg, KindRule
from bot.runbook.model import Fault
from bot.runbook.shelf import check

Changed = Callable[[str, str], list[Fault]]
VERIFY = """verify: {query: 'hits{model="{{ model }}"}', expect: "> 0.5", for: 30s, within: 5m}\n"""
UNDO = "undo: {none: a warm cache does no harm}\n"


NOT_A_NAME = "the default 'Node_1' is not a Kubernetes name (lower-case letters, digits, - and .; at most 253)"
NOT_EXPECTED = "is not an expectation: write '< 0.01' (or <=, >, >=, ==, !=), 'empty' or 'nonempty'"
NO_VERIFY = "a reversible step needs verify: how would anyone know that it helped?"
NO_UNDO = "a destructive step needs undo: auto, a step's id, or {none: why there is no way back}"
RATE = "Prometheus cannot read this query: expected type matrix in call to function 'rate', got vector"


@dataclass(frozen=True)
class Facts:
    """An endpoint as lint sees it."""

    risk: Risk = Risk.REVERSIBLE
    undoable: bool = True
    needs: frozenset[str] = frozenset({"model"})

    def wrong(self, args: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        return iter([("model", "this model is nobody's")] if args["model"] == "nobody" else [])


def faults_with(text: str, **endpoints: Facts) -> list[str]:
    return [fault.message for fault in check(text, "warm-cache.md", KINDS, {"endpoints": endpoints})[1]]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("id: warm-cache", "id: warm-cash", 3, "the id 'warm-cash' must be the file's name 'warm-cache'"),
        ("lock: cache/{{ model", "lock: cache/{{ modell", 10, "unknown parameter 'modell'; did you mean 'model'?"),
        ("default: node-1", "default: Node_1", 9, NOT_A_NAME),
        ("{{ node }} is up", "{{ nod }} is up", 24, "unknown parameter 'nod'; did you mean 'node'?"),
        (
            '  model: "{{ model }}"',
            '  model: "{% for x in y %}"',
            35,
            "only {{ name }} is allowed, found '{% for x in y %}'",
        ),
        (
            '  model: "{{ model }}"',
            '  model: "{{ model.upper() }}"',
            35,
            "only {{ name }} is allowed, found '{{ model.upper() }}'",
        ),
        ('  model: "{{ model }}"', "  model: [1]", 35, "'model' must be text; put it in quotes"),
        ('expect: "< 0.5"', 'expect: "less"', 21, f"'less' {NOT_EXPECTED}"),
        ('expect: "> 0.5"', 'expect: "> {{ model }}"', 37, f"'> {{{{ model }}}}' {NOT_EXPECTED}"),
        (', expect: "< 0.5"}', "}", 21, "promql.assert needs 'expect' under with:"),
        (
            'expect: "< 0.5"}',
            'expect: "< 0.5", expct: 1}',
            21,
            "promql.assert does not take 'expct'; did you mean 'expect'?",
        ),
        (VERIFY, "", 26, "a destructive step needs verify: how would anyone know that it helped?"),
        (UNDO, "", 26, NO_UNDO),
        (UNDO, "undo: check-colt\n", 38, "undo names no other step 'check-colt'; did you mean 'check-cold'?"),
        (UNDO, "undo: check-cold\n", 38, "the step 'check-cold' changes nothing, so it takes nothing back"),
        (UNDO, UNDO + "lease: 1h\n", 39, "a lease undoes the step when it ends, but there is no way back"),
        (UNDO, UNDO + "on_fail: undo\n", 39, "on_fail: undo needs a way back, but there is none"),
        ("timeout: 1m30s", "risk: reversible", 36, "risk may only be raised: this is at least 'destructive'"),
        (
            "do: promql.assert",
            "do: promql.assert\nlease: 1h",
            21,
            "promql.assert changes nothing, so 'lease' has no meaning here",
        ),
        ("id: warm\n", "id: check-cold\n", 31, "the id 'check-cold' is already used by the step on line 16"),
        ("endpoint: warm", 'endpoint: "{{ model }}"', 34, "the endpoint is fixed: no value may choose it"),
        (
            "title: Warm the cache",
            "title: Warm {{ model }}",
            4,
            "the title is shown as it stands: no value is filled in here",
        ),
        (
            "lock: cache/{{ model",
            "lock: cache/{{ model|upper",
            10,
            "only {{ name }} is allowed, found '{{ model|upper }}'",
        ),
        ("### 3. Warm {{ model }}", "### 3. Warm {{ modle }}", 26, "unknown parameter 'modle'; did you mean 'model'?"),
        (
            "> Slow for a minute.",
            "> Slow for\n> {{ a.b }} minutes.",
            29,
            "only {{ name }} is allowed, found '{{ a.b }} minutes.'",
        ),
        (
            "Look before you act.",
            "Look\nbefore {# you #} act.",
            18,
            "only {{ name }} is allowed, found '{# you #} act.'",
        ),
        (
            "{none: a warm cache does no harm}",
            "{none: 'it {{ mod }}'}",
            38,
            "unknown parameter 'mod'; did you mean 'model'?",
        ),
        ('  model: "{{ model }}"', '  model: "{{{ model }}}"', 35, "only {{ name }} is allowed, found '{{{ model }}}'"),
        (
            '  model: "{{ model }}"',
            "  model: '{{ {{ model }} }}'",
            35,
            "only {{ name }} is allowed, found '{{ {{ model }} }}'",
        ),
        ('  model: "{{ model }}"', "  model:", 35, "'model' must be text; put it in quotes"),
        ('  model: "{{ model }}"', "  model: true", 35, "'model' must be text; put it in quotes"),
        ("do: http.request", "do: htp.request", 32, "unknown kind 'htp.request'; did you mean 'http.request'?"),
        ("do: promql.assert", "do: promql.assert\nrisk: reversible", 16, NO_VERIFY),
        ("id: warm\n", "id: auto\n", 31, "no step can have the id 'auto': in undo it means something else"),
        ('\'hits{model="{{ model }}"}\', expect: "< 0.5"', "'rate(hits)', expect: empty", 21, RATE),
    ],
)
def test_each_fault_of_meaning_names_its_line(changed: Changed, old: str, new: str, line: int, message: str) -> None:
    found = [(fault.line, re.sub(r"^step '[^']*': ", "", fault.message)) for fault in changed(old, new)]
    assert (line, message) in found


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("up{{{ model }}}", "only {{ name }} is allowed, found '{{{ model }}}'"),
        ("rate(x[5m]) > {{ model }}", '{{ model }} must stand inside double quotes: label="{{ model }}"'),
        ('up{a="{{ model }}"', "'{' is not closed"),
        ('rate(up{a="b"}[5m]', "'(' is not closed"),
        ('up{a="b"})', "')' closes nothing that is open"),
        ('up{a="b}', "the string that begins with '\"b}' is not closed"),
        ('up{a=~"{{ model }}"}', "{{ model }} would be read as a regular expression here; compare with = or !="),
        ('up{a!~ "x{{ model }}"}', "{{ model }} would be read as a regular expression here; compare with = or !="),
        ("up{a=`{{ model }}`}", "{{ model }} must stand inside double quotes, not `"),
        ("{{ model }}{a=''}", '{{ model }} must stand inside double quotes: label="{{ model }}"'),
    ],
)
def test_a_placeholder_stands_in_a_query_only_where_it_cannot_change_it(text: str, query: str, message: str) -> None:
    other = text.replace("""query: 'hits{model="{{ model }}"}', expect: "< 0.5\"""", 'query: "QUERY", expect: empty')
    quoted = query.replace('"', '\\"')
    messages = [fault.message for fault in check(other.replace("QUERY", quoted), "warm-cache.md")[1]]
    assert messages == [f"step 'check-cold': {message}"]


def test_a_whole_number_may_stand_bare_in_a_query(text: str) -> None:
    other = text.replace("type: k8s_name, default: node-1", "type: int").replace(
        """'hits{model="{{ model }}"}', expect: "<""", """'hits > {{ node }} # {{ model }} "', expect: "<"""
    )
    assert check(other, "warm-cache.md")[1] == []


def test_an_unknown_endpoint_is_named_when_the_configured_ones_are_known(text: str) -> None:
    assert faults_with(text, warmer=Facts()) == [
        "step 'warm': no endpoint 'warm' is configured; did you mean 'warmer'?"
    ]


def test_an_endpoint_says_what_it_needs_and_what_it_may_cost(text: str) -> None:
    assert faults_with(text, warm=Facts(needs=frozenset({"name"}))) == [
        "step 'warm': the endpoint 'warm' needs 'name' under with:",
        "step 'warm': the endpoint 'warm' has no use for 'model'",
    ]
    lowered = text.replace("timeout: 1m30s", "risk: reversible")
    assert faults_with(lowered, warm=Facts(Risk.REVERSIBLE)) == []
    assert faults_with(lowered, warm=Facts(Risk.DESTRUCTIVE)) == [
        "step 'warm': risk may only be raised: this is at least 'destructive'"
    ]


def test_a_target_says_itself_what_it_does_not_take(text: str) -> None:
    other = text.replace('  model: "{{ model }}"\n', "  model: nobody\n")
    assert faults_with(other, warm=Facts()) == ["step 'warm': this model is nobody's"]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("percent: 100, since: 1h30m", ""),
        ('percent: "{{ node }}", since: 1d', ""),
        ("percent: 101, since: 1m", "must be a whole number from 0 to 100, or a parameter of type int"),
        ("percent: -1, since: 1m", "must be a whole number from 0 to 100, or a parameter of type int"),
        ("percent: true, since: 1m", "must be a whole number from 0 to 100, or a parameter of type int"),
        ('percent: "25", since: 1m', "must be a whole number from 0 to 100, or a parameter of type int"),
        ('percent: "{{ model }}", since: 1m', "must be a whole number from 0 to 100, or a parameter of type int"),
        ('percent: "1{{ node }}", since: 1m', "must be a whole number from 0 to 100, or a parameter of type int"),
        ("percent: 1, since: soon", "'soon' is not a duration: write 90s, 30m or 1h30m"),
        ('percent: 1, since: "{{ model }}"', "'{{ model }}' is not a duration: write 90s, 30m or 1h30m"),
    ],
)
def test_a_percentage_and_a_duration_are_looked_at_by_type(text: str, written: str, message: str) -> None:
    with_these = text.replace("do: http.request", "do: cache.warm").replace(
        'with:\n  endpoint: warm\n  model: "{{ model }}"', f"with: {{{written}}}"
    )
    numbers = with_these.replace("type: k8s_name, default: node-1", 'type: int, default: "1"')
    kinds = {**KINDS, "cache.warm": KindRule(Risk.REVERSIBLE, {"percent": Arg.PERCENT, "since": Arg.SPAN})}
    messages = [fault.message for fault in check(numbers, "warm-cache.md", kinds)[1]]
    assert messages == ([f"step 'warm': {message}"] if message else [])


def test_automatic_undo_needs_an_endpoint_that_can_undo(text: str) -> None:
    other = text.replace(UNDO, "undo: auto\nlease: 1h\non_fail: undo\n")
    assert faults_with(other, warm=Facts(undoable=True)) == []
    assert faults_with(other, warm=Facts(undoable=False)) == [
        "step 'warm': its target has no undo configured: add one there, or write {none: reason}"
    ]


def test_a_new_kind_is_one_more_entry_in_the_table(text: str) -> None:
    other = text.replace("do: http.request", "do: cache.warm").replace("  endpoint: warm\n", "")
    kinds = {**KINDS, "cache.warm": KindRule(Risk.REVERSIBLE, {"model": Arg.TEXT})}
    assert check(other, "warm-cache.md", kinds)[1] == []
