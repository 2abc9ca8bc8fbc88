"""Events: who hears of what, and how often Slack tries again when the app does not answer."""

from __future__ import annotations

import pytest

from bot.workbench.slack.workspace import Workspace

from .conftest import Answer, Called, HandClock, Heard, ScriptedApp

INCIDENTS = "C0INCIDENTS"


def kinds(app: ScriptedApp) -> list[str]:
    return [event["type"] if "subtype" not in event else f"{event['type']}.{event['subtype']}" for event in app.events]


def test_a_message_is_told_with_its_envelope(workspace: Workspace, app: ScriptedApp) -> None:
    envelopes = []

    def keep(heard: Heard) -> Answer:
        envelopes.append(heard.event)
        return 200, {}, b""

    app.answer_events = keep
    message = workspace.say("maya", "incidents", "EU is <slow> & sad")
    (told,) = envelopes
    assert (told["type"], told["team_id"], told["api_app_id"]) == ("event_callback", "T0FIXFIRST", "A0FIXFIRST")
    assert told["authorizations"][0]["user_id"] == "U0FIXFIRST"
    event = told["event"]
    assert event["text"] == "EU is &lt;slow&gt; &amp; sad"
    assert (event["channel"], event["channel_type"], event["ts"]) == (INCIDENTS, "channel", message.ts)


def test_a_typed_name_calls_the_app(workspace: Workspace, app: ScriptedApp) -> None:
    workspace.say("maya", "incidents", "@fixfirst what is up?")
    assert kinds(app) == ["message", "app_mention"]
    assert app.events[1]["text"] == "<@U0FIXFIRST> what is up?"


def test_the_app_hears_nothing_of_channels_it_is_not_in(workspace: Workspace, app: ScriptedApp) -> None:
    workspace.say("maya", "general", "lunch?")
    assert app.events == []


def test_the_app_hears_its_own_messages_and_edits(workspace: Workspace, app: ScriptedApp, api: Called) -> None:
    ts = api.fine("chat.postMessage", channel=INCIDENTS, text="a")["ts"]
    api.fine("chat.update", channel=INCIDENTS, ts=ts, text="b")
    api.fine("chat.delete", channel=INCIDENTS, ts=ts)
    assert app.events == []
    workspace.deliver_events()
    assert kinds(app) == ["message", "message.message_changed", "message.message_deleted"]
    assert app.events[0]["bot_id"] == "B0FIXFIRST"
    assert (app.events[1]["message"]["text"], app.events[1]["previous_message"]["text"]) == ("b", "a")


def test_reactions_joins_pins_and_archives_are_told(workspace: Workspace, app: ScriptedApp, api: Called) -> None:
    made = api.fine("conversations.create", name="inc-1")["channel"]["id"]
    workspace.deliver_events()
    app.events.clear()
    api.fine("conversations.invite", channel=made, users="U0MAYA")
    ts = workspace.say("maya", made, "hi").ts
    workspace.react("maya", made, ts, "pushpin")
    workspace.react("maya", made, ts, "pushpin")
    api.fine("pins.add", channel=made, timestamp=ts)
    api.fine("conversations.archive", channel=made)
    workspace.deliver_events()
    assert kinds(app) == [
        "message.channel_join",
        "member_joined_channel",
        "message",
        "reaction_added",
        "pin_added",
        "message.channel_archive",
        "channel_archive",
    ]
    assert app.events[1]["inviter"] == "U0FIXFIRST"
    assert app.events[3]["item"] == {"type": "message", "channel": made, "ts": ts}


def test_what_the_manifest_does_not_ask_for_is_not_told(workspace: Workspace, app: ScriptedApp) -> None:
    ts = workspace.say("maya", "incidents", "hi").ts
    workspace.react("maya", "incidents", ts, "eyes")
    app.events.clear()
    workspace.react("maya", "incidents", ts, "eyes", on=False)
    assert app.events == []


def test_an_event_is_tried_four_times_at_once_after_a_minute_and_after_five(
    workspace: Workspace, app: ScriptedApp, clock: HandClock
) -> None:
    heard: list[tuple[float, str | None, str | None, str]] = []
    start = clock()

    def refuse(request: Heard) -> Answer:
        number, reason = (request.headers.get(f"X-Slack-Retry-{name}") for name in ("Num", "Reason"))
        heard.append((clock() - start, number, reason, request.event["event_id"]))
        if number is None:
            raise TimeoutError
        return 500, {}, b""

    app.answer_events = refuse
    workspace.say("maya", "incidents", "hi")
    clock.pass_(59)
    assert workspace.deliver_events() == 0
    clock.pass_(1)
    assert workspace.deliver_events() == 1
    clock.pass_(300)
    assert workspace.deliver_events() == 1
    clock.pass_(3600)
    assert workspace.deliver_events() == 0
    assert [entry[:3] for entry in heard] == [
        (0, None, None),
        (0, "1", "http_timeout"),
        (60, "2", "http_error"),
        (360, "3", "http_error"),
    ]
    assert len({entry[3] for entry in heard}) == 1


def test_an_app_may_ask_not_to_be_tried_again(workspace: Workspace, app: ScriptedApp) -> None:
    app.answer_events = lambda heard: (500, {"x-slack-no-retry": "1"}, b"")
    workspace.say("maya", "incidents", "hi")
    assert [attempt.status for attempt in workspace.event_attempts] == [500]


def test_an_app_that_is_away_is_tried_later_and_others_events_go_on(
    workspace: Workspace, app: ScriptedApp, clock: HandClock
) -> None:
    def away(heard: Heard) -> Answer:
        raise ConnectionRefusedError

    app.answer_events = away
    workspace.say("maya", "incidents", "one")
    app.answer_events = lambda heard: (200, {}, b"")
    workspace.say("maya", "incidents", "two")
    assert [attempt.failure for attempt in workspace.event_attempts] == ["connection_failed"] * 2 + [None]
    clock.pass_(60)
    workspace.deliver_events()
    assert app.events[-1]["text"] == "one"


def test_the_request_url_is_verified_by_a_challenge(workspace: Workspace, app: ScriptedApp) -> None:
    app.answer_events = lambda heard: (200, {}, heard.event["challenge"].encode())
    assert workspace.verify_request_url()
    app.answer_events = lambda heard: (200, {}, b"what?")
    assert not workspace.verify_request_url()


@pytest.mark.parametrize("typed", ["@here", "@channel"])
def test_a_call_to_all_is_a_token(workspace: Workspace, typed: str) -> None:
    assert workspace.say("maya", "incidents", f"{typed} look").text == f"<!{typed[1:]}> look"


def test_groups_links_and_escaped_text_are_stored_as_slack_stores_them(workspace: Workspace) -> None:
    said = workspace.say("sam", "incidents", "@inference-oncall see https://a.example/x?a=1&b=2. a &lt; b")
    assert said.text == "<!subteam^S0RESPOND> see <https://a.example/x?a=1&amp;b=2>. a &lt; b"
