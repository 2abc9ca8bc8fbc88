"""Slack's traps: answered after the commit and before any call, counted once, and never silent when it is too late."""

import json
from urllib.parse import parse_qs, urlencode

import pytest

from bot.incident import events as ev
from bot.incident.state import Status
from bot.slack.actions import Do
from bot.workbench.slack.deliver import sign
from tests.story.night import INTAKE, JONAS, MAYA, SAM, Night, told


def test_a_word_is_on_disk_when_it_is_answered_and_slack_was_not_called_before(night: Night) -> None:
    night.burns()
    calls = len(night.bench.workspace.calls)
    night.bench.workspace.command(MAYA, night.incident.channel, "/incident ack")
    assert night.wire.heard[-1].status == 200
    assert b"INC-1 is yours" in night.wire.heard[-1].answer
    assert night.stands(Status.ACKNOWLEDGED)
    assert len(night.bench.workspace.calls) == calls
    night.settle()
    assert len(night.bench.workspace.calls) > calls, "the card is edited afterwards"


@pytest.mark.parametrize("how", ["button", "form"])
def test_a_click_and_a_form_are_answered_before_slack_is_called_too(night: Night, how: str) -> None:
    night.burns()
    if how == "form":
        night.types(MAYA, "/incident note", night.incident.channel)
        form = night.form(MAYA).id
    calls = len(night.bench.workspace.calls)
    if how == "form":
        night.bench.workspace.submit(MAYA, form, {"text": "the gateway is fine"})
        assert [event.text for event in night.events(ev.NoteAdded)] == ["the gateway is fine"]
    else:
        night.bench.workspace.click(MAYA, night.incident.channel, night.card.ts, Do.ACK)
        assert night.stands(Status.ACKNOWLEDGED)
    assert len(night.bench.workspace.calls) == calls
    assert night.wire.heard[-1].answer in (b"", b"{}")


@pytest.mark.parametrize(
    "words", ["note customers are calling", "declare search is slow", "update We are on it.", "ack"]
)
def test_a_word_delivered_twice_counts_once(night: Night, words: str) -> None:
    night.burns()
    first = night.types(MAYA, f"/incident {words}", night.incident.channel if "declare" not in words else INTAKE)
    told_first = len(night.whispers(MAYA))
    before = [len(night.app.journal.entries(one.id)) for one in night.app.journal.recent()]
    status, answer = night.again(night.wire.last("command="))
    assert status == 200
    assert [len(night.app.journal.entries(one.id)) for one in night.app.journal.recent()] == before
    assert json.loads(answer)["text"] in first, "the same answer, for whoever missed the first"
    assert len(night.whispers(MAYA)) == told_first


def test_a_click_delivered_twice_counts_once(night: Night) -> None:
    night.burns()
    night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
    click = night.wire.last("block_actions")
    night.types(MAYA, "/incident mitigated", night.incident.channel)
    seq = night.incident.seq
    assert night.again(click)[0] == 200
    assert night.incident.seq == seq


def test_a_form_delivered_twice_counts_once(night: Night) -> None:
    night.burns()
    night.types(MAYA, "/incident declare")
    night.fills_in(MAYA, title="Search is slow", severity="SEV3")
    form = night.wire.last("view_submission")
    assert night.again(form)[0] == 200
    assert [incident.ref for incident in night.app.journal.recent()] == ["INC-2", "INC-1"]


def test_an_event_delivered_twice_counts_once(night: Night) -> None:
    night.burns()
    message = night.bench.workspace.say(JONAS, night.incident.channel, "it is r42")
    night.bench.workspace.react(MAYA, night.incident.channel, message.ts, "pushpin")
    night.settle()
    event = night.wire.last("reaction_added")
    assert night.again(event)[0] == 200
    assert len(night.events(ev.MessagePinned)) == 1


def test_a_request_that_somebody_recorded_and_plays_again_does_nothing(night: Night) -> None:
    night.burns()
    night.types(MAYA, "/incident note once", night.incident.channel)
    heard = night.wire.last("command=")
    status, answer = night.post(heard.path, heard.body, heard.headers)
    assert (status, answer) == (200, "")
    night.clock.now = night.clock.now.replace(minute=night.clock.now.minute + 6)
    assert night.post(heard.path, heard.body, heard.headers)[0] == 401, "too old to be from Slack"
    assert len(night.events(ev.NoteAdded)) == 1


