"""A response_url: five answers within thirty minutes, to the one who acted or to all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.workbench.slack.workspace import Workspace

from .conftest import Called, HandClock, ScriptedApp
from .test_interactions import CARD, INCIDENTS


class Responder:
    """Answers at the response_url of the latest interaction."""

    def __init__(self, workspace: Workspace, url: str) -> None:
        self._workspace = workspace
        self._token = url.rsplit("/", 1)[1]

    def __call__(self, **said: Any) -> tuple[int, str | None]:
        status, body = self._workspace.respond(self._token, json.dumps(said).encode())
        return status, body.get("error")


@pytest.fixture
def after_command(workspace: Workspace, app: ScriptedApp) -> Responder:
    workspace.command("maya", "incidents", "/incident list")
    return Responder(workspace, app.last.command["response_url"])


@pytest.fixture
def after_click(workspace: Workspace, app: ScriptedApp, api: Called) -> Responder:
    ts = api.fine("chat.postMessage", channel=INCIDENTS, text="card", blocks=CARD)["ts"]
    workspace.click("maya", "incidents", ts, "ack")
    return Responder(workspace, app.last.payload["response_url"])


def test_an_answer_is_for_the_one_who_acted(workspace: Workspace, after_command: Responder) -> None:
    assert after_command(text="two open") == (200, None)
    assert [message.text for message in workspace.ephemerals("maya")] == ["two open"]


def test_an_answer_in_channel_is_for_all(workspace: Workspace, after_command: Responder) -> None:
    after_command(text="two open", response_type="in_channel")
    assert workspace.channel("incidents").messages[-1].text == "two open"


def test_a_whisper_may_be_replaced_and_taken_away(workspace: Workspace, after_command: Responder) -> None:
    after_command(text="working")
    after_command(text="done", replace_original=True)
    assert [message.text for message in workspace.ephemerals("maya")] == ["done"]
    after_command(delete_original=True)
    assert workspace.ephemerals("maya") == []


def test_the_message_that_was_clicked_may_be_replaced(workspace: Workspace, after_click: Responder) -> None:
    after_click(text="acknowledged", replace_original=True)
    message = workspace.channel("incidents").messages[-1]
    assert (message.text, message.blocks) == ("acknowledged", [])


def test_the_message_that_was_clicked_may_be_taken_away(workspace: Workspace, after_click: Responder) -> None:
    after_click(delete_original=True)
    assert workspace.channel("incidents").messages == []


def test_the_sixth_answer_is_one_too_many(after_command: Responder) -> None:
    assert [after_command(text=str(number)) for number in range(6)] == [(200, None)] * 5 + [(404, "used_url")]


def test_after_thirty_minutes_the_url_is_expired(after_command: Responder, clock: HandClock) -> None:
    clock.pass_(30 * 60)
    assert after_command(text="x") == (200, None)
    clock.pass_(1)
    assert after_command(text="x") == (404, "expired_url")


def test_an_answer_is_judged_like_a_message(after_command: Responder) -> None:
    assert after_command(text="x", blocks=[{"type": "bogus"}]) == (400, "invalid_blocks")
    assert after_command() == (400, "no_text")


def test_what_is_not_json_is_refused(workspace: Workspace, app: ScriptedApp) -> None:
    assert workspace.respond("R0NOTHING", b"{")[0] == 400
    assert workspace.respond("R0NOTHING", b"[]")[0] == 400
    assert workspace.respond("R0NOTHING", b"{}")[0] == 404
