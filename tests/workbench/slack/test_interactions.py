"""People at work: commands, buttons, menus and modals, and what they see when the app answers badly."""

from __future__ import annotations

from typing import Any

import pytest

from bot.workbench.slack.inputs import NoSuchChoice
from bot.workbench.slack.model import SlackError
from bot.workbench.slack.workspace import Workspace

from .conftest import Called, HandClock, ScriptedApp

INCIDENTS = "C0INCIDENTS"


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def field(block_id: str, **keys: Any) -> dict[str, Any]:
    element = {"type": "plain_text_input", "action_id": "text"}
    return {"type": "input", "block_id": block_id, "label": plain(block_id), "element": element, **keys}


def modal(*blocks: dict[str, Any], **keys: Any) -> dict[str, Any]:
    kept = list(blocks) or [field("impact")]
    return {"type": "modal", "title": plain("Declare"), "submit": plain("Declare"), "blocks": kept, **keys}


def menu(action_id: str, **keys: Any) -> dict[str, Any]:
    options = [{"text": plain(f"SEV{n}"), "value": f"sev{n}"} for n in (1, 2, 3)]
    return {"type": "static_select", "action_id": action_id, "options": options, **keys}


CARD = [
    {
        "type": "actions",
        "block_id": "steps",
        "elements": [
            {"type": "button", "action_id": "ack", "text": plain("Acknowledge"), "value": "inc-7", "style": "primary"},
            menu("severity"),
        ],
    }
]


@pytest.fixture
def card(api: Called) -> str:
    """The ts of a card with a button and a menu in #incidents."""
    return str(api.fine("chat.postMessage", channel=INCIDENTS, text="card", blocks=CARD)["ts"])


@pytest.fixture
def trigger(workspace: Workspace, app: ScriptedApp) -> str:
    """A fresh trigger of Maya's."""
    workspace.command("maya", "incidents", "/incident declare")
    return app.last.command["trigger_id"]


def test_a_command_reaches_the_app_with_slacks_fields(workspace: Workspace, app: ScriptedApp) -> None:
    assert workspace.command("maya", "incidents", "/incident ack @jonas in #inference").ok
    sent = app.last.command
    assert sent["command"] == "/incident"
    assert sent["text"] == "ack <@U0JONAS|jonas> in <#C0INFERENCE|inference>"
    assert (sent["user_id"], sent["user_name"], sent["channel_name"]) == ("U0MAYA", "maya", "incidents")
    assert (sent["team_id"], sent["api_app_id"]) == ("T0FIXFIRST", "A0FIXFIRST")


def test_without_escaping_a_command_arrives_as_typed(workspace: Workspace, app: ScriptedApp) -> None:
    workspace.command("maya", "incidents", "/raw <b> @jonas")
    assert app.last.command["text"] == "<b> @jonas"


def test_a_command_answered_with_text_is_shown_to_the_one_who_typed_it(workspace: Workspace, app: ScriptedApp) -> None:
    app.says("Nothing is on fire.")
    workspace.command("maya", "incidents", "/incident list")
    assert [message.text for message in workspace.ephemerals("maya")] == ["Nothing is on fire."]
    assert workspace.channel("incidents").messages == []


def test_a_command_answered_in_channel_is_shown_to_all(workspace: Workspace, app: ScriptedApp) -> None:
    app.says({"response_type": "in_channel", "text": "All clear."})
    workspace.command("maya", "incidents", "/incident list")
    assert [message.text for message in workspace.channel("incidents").messages] == ["All clear."]


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ConnectionRefusedError("nobody there"), "dispatch_failed"),
        (TimeoutError("too slow"), "operation_timeout"),
    ],
)
def test_a_command_that_fails_says_so_in_slacks_words(
    workspace: Workspace, app: ScriptedApp, failure: Exception, code: str
) -> None:
    app.fails(failure)
    outcome = workspace.command("maya", "incidents", "/incident ack")
    assert outcome.error == f'/incident failed with the error "{code}"'
    assert workspace.ephemerals("maya")[-1].text == outcome.error


def test_a_command_answered_404_was_not_dispatched(workspace: Workspace, app: ScriptedApp) -> None:
    app.says("not found", status=404)
    assert workspace.command("maya", "incidents", "/incident ack").error == (
        '/incident failed with the error "dispatch_failed"'
    )


def test_an_unknown_command_never_leaves_slack(workspace: Workspace, app: ScriptedApp) -> None:
    outcome = workspace.command("maya", "incidents", "/incidnet ack")
    assert outcome.error is not None
    assert "is not a valid command" in outcome.error
    assert app.heard == []


