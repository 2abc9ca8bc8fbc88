"""Who may do what: responders act, members look and note, everybody else is told why not. Slack says who is who."""

import pytest

from bot.incident import events as ev
from bot.incident.state import Status
from bot.journal import Busy
from bot.slack.actions import Do
from bot.workbench.slack.faults import Fault
from bot.workbench.slack.model import UserGroup
from tests.story.night import GUEST, INTAKE, JONAS, MAYA, SAM, Night

RESPONDERS = "S0RESPOND"


def allow(night: Night, *members: str) -> None:
    """Somebody edits the user group in Slack."""
    groups = night.bench.workspace.state.groups
    old = groups[RESPONDERS]
    groups[RESPONDERS] = UserGroup(old.id, old.handle, old.name, members)


ACTS = ["ack", "sev 1", "update All is well.", "mitigated", "run rollback-model-deploy"]


def test_somebody_from_support_may_look_declare_and_note_but_not_act(night: Night) -> None:
    night.burns()
    channel = night.incident.channel
    seq = len(night.app.journal.entries(night.incident.id))
    for words in ACTS[:-1]:
        assert "Only responders can do that" in night.types(SAM, f"/incident {words}", channel)
    night.types(SAM, "/incident run rollback-model-deploy", channel)
    outcome = night.fills_in(SAM, **{"runbook": "rollback-model-deploy", "param.model": "llama-70b"})
    assert "Only responders" in " ".join(outcome.errors.values()), "said at the form, which keeps what was typed"
    assert len(night.app.journal.entries(night.incident.id)) == seq, "nothing came of any of it"
    assert night.stands(Status.OPEN)
    assert "Noted in INC-1" in night.types(SAM, "/incident note customers are calling", channel)
    assert "INC-1" in night.types(SAM, "/incident timeline", channel)
    assert "INC-2 is open" in night.types(SAM, "/incident declare search is slow too")
    assert night.incident.declared_by.id == SAM


def test_the_cards_button_says_no_to_somebody_from_support_too(night: Night) -> None:
    night.burns()
    assert "Only responders" in night.clicks(SAM, night.card, Do.ACK, night.incident.channel)
    assert night.stands(Status.OPEN)
    assert night.pages() == [("1", "triggered")], "the page goes on"


@pytest.mark.parametrize("words", [*ACTS[:-1], "note hello", "declare everything burns"])
def test_a_guest_is_told_to_ask_a_member(night: Night, words: str) -> None:
    night.burns()
    assert "Guests of the workspace cannot work on incidents" in night.types(GUEST, f"/incident {words}", INTAKE)
    assert [incident.ref for incident in night.app.journal.recent()] == ["INC-1"]
    assert night.stands(Status.OPEN)


def test_people_of_another_organisation_in_a_shared_channel_are_refused(night: Night) -> None:
    night.burns()
    fields = {
        "command": "/incident",
        "text": "ack",
        "channel_id": night.incident.channel,
        "user_id": "U0ELSEWHERE",
        "team_id": "T0OTHERCORP",
        "trigger_id": "1.2.foreign",
        "response_url": f"{night.bench.ports.url('page')}/response/none",
    }
    status, answer = night.slack_sends(fields)
    assert status == 200
    assert "People from another organisation cannot work on incidents here" in answer
    assert night.stands(Status.OPEN)


def test_another_bot_is_refused(night: Night) -> None:
    night.burns()
    assert "bots cannot work on incidents" in night.types(night.bench.workspace.config.bot_user_id, "/incident ack")
    assert night.stands(Status.OPEN)


def test_a_change_of_the_group_takes_effect_within_a_minute(night: Night) -> None:
    night.burns()
    allow(night, MAYA, SAM)
    night.after(seconds=61)
    assert "Only responders" in night.types(JONAS, "/incident ack", night.incident.channel)
    assert "INC-1 is yours" in night.types(SAM, "/incident ack", night.incident.channel)


def test_even_when_nobody_refreshed_the_groups_old_rights_do_not_count(night: Night) -> None:
    night.burns()
    allow(night, MAYA)
    night.clock.now = night.clock.now.replace(minute=night.clock.now.minute + 2)
    assert "Only responders" in night.types(JONAS, "/incident ack", night.incident.channel), "asked, not believed"
    assert night.stands(Status.OPEN)


def test_while_slack_cannot_say_who_may_nobody_may_and_the_command_line_is_named(night: Night) -> None:
    night.burns()
    night.foretold.add("internal_error")
    night.bench.workspace.faults.plan(Fault.SERVER_ERROR, "usergroups.users.list", times=10)
    night.after(seconds=61)
    answer = night.types(MAYA, "/incident ack", night.incident.channel)
    assert "use `fixfirst ack` on the server meanwhile" in answer
    assert "fixfirst ack" in night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
    assert night.events(ev.Acknowledged) == []
    night.bench.workspace.faults.clear()
    assert "INC-1 is yours" in night.types(MAYA, "/incident ack", night.incident.channel)


def test_a_form_filled_in_while_slack_cannot_say_who_may_is_answered_in_a_whisper(night: Night) -> None:
    night.burns()
    night.types(MAYA, "/incident update", night.incident.channel)
    night.foretold.add("internal_error")
    night.bench.workspace.faults.plan(Fault.SERVER_ERROR, "usergroups.users.list", times=10)
    night.after(seconds=61)
    night.fills_in(MAYA, text="One in three requests fails.")
    assert "fixfirst ack" in night.whispers(MAYA)[-1]
    assert night.events(ev.UpdatePosted) == []


def test_a_form_filled_in_while_slack_and_the_journal_are_away_is_answered_as_well_as_can_be(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.burns()
    night.types(MAYA, "/incident update", night.incident.channel)
    night.foretold.add("internal_error")
    night.bench.workspace.faults.plan(Fault.SERVER_ERROR, "usergroups.users.list", times=10)
    night.after(seconds=61)

    def away(incident: str) -> object:
        raise Busy(f"the journal could not be read: {incident}")

    with monkeypatch.context() as while_away:
        while_away.setattr(night.app.journal, "incident", away)
        assert night.bench.workspace.submit(MAYA, night.form(MAYA).id, {"text": "One in three fails."}).ok
        night.afterwards.run()
    assert "fixfirst ack" in night.whispers(MAYA)[-1], "said in the intake channel, where else"
    night.settle()
    assert night.events(ev.UpdatePosted) == []


def test_an_answer_that_slack_does_not_take_is_no_bug(night: Night) -> None:
    night.burns()
    night.types(MAYA, "/incident update", night.incident.channel)
    night.foretold.add("internal_error")
    night.bench.workspace.faults.plan(Fault.SERVER_ERROR, "usergroups.users.list", times=10)
    night.bench.workspace.faults.plan(Fault.SERVER_ERROR, "chat.postEphemeral")
    night.after(seconds=61)
    told = len(night.whispers(MAYA))
    night.fills_in(MAYA, text="One in three requests fails.")
    assert len(night.whispers(MAYA)) == told
    assert [line["log_level"] for line in night.logs if line["event"] == "answer_not_delivered"] == ["warning"]
