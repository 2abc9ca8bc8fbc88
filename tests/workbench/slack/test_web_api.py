"""The Web API says no where Slack says no, with Slack's words, and yes with Slack's shapes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bot.workbench.slack.config import ChannelSeed, WorkspaceConfig
from bot.workbench.slack.workspace import Workspace

from .conftest import MANIFEST, Called, HandClock, ScriptedApp

INCIDENTS = "C0INCIDENTS"


@pytest.fixture
def posted(api: Called) -> str:
    """The ts of a message of the bot's in #incidents."""
    return str(api.fine("chat.postMessage", channel=INCIDENTS, text="hello")["ts"])


def test_a_call_without_a_token_is_not_authed_and_a_wrong_one_is_invalid(workspace: Workspace) -> None:
    assert workspace.api("auth.test", token="").body["error"] == "not_authed"
    assert workspace.api("auth.test", token="xoxb-other").body["error"] == "invalid_auth"
    assert workspace.api("auth.test").body["user_id"] == "U0FIXFIRST"


def test_api_test_needs_no_token_and_says_back_what_it_was_told(workspace: Workspace) -> None:
    assert workspace.api("api.test", {"a": "b"}, token="").body == {"ok": True, "args": {"a": "b"}}
    assert workspace.api("api.test", {"error": "my_error"}, token="").body["error"] == "my_error"


def test_an_unknown_method_is_named(api: Called) -> None:
    body = api("chat.shout")
    assert (body["error"], body["req_method"]) == ("unknown_method", "chat.shout")


def _with_scopes(config: WorkspaceConfig, clock: HandClock, app: ScriptedApp, *scopes: str) -> Called:
    manifest = json.loads(json.dumps(MANIFEST))
    manifest["oauth_config"]["scopes"]["bot"] = ["commands", *scopes]
    manifest["settings"]["event_subscriptions"]["bot_events"] = []
    return Called(Workspace(replace(config, manifest=manifest), clock=clock, post=app))


def test_a_call_beyond_the_manifests_scopes_says_what_it_needs(
    config: WorkspaceConfig, clock: HandClock, app: ScriptedApp
) -> None:
    api = _with_scopes(config, clock, app, "channels:history")
    body = api("chat.postMessage", channel=INCIDENTS, text="x")
    assert body == {
        "ok": False,
        "error": "missing_scope",
        "needed": "chat:write",
        "provided": "channels:history,commands",
    }
    assert api("conversations.create", name="x", is_private="true")["needed"] == "groups:write"
    assert (
        api("conversations.setTopic", channel=INCIDENTS, topic="x")["needed"] == "channels:manage,channels:write.topic"
    )
    assert api("conversations.history", channel=INCIDENTS)["ok"]


def test_a_private_channel_needs_the_scopes_of_groups(
    config: WorkspaceConfig, clock: HandClock, app: ScriptedApp
) -> None:
    api = _with_scopes(config, clock, app, "channels:history", "groups:write")
    made = api.fine("conversations.create", name="secret", is_private=True)["channel"]["id"]
    assert api("conversations.history", channel=made)["needed"] == "groups:history"


def test_an_e_mail_address_is_shown_only_with_its_scope(
    config: WorkspaceConfig, clock: HandClock, app: ScriptedApp, api: Called
) -> None:
    assert api.fine("users.info", user="U0MAYA")["user"]["profile"]["email"] == "maya@night-shift.example"
    lesser = _with_scopes(config, clock, app, "users:read")
    assert "email" not in lesser.fine("users.info", user="U0MAYA")["user"]["profile"]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", "invalid_name_required"),
        ("x" * 81, "invalid_name_maxlength"),
        ("Inc-1", "invalid_name_specials"),
        ("inc 1", "invalid_name_specials"),
        ("inc.1", "invalid_name_specials"),
        ("--", "invalid_name_punctuation"),
        ("incidents", "name_taken"),
    ],
)
def test_a_channel_name_slack_would_not_take(api: Called, name: str, error: str) -> None:
    assert api.error("conversations.create", name=name) == error


def test_a_channel_name_of_80_characters_is_fine(api: Called) -> None:
    assert api.fine("conversations.create", name="x" * 80)["channel"]["name"] == "x" * 80