def test_a_click_carries_the_app_s_own_value_and_the_message(workspace: Workspace, app: ScriptedApp, card: str) -> None:
    assert workspace.click("maya", "incidents", card, "ack", value="forged").ok
    sent = app.last.payload
    action = sent["actions"][0]
    assert (sent["type"], action["action_id"], action["block_id"]) == ("block_actions", "ack", "steps")
    assert (action["value"], action["text"]["text"]) == ("inc-7", "Acknowledge")
    assert sent["container"] == {
        "type": "message",
        "message_ts": card,
        "channel_id": INCIDENTS,
        "is_ephemeral": False,
    }
    assert sent["message"]["ts"] == card
    assert sent["user"]["id"] == "U0MAYA"
    assert sent["response_url"].startswith("http://127.0.0.1:8066/response/")
    assert sent["state"]["values"]["steps"]["severity"] == {"type": "static_select", "selected_option": None}


def test_a_click_that_crosses_an_edit_reaches_the_same_button_and_no_other(
    workspace: Workspace, app: ScriptedApp, api: Called
) -> None:
    blocks = [{key: value for key, value in CARD[0].items() if key != "block_id"}]
    ts = api.fine("chat.postMessage", channel=INCIDENTS, text="card", blocks=blocks)["ts"]
    seen = workspace.channel(INCIDENTS).messages[-1].blocks[0]["block_id"]
    api.fine("chat.update", channel=INCIDENTS, ts=ts, text="card", blocks=blocks)
    container = {"type": "message", "channel": INCIDENTS, "ts": ts}
    assert workspace.act("maya", container, {"block_id": seen, "action_id": "ack", "value": "inc-7"}).ok
    assert app.last.payload["actions"][0]["value"] == "inc-7"
    with pytest.raises(SlackError, match="action_not_found"):
        workspace.act("maya", container, {"block_id": seen, "action_id": "ack", "value": "inc-6"})


def test_a_click_on_a_whisper_names_no_message_and_its_answer_may_replace_it(
    workspace: Workspace, app: ScriptedApp, api: Called
) -> None:
    api.fine("chat.postEphemeral", channel=INCIDENTS, user="U0MAYA", text="sure?", blocks=CARD)
    whisper = workspace.ephemerals("maya")[0]
    workspace.click("maya", "incidents", whisper.ts, "ack")
    sent = app.last.payload
    assert sent["container"]["is_ephemeral"]
    assert "message" not in sent
    token = sent["response_url"].rsplit("/", 1)[1]
    assert workspace.respond(token, b'{"text": "done", "replace_original": true}')[0] == 200
    assert [message.text for message in workspace.ephemerals("maya")] == ["done"]
    with pytest.raises(SlackError, match="message_not_found"):
        workspace.click("jonas", "incidents", whisper.ts, "ack")


def test_a_choice_carries_the_option(workspace: Workspace, app: ScriptedApp, card: str) -> None:
    workspace.click("maya", "incidents", card, "severity", "SEV2")
    sent = app.last.payload
    assert sent["actions"][0]["selected_option"]["value"] == "sev2"
    assert sent["state"]["values"]["steps"]["severity"]["selected_option"]["value"] == "sev2"


def test_nobody_chooses_what_is_not_offered(workspace: Workspace, app: ScriptedApp, card: str) -> None:
    with pytest.raises(NoSuchChoice):
        workspace.click("maya", "incidents", card, "severity", "SEV9")
    with pytest.raises(SlackError, match="action_not_found"):
        workspace.click("maya", "incidents", card, "resolve")
    with pytest.raises(SlackError, match="message_not_found"):
        workspace.click("maya", "incidents", "1.000000", "ack")
    assert app.heard == []


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (TimeoutError("too slow"), "Operation timed out. Apps need to respond within 3 seconds."),
        (ConnectionRefusedError("nobody there"), "We had some trouble connecting. Try again?"),
    ],
)
def test_a_click_into_the_void_is_told_to_the_one_who_clicked(
    workspace: Workspace, app: ScriptedApp, card: str, failure: Exception, words: str
) -> None:
    app.fails(failure)
    assert workspace.click("maya", "incidents", card, "ack").error == words
    assert workspace.ephemerals("maya")[-1].text == words


def test_a_click_answered_500_names_the_status(workspace: Workspace, app: ScriptedApp, card: str) -> None:
    app.says("", status=500)
    assert workspace.click("maya", "incidents", card, "ack").error == "This app responded with Status Code 500."


def test_a_trigger_opens_one_view_within_three_seconds(api: Called, trigger: str) -> None:
    api.fine("views.open", trigger_id=trigger, view=modal())
    assert api.error("views.open", trigger_id=trigger, view=modal()) == "exchanged_trigger_id"
    assert api.error("views.open", trigger_id="1.2.3", view=modal()) == "invalid_trigger_id"


