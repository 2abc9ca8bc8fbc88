"""Web API, files.*: an upload in three parts, and the moment that Slack takes to look at what it was given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .args import Args, missing
from .method import TIER_4, Method
from .model import Json, SlackError
from .state import State

LARGEST = 20_000_000
# https://docs.slack.dev/reference/block-kit/composition-objects/slack-file-object : png, jpg, jpeg, gif
PICTURES: Mapping[bytes, str] = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}


@dataclass
class StoredFile:
    """A file on its way: announced, uploaded (`content`), completed, and `ready` once Slack has looked at it.

    Until then a block that names it is refused (slackapi/java-slack-sdk#1349, python-slack-sdk#1658).
    """

    id: str
    name: str
    length: int
    alt_txt: str
    ticket: str
    content: bytes = b""
    ready: float | None = None

    @property
    def mimetype(self) -> str:
        """By what the bytes say; empty for anything that is no picture."""
        return next((kind for head, kind in PICTURES.items() if self.content.startswith(head)), "")


def get_upload_url(state: State, args: Args) -> Json:
    """files.getUploadURLExternal."""
    name = args.required("filename")
    length = args.count("length", 0, LARGEST + 1)
    if not length:
        raise missing("length")
    if length > LARGEST:
        raise SlackError("file_upload_size_restricted")
    file = StoredFile(state.new_id("F"), name, length, args.text("alt_txt"), state.new_id("U"))
    state.files[file.id] = file
    return {"upload_url": f"{state.public_url}/upload/v1/{file.ticket}", "file_id": file.id}


def upload(state: State, ticket: str, body: bytes) -> tuple[int, str]:
    """POST to an upload URL: HTTP status and the words Slack answers with. Good once, for the length announced."""
    with state.lock:
        file = next((one for one in state.files.values() if one.ticket == ticket), None)
        if file is None or file.content:
            return 404, "not found"
        if len(body) != file.length:
            return 400, "the length is not the one announced"
        file.content = body
        return 200, f"OK - {len(body)}"


def complete(state: State, args: Args) -> Json:
    """files.completeUploadExternal. Without a channel the file is the app's own, until a message shows it."""
    asked: Any = args.structure("files", "invalid_arguments")
    if not isinstance(asked, list) or not asked:
        raise missing("files")
    files = [state.files.get(str(one.get("id"))) if isinstance(one, dict) else None for one in asked]
    done: list[Json] = []
    for file, one in zip(files, asked, strict=True):
        if file is None or not file.content or file.ready is not None:
            raise SlackError("file_not_found")
        done.append({"id": file.id, "title": str(one.get("title") or file.name)})
    for file in files:
        if file is not None:
            file.ready = state.clock() + state.config.file_delay_s
    return {"files": done}


def problem_with(state: State, reference: Mapping[str, Any]) -> str:
    """Why a block cannot show this file, in Slack's words; empty when it can."""
    file = state.files.get(str(reference.get("id", "")))
    looked_at = file is not None and file.ready is not None and file.ready <= state.clock()
    return "" if file is not None and looked_at and file.mimetype else "invalid slack file"


_WRITE = ("files:write",)
METHODS: Mapping[str, Method] = {
    "files.getUploadURLExternal": Method(get_upload_url, TIER_4, _WRITE),
    "files.completeUploadExternal": Method(complete, TIER_4, _WRITE),
}