def test_an_archived_channel_keeps_its_name(api: Called) -> None:
    made = api.fine("conversations.create", name="inc-1")["channel"]["id"]
    api.fine("conversations.archive", channel=made)
    assert api.error("conversations.create", name="inc-1") == "name_taken"
    assert api.error("conversations.archive", channel=made) == "already_archived"


def test_nobody_writes_in_an_archived_channel(api: Called) -> None:
    made = api.fine("conversations.create", name="inc-1")["channel"]["id"]
    ts = api.fine("chat.postMessage", channel=made, text="x")["ts"]
    api.fine("conversations.archive", channel=made)
    assert api.error("chat.postMessage", channel=made, text="x") == "is_archived"
    assert api.error("chat.update", channel=made, ts=ts, text="y") == "is_inactive"
    assert api.error("conversations.invite", channel=made, users="U0MAYA") == "is_archived"
    assert api.error("conversations.setTopic", channel=made, topic="x") == "is_archived"
    assert api.error("reactions.add", channel=made, timestamp=ts, name="eyes") == "is_archived"
    api.fine("conversations.unarchive", channel=made)
    assert api.error("conversations.unarchive", channel=made) == "not_archived"
    api.fine("chat.postMessage", channel=made, text="x")


def test_the_bot_writes_only_where_it_is_a_member(api: Called) -> None:
    assert api.error("chat.postMessage", channel="C0GENERAL", text="x") == "not_in_channel"
    assert api.error("conversations.history", channel="C0GENERAL") == "not_in_channel"
    api.fine("conversations.join", channel="C0GENERAL")
    api.fine("chat.postMessage", channel="C0GENERAL", text="x")


def test_a_private_channel_without_the_bot_does_not_exist_for_it(
    config: WorkspaceConfig, clock: HandClock, app: ScriptedApp
) -> None:
    seeds = (*config.channels, ChannelSeed("C0SECRET", "secret", ("U0MAYA",), is_private=True))
    api = Called(Workspace(replace(config, channels=seeds), clock=clock, post=app))
    assert api.error("conversations.info", channel="C0SECRET") == "channel_not_found"
    assert api.error("chat.postMessage", channel="C0SECRET", text="x") == "channel_not_found"
    listed = api.fine("conversations.list", types="public_channel,private_channel")["channels"]
    assert "C0SECRET" not in {channel["id"] for channel in listed}


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ({}, "no_text"),
        ({"text": ""}, "no_text"),
        ({"blocks": "not json"}, "invalid_blocks_format"),
        ({"blocks": {"type": "section"}}, "invalid_blocks_format"),
        ({"blocks": [{"type": "bogus"}]}, "invalid_blocks"),
        ({"text": "x", "markdown_text": "y"}, "markdown_text_conflict"),
        ({"text": "x", "attachments": [{}] * 101}, "too_many_attachments"),
        ({"text": "x", "thread_ts": "0"}, "invalid_thread_ts"),
        ({"text": "x", "thread_ts": "1790000000.999999"}, "thread_not_found"),
        ({"text": "x", "metadata": {"event_type": "a"}}, "invalid_metadata_format"),
        ({"text": "x", "metadata": {"event_type": "a", "event_payload": {"k": "v" * 20_000}}}, "metadata_too_large"),
        ({"text": "x", "username": "Someone"}, "missing_scope"),
    ],
)
def test_a_message_slack_would_not_take(api: Called, args: dict[str, Any], error: str) -> None:
    assert api.error("chat.postMessage", channel=INCIDENTS, **args) == error


def test_blocks_of_more_than_12000_characters_together_are_too_long(api: Called) -> None:
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3000}}
    api.fine("chat.postMessage", channel=INCIDENTS, blocks=[section] * 4)
    assert api.error("chat.postMessage", channel=INCIDENTS, blocks=[section] * 5) == "msg_blocks_too_long"


def test_invalid_blocks_say_where(api: Called) -> None:
    body = api(
        "chat.postMessage", channel=INCIDENTS, blocks=[{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}]
    )
    assert body["response_metadata"]["messages"] == [
        "[ERROR] unsupported text type: mrkdwn [json-pointer:/blocks/0/text/type]"
    ]


def test_a_very_long_text_is_cut_with_a_warning(api: Called) -> None:
    body = api.fine("chat.postMessage", channel=INCIDENTS, text="x" * 40_001)
    assert len(body["message"]["text"]) == 40_000
    assert body["warning"] == "message_truncated"


