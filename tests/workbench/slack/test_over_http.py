"""The workspace over loopback: Slack's own client on one side, a browser page on the other."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry import RateLimitErrorRetryHandler
from slack_sdk.webhook import WebhookClient

from bot.workbench.slack.deliver import http_post
from bot.workbench.slack.faults import Fault

from .conftest import TOKEN, ScriptedApp, Served, eventually
from .test_interactions import CARD, INCIDENTS, field, modal


def ask(served: Served, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    """A request as the page makes it: status and JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=5)
    content = None if body is None else json.dumps(body)
    sent = {"Origin": served.url, "Content-Type": "application/json", **(headers or {})}
    try:
        connection.request("GET" if body is None else "POST", path, content, sent)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_slacks_client_finds_its_way_around(served: Served) -> None:
    client = served.client
    assert client.auth_test()["user_id"] == "U0FIXFIRST"
    made = client.conversations_create(name="inc-1")["channel"]["id"]
    client.conversations_invite(channel=made, users=["U0MAYA", "U0JONAS"])
    client.conversations_setTopic(channel=made, topic="EU latency")
    posted = client.chat_postMessage(channel=made, text="card", blocks=CARD)
    client.chat_postMessage(channel=made, text="reply", thread_ts=posted["ts"])
    client.chat_update(channel=made, ts=posted["ts"], text="card", blocks=CARD)
    client.pins_add(channel=made, timestamp=posted["ts"])
    client.bookmarks_add(channel_id=made, title="Runbook", type="link", link="https://wiki.example")
    client.reactions_add(channel=made, timestamp=posted["ts"], name="fire")
    client.chat_postEphemeral(channel=made, user="U0MAYA", text="psst")
    client.chat_postMessage(channel=client.conversations_open(users="U0MAYA")["channel"]["id"], text="hi")
    history = client.conversations_history(channel=made, include_all_metadata=True)["messages"]
    card = next(message for message in history if message["ts"] == posted["ts"])
    assert (card["reply_count"], card["reactions"][0]["name"]) == (1, "fire")
    assert [member["id"] for member in client.users_list()["members"]][:2] == ["U0MAYA", "U0JONAS"]
    assert client.usergroups_users_list(usergroup="S0RESPOND")["users"][0] == "U0MAYA"
    client.conversations_archive(channel=made)
    with pytest.raises(SlackApiError, match="is_archived"):
        client.chat_postMessage(channel=made, text="too late")


def test_a_refusal_reaches_the_client_as_slacks_own(served: Served) -> None:
    with pytest.raises(SlackApiError) as error:
        served.client.chat_postMessage(channel=INCIDENTS, blocks=[{"type": "bogus"}], text="x")
    assert error.value.response["error"] == "invalid_blocks"
    assert "[json-pointer:/blocks/0/type]" in error.value.response["response_metadata"]["messages"][0]


@pytest.mark.parametrize("kind", ["form", "json", "query"])
def test_arguments_come_as_form_json_or_query(served: Served, kind: str) -> None:
    target, body, headers = "/api/conversations.info", "", {"Authorization": f"Bearer {TOKEN}"}
    if kind == "form":
        body, headers["Content-Type"] = f"channel={INCIDENTS}", "application/x-www-form-urlencoded"
    elif kind == "json":
        body, headers["Content-Type"] = json.dumps({"channel": INCIDENTS}), "application/json; charset=utf-8"
    else:
        target += f"?channel={INCIDENTS}"
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=5)
    connection.request("POST", target, body, headers)
    assert json.loads(connection.getresponse().read())["channel"]["name"] == "incidents"
    connection.close()


