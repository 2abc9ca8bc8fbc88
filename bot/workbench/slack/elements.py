"""The rules for what goes inside blocks: texts, options, buttons, menus and inputs.

Limits: https://docs.slack.dev/reference/block-kit/block-elements and .../composition-objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .shapes import Anything, Choice, Flag, List, Number, Problem, Rule, Shape, Spec, Text, Typed

ACTION_ID = Text(255)
BLOCK_ID = Text(255)
IMAGE_URL = Text(3000, url=True)
# Slack's pages say 150 for an option's value, its own type package 75; staying under both keeps both happy.
OPTION_VALUE_MAX = 75


def plain(most: int) -> Typed:
    """A text object that must be plain_text."""
    return _texts({"plain_text": Shape({"text": Text(most)}, {"emoji": Flag()})})


def rich(most: int) -> Typed:
    """A text object that may be plain_text or mrkdwn."""
    return _texts(
        {
            "plain_text": Shape({"text": Text(most)}, {"emoji": Flag()}),
            "mrkdwn": Shape({"text": Text(most)}, {"verbatim": Flag()}),
        }
    )


def marked(most: int) -> Typed:
    """A text object that must be mrkdwn."""
    return _texts({"mrkdwn": Shape({"text": Text(most)}, {"verbatim": Flag()})})


def _texts(shapes: Mapping[str, Shape]) -> Typed:
    return Typed(lambda: shapes, "text type")


def one_of(*keys: str, most: int = 1) -> Rule:
    """A rule: between one and `most` of these keys must be there."""

    def rule(value: Mapping[str, Any], pointer: str) -> Iterator[Problem]:
        present = [key for key in keys if value.get(key) is not None]
        names = " or ".join(f"`{key}`" for key in keys)
        if not present:
            yield Problem(f"must define either {names}", pointer)
        elif len(present) > most:
            yield Problem(f"must define only one of {names}", pointer)

    return rule


def rising(low: str, high: str) -> Rule:
    """A rule: one number must not exceed the other."""

    def rule(value: Mapping[str, Any], pointer: str) -> Iterator[Problem]:
        if value.get(low) is not None and value.get(high) is not None and value[low] > value[high]:
            yield Problem(f"must not be greater than `{high}`", f"{pointer}/{low}")

    return rule


def _distinct_values(value: Mapping[str, Any], pointer: str) -> Iterator[Problem]:
    options = list(value.get("options") or [])
    for group in value.get("option_groups") or []:
        options += group["options"]
    seen: set[str] = set()
    for option in options:
        if option["value"] in seen:
            yield Problem(f"must have unique option values: {option['value']}", pointer)
            return
        seen.add(option["value"])


def _initial_among_options(value: Mapping[str, Any], pointer: str) -> Iterator[Problem]:
    options = list(value.get("options") or [])
    for group in value.get("option_groups") or []:
        options += group["options"]
    known = {(option["text"]["text"], option.get("value")) for option in options}
    first = value.get("initial_option")
    for initial in value.get("initial_options") or ([first] if first else []):
        if (initial["text"]["text"], initial.get("value")) not in known:
            yield Problem("initial option must be among the options", pointer)


CONFIRM = Shape(
    {"text": rich(300)},
    {
        "title": plain(100),
        "confirm": plain(30),
        "deny": plain(30),
        "style": Choice(("primary", "danger")),
    },
)
PLAIN_OPTION = Shape(
    {"text": plain(75), "value": Text(OPTION_VALUE_MAX)}, {"description": plain(75), "url": Text(3000, url=True)}
)
MARKED_OPTION = Shape(
    {"text": rich(75), "value": Text(OPTION_VALUE_MAX)}, {"description": rich(75), "url": Text(3000, url=True)}
)
OPTION_GROUP = Shape({"label": plain(75), "options": List(PLAIN_OPTION, 100)})
DISPATCH = Shape({}, {"trigger_actions_on": List(Choice(("on_enter_pressed", "on_character_entered")), 2)})
SLACK_FILE = Shape({}, {"id": Text(), "url": Text(url=True)}, (one_of("id", "url"),))
IMAGE = Shape(
    {"alt_text": Text(2000)},
    {"image_url": IMAGE_URL, "slack_file": SLACK_FILE},
    (one_of("image_url", "slack_file"),),
)
_ID: Mapping[str, Spec] = {"action_id": ACTION_ID}
_MENU: Mapping[str, Spec] = {
    **_ID,
    "placeholder": plain(150),
    "confirm": CONFIRM,
    "focus_on_load": Flag(),
}
_FIELD: Mapping[str, Spec] = {
    **_ID,
    "placeholder": plain(150),
    "focus_on_load": Flag(),
    "dispatch_action_config": DISPATCH,
}
_PICK: Mapping[str, Spec] = {**_ID, "confirm": CONFIRM, "focus_on_load": Flag()}
_OPTIONS: Mapping[str, Spec] = {
    "options": List(PLAIN_OPTION, 100),
    "option_groups": List(OPTION_GROUP, 100),
}
_OPTION_RULES = (one_of("options", "option_groups"), _distinct_values, _initial_among_options)
_MOST: Mapping[str, Spec] = {"max_selected_items": Number(1)}
_FILTER = Shape(
    {},
    {
        "include": List(Choice(("im", "mpim", "private", "public")), 4),
        "exclude_bot_users": Flag(),
        "exclude_external_shared_channels": Flag(),
    },
)
_DATE = Text(10, pattern=r"\d{4}-\d{2}-\d{2}")
_FEEDBACK = Shape({"text": plain(75), "value": Text(2000)}, {"accessibility_label": Text(75)})

SELECTS: Mapping[str, Shape] = {
    "static_select": Shape({}, {**_MENU, **_OPTIONS, "initial_option": PLAIN_OPTION}, _OPTION_RULES),
    "external_select": Shape({}, {**_MENU, "initial_option": PLAIN_OPTION, "min_query_length": Number(0)}),
    "users_select": Shape({}, {**_MENU, "initial_user": Text()}),
    "conversations_select": Shape(
        {},
        {
            **_MENU,
            "initial_conversation": Text(),
            "default_to_current_conversation": Flag(),
            "response_url_enabled": Flag(),
            "filter": _FILTER,
        },
    ),
    "channels_select": Shape({}, {**_MENU, "initial_channel": Text(), "response_url_enabled": Flag()}),
    "multi_static_select": Shape(
        {}, {**_MENU, **_OPTIONS, **_MOST, "initial_options": List(PLAIN_OPTION, 100)}, _OPTION_RULES
    ),
    "multi_external_select": Shape(
        {},
        {**_MENU, **_MOST, "initial_options": List(PLAIN_OPTION, 100), "min_query_length": Number(0)},
    ),
    "multi_users_select": Shape({}, {**_MENU, **_MOST, "initial_users": List(Text())}),
    "multi_conversations_select": Shape(
        {},
        {
            **_MENU,
            **_MOST,
            "initial_conversations": List(Text()),
            "default_to_current_conversation": Flag(),
            "filter": _FILTER,
        },
    ),
    "multi_channels_select": Shape({}, {**_MENU, **_MOST, "initial_channels": List(Text())}),
}
CHOICES: Mapping[str, Shape] = {
    "checkboxes": Shape(
        {"options": List(MARKED_OPTION, 10)},
        {**_PICK, "initial_options": List(MARKED_OPTION, 10)},
        (_distinct_values, _initial_among_options),
    ),
    "radio_buttons": Shape(
        {"options": List(MARKED_OPTION, 10)},
        {**_PICK, "initial_option": MARKED_OPTION},
        (_distinct_values, _initial_among_options),
    ),
    "datepicker": Shape({}, {**_MENU, "initial_date": _DATE}),
    "timepicker": Shape({}, {**_MENU, "initial_time": Text(5, pattern=r"([01]\d|2[0-3]):[0-5]\d"), "timezone": Text()}),
    "datetimepicker": Shape({}, {**_PICK, "initial_date_time": Number(1_000_000_000, 9_999_999_999)}),
}
BUTTONS: Mapping[str, Shape] = {
    "button": Shape(
        {"text": plain(75)},
        {
            **_ID,
            "value": Text(2000),
            "url": Text(3000, url=True),
            "style": Choice(("primary", "danger")),
            "confirm": CONFIRM,
            "accessibility_label": Text(75),
        },
    ),
    "workflow_button": Shape(
        {"text": plain(75), "workflow": Anything()},
        {
            **_ID,
            "style": Choice(("primary", "danger")),
            "confirm": CONFIRM,
            "accessibility_label": Text(75),
        },
    ),
    "overflow": Shape({"options": List(PLAIN_OPTION, 5)}, {**_ID, "confirm": CONFIRM}, (_distinct_values,)),
}
FIELDS: Mapping[str, Shape] = {
    "plain_text_input": Shape(
        {},
        {
            **_FIELD,
            "initial_value": Text(3000, least=0),
            "multiline": Flag(),
            "min_length": Number(0, 3000),
            "max_length": Number(1, 3000),
        },
        (rising("min_length", "max_length"),),
    ),
    "email_text_input": Shape({}, {**_FIELD, "initial_value": Text(least=0)}),
    "url_text_input": Shape({}, {**_FIELD, "initial_value": Text(least=0)}),
    "number_input": Shape(
        {"is_decimal_allowed": Flag()},
        {**_FIELD, "initial_value": Text(least=0), "min_value": Text(), "max_value": Text()},
    ),
    "rich_text_input": Shape(
        {},
        {**_FIELD, "initial_value": Anything(), "min_lines": Number(1), "max_lines": Number(1)},
    ),
}
FILE_INPUT: Mapping[str, Shape] = {
    "file_input": Shape({}, {**_ID, "filetypes": List(Text()), "max_files": Number(1, 10)}),
}
IN_ACTIONS = {**BUTTONS, **SELECTS, **CHOICES, "rich_text_input": FIELDS["rich_text_input"]}
IN_SECTION = {**BUTTONS, **SELECTS, **CHOICES, "image": IMAGE}
IN_INPUT = {**SELECTS, **CHOICES, **FIELDS, **FILE_INPUT}
IN_CONTEXT: Mapping[str, Shape] = {
    "image": IMAGE,
    # Slack names no limit for a text in a context block; its text object's own 3000 holds.
    "plain_text": Shape({"text": Text(3000)}, {"emoji": Flag()}),
    "mrkdwn": Shape({"text": Text(3000)}, {"verbatim": Flag()}),
}
IN_CONTEXT_ACTIONS: Mapping[str, Shape] = {
    "feedback_buttons": Shape({"positive_button": _FEEDBACK, "negative_button": _FEEDBACK}, _ID),
    "icon_button": Shape(
        {"icon": Text(), "text": plain(75)},
        {
            **_ID,
            "value": Text(2000),
            "confirm": CONFIRM,
            "accessibility_label": Text(75),
            "visible_to_user_ids": List(Text()),
        },
    ),
}
ACTIONABLE = frozenset({**IN_ACTIONS, **IN_INPUT, **IN_CONTEXT_ACTIONS})