def test_a_trigger_expires_after_three_seconds(api: Called, trigger: str, clock: HandClock) -> None:
    clock.pass_(3.01)
    assert api.error("views.open", trigger_id=trigger, view=modal()) == "expired_trigger_id"


def test_a_view_with_faults_does_not_use_its_trigger_up(api: Called, trigger: str) -> None:
    body = api("views.open", trigger_id=trigger, view=modal(title=plain("x" * 25)))
    assert body["error"] == "invalid_arguments"
    assert body["response_metadata"]["messages"] == [
        "[ERROR] must be less than 25 characters [json-pointer:/view/title/text]"
    ]
    api.fine("views.open", trigger_id=trigger, view=modal())


def test_a_view_over_250_kb_is_too_large(api: Called, trigger: str) -> None:
    long = {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3000}}
    assert api.error("views.open", trigger_id=trigger, view=modal(*[long] * 90)) == "view_too_large"


def test_an_external_id_belongs_to_one_view(api: Called, workspace: Workspace, app: ScriptedApp) -> None:
    for expected in (None, "duplicate_external_id"):
        workspace.command("maya", "incidents", "/incident declare")
        trigger = app.last.command["trigger_id"]
        body = api("views.open", trigger_id=trigger, view=modal(external_id="declare-7"))
        assert body.get("error") == expected


def test_a_stack_holds_three_modals(api: Called, workspace: Workspace, app: ScriptedApp, trigger: str) -> None:
    button = {"type": "actions", "elements": [{"type": "button", "action_id": "more", "text": plain("More")}]}
    view = api.fine("views.open", trigger_id=trigger, view=modal(button))["view"]
    for _ in range(2):
        workspace.click_in_view("maya", view["id"], "more")
        view = api.fine("views.push", trigger_id=app.last.payload["trigger_id"], view=modal(button))["view"]
    workspace.click_in_view("maya", view["id"], "more")
    last = app.last.payload["trigger_id"]
    assert api.error("views.push", trigger_id=last, view=modal(button)) == "push_limit_reached"
    assert [open_.root for open_ in workspace.open_views("maya")] == [view["root_view_id"]] * 3


def test_push_needs_a_trigger_from_a_modal(api: Called, trigger: str) -> None:
    assert api.error("views.push", trigger_id=trigger, view=modal()) == "not_found"


def test_an_update_with_an_old_hash_is_a_conflict(api: Called, trigger: str) -> None:
    view = api.fine("views.open", trigger_id=trigger, view=modal())["view"]
    fresh = api.fine("views.update", view_id=view["id"], hash=view["hash"], view=modal(field("other")))["view"]
    assert fresh["hash"] != view["hash"]
    assert api.error("views.update", view_id=view["id"], hash=view["hash"], view=modal()) == "hash_conflict"
    assert api.error("views.update", view_id="V0NOTHING", view=modal()) == "not_found"


def test_an_update_keeps_what_was_typed_in_inputs_that_stay(
    api: Called, workspace: Workspace, app: ScriptedApp, trigger: str
) -> None:
    loud = field("impact", dispatch_action=True)
    view = api.fine("views.open", trigger_id=trigger, view=modal(loud))["view"]
    workspace.click_in_view("maya", view["id"], "text", "EU users see 500s")
    assert app.last.payload["view"]["state"]["values"]["impact"]["text"]["value"] == "EU users see 500s"
    again = api.fine("views.update", view_id=view["id"], view=modal(loud, field("more")))["view"]
    assert again["state"]["values"]["impact"]["text"]["value"] == "EU users see 500s"
    assert again["state"]["values"]["more"]["text"]["value"] is None


def test_a_submission_carries_the_values_and_closes_the_modal(
    api: Called, workspace: Workspace, app: ScriptedApp, trigger: str
) -> None:
    severity = {"type": "input", "block_id": "severity", "label": plain("Severity"), "element": menu("pick")}
    body = modal(field("impact"), severity, callback_id="declare", private_metadata="inc-7")
    view = api.fine("views.open", trigger_id=trigger, view=body)["view"]
    assert workspace.submit("maya", view["id"], {"impact": "EU down", "severity": "sev1"}).ok
    sent = app.last.payload
    assert (sent["type"], sent["view"]["callback_id"]) == ("view_submission", "declare")
    assert sent["view"]["private_metadata"] == "inc-7"
    values = sent["view"]["state"]["values"]
    assert values["impact"]["text"] == {"type": "plain_text_input", "value": "EU down"}
    assert values["severity"]["pick"]["selected_option"]["text"]["text"] == "SEV1"
    assert workspace.open_views("maya") == []


