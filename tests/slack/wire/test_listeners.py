"""Words, buttons and forms, from Slack's signed request to the journal and back to the person who asked."""

import json
import socket
import time
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.incident import commands as cmd
from bot.incident import events as ev
from bot.incident.events import Role, Severity
from bot.incident.state import Status
from bot.journal.archive import Moved, move_old
from bot.slack import client
from bot.slack.actions import Do
from bot.slack.text import heard
from bot.workbench.slack.faults import Fault
from tests.slack.wire.office import GUEST, INTAKE, JONAS, MAYA, SAM, Office, told


@pytest.fixture
def burning(office: Office) -> Office:
    """An incident with three alerts firing, its card and channel there."""
    office.burns()
    office.delivers()
    return office


# -- words ------------------------------------------------------------------------------------------------------------


def test_declaring_with_words_opens_the_incident_at_once(office: Office) -> None:
    answer = office.types(MAYA, "/incident declare llama-70b answers 500")
    assert office.incident.title == "llama-70b answers 500"
    assert office.incident.declared_by.id == MAYA
    assert office.incident.ref in answer


def test_declaring_without_words_opens_the_form(office: Office) -> None:
    office.types(MAYA, "/incident declare")
    assert office.fills_in(MAYA, title="Gateway is down", severity="SEV1", impact="Everybody") == {}
    assert office.incident.title == "Gateway is down"
    assert office.incident.severity is Severity.SEV1
    assert office.incident.impact == "Everybody"


def test_an_acknowledgement_is_answered_before_slack_is_called(burning: Office) -> None:
    calls = len(burning.workspace.calls)
    burning.workspace.command(MAYA, INTAKE, "/incident ack")
    assert burning.stands(Status.ACKNOWLEDGED), "committed before the answer"
    assert len(burning.workspace.calls) == calls, "and without a call"


def test_the_channel_says_which_incident_is_meant(burning: Office) -> None:
    burning.burns(group_key="v1:model=other", title="another")
    burning.delivers()
    first = burning.journal.find("INC-1")
    assert first is not None
    burning.types(MAYA, "/incident ack", first.channel)
    assert burning.journal.incident(first.id).acknowledged is not None  # type: ignore[union-attr]
    assert burning.stands(Status.OPEN)


def test_elsewhere_one_names_it_or_is_told_which_are_open(burning: Office) -> None:
    burning.burns(group_key="v1:model=other", title="another")
    answer = burning.types(MAYA, "/incident ack")
    assert "INC-1" in answer
    assert "INC-2" in answer
    burning.types(MAYA, "/incident ack INC-2")
    assert burning.stands(Status.ACKNOWLEDGED)


def test_an_archived_incident_is_said_to_be_archived(burning: Office, tmp_path: Path) -> None:
    burning.does(cmd.Cancel, burning.incident.id, reason="a drill")
    burning.delivers()
    old = burning.clock.now + timedelta(seconds=1)
    assert [type(one) for one in move_old(burning.journal, tmp_path, old)] == [Moved]
    assert "INC-1 of 2026-11-21 was archived on 2026-11-21" in burning.types(MAYA, "/incident ack INC-1")


def test_an_unknown_word_or_incident_is_refused_in_a_sentence(burning: Office) -> None:
    assert "frobnicate" in burning.types(MAYA, "/incident frobnicate now")
    assert "INC-99" in burning.types(MAYA, "/incident ack INC-99")


def test_the_bare_command_shows_the_channels_incident_and_elsewhere_the_help(burning: Office) -> None:
    assert "llama-70b answers 500" in burning.types(MAYA, "/incident", burning.incident.channel)
    assert "/incident ack" in burning.types(MAYA, "/incident")


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ("help", "declare"),
        ("list", "INC-1"),
        ("timeline", "Alertmanager"),
        ("sev 2", "SEV2"),
        ("sev SEV3", "SEV3"),
        ("note restarted the gateway", "INC-1"),
        ("update One in three requests fails.", "INC-1"),
        ("mitigated rolled back", "INC-1"),
    ],
)
def test_every_word_answers_at_once(burning: Office, words: str, seen: str) -> None:
    assert seen in burning.types(MAYA, f"/incident {words}", burning.incident.channel)


