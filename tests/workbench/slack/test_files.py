"""Files: an upload in three parts, and a block may show the picture only after a moment."""

import json
from typing import Any

import pytest

from bot.workbench.slack.api_files import upload
from bot.workbench.slack.workspace import Workspace

from .conftest import HandClock, ScriptedApp

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)


def uploaded(workspace: Workspace, content: bytes = PNG, *, complete: bool = True) -> str:
    answer = workspace.api("files.getUploadURLExternal", {"filename": "a.png", "length": len(content)}).body
    assert answer["ok"], answer
    ticket = answer["upload_url"].rsplit("/", 1)[-1]
    assert upload(workspace.state, ticket, content)[0] == 200
    if complete:
        assert workspace.api("files.completeUploadExternal", {"files": [{"id": answer["file_id"]}]}).body["ok"]
    return str(answer["file_id"])


def shows(workspace: Workspace, file: str) -> dict[str, Any]:
    block = {"type": "image", "alt_text": "a picture", "slack_file": {"id": file}}
    return workspace.api("chat.postMessage", {"channel": "C0INCIDENTS", "text": "x", "blocks": [block]}).body


def test_a_block_shows_a_file_only_once_slack_has_looked_at_it(workspace: Workspace, clock: HandClock) -> None:
    file = uploaded(workspace)
    refused = shows(workspace, file)
    assert refused["error"] == "invalid_blocks"
    assert refused["errors"] == ["invalid slack file [json-pointer:/blocks/0/slack_file]"]
    clock.pass_(1)
    assert shows(workspace, file)["ok"]


def test_no_file_is_shown_to_one_person_alone(workspace: Workspace, app: ScriptedApp, clock: HandClock) -> None:
    file = uploaded(workspace)
    clock.pass_(60)
    block = {"type": "image", "alt_text": "a picture", "slack_file": {"id": file}}
    to_maya = {"channel": "C0INCIDENTS", "user": "U0MAYA", "text": "x"}
    assert workspace.api("chat.postEphemeral", {**to_maya, "blocks": [block]}).body["error"] == "invalid_blocks"
    workspace.command("maya", "incidents", "/incident list")
    token = app.last.command["response_url"].rsplit("/", 1)[1]

    def answers(**said: object) -> int:
        return workspace.respond(token, json.dumps({"text": "x", **said}).encode())[0]

    assert answers(blocks=[block]) == 400
    assert answers() == 200
    assert answers(blocks=[block], replace_original=True) == 400
    assert answers(blocks=[block], response_type="in_channel") == 200


@pytest.mark.parametrize("content", [b"plain text, no picture", b"<svg/>"])
def test_what_is_no_picture_is_never_shown(workspace: Workspace, clock: HandClock, content: bytes) -> None:
    file = uploaded(workspace, content)
    clock.pass_(60)
    assert shows(workspace, file)["error"] == "invalid_blocks"


def test_an_upload_that_was_not_completed_is_no_file(workspace: Workspace, clock: HandClock) -> None:
    file = uploaded(workspace, complete=False)
    clock.pass_(60)
    assert shows(workspace, file)["error"] == "invalid_blocks"
    assert shows(workspace, "F0UNKNOWN1")["error"] == "invalid_blocks"


def test_an_upload_url_is_good_once_and_for_the_length_announced(workspace: Workspace) -> None:
    answer = workspace.api("files.getUploadURLExternal", {"filename": "a.png", "length": 5}).body
    ticket = answer["upload_url"].rsplit("/", 1)[-1]
    assert upload(workspace.state, ticket, b"123456")[0] == 400
    assert upload(workspace.state, ticket, b"12345")[0] == 200
    assert upload(workspace.state, ticket, b"12345")[0] == 404
    assert upload(workspace.state, "nonsense", b"12345")[0] == 404


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"filename": "a.png"}, "invalid_arguments"),
        ({"length": 5}, "invalid_arguments"),
        ({"filename": "a.png", "length": 10**9}, "file_upload_size_restricted"),
    ],
)
def test_what_an_upload_needs_is_asked_for(workspace: Workspace, arguments: dict[str, Any], error: str) -> None:
    assert workspace.api("files.getUploadURLExternal", arguments).body["error"] == error


def test_a_file_is_completed_once(workspace: Workspace) -> None:
    file = uploaded(workspace)
    again = workspace.api("files.completeUploadExternal", {"files": [{"id": file}]}).body
    assert again["error"] == "file_not_found"
