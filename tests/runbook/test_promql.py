"""Queries: what Prometheus could not read is said in words, and no query whatsoever ends the reader."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.runbook.promql import DEEPEST, LONGEST, MOST_OPERATORS, problems
from bot.runbook.shelf import load

SHIPPED = Path(__file__).parents[2] / "runbooks"
NO_NUMBER = "this gives no number: wrap a range in a function, as rate(…[5m])"
NONSENSE = "Prometheus cannot read this query: something is missing, or stands where it cannot"
KNOWN = "known: + - * / % ^ == != < > <= >= and or unless"

GOOD = (
    'sum by (le) (rate(x_bucket{a="b",c!~"d.*"}[5m])) # why',
    "histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m]))) > bool 1",
    "x offset 5m * on (a) group_left (b) y @ end()",
    "-x ^ 2 == 1e-3 or vector(1)",
    "min_over_time((x > 1)[1h30m:5m])",
    "sum(rate(a{x='}'}[5m])) / sum(rate(b{x=`{`}[5m]))",
    'label_replace(up, "a", "$1", "b", "(.*)")',
    'count_values("v", x) - -1',
    "x atan2 y",
)
BAD = (
    ("  ", "Prometheus cannot read this query: it is empty"),
    ("# only a remark", "Prometheus cannot read this query: it is empty"),
    ("up = 1", "unknown operator '='; did you mean '=='?"),
    ("up && down", "unknown operator '&&'; did you mean 'and'?"),
    ("up || down", "unknown operator '||'; did you mean 'or'?"),
    ("up <> 1", "unknown operator '<>'; did you mean '!='?"),
    ("up >> 1", f"unknown operator '>>'; {KNOWN}"),
    ('up =~ "a"', f"unknown operator '=~'; {KNOWN}"),
    ('up{a=="b"}', "'==' compares no label: write =, !=, =~ or !~"),
    ('up{a="b" c="d"}', NONSENSE),
    ("1 +", NONSENSE),
    ("sum(x) by", NONSENSE),
    ("rat(x[5m])", "Prometheus cannot read this query: unknown function with name 'rat'"),
    ("rate(x)", "Prometheus cannot read this query: expected type matrix in call to function 'rate', got vector"),
    ("rate(x[5q])", "Prometheus cannot read this query: bad number or duration syntax: 5q"),
    ("rate(x[5 m])", "Prometheus cannot read this query: unexpected character inside brackets: 'm'"),
    ("rate(x[0s])", "Prometheus cannot read this query: duration must be greater than 0"),
    ("rate(x[])", "Prometheus cannot read this query: missing unit character in duration"),
    ('x{a=~"("}', "Prometheus cannot read this query: illegal regex for ("),
    ('x{a="\\d"}', "Prometheus cannot read this query: unknown escape sequence 'd'"),
    ('{a=""}', "Prometheus cannot read this query: vector selector must contain at least one non-empty matcher"),
    ("x[5m]", NO_NUMBER),
    ("x[5m:]", NO_NUMBER),
    ('"x"', NO_NUMBER),
    ("(x]", "']' closes nothing that is open"),
    ("x{a='b'", "'{' is not closed"),
    ("x{a=`b}", "the string that begins with '`b}' is not closed"),
)  # fmt: skip


@pytest.mark.parametrize("query", GOOD)
def test_a_query_that_prometheus_reads_has_no_problem(query: str) -> None:
    assert problems(query, {}) == []


@pytest.mark.parametrize(("query", "message"), BAD)
def test_a_query_that_prometheus_cannot_read_is_told_why(query: str, message: str) -> None:
    assert problems(query, {}) == [message]


def test_a_remark_does_not_hide_that_a_placeholder_is_read_as_a_regular_expression() -> None:
    assert problems('up{a=~ # remark\n "{{ m }}"}', {"m": "model_name"}) == [
        "{{ m }} would be read as a regular expression here; compare with = or !="
    ]


def test_a_number_may_stand_wherever_a_number_may() -> None:
    assert problems('rate(x{a="{{ m }}"}[{{ n }}m]) > {{ n }}', {"n": "int", "m": "model_name"}) == []
    assert problems("rate(x[{{ n }}q])", {"n": "int"}) == [
        "Prometheus cannot read this query: bad number or duration syntax: 1q"
    ]


def test_a_query_too_big_for_the_parser_never_reaches_it() -> None:
    """Each of the first three ends the whole process when the parser gets it."""
    assert problems("(" * 50_000 + "x" + ")" * 50_000, {}) == [
        f"the query is longer than {LONGEST} characters: make a recording rule of it"
    ]
    assert problems("(" * 1_900 + "x" + ")" * 1_900, {}) == [
        f"the brackets are nested deeper than {DEEPEST}: make a recording rule of the inner part"
    ]
    assert problems("x" + "+x" * 1_900, {}) == [
        f"the query has more than {MOST_OPERATORS} operators: make a recording rule of a part of it"
    ]
    assert problems("(" * DEEPEST + "x" + " unless x" * MOST_OPERATORS + ")" * DEEPEST, {}) == []


def test_a_parser_that_panics_is_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    (said,) = problems("x offset inf", {})
    assert said.startswith("Prometheus cannot read this query: cannot convert float seconds")


PARTS = st.sampled_from(
    [*'()[]{}"\'`,=!~<>+-*/%^@:#\n\\. ', "x", "5m", "1", "1e999", "inf", "nan", "offset", "sum", "rate", "by", "on",
     "and", "or", "bool", "group_left", "=~", "!=", "==", '"a"', "{{ n }}", "{{ m }}", "{{", "[5m]", "[1h:]", "end()"]
)  # fmt: skip


@settings(deadline=None, max_examples=500)
@given(st.text() | st.lists(PARTS).map("".join) | st.lists(PARTS).map(" ".join))
@example("\x00")
@example("\ud800")
@example("x{a='\ud800'}")
def test_no_query_whatsoever_ends_the_reader(query: str) -> None:
    assert all(isinstance(said, str) for said in problems(query, {"n": "int", "m": "model_name"}))


def test_the_parser_and_prometheus_are_of_one_mind(tmp_path: Path) -> None:
    """promtool is the judge, of our examples and of the queries of the shipped runbooks."""
    if not shutil.which("promtool"):
        pytest.skip("needs promtool (apt-get install -y prometheus)")
    shipped = [
        query.replace("{{ model }}", "m")
        for runbook in load(SHIPPED)[0].values()
        for step in runbook.steps
        for query in (step.args.get("query"), step.verify.query if step.verify else None)
        if query
    ]
    assert shipped
    for query in (*GOOD, *shipped):
        assert (query, promtool(query, tmp_path)) == (query, True)
    for query, _ in BAD:
        # Prometheus reads a range or a text, but answers it with nothing that could be measured against a number.
        assert (query, promtool(query, tmp_path)) == (query, query in {"x[5m]", "x[5m:]", '"x"'})


def promtool(query: str, folder: Path) -> bool:
    """Whether Prometheus accepts the query in a rule."""
    rules = folder / "rules.yml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": [{"record": "r", "expr": query}]}]}))
    told = subprocess.run(["promtool", "check", "rules", str(rules)], capture_output=True, timeout=30, check=False)
    return told.returncode == 0