@pytest.mark.parametrize("word", ["sev", "note", "update", "resolve", "run", "declare"])
def test_a_word_that_needs_more_opens_its_form(burning: Office, word: str) -> None:
    burning.types(MAYA, f"/incident {word}", burning.incident.channel)
    (view,) = burning.workspace.open_views(MAYA)
    assert view.body["callback_id"] == f"modal.{word}"


def test_health_is_acknowledged_first_and_answered_when_it_is_known(burning: Office) -> None:
    burning.types(MAYA, "/incident health", burning.incident.channel)
    assert burning.surveyed == ["llama-70b"], "the incident's model"
    assert "OUTAGE" in burning.whispers(MAYA)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("TTFT &gt; 2 s &amp; rising", "TTFT > 2 s & rising"),
        ("a &amp;lt; b", "a &lt; b"),
        ("<@U0MAYA|maya> and <@U0JONAS> look at <#C1|incidents>", "@maya and @U0JONAS look at #incidents"),
        ("<!here> <!subteam^S1|@oncall>", "@here @oncall"),
        ("<https://x.test/a?b=1&amp;c|the graph>", "the graph (https://x.test/a?b=1&c)"),
        ("<http://x.test|x.test> <mailto:a@x.test|a@x.test>", "http://x.test a@x.test"),
        ("<!date^1392734382^{time}|14:39 UTC>", "14:39 UTC"),
        ("p99 <fast> stays", "p99 <fast> stays"),
    ],
)
def test_slacks_marks_are_read_as_people_read_them(sent: str, read: str) -> None:
    assert heard(sent) == read


def test_a_typed_and_sign_reaches_the_journal_as_it_was_typed(burning: Office) -> None:
    burning.types(MAYA, "/incident note TTFT > 2 s & rising <fast>", burning.incident.channel)
    assert [note.text for _, note in burning.entries(ev.NoteAdded)] == ["TTFT > 2 s & rising <fast>"]


# -- buttons ----------------------------------------------------------------------------------------------------------


def test_the_cards_button_acknowledges_once_however_often_it_is_pressed(burning: Office) -> None:
    burning.clicks(MAYA, burning.card(), Do.ACK, burning.incident.channel)
    burning.clicks(JONAS, burning.card(), Do.ACK, burning.incident.channel)
    assert burning.events_told().count("Acknowledged") == 1
    assert burning.incident.acknowledged is not None
    assert burning.incident.acknowledged.by.id == MAYA
    assert "already" in burning.whispers(JONAS), "who comes second is told who was first"


def test_the_announcement_can_be_acknowledged_too(burning: Office) -> None:
    burning.clicks(MAYA, burning.card("intake"), Do.ACK, INTAKE)
    assert burning.stands(Status.ACKNOWLEDGED)


@pytest.mark.parametrize(
    ("do", "values", "seen"),
    [
        (Do.SEVERITY, {"severity": "SEV3"}, ev.SeverityChanged(Severity.SEV1, Severity.SEV3)),
        (Do.ROLE, {"role": Role.COMMANDER.value, "user": JONAS}, ev.RoleAssigned(Role.COMMANDER, JONAS)),
        (Do.IMPACT, {"text": "Chat users"}, ev.ImpactStated("Chat users")),
        (Do.NOTE, {"text": "restarted"}, ev.NoteAdded("restarted")),
        (Do.UPDATE, {"text": "We are on it."}, ev.UpdatePosted("We are on it.")),
        (Do.MITIGATED, {"text": "rolled back"}, ev.Mitigated("rolled back")),
    ],
)
def test_a_button_opens_the_form_and_the_form_does_it(
    burning: Office, do: Do, values: dict[str, str], seen: ev.Event
) -> None:
    burning.does(cmd.Acknowledge, burning.incident.id)
    burning.delivers()
    press(burning, MAYA, do)
    assert burning.fills_in(MAYA, **values) == {}
    assert seen in [entry.event for entry in burning.journal.entries(burning.incident.id)]