@pytest.mark.parametrize(
    ("body", "kind", "error"),
    [
        (b"{", "application/json", "invalid_json"),
        (b"[]", "application/json", "json_not_object"),
        (b'{"a": NaN}', "application/json", "invalid_json"),
        (b'{"text": "\\ud800"}', "application/json", "invalid_json"),
        (b"[" * 100_000, "application/json", "invalid_json"),
        (b"\xff\xfe", "application/x-www-form-urlencoded", "invalid_form_data"),
        (b"hello", "image/png", "invalid_post_type"),
        (b"hello", "", "missing_post_type"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(served: Served, body: bytes, kind: str, error: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=5)
    headers = {"Authorization": f"Bearer {TOKEN}"} | ({"Content-Type": kind} if kind else {})
    connection.request("POST", "/api/auth.test", body, headers)
    assert json.loads(connection.getresponse().read()) == {"ok": False, "error": error}
    connection.close()


def test_a_body_without_end_is_cut_off(served: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=5)
    connection.request("POST", "/api/auth.test", b"x" * 2_000_001, {"Content-Type": "application/json"})
    assert connection.getresponse().status == 413
    connection.close()


def test_a_broken_line_looks_like_one(served: Served) -> None:
    served.workspace.faults.plan(Fault.DROP, "auth.test")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        served.client.auth_test()
    served.workspace.faults.plan(Fault.DONE_DROP, "chat.postMessage")
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        served.client.chat_postMessage(channel=INCIDENTS, text="sent, though nobody said so")
    assert len(served.workspace.channel("incidents").messages) == 1


def test_a_call_that_hangs_ends_with_the_clients_patience(served: Served) -> None:
    served.workspace.faults.plan(Fault.HANG, "auth.test")
    client = served.client
    client.timeout = 1
    with pytest.raises(TimeoutError):
        client.auth_test()


def test_a_hanging_call_can_be_released(served: Served) -> None:
    served.workspace.faults.plan(Fault.HANG, "auth.test")
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(served.client.auth_test)
        eventually(lambda: bool(served.workspace.calls))
        served.workspace.faults.release()
        with pytest.raises(SlackApiError, match="request_timeout"):
            hanging.result(30)


def test_slacks_client_obeys_retry_after(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("slack_sdk.http_retry.builtin_handlers.time.sleep", slept.append, raising=False)
    monkeypatch.setattr("slack_sdk.http_retry.handler.time.sleep", slept.append, raising=False)
    served.workspace.faults.plan(Fault.RATELIMITED, "auth.test", retry_after=7)
    client = served.client
    client.retry_handlers.append(RateLimitErrorRetryHandler(max_retry_count=1))
    assert client.auth_test()["ok"]
    assert 7 <= slept[0] <= 8


def test_a_response_url_is_a_real_address(served: Served, app: ScriptedApp) -> None:
    served.workspace.command("maya", "incidents", "/incident list")
    webhook = WebhookClient(app.last.command["response_url"], retry_handlers=[])
    assert webhook.send(text="two open").status_code == 200
    assert [message.text for message in served.workspace.ephemerals("maya")] == ["two open"]


def test_a_permalink_opens_the_page_at_the_message(served: Served) -> None:
    ts = served.client.chat_postMessage(channel=INCIDENTS, text="x")["ts"]
    link = served.client.chat_getPermalink(channel=INCIDENTS, message_ts=ts)["permalink"]
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=5)
    connection.request("GET", link.removeprefix(served.url))
    assert connection.getresponse().getheader("location") == f"/#/{INCIDENTS}?thread={ts}"
    connection.close()


def test_the_page_is_told_who_is_there_and_what_is_unread(served: Served) -> None:
    served.client.chat_postMessage(channel=INCIDENTS, text="fyi")
    served.client.chat_postMessage(channel=INCIDENTS, text="<!subteam^S0RESPOND> look")
    _, state = ask(served, "/ui/state?user=U0MAYA")
    channels = {channel["name"]: channel for channel in state["channels"]}
    assert (channels["incidents"]["unread"], channels["incidents"]["mention"]) == (2, True)
    assert state["me"]["real_name"] == "Maya Okafor"
    assert state["commands"][0]["command"] == "/incident"
    _, sam = ask(served, "/ui/state?user=U0SAM")
    assert not {channel["name"]: channel for channel in sam["channels"]}["incidents"]["mention"]
    ask(served, "/ui/read", {"user": "U0MAYA", "channel": INCIDENTS})
    _, state = ask(served, "/ui/state?user=U0MAYA")
    assert {channel["name"]: channel["unread"] for channel in state["channels"]}["incidents"] == 0


def test_without_a_name_the_page_is_the_first_persons(served: Served) -> None:
    assert ask(served, "/ui/state")[1]["me"]["id"] == "U0MAYA"
    assert ask(served, "/ui/state?user=U0NOBODY")[0] == 400
    assert ask(served, "/ui/state?user=U0FIXFIRST")[0] == 400


def test_a_guest_sees_only_the_channels_they_are_in(served: Served) -> None:
    made = served.client.conversations_create(name="inc-1")["channel"]["id"]
    guest = {channel["id"] for channel in ask(served, "/ui/state?user=U0GUEST")[1]["channels"]}
    assert made not in guest
    assert made in {channel["id"] for channel in ask(served, "/ui/state?user=U0SAM")[1]["channels"]}
    assert ask(served, f"/ui/channels/{made}/messages?user=U0GUEST")[0] == 404
    assert ask(served, "/ui/message", {"user": "U0GUEST", "channel": made, "text": "hi"})[0] == 409


def test_a_message_typed_in_the_page_is_there_for_the_bot_and_the_thread(served: Served) -> None:
    sent = ask(served, "/ui/message", {"user": "U0MAYA", "channel": INCIDENTS, "text": "hello"})[1]
    reply = {"user": "U0SAM", "channel": INCIDENTS, "text": "hi", "thread_ts": sent["ts"]}
    assert ask(served, "/ui/message", reply)[1]["ok"]
    path = f"/ui/channels/{INCIDENTS}/messages?user=U0MAYA"
    assert [message["text"] for message in ask(served, path)[1]["messages"]] == ["hello"]
    thread = ask(served, f"{path}&thread_ts={sent['ts']}")[1]["messages"]
    assert [message["text"] for message in thread] == ["hello", "hi"]


def test_a_slash_typed_as_a_message_is_a_command(served: Served, app: ScriptedApp) -> None:
    app.says("ok")
    ask(served, "/ui/message", {"user": "U0MAYA", "channel": INCIDENTS, "text": "/incident ack"})
    assert app.last.command["text"] == "ack"
    shown = ask(served, f"/ui/channels/{INCIDENTS}/messages?user=U0MAYA")[1]["messages"]
    assert [(message["text"], message["ephemeral"]) for message in shown] == [("ok", True)]
    assert ask(served, f"/ui/channels/{INCIDENTS}/messages?user=U0SAM")[1]["messages"] == []


def test_the_page_presses_fills_in_and_closes(served: Served, app: ScriptedApp) -> None:
    ts = served.client.chat_postMessage(channel=INCIDENTS, text="card", blocks=CARD)["ts"]
    container = {"type": "message", "channel": INCIDENTS, "ts": ts}
    press = {"user": "U0MAYA", "container": container, "block_id": "steps", "action_id": "ack", "type": "button"}
    assert ask(served, "/ui/action", press) == (200, {"ok": True})
    assert ask(served, "/ui/action", {**press, "action_id": "gone"})[0] == 409
    assert ask(served, "/ui/action", {**press, "container": {"type": "message"}})[0] == 400
    view = served.client.views_open(trigger_id=app.last.payload["trigger_id"], view=modal(field("impact")))["view"]
    submit = {"user": "U0MAYA", "view_id": view["id"], "values": {}}
    refused = ask(served, "/ui/view/submit", submit)[1]
    assert refused["errors"] == {"impact": "Please complete this required field."}
    assert [open_["id"] for open_ in ask(served, "/ui/state?user=U0MAYA")[1]["views"]] == [view["id"]]
    assert ask(served, "/ui/view/close", {"user": "U0MAYA", "view_id": view["id"]})[1]["ok"]
    assert ask(served, "/ui/view/close", {"user": "U0MAYA", "view_id": view["id"]})[0] == 409
    reaction = {"user": "U0MAYA", "channel": INCIDENTS, "ts": ts, "name": "eyes", "on": True}
    assert ask(served, "/ui/reaction", reaction)[1]["ok"]
    assert ask(served, "/ui/home", {"user": "U0MAYA"})[1] == {"ok": True, "view": None}


def test_a_message_without_end_is_refused_in_a_sentence(served: Served) -> None:
    long = {"user": "U0MAYA", "channel": INCIDENTS, "text": "x" * 40_001}
    assert ask(served, "/ui/message", long) == (
        409,
        {"ok": False, "error": "That message is too long: Slack takes 40,000 characters."},
    )


@pytest.mark.parametrize("body", [[], {}, {"user": "U0NOBODY"}, {"user": "U0MAYA"}, {"user": "U0MAYA", "channel": 7}])
def test_a_page_that_sends_nonsense_is_told(served: Served, body: Any) -> None:
    assert ask(served, "/ui/message", body)[0] == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "["},
        {"Origin": "http://["},
        {"Host": "evil.example:8066", "Origin": "http://evil.example:8066"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_page_from_elsewhere_gets_nothing_and_does_nothing(served: Served, headers: dict[str, str]) -> None:
    assert ask(served, "/ui/state?user=U0MAYA", headers=headers)[0] == 403
    body = {"user": "U0MAYA", "channel": INCIDENTS, "text": "forged"}
    assert ask(served, "/ui/message", body, headers)[0] == 403
    assert served.workspace.channel("incidents").messages == []


def test_a_page_from_elsewhere_cannot_use_the_web_api(served: Served) -> None:
    request = urllib.request.Request(
        f"{served.url}/api/auth.test?token={TOKEN}", headers={"Origin": "https://evil.example"}
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=5)


class Page:
    """A browser page's event stream."""

    def __init__(self, served: Served, user: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=5)
        self._connection.request("GET", f"/ui/stream?user={user}", headers={"Origin": served.url})
        self._answer = self._connection.getresponse()
        assert self._answer.getheader("content-type") == "text/event-stream; charset=utf-8"
        assert self._answer.readline() == b"retry: 1000\n"

    def next(self) -> dict[str, Any]:
        """The next event."""
        while line := self._answer.readline():
            if line.startswith(b"data: "):
                return dict(json.loads(line[6:]))
        raise AssertionError("the stream ended")

    def until(self, kind: str) -> dict[str, Any]:
        """The next event of that type."""
        while (event := self.next())["type"] != kind:
            pass
        return event

    def close(self) -> None:
        """Leave."""
        self._connection.close()


def test_a_page_hears_of_everything_its_person_may_see(served: Served, app: ScriptedApp) -> None:
    maya, sam = Page(served, "U0MAYA"), Page(served, "U0SAM")
    client = served.client
    ts = client.chat_postMessage(channel=INCIDENTS, text="card", blocks=CARD)["ts"]
    assert maya.until("message")["message"]["ts"] == ts
    assert maya.until("channel")["channel"]["unread"] == 1
    client.chat_update(channel=INCIDENTS, ts=ts, text="card 2", blocks=CARD)
    assert maya.until("message_changed")["message"]["text"] == "card 2"
    client.chat_postEphemeral(channel=INCIDENTS, user="U0MAYA", text="only you")
    assert maya.until("ephemeral")["message"]["text"] == "only you"
    served.workspace.react("sam", "incidents", ts, "eyes")
    assert maya.until("reaction")["reactions"][0]["users"] == ["U0SAM"]
    served.workspace.click("maya", "incidents", ts, "ack")
    view = client.views_open(trigger_id=app.last.payload["trigger_id"], view=modal())["view"]
    assert maya.until("view")["view"]["id"] == view["id"]
    served.workspace.close_view("maya", view["id"])
    assert maya.until("view_closed")["view_id"] == view["id"]
    client.chat_delete(channel=INCIDENTS, ts=ts)
    assert maya.until("message_deleted")["ts"] == ts
    app.fails(ConnectionRefusedError())
    other = client.chat_postMessage(channel=INCIDENTS, text="card", blocks=CARD)["ts"]
    served.workspace.click("maya", "incidents", other, "ack")
    assert maya.until("toast")["level"] == "error"
    served.workspace.publish({"type": "panel", "faults": []})
    seen = []
    while (event := sam.next())["type"] != "panel":
        seen.append(event["type"])
    assert not {"ephemeral", "view", "view_closed", "toast"} & set(seen)
    maya.close()
    sam.close()


def test_streams_end_when_the_workspace_stops(served: Served) -> None:
    page = Page(served, "U0MAYA")
    served.workspace.stop()
    with pytest.raises(AssertionError, match="the stream ended"):
        page.until("panel")
    page.close()


def test_a_refused_connection_and_an_address_that_is_none_are_connection_errors() -> None:
    with pytest.raises(ConnectionRefusedError):
        http_post("http://127.0.0.1:9/", {}, b"", 1.0)
    with pytest.raises(ConnectionError):
        http_post("file:///etc/passwd", {}, b"", 1.0)


def test_a_running_workspace_delivers_events_by_itself(served: Served, app: ScriptedApp) -> None:
    with served.workspace:
        served.client.chat_postMessage(channel=INCIDENTS, text="x")
        eventually(lambda: bool(app.events))
    assert app.events[0]["text"] == "x"
