"""Socket Mode: an app that opens its own connection gets everything over it, and answers in place."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from slack_bolt import Ack, App
from slack_bolt.adapter.socket_mode.builtin import SocketModeHandler
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from bot.workbench.slack.config import WorkspaceConfig

from .conftest import MANIFEST, SECRET, TOKEN, Called, Served, eventually
from .test_interactions import CARD, INCIDENTS, field, modal

APP_TOKEN = "xapp-test"


@pytest.fixture
def config() -> WorkspaceConfig:
    manifest: dict[str, Any] = json.loads(json.dumps(MANIFEST))
    manifest["settings"]["socket_mode_enabled"] = True
    base = WorkspaceConfig(signing_secret=SECRET, bot_token=TOKEN, manifest=manifest)
    return replace(base, app_token=APP_TOKEN)


@pytest.fixture
def heard() -> list[tuple[str, Any]]:
    return []


@pytest.fixture
def connected(served: Served, heard: list[tuple[str, Any]]) -> Iterator[Served]:
    """A Bolt app on its own connection."""
    app = App(client=WebClient(token=TOKEN, base_url=f"{served.url}/api/"), signing_secret=SECRET)

    def declare(ack: Ack, body: dict[str, Any], client: WebClient) -> None:
        ack(text="Opening the form.")
        client.views_open(trigger_id=body["trigger_id"], view=modal(field("impact"), callback_id="declare"))

    def declared(ack: Ack) -> None:
        ack(response_action="errors", errors={"impact": "Say more."})

    def pressed(ack: Ack, action: dict[str, Any]) -> None:
        ack()
        heard.append(("pressed", action["value"]))

    def said(event: dict[str, Any]) -> None:
        heard.append(("said", event["text"]))

    app.command("/incident")(declare)
    app.view("declare")(declared)
    app.action("ack")(pressed)
    app.event("message")(said)
    handler = SocketModeHandler(app, app_token=APP_TOKEN)
    handler.client.web_client = WebClient(token=APP_TOKEN, base_url=f"{served.url}/api/")
    handler.connect()  # type: ignore[no-untyped-call]
    eventually(lambda: served.workspace.state.sockets.connected)
    yield served
    handler.close()  # type: ignore[no-untyped-call]


def test_commands_clicks_forms_and_events_come_over_the_connection(
    connected: Served, heard: list[tuple[str, Any]]
) -> None:
    workspace = connected.workspace
    assert workspace.command("maya", "incidents", "/incident declare").ok
    assert [message.text for message in workspace.ephemerals("maya")] == ["Opening the form."]
    eventually(lambda: bool(workspace.open_views("maya")))
    view = workspace.open_views("maya")[0]
    assert workspace.submit("maya", view.id, {"impact": "x"}).errors == {"impact": "Say more."}
    ts = connected.client.chat_postMessage(channel=INCIDENTS, text="card", blocks=CARD)["ts"]
    assert workspace.click("maya", "incidents", ts, "ack").ok
    workspace.say("maya", "incidents", "hello")
    eventually(lambda: len(heard) == 2)
    assert heard == [("pressed", "inc-7"), ("said", "hello")]


def test_an_app_told_to_reconnect_comes_back(connected: Served) -> None:
    sockets = connected.workspace.state.sockets
    sockets.disconnect()
    assert not sockets.connected
    eventually(lambda: sockets.connected)
    assert connected.workspace.command("maya", "incidents", "/incident declare").ok


def test_without_a_connection_nothing_is_dispatched(served: Served) -> None:
    workspace = served.workspace
    error = workspace.command("maya", "incidents", "/incident declare").error
    assert error == '/incident failed with the error "dispatch_failed"'
    workspace.say("maya", "incidents", "hello")
    assert [attempt.failure for attempt in workspace.event_attempts] == ["connection_failed"] * 2


def test_a_connection_needs_the_app_level_token(served: Served, api: Called) -> None:
    assert api.error("apps.connections.open") == "not_allowed_token_type"
    with pytest.raises(SlackApiError, match="invalid_auth"):
        WebClient(base_url=f"{served.url}/api/", retry_handlers=[]).apps_connections_open(app_token="xapp-other")
    opened = WebClient(base_url=f"{served.url}/api/").apps_connections_open(app_token=APP_TOKEN)
    assert opened["url"].startswith("ws://127.0.0.1:")


def _knock(served: Served, ticket: str | None = None, **headers: str) -> int:
    """The HTTP status with which a connection is met."""
    reply = served.workspace.api("apps.connections.open", token=APP_TOKEN)
    address = str(reply.body["url"]).removeprefix("ws://127.0.0.1:")
    port, _, path = address.partition("/")
    target = f"/{path}" if ticket is None else f"/link/?ticket={ticket}"
    sent = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "eA==", **headers}
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
    try:
        connection.request("GET", target, headers=sent)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_ticket_is_needed_and_a_browser_is_sent_away(served: Served) -> None:
    assert _knock(served) == 101
    assert _knock(served, ticket="forged") == 403
    assert _knock(served, Origin="https://evil.example") == 403


def test_what_is_no_websocket_is_dropped(served: Served) -> None:
    url = str(served.workspace.api("apps.connections.open", token=APP_TOKEN).body["url"])
    port = int(url.removeprefix("ws://127.0.0.1:").partition("/")[0])
    for opening in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 20_000, b"hello"):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
            line.sendall(opening)
            line.shutdown(socket.SHUT_WR)
            try:
                assert line.recv(10) == b""
            except ConnectionResetError:
                pass


def test_stopping_leaves_no_thread_behind(served: Served) -> None:
    def threads() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("socket-mode")]

    assert _knock(served) == 101
    assert threads() != []
    served.workspace.state.sockets.stop()
    eventually(lambda: threads() == [])
