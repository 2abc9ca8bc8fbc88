import json
import re
from collections.abc import Callable
from typing import Any

import promql_parser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.health import Scope, Settings, Telemetry, catalogue
from bot.health.engines import ENGINES, Engine
from bot.health.promql import answerable, edge, expand, names, narrows, quote, render
from bot.health.queries.kubernetes import served
from bot.health.telemetry import FACTS, KNOWN
from tests.health.conftest import Past


def unquote(literal: str) -> str:
    """What PromQL reads: Go's escapes, here all of a kind that JSON or Python reads alike."""
    assert literal[0] == literal[-1] == '"'
    return literal[1:-1].encode("ascii").decode("unicode_escape")


@given(st.text())
def test_whatever_a_person_types_stays_inside_the_quotes_and_means_itself(value: str) -> None:
    literal = quote(value)

    assert literal.isascii()
    assert literal.isprintable()
    assert unquote(literal) == value


@given(st.text(alphabet=st.characters(categories=["Cs"])))
def test_half_a_character_becomes_a_name_that_no_label_has(value: str) -> None:
    assert unquote(quote(value)) == "\ufffd" * len(value)


@given(st.text())
def test_a_name_that_looks_like_a_slot_is_not_filled_again(value: str) -> None:
    rendered = render(
        "up{<model_name>}[<window>]", Settings(window=60, mirror_label=""), [f"<window>{value}<model_name>"]
    )

    assert rendered == f"up{{model_name={quote(f'<window>{value}<model_name>')}}}[60s]"


def test_mirrored_traffic_is_left_out_whether_a_model_is_named_or_not() -> None:
    assert render("x{<model>}", Settings()) == 'x{track!~".*([Ss]hadow|[Mm]irror).*"}'
    assert render("x{<model>}", Settings(mirror_label="role"), ["m"]) == (
        'x{model="m",role!~".*([Ss]hadow|[Mm]irror).*"}'
    )


def test_without_a_model_no_matcher_stands_in_the_query() -> None:
    assert render('x{a="b",<model>}', Settings(mirror_label="")) == 'x{a="b",}'


@pytest.mark.parametrize(
    ("seconds", "expression"), [(2.5, r"2\\.5"), (5, r"5(\\.0)?"), (0.75, r"0\\.75"), (10, r"10(\\.0)?")]
)
def test_a_bucket_edge_is_found_as_any_client_writes_it(seconds: float, expression: str) -> None:
    assert edge(seconds) == expression


def test_an_hour_and_a_day_are_as_long_whatever_the_window() -> None:
    for window in (60, 300, 600):
        assert render("x[<window>] y[<memory>] z[<day>]", Settings(window=window)) == f"x[{window}s] y[3600s] z[86400s]"


@pytest.mark.parametrize("wrong", [{"window": 0}, {"memory": 0}, {"sla_seconds": 0}, {"change_seconds": -1}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Settings(**wrong)


def test_every_check_that_does_not_look_at_everything_can_be_asked_about_one_model() -> None:
    for check in catalogue(Settings()):
        assert any(map(narrows, check.sources)) != check.whole, check.id


HOSTILE = [
    'quo"te',
    "back\\slash",
    'close"} or vector(1) or up{x="',
    "new\nline",
    "<window> <model_name>",
    "Zażółć 模型 \U0001f525",
    "replacement \ufffd",
    "nul \x00 and \x7f",
    "two  spaces",
]


def test_a_real_prometheus_finds_each_model_by_its_name_and_no_other(remembering: Callable[[Past], str]) -> None:
    past = Past()
    listed = [name for name in HOSTILE if "\x00" not in name and "\x7f" not in name]
    for number, name in enumerate(listed):
        past.gauge("vllm:num_requests_waiting", {"model_name": name}, number)
    url = remembering(past)
    queue = [check for check in catalogue(Settings()) if check.id == "U3"]

    for number, name in enumerate(listed):
        (seen,) = Telemetry(url).survey(Scope(model=name), queue)
        assert (seen.status, seen.value) == ("ok", number), json.dumps(name)
    for name in {*HOSTILE} - {*listed} | {"\ud800", "nobody"}:
        (seen,) = Telemetry(url).survey(Scope(model=name), queue)
        assert (seen.status, seen.text) == ("unknown", "no such metric of this model"), json.dumps(name)


def mentioned(expression: Any, found: set[str]) -> set[str]:
    """The metrics of an expression, as Prometheus' own grammar has them."""
    if isinstance(expression, promql_parser.VectorSelector):
        found.add(expression.name or "")
    for part in ("expr", "lhs", "rhs", "vector_selector"):
        if (inner := getattr(expression, part, None)) is not None:
            mentioned(inner, found)
    for argument in getattr(expression, "args", None) or ():
        mentioned(argument, found)
    return found


def every_source() -> list[str]:
    checks = [source for check in catalogue(Settings()) for source in check.sources]
    return checks + [source for sources in FACTS.values() for source in sources]


@pytest.mark.parametrize("engines", [ENGINES[:1], ENGINES], ids=["one engine", "all"])
def test_every_query_is_promql_and_its_metrics_are_known_by_name(engines: tuple[Engine, ...]) -> None:
    slots = served(engines)
    for source in every_source():
        template = expand(source, slots)
        parsed = promql_parser.parse(render(template, Settings(), ["a-b", 'c"d']))

        # A selector by a matcher on the name mentions none: nothing is asked because of it alone.
        assert mentioned(parsed, set()) - {""} == names(template), template


def test_the_discovery_asks_for_every_metric_that_a_query_mentions() -> None:
    known = re.compile(KNOWN)
    asked = {name for source in every_source() for name in names(expand(source, served(ENGINES)))}

    assert [name for name in sorted(asked) if not known.fullmatch(name)] == []


def test_only_what_is_there_is_asked() -> None:
    sources = ("rate(a[1m])", "b or c", "d")

    assert answerable(sources, {"a", "c"}) == ("rate(a[1m])", "b or c")
    assert answerable(sources, None) == sources