def press(office: Office, user: str, do: Do) -> None:
    """A button of the card, or the entry of that name in its overflow menu."""
    card = office.card()
    ids = [e["action_id"] for block in card.blocks if block["type"] == "actions" for e in block["elements"]]
    if do.value in ids:
        office.clicks(user, card, do.value, office.incident.channel)
    else:
        office.clicks(user, card, Do.MORE, office.incident.channel, f"{do.value}:{office.incident.id}")


def test_every_word_is_reachable_by_a_button(burning: Office) -> None:
    reachable = set()
    for message in (burning.card(), burning.card("intake")):
        reachable |= pressable(message.blocks)
    burning.types(MAYA, "/incident help")
    burning.types(MAYA, "/incident list")
    for _, answer in burning.answers:
        if answer.startswith(b"{"):
            reachable |= pressable(json.loads(answer).get("blocks", []))
    burning.does(cmd.Acknowledge, burning.incident.id)
    burning.delivers()
    reachable |= pressable(burning.card().blocks)
    assert "|Timeline>" in told(burning.card())
    burning.does(cmd.Resolve, burning.incident.id, reason="rolled back", despite_firing=True)
    burning.records(burning.incident, ev.PostmortemDrafted("inc-1.md"))
    burning.delivers()
    words = {"declare", "ack", "sev", "note", "health", "run", "mitigated", "update", "resolve", "list"}
    assert words <= reachable
    assert "postmortem" in told(burning.card()).lower()


def pressable(blocks: list[dict[str, object]]) -> set[str]:
    """The verbs behind the buttons and menu entries of these blocks."""
    found: set[str] = set()
    for block in blocks:
        elements = block.get("elements") if block["type"] == "actions" else None
        for element in elements if isinstance(elements, list) else []:
            found.add(element["action_id"])
            found |= {option["value"].partition(":")[0] for option in element.get("options", [])}
    return found


def test_a_press_on_an_old_messages_button_is_answered(burning: Office) -> None:
    blocks = [
        {
            "type": "actions",
            "elements": [{"type": "button", "text": {"type": "plain_text", "text": "Old"}, "action_id": "gone"}],
        }
    ]
    posted = burning.workspace.api("chat.postMessage", {"channel": INTAKE, "text": "old", "blocks": json.dumps(blocks)})
    burning.workspace.click(MAYA, INTAKE, posted.body["ts"], "gone")
    burning.afterwards.run()
    assert "older version" in burning.whispers(MAYA)


# -- forms ------------------------------------------------------------------------------------------------------------


def test_resolving_under_fire_is_asked_about_at_the_field(burning: Office) -> None:
    burning.types(MAYA, "/incident resolve", burning.incident.channel)
    assert "3 alerts are still firing" in json.dumps(burning.workspace.open_views(MAYA)[0].body)
    assert "confirm" in burning.fills_in(MAYA, reason="rolled back")
    assert burning.stands(Status.OPEN)
    assert burning.fills_in(MAYA, reason="rolled back", confirm=["yes"]) == {}
    assert burning.stands(Status.RESOLVED)
    assert burning.incident.snoozed_until is not None


def test_a_false_alarm_is_cancelled_from_the_resolve_form(burning: Office) -> None:
    burning.types(MAYA, "/incident resolve", burning.incident.channel)
    burning.fills_in(MAYA, reason="a drill in staging", cancel=["yes"])
    assert burning.stands(Status.CANCELLED)


def test_a_form_that_the_core_refuses_stays_open_and_says_why(burning: Office) -> None:
    burning.types(SAM, "/incident update", burning.incident.channel)
    errors = burning.fills_in(SAM, text="All is well")
    assert "Only responders" in errors["text"]
    assert "UpdatePosted" not in burning.events_told()


def test_choosing_a_runbook_asks_for_its_parameters_and_starts_it(burning: Office) -> None:
    burning.types(MAYA, "/incident run", burning.incident.channel)
    (view,) = burning.workspace.open_views(MAYA)
    burning.workspace.click_in_view(MAYA, view.id, "runbook", "rollback")
    burning.afterwards.run()
    (view,) = burning.workspace.open_views(MAYA)
    assert "llama-70b" in json.dumps(view.body), "prefilled from the incident"
    assert burning.fills_in(MAYA, **{"runbook": "rollback", "param.model": "llama-70b"}) == {}
    assert [run.target for run in burning.incident.runs.values()] == ["rollback/llama-70b"]


