"""What people type and choose: the values of a view's or message's controls, in Slack's state shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .blockkit import controls
from .model import Json

# control type -> (key of its value in the state, key of its first value in the block, what empty looks like)
_KEYS: Mapping[str, tuple[str, str, Any]] = {
    "plain_text_input": ("value", "initial_value", None),
    "email_text_input": ("value", "initial_value", None),
    "url_text_input": ("value", "initial_value", None),
    "number_input": ("value", "initial_value", None),
    "rich_text_input": ("rich_text_value", "initial_value", None),
    "static_select": ("selected_option", "initial_option", None),
    "external_select": ("selected_option", "initial_option", None),
    "radio_buttons": ("selected_option", "initial_option", None),
    "users_select": ("selected_user", "initial_user", None),
    "conversations_select": ("selected_conversation", "initial_conversation", None),
    "channels_select": ("selected_channel", "initial_channel", None),
    "multi_static_select": ("selected_options", "initial_options", []),
    "multi_external_select": ("selected_options", "initial_options", []),
    "checkboxes": ("selected_options", "initial_options", []),
    "multi_users_select": ("selected_users", "initial_users", []),
    "multi_conversations_select": ("selected_conversations", "initial_conversations", []),
    "multi_channels_select": ("selected_channels", "initial_channels", []),
    "datepicker": ("selected_date", "initial_date", None),
    "timepicker": ("selected_time", "initial_time", None),
    "datetimepicker": ("selected_date_time", "initial_date_time", None),
    "file_input": ("files", "initial_files", []),
}
REQUIRED = "Please complete this required field."


class NoSuchChoice(ValueError):
    """A person cannot choose what a control does not offer; says which control and what was asked."""


def _controls(blocks: list[Json]) -> Iterator[tuple[Json, Json]]:
    return ((block, element) for block, element in controls(blocks) if element["type"] in _KEYS)


def initial_values(blocks: list[Json]) -> dict[str, dict[str, Json]]:
    """The values that the controls start with: block_id -> action_id -> {type, value key}."""
    values: dict[str, dict[str, Json]] = {}
    for block, element in _controls(blocks):
        key, first, empty = _KEYS[element["type"]]
        value = element.get(first)
        values.setdefault(block["block_id"], {})[element["action_id"]] = {
            "type": element["type"],
            key: empty if value is None else value,
        }
    return values


def filled(
    blocks: list[Json], start: Mapping[str, Mapping[str, Json]], given: Mapping[str, Any]
) -> dict[str, dict[str, Json]]:
    """The values after a person filled the form in.

    `given` maps block_id to Slack's own state shape ({action_id: {"type", "value"...}}), or, shorter, to the
    plain value: text for a text input, an option's value or label for a menu, ids, lists of these. Raises
    NoSuchChoice for a block or an option that is not there.
    """
    values = {block_id: {name: dict(one) for name, one in block.items()} for block_id, block in start.items()}
    for block_id, entry in given.items():
        found = [element for block, element in _controls(blocks) if block["block_id"] == block_id]
        if not found:
            raise NoSuchChoice(f"no input in a block {block_id!r}")
        for element in found:
            name = element["action_id"]
            if isinstance(entry, Mapping) and name in entry and isinstance(entry[name], Mapping):
                values[block_id][name] = _as_sent(element, entry[name])
            elif not isinstance(entry, Mapping) and element is found[0]:
                values[block_id][name] = chosen(element, entry)
    return values


def _as_sent(element: Json, sent: Mapping[str, Any]) -> Json:
    key, _, empty = _KEYS[element["type"]]
    value = sent.get(key)
    return {"type": element["type"], key: empty if value in (None, "") else value}


def chosen(element: Json, value: Any) -> Json:
    """A control's state after a person gave it this plain value; raises NoSuchChoice."""
    key, _, empty = _KEYS[element["type"]]
    if value in (None, "", []):
        return {"type": element["type"], key: empty}
    if key == "selected_option":
        value = option(element, value)
    elif key == "selected_options":
        value = [option(element, one) for one in value]
    return {"type": element["type"], key: value}


def option(element: Json, value: Any) -> Json:
    """The option of a menu that has this value or reads so; raises NoSuchChoice."""
    options = list(element.get("options") or [])
    for group in element.get("option_groups") or []:
        options += group["options"]
    wanted = value.get("value") if isinstance(value, dict) else value
    for one in options:
        if wanted is not None and wanted in (one.get("value"), one["text"]["text"]):
            return dict(one)
    raise NoSuchChoice(f"{element.get('action_id')} offers no {value!r}")


def left_out(blocks: list[Json], values: Mapping[str, Mapping[str, Json]]) -> dict[str, str]:
    """What Slack itself refuses before an app hears of a submission: block_id -> sentence."""
    errors = {}
    for block, element in _controls(blocks):
        if block["type"] != "input":
            continue
        key, _, _ = _KEYS[element["type"]]
        value = values[block["block_id"]][element["action_id"]].get(key)
        if not value:
            if not block.get("optional"):
                errors[block["block_id"]] = REQUIRED
        elif element["type"] == "plain_text_input":
            least, most = element.get("min_length", 0), element.get("max_length", 3000)
            if len(value) < least:
                errors[block["block_id"]] = f"Must be at least {least} characters."
            elif len(value) > most:
                errors[block["block_id"]] = f"Must be at most {most} characters."
        elif element["type"] == "number_input" and not _number(element, value):
            errors[block["block_id"]] = "Please enter a valid number."
    return errors


def _number(element: Json, value: str) -> bool:
    try:
        number = float(value) if element.get("is_decimal_allowed") else int(value)
        low, high = float(element.get("min_value", "-inf")), float(element.get("max_value", "inf"))
    except ValueError:
        return False
    return low <= number <= high