def test_an_edit_of_more_than_4000_characters_is_too_long(api: Called, posted: str) -> None:
    assert api.error("chat.update", channel=INCIDENTS, ts=posted, text="x" * 4001) == "msg_too_long"
    api.fine("chat.update", channel=INCIDENTS, ts=posted, text="x" * 4000)


def test_an_edit_keeps_what_it_does_not_name_but_a_text_alone_takes_the_blocks_away(api: Called) -> None:
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "x"}}]
    metadata = {"event_type": "card", "event_payload": {"id": "7"}}
    ts = api.fine("chat.postMessage", channel=INCIDENTS, text="a", blocks=blocks, metadata=metadata)["ts"]
    both = api.fine("chat.update", channel=INCIDENTS, ts=ts, text="b", blocks=blocks)["message"]
    assert (both["text"], len(both["blocks"])) == ("b", 1)
    assert "edited" not in both
    assert both["metadata"] == metadata
    alone = api.fine("chat.update", channel=INCIDENTS, ts=ts, text="c")["message"]
    assert "blocks" not in alone
    assert alone["edited"]["user"] == "U0FIXFIRST"


def test_a_person_s_message_is_not_the_bot_s_to_change(api: Called, workspace: Workspace) -> None:
    ts = workspace.say("maya", "incidents", "mine").ts
    assert api.error("chat.update", channel=INCIDENTS, ts=ts, text="x") == "cant_update_message"
    assert api.error("chat.delete", channel=INCIDENTS, ts=ts) == "cant_delete_message"


def test_a_deleted_parent_leaves_a_tombstone_and_a_deleted_message_leaves_nothing(api: Called, posted: str) -> None:
    reply = api.fine("chat.postMessage", channel=INCIDENTS, text="r", thread_ts=posted)["ts"]
    api.fine("chat.delete", channel=INCIDENTS, ts=posted)
    thread = api.fine("conversations.replies", channel=INCIDENTS, ts=posted)["messages"]
    assert [message.get("subtype") for message in thread] == ["tombstone", None]
    api.fine("chat.delete", channel=INCIDENTS, ts=reply)
    assert api.error("chat.delete", channel=INCIDENTS, ts=reply) == "message_not_found"


def test_history_is_newest_first_without_replies_and_shows_metadata_only_when_asked(api: Called) -> None:
    metadata = {"event_type": "card", "event_payload": {"id": "7"}}
    first = api.fine("chat.postMessage", channel=INCIDENTS, text="1", metadata=metadata)["ts"]
    api.fine("chat.postMessage", channel=INCIDENTS, text="reply", thread_ts=first)
    api.fine("chat.postMessage", channel=INCIDENTS, text="2")
    plain = api.fine("conversations.history", channel=INCIDENTS)["messages"]
    assert [message["text"] for message in plain] == ["2", "1"]
    assert "metadata" not in plain[1]
    assert plain[1]["reply_count"] == 1
    full = api.fine("conversations.history", channel=INCIDENTS, include_all_metadata=True)["messages"]
    assert full[1]["metadata"] == metadata


def test_a_reply_to_a_reply_joins_the_thread_of_its_parent(api: Called, posted: str) -> None:
    reply = api.fine("chat.postMessage", channel=INCIDENTS, text="a", thread_ts=posted)["ts"]
    api.fine("chat.postMessage", channel=INCIDENTS, text="b", thread_ts=reply)
    thread = api.fine("conversations.replies", channel=INCIDENTS, ts=posted)["messages"]
    assert [message["text"] for message in thread] == ["hello", "a", "b"]
    assert api.error("conversations.replies", channel=INCIDENTS, ts="1.2") == "thread_not_found"


def test_a_broadcast_reply_shows_in_the_channel_too(api: Called, posted: str) -> None:
    api.fine("chat.postMessage", channel=INCIDENTS, text="all", thread_ts=posted, reply_broadcast=True)
    shown = api.fine("conversations.history", channel=INCIDENTS)["messages"]
    assert [message["text"] for message in shown] == ["all", "hello"]