def test_a_form_submitted_twice_counts_once(burning: Office) -> None:
    burning.types(MAYA, "/incident note", burning.incident.channel)
    (view,) = burning.workspace.open_views(MAYA)
    heard: list[tuple[str, dict[str, str], bytes]] = []
    original = burning.door.handle

    def keep(body: bytes, headers: dict[str, str]) -> object:
        heard.append(("", dict(headers), body))
        return original(body, headers)

    burning.door.handle = keep  # type: ignore[method-assign, assignment]
    burning.fills_in(MAYA, text="restarted")
    _, headers, body = heard[-1]
    assert original(body, {**headers, "X-Slack-Retry-Num": "1"})[0] == 200
    assert burning.events_told().count("NoteAdded") == 1
    assert view.id


# -- who may ----------------------------------------------------------------------------------------------------------


def test_a_plain_member_may_declare_and_note_but_not_acknowledge(burning: Office) -> None:
    burning.types(SAM, "/incident ack", burning.incident.channel)
    assert "Only responders" in burning.whispers(SAM)
    assert burning.stands(Status.OPEN)
    burning.types(SAM, "/incident note customers are calling", burning.incident.channel)
    assert "NoteAdded" in burning.events_told()


def test_a_guest_is_told_why_not(burning: Office) -> None:
    burning.types(GUEST, "/incident ack")
    assert "Guests" in burning.whispers(GUEST) + burning.answers[-1][1].decode()
    assert burning.stands(Status.OPEN)


def test_somebody_unknown_is_acknowledged_first_then_looked_up(stranger: Office) -> None:
    stranger.burns()
    assert stranger.workspace.command(MAYA, INTAKE, "/incident ack").ok
    assert stranger.stands(Status.OPEN), "not before we know who it is"
    assert stranger.workspace.calls == []
    stranger.afterwards.run()
    assert stranger.stands(Status.ACKNOWLEDGED)
    assert stranger.incident.ref in stranger.whispers(MAYA)


def test_rights_older_than_a_minute_are_asked_for_again(burning: Office) -> None:
    burning.after(seconds=61)
    burning.types(MAYA, "/incident ack")
    assert burning.calls("usergroups.users.list")[1:], "asked once more"
    assert burning.stands(Status.ACKNOWLEDGED)


def test_when_slack_cannot_say_who_may_the_refusal_names_another_way(burning: Office) -> None:
    burning.after(minutes=2)
    burning.workspace.faults.plan(Fault.SERVER_ERROR, "usergroups.users.list", times=5)
    burning.types(MAYA, "/incident ack")
    assert burning.stands(Status.OPEN)
    assert "fixfirst ack" in burning.whispers(MAYA)


# -- pins and mentions ------------------------------------------------------------------------------------------------


def test_a_message_marked_with_the_reaction_joins_the_timeline_at_its_own_time(burning: Office) -> None:
    message = burning.workspace.say(JONAS, burning.incident.channel, "TTFT > 2 s since r42 & rising")
    burning.after(minutes=3)
    burning.workspace.react(MAYA, burning.incident.channel, message.ts, "pushpin")
    burning.afterwards.run()
    ((entry, pinned),) = burning.entries(ev.MessagePinned)
    assert pinned.text == "TTFT > 2 s since r42 & rising"
    assert pinned.author == JONAS
    assert entry.by.id == MAYA
    assert pinned.link.startswith("http")
    assert abs(entry.at - (burning.clock() - timedelta(minutes=3))) < timedelta(seconds=1)


def test_a_reply_in_a_thread_can_be_marked(burning: Office) -> None:
    channel = burning.incident.channel
    message = burning.workspace.say(JONAS, channel, "any ideas?")
    reply = burning.workspace.say(MAYA, channel, "it is r42", thread_ts=message.ts)
    burning.workspace.react(MAYA, channel, reply.ts, "pushpin")
    burning.afterwards.run()
    assert [pinned.text for _, pinned in burning.entries(ev.MessagePinned)] == ["it is r42"]