def test_a_forged_request_is_refused_and_changes_nothing(night: Night) -> None:
    night.burns()
    night.types(MAYA, "/incident list")
    heard = night.wire.heard[-1]
    fields = {name: values[0] for name, values in parse_qs(heard.body.decode()).items()}
    body = urlencode({**fields, "text": "ack", "trigger_id": "another"}).encode()
    assert night.post(heard.path, body, heard.headers)[0] == 401
    forged = {**heard.headers, "X-Slack-Signature": sign("guessed", int(night.clock.seconds()), body)}
    assert night.post(heard.path, body, forged)[0] == 401
    assert night.stands(Status.OPEN)


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "message_action", "callback_id": "nobody", "trigger_id": "1.2.x"},
        {"type": "shortcut", "callback_id": "nobody", "trigger_id": "1.2.x"},
        {"type": "view_closed", "view": {"id": "V1", "callback_id": "modal.note", "type": "modal"}},
        {"type": "block_suggestion", "action_id": "nobody", "value": "x"},
    ],
)
def test_what_nobody_listens_to_is_answered_200_so_that_slack_does_not_send_it_again(
    night: Night, payload: dict[str, object]
) -> None:
    who = {"user": {"id": MAYA, "team_id": "T0FIXFIRST"}, "team": {"id": "T0FIXFIRST"}}
    assert night.slack_sends({"payload": json.dumps({**who, **payload})})[0] == 200


@pytest.mark.parametrize("kind", ["message", "team_join", "something_of_next_year"])
def test_an_event_that_nobody_asked_for_is_answered_200(night: Night, kind: str) -> None:
    event = {
        "type": "event_callback",
        "event_id": "Ev1",
        "team_id": "T0FIXFIRST",
        "event": {"type": kind, "user": MAYA},
    }
    assert night.slack_sends(event=event)[0] == 200


def test_slacks_challenge_is_answered(night: Night) -> None:
    assert night.bench.workspace.verify_request_url()


@pytest.mark.parametrize("word", ["note", "declare", "resolve", "run"])
def test_a_form_that_came_too_late_to_open_is_told_to_the_person(night: Night, word: str) -> None:
    night.burns()
    night.foretold.add("expired_trigger_id")
    night.bench.workspace.command(MAYA, night.incident.channel, f"/incident {word}")
    night.after(seconds=4)
    assert night.bench.workspace.open_views(MAYA) == []
    assert "could not open the form" in night.whispers(MAYA)[-1]
    assert "please try again" in night.whispers(MAYA)[-1]


def test_a_buttons_form_that_came_too_late_is_told_too(night: Night) -> None:
    night.burns()
    night.foretold.add("expired_trigger_id")
    night.bench.workspace.click(MAYA, night.incident.channel, night.card.ts, Do.MORE, f"note:{night.incident.id}")
    night.after(seconds=4)
    assert "could not open the form" in night.whispers(MAYA)[-1]


def test_somebody_new_is_answered_at_once_and_told_when_it_is_known_who_they_are(night: Night) -> None:
    night.burns()
    night.bench.workspace.command(SAM, night.incident.channel, "/incident note customers call")
    assert night.wire.heard[-1].answer in (b"", b"{}"), "acknowledged: who Sam is must first be asked"
    night.settle()
    assert "Noted in INC-1" in night.whispers(SAM)[-1]
    night.types(SAM, "/incident note and call again", night.incident.channel)
    assert b"Noted" in night.wire.heard[-1].answer, "now Sam is known"


def test_a_mention_is_answered_with_what_to_type(night: Night) -> None:
    night.bench.workspace.say(SAM, INTAKE, "<@U0FIXFIRST> what now?")
    night.settle()
    assert "/incident declare" in night.whispers(SAM)[-1]
    assert [told(message) for message in night.messages("incidents") if message.by_app] == [], "and nobody else sees it"