def test_history_comes_in_pages_and_between_two_times(api: Called, clock: HandClock) -> None:
    stamps = []
    for number in range(5):
        stamps.append(api.fine("chat.postMessage", channel=INCIDENTS, text=str(number))["ts"])
        clock.pass_(1)
    page = api.fine("conversations.history", channel=INCIDENTS, limit=2)
    assert ([message["text"] for message in page["messages"]], page["has_more"]) == (["4", "3"], True)
    cursor = page["response_metadata"]["next_cursor"]
    following = api.fine("conversations.history", channel=INCIDENTS, limit=2, cursor=cursor)
    assert [message["text"] for message in following["messages"]] == ["2", "1"]
    between = api.fine("conversations.history", channel=INCIDENTS, oldest=stamps[1], latest=stamps[3])
    assert [message["text"] for message in between["messages"]] == ["2"]
    ends = api.fine("conversations.history", channel=INCIDENTS, oldest=stamps[1], latest=stamps[3], inclusive=True)
    assert [message["text"] for message in ends["messages"]] == ["3", "2", "1"]
    assert api.error("conversations.history", channel=INCIDENTS, cursor="nonsense") == "invalid_cursor"
    assert api.error("conversations.history", channel=INCIDENTS, oldest="yesterday") == "invalid_ts_oldest"
    assert api.error("conversations.history", channel=INCIDENTS, limit="many") == "invalid_limit"


def test_timestamps_never_repeat_though_the_clock_stands_still(api: Called) -> None:
    stamps = [api.fine("chat.postMessage", channel=INCIDENTS, text="x")["ts"] for _ in range(5)]
    assert stamps == sorted(set(stamps))


def test_inviting(api: Called) -> None:
    made = api.fine("conversations.create", name="inc-1")["channel"]["id"]
    assert api.error("conversations.invite", channel=made) == "no_user"
    assert api.error("conversations.invite", channel=made, users="U0NOBODY") == "user_not_found"
    assert api.error("conversations.invite", channel=made, users="U0FIXFIRST") == "cant_invite_self"
    api.fine("conversations.invite", channel=made, users="U0MAYA,U0JONAS")
    assert api.error("conversations.invite", channel=made, users="U0MAYA") == "already_in_channel"
    several = api("conversations.invite", channel=made, users="U0MAYA,U0PRIYA")
    assert several["errors"] == [{"user": "U0MAYA", "ok": False, "error": "already_in_channel"}]
    forced = api.fine("conversations.invite", channel=made, users=["U0MAYA", "U0PRIYA"], force=True)
    assert len(forced["errors"]) == 1
    members = api.fine("conversations.members", channel=made)["members"]
    assert members == ["U0FIXFIRST", "U0MAYA", "U0JONAS", "U0PRIYA"]


def test_a_topic_has_250_characters(api: Called) -> None:
    assert api.error("conversations.setTopic", channel=INCIDENTS, topic="x" * 251) == "too_long"
    assert api.fine("conversations.setTopic", channel=INCIDENTS, topic="x" * 250)["channel"]["topic"]["value"]
    assert api.error("conversations.setPurpose", channel=INCIDENTS, purpose="x" * 251) == "too_long"


def test_the_bot_renames_only_what_it_made(api: Called) -> None:
    assert api.error("conversations.rename", channel=INCIDENTS, name="other") == "not_authorized"
    made = api.fine("conversations.create", name="inc-1")["channel"]["id"]
    renamed = api.fine("conversations.rename", channel=made, name="inc-2")["channel"]
    assert (renamed["name"], renamed["previous_names"]) == ("inc-2", ["inc-1"])


def test_leaving_twice_is_told_gently(api: Called) -> None:
    assert api.fine("conversations.leave", channel=INCIDENTS) == {"ok": True}
    assert api.fine("conversations.leave", channel=INCIDENTS) == {"ok": True, "not_in_channel": True}


def test_a_direct_message_opens_once(api: Called) -> None:
    first = api.fine("conversations.open", users="U0MAYA")
    again = api.fine("conversations.open", users="U0MAYA")
    assert again["already_open"]
    assert first["channel"]["id"] == again["channel"]["id"]
    assert api.fine("chat.postMessage", channel="U0MAYA", text="psst")["channel"] == first["channel"]["id"]
    assert api.error("conversations.open", users="U0NOBODY") == "user_not_found"
    assert api.error("conversations.archive", channel=first["channel"]["id"]) == "method_not_supported_for_channel_type"


def test_a_message_may_go_to_a_channel_by_name(api: Called) -> None:
    assert api.fine("chat.postMessage", channel="#incidents", text="x")["channel"] == INCIDENTS
    assert api.error("chat.postMessage", channel="#nowhere", text="x") == "channel_not_found"


