"""Every limit of Block Kit holds at its edge: the last allowed value passes, the next is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.workbench.slack.blockkit import characters, message_problems, view_problems, view_too_large

Json = dict[str, Any]


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def mrkdwn(text: str) -> Json:
    return {"type": "mrkdwn", "text": text}


def button(**keys: Any) -> Json:
    return {"type": "button", "text": plain("Go"), **keys}


def option(name: str = "a", **keys: Any) -> Json:
    return {"text": plain(name), "value": name, **keys}


def actions(*elements: Json, **keys: Any) -> Json:
    return {"type": "actions", "elements": list(elements), **keys}


def section(text: str = "x", **keys: Any) -> Json:
    return {"type": "section", "text": mrkdwn(text), **keys}


def input_block(element: Json, **keys: Any) -> Json:
    return {"type": "input", "label": plain("Label"), "element": element, **keys}


def modal(*blocks: Json, **keys: Any) -> Json:
    return {"type": "modal", "title": plain("Title"), "submit": plain("Save"), "blocks": list(blocks), **keys}


def select(**keys: Any) -> Json:
    return {"type": "static_select", "options": [option()], **keys}


def named(count: int) -> list[Json]:
    return [option(f"o{number}") for number in range(count)]


def confirm(**keys: Any) -> Json:
    return {"title": plain("t"), "text": mrkdwn("x"), "confirm": plain("y"), "deny": plain("n"), **keys}


def table(rows: int, columns: int, **keys: Any) -> Json:
    return {"type": "table", "rows": [[{"type": "raw_text", "text": "x"}] * columns] * rows, **keys}


# what is limited, its highest allowed number, how to make a message with that number of it
MESSAGE_LIMITS: list[tuple[str, int, Callable[[int], Any]]] = [
    ("blocks", 50, lambda n: [{"type": "divider"}] * n),
    ("block_id", 255, lambda n: [section(block_id="x" * n)]),
    ("action_id", 255, lambda n: [actions(button(action_id="x" * n))]),
    ("header text", 150, lambda n: [{"type": "header", "text": plain("x" * n)}]),
    ("section text", 3000, lambda n: [section("x" * n)]),
    ("section fields", 10, lambda n: [{"type": "section", "fields": [mrkdwn("x")] * n}]),
    ("field text", 2000, lambda n: [{"type": "section", "fields": [mrkdwn("x" * n)]}]),
    ("actions elements", 25, lambda n: [actions(*[button()] * n)]),
    ("context elements", 10, lambda n: [{"type": "context", "elements": [mrkdwn("x")] * n}]),
    (
        "context_actions elements",
        5,
        lambda n: [
            {
                "type": "context_actions",
                "elements": [{"type": "icon_button", "icon": "trash", "text": plain("x")}] * n,
            }
        ],
    ),
    ("button text", 75, lambda n: [actions(button(text=plain("x" * n)))]),
    ("button value", 2000, lambda n: [actions(button(value="x" * n))]),
    ("button url", 3000, lambda n: [actions(button(url="https://" + "x" * (n - 8)))]),
    ("accessibility label", 75, lambda n: [actions(button(accessibility_label="x" * n))]),
    ("option text", 75, lambda n: [actions(select(options=[option(text=plain("x" * n))]))]),
    ("option description", 75, lambda n: [actions(select(options=[option(description=plain("x" * n))]))]),
    ("option value", 75, lambda n: [actions(select(options=[option(value="x" * n)]))]),
    ("select options", 100, lambda n: [actions(select(options=named(n)))]),
    (
        "option groups",
        100,
        lambda n: [
            actions(
                {
                    "type": "static_select",
                    "option_groups": [{"label": plain("g"), "options": [option(f"o{i}")]} for i in range(n)],
                }
            )
        ],
    ),
    ("overflow options", 5, lambda n: [actions({"type": "overflow", "options": named(n)})]),
    ("radio options", 10, lambda n: [actions({"type": "radio_buttons", "options": named(n)})]),
    ("checkbox options", 10, lambda n: [actions({"type": "checkboxes", "options": named(n)})]),
    ("placeholder", 150, lambda n: [actions(select(placeholder=plain("x" * n)))]),
    ("confirm title", 100, lambda n: [actions(button(confirm=confirm(title=plain("x" * n))))]),
    ("confirm text", 300, lambda n: [actions(button(confirm=confirm(text=plain("x" * n))))]),
    ("confirm button", 30, lambda n: [actions(button(confirm=confirm(confirm=plain("x" * n))))]),
    ("deny button", 30, lambda n: [actions(button(confirm=confirm(deny=plain("x" * n))))]),
    ("markdown text", 12_000, lambda n: [{"type": "markdown", "text": "x" * n}]),
    ("image alt text", 2000, lambda n: [{"type": "image", "image_url": "https://a.b/c", "alt_text": "x" * n}]),
    (
        "image title",
        2000,
        lambda n: [{"type": "image", "image_url": "https://a.b/c", "alt_text": "x", "title": plain("x" * n)}],
    ),
    (
        "image url",
        3000,
        lambda n: [{"type": "image", "image_url": "https://" + "x" * (n - 8), "alt_text": "x"}],
    ),
    ("table rows", 100, lambda n: [table(n, 1)]),
    ("table columns", 20, lambda n: [table(1, n)]),
    ("table settings", 20, lambda n: [table(1, 1, column_settings=[{"align": "left"}] * n)]),
    (
        "data table rows",
        101,
        lambda n: [
            {"type": "data_table", "caption": "c", "rows": [[{"type": "raw_text", "text": "x"}]] * n},
        ],
    ),
    (
        "data table page",
        100,
        lambda n: [
            {
                "type": "data_table",
                "caption": "c",
                "rows": [[{"type": "raw_text", "text": "x"}]] * 2,
                "page_size": n,
            },
        ],
    ),
    ("card title", 150, lambda n: [{"type": "card", "title": mrkdwn("x" * n)}]),
    ("card body", 200, lambda n: [{"type": "card", "body": mrkdwn("x" * n)}]),
    ("carousel cards", 10, lambda n: [{"type": "carousel", "elements": [{"type": "card", "body": mrkdwn("x")}] * n}]),
    ("container title", 150, lambda n: [{"type": "container", "title": plain("x" * n), "child_blocks": [section()]}]),
    ("container blocks", 10, lambda n: [{"type": "container", "child_blocks": [section()] * n}]),
    (
        "video title",
        199,
        lambda n: [
            {
                "type": "video",
                "alt_text": "x",
                "title": plain("x" * n),
                "thumbnail_url": "https://a.b/c",
                "video_url": "https://a.b/d",
            }
        ],
    ),
]
VIEW_LIMITS: list[tuple[str, int, Callable[[int], Any]]] = [
    ("view blocks", 100, lambda n: modal(*[section()] * n)),
    ("view title", 24, lambda n: modal(section(), title=plain("x" * n))),
    ("view submit", 24, lambda n: modal(section(), submit=plain("x" * n))),
    ("view close", 24, lambda n: modal(section(), close=plain("x" * n))),
    ("private_metadata", 3000, lambda n: modal(section(), private_metadata="x" * n)),
    ("callback_id", 255, lambda n: modal(section(), callback_id="x" * n)),
    ("input label", 2000, lambda n: modal(input_block({"type": "plain_text_input"}, label=plain("x" * n)))),
    ("input hint", 2000, lambda n: modal(input_block({"type": "plain_text_input"}, hint=plain("x" * n)))),
    ("max_length", 3000, lambda n: modal(input_block({"type": "plain_text_input", "max_length": n}))),
    ("initial_value", 3000, lambda n: modal(input_block({"type": "plain_text_input", "initial_value": "x" * n}))),
]


@pytest.mark.parametrize(("name", "most", "make"), MESSAGE_LIMITS, ids=lambda value: str(value)[:24])
def test_a_message_may_have_so_much_and_no_more(name: str, most: int, make: Callable[[int], Any]) -> None:
    assert message_problems(make(most)) == []
    assert message_problems(make(most + 1)) != []


@pytest.mark.parametrize(("name", "most", "make"), VIEW_LIMITS, ids=lambda value: str(value)[:24])
def test_a_view_may_have_so_much_and_no_more(name: str, most: int, make: Callable[[int], Any]) -> None:
    assert view_problems(make(most)) == []
    assert view_problems(make(most + 1)) != []


REFUSED: list[tuple[str, list[Any]]] = [
    ("an unknown block", [{"type": "bogus"}]),
    ("a block without type", [{"text": plain("x")}]),
    ("a block that is text", ["section"]),
    ("an empty section", [{"type": "section"}]),
    ("an empty text", [section("")]),
    ("a text without type", [{"type": "section", "text": {"text": "x"}}]),
    ("a bare string for a text", [{"type": "section", "text": "x"}]),
    ("mrkdwn in a header", [{"type": "header", "text": mrkdwn("x")}]),
    ("mrkdwn on a button", [actions(button(text=mrkdwn("x")))]),
    ("no elements", [actions()]),
    ("an empty context", [{"type": "context", "elements": []}]),
    ("an input in an actions block", [actions({"type": "plain_text_input"})]),
    ("a button in a context", [{"type": "context", "elements": [button()]}]),
    ("a plain input as accessory", [section(accessory={"type": "plain_text_input"})]),
    ("an unknown key", [section(colour="red")]),
    ("an unknown style", [actions(button(style="warning"))]),
    ("a url without http", [actions(button(url="javascript:alert(1)"))]),
    ("a select with nothing in it", [actions({"type": "static_select"})]),
    ("options and groups at once", [actions(select(option_groups=[{"label": plain("g"), "options": [option()]}]))]),
    ("an initial option from elsewhere", [actions(select(initial_option=option("z")))]),
    ("options of one value", [actions(select(options=[option(), option()]))]),
    ("a block_id twice", [section(block_id="a"), section(block_id="a")]),
    ("an action_id twice in a block", [actions(button(action_id="a"), button(action_id="a"))]),
    ("two tables", [table(1, 1), table(1, 1)]),
    ("a crooked table", [{"type": "table", "rows": [[{"type": "raw_text", "text": "x"}], []]}]),
    ("an image without alt text", [{"type": "image", "image_url": "https://a.b/c"}]),
    ("an image from nowhere", [{"type": "image", "alt_text": "x"}]),
    ("a wrong alert level", [{"type": "alert", "text": plain("x"), "level": "loud"}]),
    ("a wrong date", [actions({"type": "datepicker", "initial_date": "tomorrow"})]),
    ("a file of our own", [{"type": "file", "external_id": "x", "source": "remote"}]),
    ("a container in a container", [{"type": "container", "child_blocks": [{"type": "container"}]}]),
    ("a table of one data row", [{"type": "data_table", "caption": "c", "rows": [[]]}]),
]


@pytest.mark.parametrize(("what", "blocks"), REFUSED, ids=[what for what, _ in REFUSED])
def test_slack_refuses(what: str, blocks: list[Any]) -> None:
    assert message_problems(blocks) != []


def test_a_finding_reads_as_slack_words_it() -> None:
    problems = message_problems([{"type": "divider"}, {"type": "header", "text": plain("x" * 151)}])
    assert [str(problem) for problem in problems] == [
        "must be less than 151 characters [json-pointer:/blocks/1/text/text]"
    ]


def test_every_fault_is_named_at_once() -> None:
    problems = message_problems([{"type": "bogus"}, section(""), actions()])
    assert [problem.pointer for problem in problems] == [
        "/blocks/0/type",
        "/blocks/1/text/text",
        "/blocks/2/elements",
    ]


def test_the_same_action_id_may_stand_in_two_blocks() -> None:
    assert message_problems([actions(button(action_id="a")), actions(button(action_id="a"))]) == []


def test_a_modal_with_an_input_needs_a_submit_button() -> None:
    view = modal(input_block({"type": "plain_text_input"}))
    assert view_problems(view) == []
    del view["submit"]
    assert [problem.message for problem in view_problems(view)] == ["missing required field: submit"]


def test_a_home_tab_has_no_title() -> None:
    assert view_problems({"type": "home", "blocks": [section()]}) == []
    assert view_problems({"type": "home", "blocks": [section()], "title": plain("x")}) != []


@pytest.mark.parametrize("kind", ["table", "markdown", "alert"])
def test_some_blocks_are_for_messages_only(kind: str) -> None:
    blocks = {"table": table(1, 1), "markdown": {"type": "markdown", "text": "x"}}
    block = blocks.get(kind, {"type": "alert", "text": plain("x")})
    assert message_problems([block]) == []
    assert view_problems(modal(block)) != []


def test_only_one_element_takes_the_focus() -> None:
    typed = {"type": "plain_text_input", "focus_on_load": True}
    assert view_problems(modal(input_block(typed))) == []
    assert view_problems(modal(input_block(typed), input_block(typed))) != []


def test_a_view_of_a_quarter_megabyte_is_too_large() -> None:
    assert not view_too_large(modal(section("x" * 3000)))
    assert view_too_large(modal(*[section("é" * 3000) for _ in range(50)]))


def test_rich_text_with_lists_quotes_and_mentions_is_sound() -> None:
    line = {
        "type": "rich_text_section",
        "elements": [
            {"type": "text", "text": "see ", "style": {"bold": True}},
            {"type": "user", "user_id": "U0MAYA"},
            {"type": "link", "url": "https://a.example", "text": "there"},
            {"type": "emoji", "name": "fire"},
            {"type": "broadcast", "range": "here"},
        ],
    }
    block = {
        "type": "rich_text",
        "elements": [
            line,
            {"type": "rich_text_list", "style": "bullet", "indent": 1, "elements": [line]},
            {"type": "rich_text_quote", "elements": line["elements"]},
            {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "x"}]},
        ],
    }
    assert message_problems([block]) == []
    assert message_problems([{"type": "rich_text", "elements": [{"type": "text", "text": "x"}]}]) != []


def test_characters_counts_every_text_of_a_message() -> None:
    blocks = [section("abc", fields=[mrkdwn("de")]), actions(button(text=plain("f"), value="not shown"))]
    assert characters(blocks) == 6


@given(st.integers(0, 3002))
@settings(max_examples=60, deadline=None)
def test_a_section_is_fine_exactly_when_its_text_has_1_to_3000_characters(length: int) -> None:
    assert (message_problems([section("é" * length)]) == []) is (1 <= length <= 3000)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "text", "elements", "block_id", "options", "rows", "element", "fields", "title"]),
            inner | st.sampled_from(["section", "actions", "button", "mrkdwn", "table", "rich_text", "input", "card"]),
            max_size=5,
        )
    ),
    max_leaves=30,
)


@given(_json)
@settings(max_examples=300, deadline=None)
def test_whatever_an_app_sends_is_judged_without_a_crash(value: Any) -> None:
    assert all(problem.pointer.startswith("/blocks") for problem in message_problems(value))
    assert all(problem.pointer.startswith("/view") for problem in view_problems(value))