def test_a_message_marked_by_two_people_is_on_the_timeline_once(burning: Office) -> None:
    message = burning.workspace.say(JONAS, burning.incident.channel, "it is r42")
    for user in (MAYA, JONAS):
        burning.workspace.react(user, burning.incident.channel, message.ts, "pushpin")
        burning.afterwards.run()
    assert burning.events_told().count("MessagePinned") == 1


@pytest.mark.parametrize("reaction", ["eyes", "thumbsup"])
def test_other_reactions_mean_nothing(burning: Office, reaction: str) -> None:
    message = burning.workspace.say(JONAS, burning.incident.channel, "hm")
    burning.workspace.react(MAYA, burning.incident.channel, message.ts, reaction)
    assert burning.afterwards.run() == 0


def test_a_mention_is_answered_with_the_help(burning: Office) -> None:
    burning.workspace.say(SAM, INTAKE, "<@U0FIXFIRST> what now?")
    burning.afterwards.run()
    assert "/incident declare" in burning.whispers(SAM)


# -- when things go wrong ---------------------------------------------------------------------------------------------


def test_a_form_that_slack_will_not_open_is_told(burning: Office) -> None:
    burning.workspace.command(MAYA, burning.incident.channel, "/incident note")
    burning.after(seconds=4)
    burning.afterwards.run()
    assert burning.workspace.open_views(MAYA) == []
    assert "try again" in burning.whispers(MAYA)


def test_a_bug_is_told_with_a_reference_and_the_request_is_answered(
    burning: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(burning.journal, "find", lambda ref: 1 / 0)
    assert burning.workspace.command(MAYA, INTAKE, "/incident ack INC-1").ok
    burning.afterwards.run()
    assert "reference" in burning.whispers(MAYA)


def test_a_bug_behind_a_form_leaves_it_open_and_says_so(burning: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    burning.types(MAYA, "/incident note", burning.incident.channel)
    monkeypatch.setattr(burning.desk, "handle", lambda command: 1 / 0)
    errors = burning.fills_in(MAYA, text="what I typed must not be lost")
    assert "reference" in errors["text"]


def test_a_bug_after_the_acknowledgement_is_told_too(burning: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burning, "survey", lambda model: 1 / 0)
    burning.wire()
    burning.learn()
    burning.types(MAYA, "/incident health", burning.incident.channel)
    assert "reference" in burning.whispers(MAYA)


@pytest.mark.parametrize("words", ["the payload is too large", "payload=42 is refused", "a%20b & payload"])
def test_no_word_of_a_command_makes_it_be_misread(burning: Office, words: str) -> None:
    burning.types(MAYA, f"/incident note {words}", burning.incident.channel)
    assert [note.text for _, note in burning.entries(ev.NoteAdded)] == [words]


# -- answers that do not arrive ---------------------------------------------------------------------------------------


def test_an_answer_that_nobody_takes_is_given_up_in_our_own_time_and_what_was_done_stands(
    burning: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.TIMEOUT_S <= 10
    monkeypatch.setattr(client, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, capture_logs() as lines:
        burning.workspace.state.public_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        burning.clicks(MAYA, burning.card(), Do.ACK, burning.incident.channel)
        assert time.monotonic() - began < 5
    assert burning.stands(Status.ACKNOWLEDGED)
    assert [line["event"] for line in lines if line["log_level"] != "debug"] == ["answer_not_delivered"]


def test_an_answer_that_comes_after_its_address_has_expired_is_no_bug(burning: Office) -> None:
    with capture_logs() as lines:
        burning.workspace.click(MAYA, burning.incident.channel, burning.card().ts, Do.ACK, None)
        burning.workspace.state.response_urls.clear()
        burning.afterwards.run()
    assert burning.stands(Status.ACKNOWLEDGED)
    (line,) = (line for line in lines if line["log_level"] != "debug")
    assert line["event"] == "answer_not_delivered"
    assert "expired_url" in line["reason"]