def test_an_ephemeral_is_seen_by_one_member_and_lies_in_nobodys_history(api: Called, workspace: Workspace) -> None:
    api.fine("chat.postEphemeral", channel=INCIDENTS, user="U0MAYA", text="only you")
    assert [message.text for message in workspace.ephemerals("maya")] == ["only you"]
    assert workspace.ephemerals("jonas") == []
    assert api.fine("conversations.history", channel=INCIDENTS)["messages"] == []
    assert api.error("chat.postEphemeral", channel=INCIDENTS, user="U0NOBODY", text="x") == "user_not_in_channel"


def test_reactions(api: Called, posted: str) -> None:
    api.fine("reactions.add", channel=INCIDENTS, timestamp=posted, name="eyes")
    assert api.error("reactions.add", channel=INCIDENTS, timestamp=posted, name="eyes") == "already_reacted"
    assert api.error("reactions.add", channel=INCIDENTS, timestamp=posted, name="Not An Emoji") == "invalid_name"
    assert api.error("reactions.add", channel=INCIDENTS, timestamp="x", name="eyes") == "bad_timestamp"
    assert api.error("reactions.add", channel=INCIDENTS, timestamp="1.000000", name="eyes") == "message_not_found"
    assert api.error("reactions.add", channel=INCIDENTS, name="eyes") == "no_item_specified"
    got = api.fine("reactions.get", channel=INCIDENTS, timestamp=posted)["message"]["reactions"]
    assert got == [{"name": "eyes", "users": ["U0FIXFIRST"], "count": 1}]
    api.fine("reactions.remove", channel=INCIDENTS, timestamp=posted, name="eyes")
    assert api.error("reactions.remove", channel=INCIDENTS, timestamp=posted, name="eyes") == "no_reaction"


def test_pins_and_bookmarks(api: Called, posted: str) -> None:
    api.fine("pins.add", channel=INCIDENTS, timestamp=posted)
    assert api.error("pins.add", channel=INCIDENTS, timestamp=posted) == "already_pinned"
    assert api.fine("pins.list", channel=INCIDENTS)["items"][0]["message"]["ts"] == posted
    link = {"channel_id": INCIDENTS, "title": "Runbook", "type": "link"}
    assert api.error("bookmarks.add", **link, link="ftp://x") == "invalid_link"
    api.fine("bookmarks.add", **link, link="https://wiki.example/rollback", emoji=":book:")
    assert [mark["title"] for mark in api.fine("bookmarks.list", channel_id=INCIDENTS)["bookmarks"]] == ["Runbook"]


def test_people_and_their_groups(api: Called) -> None:
    assert api.fine("users.lookupByEmail", email="Maya@night-shift.example")["user"]["id"] == "U0MAYA"
    assert api.error("users.lookupByEmail", email="nobody@night-shift.example") == "users_not_found"
    assert api.error("users.info", user="U0NOBODY") == "user_not_found"
    members = {member["id"]: member for member in api.fine("users.list")["members"]}
    assert members["U0GUEST"]["is_restricted"]
    assert members["U0FIXFIRST"]["is_bot"]
    assert "USLACKBOT" in members
    group = api.fine("usergroups.list", include_users=True)["usergroups"][0]
    assert (group["handle"], group["users"]) == ("inference-oncall", ["U0MAYA", "U0JONAS", "U0PRIYA"])
    assert api.fine("usergroups.users.list", usergroup="S0RESPOND")["users"] == group["users"]
    assert api.error("usergroups.users.list", usergroup="S0NOBODY") == "no_such_subteam"
    assert api.fine("bots.info", bot="B0FIXFIRST")["bot"]["user_id"] == "U0FIXFIRST"
    assert api.fine("team.info")["team"]["domain"] == "night-shift"


def test_a_permalink_leads_to_the_message(api: Called, posted: str) -> None:
    link = api.fine("chat.getPermalink", channel=INCIDENTS, message_ts=posted)["permalink"]
    assert link == f"http://127.0.0.1:8066/archives/C0INCIDENTS/p{posted.replace('.', '')}"


def test_every_call_is_on_record_without_its_token(api: Called, workspace: Workspace) -> None:
    api("chat.postMessage", channel=INCIDENTS, text="x", token="xoxb-test")
    call = workspace.calls[-1]
    assert (call.method, call.args, call.status) == ("chat.postMessage", {"channel": INCIDENTS, "text": "x"}, 200)
    assert call.answer["ok"]
