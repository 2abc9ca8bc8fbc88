"""The few Block Kit pieces our messages are made of, each within Slack's limits by construction.

Limits: https://docs.slack.dev/reference/block-kit/blocks and .../block-elements.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from bot.slack.actions import Do, StepDo, more_value
from bot.slack.text import cut, plain

Block = dict[str, Any]

BLOCKS_MAX: Final = 50
"""In one message."""
CHARACTERS_MAX: Final = 11_500
"""Of all blocks of a message together; Slack refuses some messages from about 13,200 (slackapi/bolt-js#2509)."""
OVERFLOW_MAX: Final = 5
"""https://docs.slack.dev/reference/block-kit/block-elements/overflow-menu-element#fields"""
SECTION_MAX: Final = 2900
FIELD_MAX: Final = 1900


@dataclass(frozen=True, slots=True)
class Message:
    """What `chat.postMessage` takes. `text` is what a phone's notification shows."""

    text: str
    blocks: list[Block]


def message(text: str, blocks: Sequence[Block | None]) -> Message:
    """A message of these blocks without the empty ones; what would be too much for Slack is left out and said.

    Buttons are never left out: they come after the prose, and at 3 AM they are what the message is for.
    """
    given = [block for block in blocks if block is not None]
    actions = [block for block in given if block["type"] == "actions"]
    room = CHARACTERS_MAX - sum(map(_size, actions))
    places = BLOCKS_MAX - 1 - len(actions)
    kept: list[Block] = []
    short = False
    for block in given:
        if block["type"] == "actions":
            kept.append(block)
        elif places > 0 and _size(block) <= room:
            kept.append(block)
            places, room = places - 1, room - _size(block)
        else:
            short = True
    if short:
        kept.append({"type": "context", "elements": [mrkdwn("_Shortened; the timeline page has all of it._")]})
    return Message(cut(text, 1000), kept)


def _size(value: Any) -> int:
    if isinstance(value, dict):
        own = value.get("text")
        return (len(own) if isinstance(own, str) else 0) + sum(_size(part) for part in value.values())
    return sum(_size(part) for part in value) if isinstance(value, list) else 0


def mrkdwn(text: str, limit: int = SECTION_MAX) -> Block:
    """Marked text. `verbatim`: Slack makes no links or mentions of its own out of what others wrote."""
    return {"type": "mrkdwn", "text": cut(text, limit), "verbatim": True}


def plain_text(text: str, limit: int, otherwise: str = "untitled") -> Block:
    """Untrusted text as it stands."""
    return {"type": "plain_text", "text": plain(text, limit, otherwise), "emoji": True}


def header(text: str) -> Block:
    """The large line on top."""
    return {"type": "header", "text": plain_text(text, 150)}


def section(text: str, beside: Block | None = None) -> Block | None:
    """A paragraph, with an element at its right; None when there is nothing to say."""
    if not text.strip():
        return None
    block: Block = {"type": "section", "text": mrkdwn(text)}
    return block if beside is None else {**block, "accessory": beside}


def fields(pairs: Sequence[tuple[str, str]]) -> Block | None:
    """Up to ten labelled values in two columns; None when none is set."""
    shown = [mrkdwn(f"*{label}*\n{value}", FIELD_MAX) for label, value in pairs if value]
    return {"type": "section", "fields": shown[:10]} if shown else None


def small(*lines: str) -> Block | None:
    """Small print; None when there is nothing to say."""
    shown = [mrkdwn(text) for text in lines if text.strip()]
    return {"type": "context", "elements": shown[:10]} if shown else None


def image(file: str, alt: str) -> Block:
    """A picture that was uploaded as `file`. Slack takes it only once it has looked at the file."""
    return {"type": "image", "slack_file": {"id": file}, "alt_text": plain(alt, 1900, "a picture")}


def divider() -> Block:
    """A thin rule."""
    return {"type": "divider"}


def button(
    text: str,
    do: Do | StepDo,
    value: str,
    *,
    style: Literal["", "primary", "danger"] = "",
    confirm: Block | None = None,
) -> Block:
    """A button. One per message is `primary`; `danger` is for what cannot be taken back."""
    made: Block = {"type": "button", "text": plain_text(text, 75), "action_id": do.value}
    if value:  # Slack refuses an empty one
        made["value"] = value
    if style:
        made["style"] = style
    if confirm:
        made["confirm"] = confirm
    return made


def link_button(text: str, url: str, number: int = 1) -> Block:
    """A button that opens a page. Its press is reported too, and answered with nothing."""
    return {"type": "button", "text": plain_text(text, 75), "url": url, "action_id": f"link.{number}"}


def more(incident_id: str, options: Sequence[tuple[str, Do]]) -> Block | None:
    """The overflow menu of up to OVERFLOW_MAX further things to do."""
    shown = [
        {"text": plain_text(text, 75), "value": more_value(do, incident_id)} for text, do in options[:OVERFLOW_MAX]
    ]
    return {"type": "overflow", "action_id": Do.MORE.value, "options": shown} if shown else None


def confirm(title: str, text: str, yes: str) -> Block:
    """The question Slack asks before it sends the press."""
    return {
        "title": plain_text(title, 100),
        "text": mrkdwn(text, 300),
        "confirm": plain_text(yes, 30),
        "deny": plain_text("Not now", 30),
        "style": "danger",
    }


def actions(*elements: Block | None) -> Block | None:
    """A row of buttons; None when there is none."""
    shown = [element for element in elements if element is not None]
    return {"type": "actions", "elements": shown} if shown else None
