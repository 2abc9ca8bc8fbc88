"""The proof that an unchanged app runs here: a Bolt app declares, acknowledges and resolves an incident."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from slack_bolt import Ack, App
from slack_bolt.request import BoltRequest
from slack_sdk import WebClient

from bot.workbench.slack.workspace import Workspace

from .conftest import BOT_URL, SECRET, TOKEN, Answer, HandClock, Served
from .test_interactions import field, modal, plain


class BoltPoster:
    """Hands what Slack sends straight to a Bolt app."""

    def __init__(self) -> None:
        self.app: App | None = None

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes, timeout: float) -> Answer:
        assert url == BOT_URL
        assert self.app is not None
        answer = self.app.dispatch(BoltRequest(body=body.decode(), headers=dict(headers)))
        return answer.status, {name.lower(): value[0] for name, value in answer.headers.items()}, answer.body.encode()


@pytest.fixture
def poster() -> BoltPoster:
    return BoltPoster()


@pytest.fixture
def clock() -> HandClock:
    """Bolt checks signatures by the wall clock, so this story happens now."""
    return HandClock(time.time())


@pytest.fixture
def workspace(config: Any, clock: HandClock, poster: BoltPoster) -> Workspace:
    return Workspace(config, clock=clock, post=poster)


@pytest.fixture
def bolt(served: Served, poster: BoltPoster) -> App:
    client = WebClient(token=TOKEN, base_url=f"{served.url}/api/")
    app = App(client=client, signing_secret=SECRET, process_before_response=True)
    poster.app = app

    def declare(ack: Ack, body: dict[str, Any], client: WebClient) -> None:
        ack()
        view = modal(field("impact"), callback_id="declare", private_metadata=body["channel_id"])
        client.views_open(trigger_id=body["trigger_id"], view=view)

    def declared(ack: Ack, view: dict[str, Any], client: WebClient) -> None:
        impact = view["state"]["values"]["impact"]["text"]["value"]
        if len(impact) < 5:
            ack(response_action="errors", errors={"impact": "Say who is hurt and how."})
            return
        ack()
        made = client.conversations_create(name="inc-7")["channel"]["id"]
        client.conversations_invite(channel=made, users="U0MAYA,U0JONAS")
        button = {"type": "button", "action_id": "ack", "text": plain("Acknowledge"), "value": made}
        client.chat_postMessage(channel=made, text=impact, blocks=[{"type": "actions", "elements": [button]}])

    def acknowledged(ack: Ack, body: dict[str, Any], client: WebClient, respond: Callable[..., Any]) -> None:
        ack()
        where = {"channel": body["channel"]["id"], "ts": body["message"]["ts"]}
        client.chat_update(**where, text=f"acknowledged by <@{body['user']['id']}>")
        respond("Thank you.")

    def reacted(event: dict[str, Any], client: WebClient) -> None:
        item = event["item"]
        client.chat_postMessage(channel=item["channel"], thread_ts=item["ts"], text="On the timeline.")

    app.command("/incident")(declare)
    app.view("declare")(declared)
    app.action("ack")(acknowledged)
    app.event("reaction_added")(reacted)
    return app


@pytest.mark.usefixtures("bolt")
def test_an_incident_is_declared_acknowledged_and_noted(workspace: Workspace) -> None:
    assert workspace.command("maya", "incidents", "/incident declare").ok
    (view,) = workspace.open_views("maya")
    assert workspace.submit("maya", view.id, {"impact": "bad"}).errors == {"impact": "Say who is hurt and how."}
    assert workspace.submit("maya", view.id, {"impact": "EU users see 500s"}).ok
    assert workspace.open_views("maya") == []

    channel = workspace.channel("inc-7")
    assert channel.members == ["U0FIXFIRST", "U0MAYA", "U0JONAS"]
    card = channel.messages[-1]
    assert workspace.click("jonas", "inc-7", card.ts, "ack").ok
    assert card.text == "acknowledged by <@U0JONAS>"
    assert [message.text for message in workspace.ephemerals("jonas")] == ["Thank you."]

    workspace.react("maya", "inc-7", card.ts, "pushpin")
    assert [message.text for message in channel.replies(card.ts)] == ["On the timeline."]
    assert all(call.answer["ok"] for call in workspace.calls)


@pytest.mark.usefixtures("bolt")
def test_a_command_that_no_listener_takes_fails_in_slacks_words(workspace: Workspace) -> None:
    assert workspace.command("maya", "incidents", "/raw x").error == '/raw failed with the error "dispatch_failed"'