def test_a_submission_in_the_pages_own_shape_is_the_same(
    api: Called, workspace: Workspace, app: ScriptedApp, trigger: str
) -> None:
    view = api.fine("views.open", trigger_id=trigger, view=modal())["view"]
    workspace.submit("maya", view["id"], {"impact": {"text": {"type": "plain_text_input", "value": "EU"}}})
    assert app.last.payload["view"]["state"]["values"]["impact"]["text"]["value"] == "EU"


def test_slack_refuses_an_incomplete_form_itself(
    api: Called, workspace: Workspace, app: ScriptedApp, trigger: str
) -> None:
    optional = field("note", optional=True)
    view = api.fine("views.open", trigger_id=trigger, view=modal(field("impact"), optional))["view"]
    heard = len(app.heard)
    outcome = workspace.submit("maya", view["id"], {})
    assert outcome.errors == {"impact": "Please complete this required field."}
    assert len(app.heard) == heard


def test_errors_from_the_app_stand_by_their_inputs_and_keep_the_modal_open(
    api: Called, workspace: Workspace, app: ScriptedApp, trigger: str
) -> None:
    view = api.fine("views.open", trigger_id=trigger, view=modal())["view"]
    app.says({"response_action": "errors", "errors": {"impact": "Say who is hurt."}})
    assert workspace.submit("maya", view["id"], {"impact": "x"}).errors == {"impact": "Say who is hurt."}
    assert [open_.id for open_ in workspace.open_views("maya")] == [view["id"]]
    app.says({"response_action": "errors", "errors": {"nothing": "There is no such input."}})
    assert workspace.submit("maya", view["id"], {"impact": "x"}).error == "We had some trouble connecting. Try again?"


def test_an_app_may_answer_a_submission_with_another_view(
    api: Called, workspace: Workspace, app: ScriptedApp, trigger: str
) -> None:
    view = api.fine("views.open", trigger_id=trigger, view=modal())["view"]
    app.says({"response_action": "push", "view": modal(title=plain("Sure?"))})
    assert workspace.submit("maya", view["id"], {"impact": "x"}).ok
    pushed = workspace.open_views("maya")[-1]
    assert (pushed.previous, pushed.body["title"]["text"]) == (view["id"], "Sure?")
    app.says({"response_action": "update", "view": modal(title=plain("Really?"))})
    workspace.submit("maya", pushed.id, {"impact": "x"})
    assert workspace.open_views("maya")[-1].body["title"]["text"] == "Really?"
    app.says({"response_action": "clear"})
    workspace.submit("maya", pushed.id, {"impact": "x"})
    assert workspace.open_views("maya") == []


@pytest.mark.parametrize(
    "said",
    [
        {"response_action": "update", "view": {"type": "modal"}},
        {"response_action": "dance"},
        {"text": "a message is no answer to a modal"},
    ],
)
def test_an_answer_slack_cannot_use_is_trouble(
    api: Called, workspace: Workspace, app: ScriptedApp, trigger: str, said: dict[str, Any]
) -> None:
    view = api.fine("views.open", trigger_id=trigger, view=modal())["view"]
    app.says(said)
    assert workspace.submit("maya", view["id"], {"impact": "x"}).error == "We had some trouble connecting. Try again?"
    assert workspace.open_views("maya") != []


def test_closing_a_modal_is_told_to_an_app_that_asked(
    api: Called, workspace: Workspace, app: ScriptedApp, trigger: str
) -> None:
    view = api.fine("views.open", trigger_id=trigger, view=modal(notify_on_close=True))["view"]
    workspace.close_view("maya", view["id"])
    sent = app.last.payload
    assert (sent["type"], sent["is_cleared"], sent["view"]["id"]) == ("view_closed", False, view["id"])
    assert workspace.open_views("maya") == []


def test_nobody_submits_a_view_of_someone_else(api: Called, workspace: Workspace, trigger: str) -> None:
    view = api.fine("views.open", trigger_id=trigger, view=modal())["view"]
    with pytest.raises(SlackError, match="not_found"):
        workspace.submit("jonas", view["id"], {"impact": "x"})


def test_the_home_tab_shows_what_the_app_published(api: Called, workspace: Workspace, app: ScriptedApp) -> None:
    assert workspace.open_home("maya") is None
    assert app.events[-1]["type"] == "app_home_opened"
    home = {"type": "home", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "Quiet."}}]}
    published = api.fine("views.publish", user_id="U0MAYA", view=home)["view"]
    shown = workspace.open_home("maya")
    assert shown is not None
    assert shown.id == published["id"]
    assert app.events[-1]["view"]["id"] == published["id"]
    assert api.error("views.publish", user_id="U0MAYA", view=home, hash="old") == "hash_conflict"
    assert api.error("views.publish", user_id="U0MAYA", view=modal()) == "invalid_arguments"
