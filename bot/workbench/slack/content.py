"""Reads what an app wants to say (text, blocks, attachments, metadata), refusing what Slack refuses."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from .api_files import problem_with
from .args import Args
from .blockkit import MESSAGE_CHARACTERS_MAX, characters, interactive, message_problems
from .model import Json, SlackError
from .shapes import Problem
from .state import State

# https://docs.slack.dev/reference/methods/chat.postMessage#truncating
TEXT_MAX = 40_000
# https://docs.slack.dev/reference/methods/chat.update#errors : msg_too_long
EDIT_TEXT_MAX = 4_000
MARKDOWN_TEXT_MAX = 12_000
ATTACHMENTS_MAX = 100
# Slack has a limit (metadata_too_large) and does not publish it; this is far above any honest use.
METADATA_MAX_BYTES = 16_000


@dataclass(frozen=True)
class Content:
    """What a message says; None means that the app left the part out."""

    text: str | None
    blocks: list[Json] | None
    attachments: list[Json] | None
    metadata: Json | None
    warnings: tuple[str, ...] = field(default=())

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it to show."""
        return not (self.text or self.blocks or self.attachments)


def read_content(state: State, args: Args, *, text_max: int | None = None) -> Content:
    """Read and check the content of a message.

    `text_max` refuses a longer text with msg_too_long; without it a text over 40,000 characters is cut, with
    a warning. Raises SlackError with Slack's codes.
    """
    text = args.text("text") if args.given("text") else None
    blocks = args.structure("blocks", "invalid_blocks_format")
    attachments = args.structure("attachments", "invalid_attachments")
    if args.given("markdown_text"):
        if args.text("text") or blocks:
            raise SlackError("markdown_text_conflict")
        if len(args.text("markdown_text")) > MARKDOWN_TEXT_MAX:
            raise SlackError("msg_too_long")
        text = args.text("markdown_text")
        blocks = [{"type": "markdown", "text": text}]
    if text is not None and text_max is not None and len(text) > text_max:
        raise SlackError("msg_too_long")
    warnings: tuple[str, ...] = ()
    if text is not None and len(text) > TEXT_MAX:
        text, warnings = text[:TEXT_MAX], ("message_truncated",)
    return Content(
        text,
        None if blocks is None else _blocks(state, blocks, "/blocks"),
        None if attachments is None else _attachments(state, attachments),
        _metadata(args),
        warnings,
    )


def for_one_person(content: Content) -> Content:
    """The content, as a message that one person alone may see. Raises SlackError.

    Files cannot be shared in such a message (slackapi/node-slack-sdk#1790): one that no channel shows is the app's own,
    so the person would see none. What Slack answers nobody says; here it is a refusal, lest an app count on it.
    """
    files = [nth for nth, block in enumerate(content.blocks or []) if "slack_file" in block]
    if files:
        raise refuse("invalid_blocks", [Problem("invalid slack file", f"/blocks/{nth}/slack_file") for nth in files])
    return content


def refuse(code: str, problems: list[Problem]) -> SlackError:
    """The error that names each broken rule the way Slack does."""
    return SlackError(
        code,
        errors=[str(problem) for problem in problems],
        response_metadata={"messages": [f"[ERROR] {problem}" for problem in problems]},
    )


def stored(state: State, blocks: list[Json]) -> list[Json]:
    """Blocks as Slack keeps them: a copy in which every block and every control has an id."""
    kept = deepcopy(blocks)
    for block in kept:
        block.setdefault("block_id", state.new_id("b")[-5:])
        for child in block.get("child_blocks", []):
            child.setdefault("block_id", state.new_id("b")[-5:])
    for element in interactive(kept):
        element.setdefault("action_id", state.new_id("a")[-5:])
    return kept


def _blocks(state: State, blocks: Any, pointer: str) -> list[Json]:
    if not isinstance(blocks, list):
        raise SlackError("invalid_blocks_format")
    problems = message_problems(blocks, pointer)
    if problems:
        raise refuse("invalid_blocks", problems)
    unready = [
        Problem(said, f"{pointer}/{nth}/slack_file")
        for nth, block in enumerate(blocks)
        if "slack_file" in block and (said := problem_with(state, block["slack_file"]))
    ]
    if unready:
        raise refuse("invalid_blocks", unready)
    if characters(blocks) > MESSAGE_CHARACTERS_MAX:
        raise SlackError("msg_blocks_too_long")
    return stored(state, blocks)


def _attachments(state: State, attachments: Any) -> list[Json]:
    if not isinstance(attachments, list) or not all(isinstance(one, dict) for one in attachments):
        raise SlackError("invalid_attachments")
    if len(attachments) > ATTACHMENTS_MAX:
        raise SlackError("too_many_attachments")
    kept = []
    for index, attachment in enumerate(attachments):
        one = {"id": index + 1, "fallback": "[no preview available]", **attachment}
        if one.get("blocks") is not None:
            one["blocks"] = _blocks(state, one["blocks"], f"/attachments/{index}/blocks")
        kept.append(one)
    return kept


def _metadata(args: Args) -> Json | None:
    metadata = args.structure("metadata", "invalid_metadata_format")
    if metadata is None:
        return None
    if metadata == {}:
        return {}
    if (
        not isinstance(metadata, dict)
        or not isinstance(metadata.get("event_type"), str)
        or not isinstance(metadata.get("event_payload"), dict)
        or set(metadata) - {"event_type", "event_payload", "entities"}
    ):
        raise SlackError("invalid_metadata_format")
    if len(str(metadata).encode()) > METADATA_MAX_BYTES:
        raise SlackError("metadata_too_large")
    return deepcopy(metadata)
