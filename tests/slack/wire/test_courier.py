"""Cards, channels and messages reach Slack once, whatever Slack does meanwhile."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.contracts import Again, Attempt, Permanent, Transient
from bot.incident import commands as cmd
from bot.incident import effects as ef
from bot.incident import events as ev
from bot.incident.events import Severity
from bot.incident.people import Actor, ActorKind
from bot.journal import Journal
from bot.slack.actions import Do
from bot.slack.channels import channel_name
from bot.slack.client import connect
from bot.workbench.slack.faults import Fault
from tests.core.case import Case
from tests.slack.wire.office import INTAKE, JONAS, MAYA, MONITOR, Office, Rota, deliver, told

# -- cards ---------------------------------------------------------------------------------------------------------


def test_the_card_waits_in_the_intake_channel_and_moves_to_the_incidents_own(office: Office) -> None:
    incident = office.burns()
    office.records(incident, *deliver_events(office, ef.RefreshCard()))
    assert "Acknowledge" in told(office.card("intake"))
    office.delivers()
    assert len(office.said(INTAKE)) == 1, "edited in place, not posted again"
    assert f"<#{office.incident.channel}>" in told(office.card("intake"))
    assert office.card().pinned is not None
    assert "llama-70b answers 500" in told(office.card())


def deliver_events(office: Office, effect: ef.Effect, number: int = 1) -> tuple[ev.Event, ...]:
    """What one try at an effect brought back."""
    result = deliver(office, effect, number)
    assert isinstance(result, list | tuple)
    return tuple(result)


def test_a_card_that_says_the_same_is_not_sent_again(office: Office) -> None:
    office.burns()
    office.delivers()
    deliver(office, ef.RefreshCard())
    edits = len(office.calls("chat.update"))
    deliver(office, ef.RefreshCard())
    assert len(office.calls("chat.update")) == edits


def test_where_other_servers_show_it_too_a_card_is_sent_even_if_this_one_sent_the_same_last(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Journal, "is_ours_alone", False)
    office.burns()
    office.delivers()
    deliver(office, ef.RefreshCard())
    edits = len(office.calls("chat.update"))
    deliver(office, ef.RefreshCard())
    assert len(office.calls("chat.update")) == edits + 2, "another server may have shown something else in between"


def test_a_thousand_alerts_are_one_card(office: Office) -> None:
    incident = office.burns(1)
    for firing in range(100, 1100, 100):
        office.does(
            cmd.ReportAlerts,
            incident.id,
            by=MONITOR,
            group_key="v1:model=llama-70b",
            firing=firing,
            resolved=0,
            new=100,
        )
    office.delivers()
    assert len(office.said(INTAKE)) == 1
    assert "1000 firing" in told(office.card())


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.DONE_DROP, Fault.SERVER_ERROR, Fault.DROP])
@pytest.mark.parametrize("restart", [False, True])
def test_an_answer_that_got_lost_leaves_one_card(office: Office, fault: Fault, restart: bool) -> None:
    office.burns()
    office.workspace.faults.plan(fault, "chat.postMessage")
    with pytest.raises(Transient):
        deliver(office, ef.RefreshCard())
    if restart:
        office.wire()
    office.records(office.incident, *deliver_events(office, ef.RefreshCard(), 2))
    assert len(office.said(INTAKE)) == 1
    assert office.incident.cards["intake"].ts == office.said(INTAKE)[0].ts


@pytest.mark.parametrize("restart", [False, True])
def test_a_refresh_that_got_half_way_is_finished_without_a_second_card(office: Office, restart: bool) -> None:
    office.burns()
    office.records(office.incident, *deliver_events(office, ef.RefreshCard()))
    office.records(office.incident, *deliver_events(office, ef.OpenChannel()))
    office.workspace.faults.plan(Fault.SERVER_ERROR, "chat.update")
    with pytest.raises(Transient):
        deliver(office, ef.RefreshCard())
    assert len(office.said()) == 1, "the card in the channel is there, its receipt is not"
    if restart:
        office.wire()
    office.records(office.incident, *deliver_events(office, ef.RefreshCard(), 2))
    assert len(office.said()) == 1
    assert office.incident.cards["incident"].ts == office.said()[0].ts


def test_a_deleted_card_is_posted_anew_and_an_edit_finds_the_new_one(office: Office) -> None:
    office.burns()
    office.delivers()
    lost = office.card()
    office.workspace.api("chat.delete", {"channel": office.incident.channel, "ts": lost.ts})
    office.does(cmd.Acknowledge, office.incident.id)
    office.delivers()
    assert office.card().ts != lost.ts
    office.does(cmd.ChangeSeverity, office.incident.id, severity=Severity.SEV3)
    office.delivers()
    assert "SEV3" in told(office.card())
    assert office.incident.troubles == tuple(t for t in office.incident.troubles if t.courier != "slack")


def test_an_archived_channel_leaves_the_card_to_the_intake_channel(office: Office) -> None:
    office.burns()
    office.delivers()
    office.workspace.api("conversations.archive", {"channel": office.incident.channel})
    office.does(cmd.Acknowledge, office.incident.id)
    office.delivers()
    buttons = [e["action_id"] for b in office.card("intake").blocks if b["type"] == "actions" for e in b["elements"]]
    assert Do.RESOLVE in buttons or Do.UPDATE in buttons, "work can go on there"
    office.does(cmd.Resolve, office.incident.id, reason="rolled back", despite_firing=True)
    office.delivers()
    assert "resolved" in told(office.card("intake"))


def test_slacks_own_pace_is_kept(office: Office) -> None:
    office.burns()
    office.workspace.faults.plan(Fault.RATELIMITED, "chat.postMessage", retry_after=17)
    with pytest.raises(Transient) as slow:
        deliver(office, ef.RefreshCard())
    assert slow.value.retry_after == 17
    assert not slow.value.ambiguous


@pytest.mark.parametrize(
    ("error", "hint"),
    [("token_revoked", "install the app again"), ("not_in_channel", "invite"), ("channel_not_found", "intake_channel")],
)
def test_what_cannot_work_says_what_to_do(office: Office, error: str, hint: str) -> None:
    office.burns()
    office.workspace.faults.plan(Fault.ERROR, "chat.postMessage", error=error)
    with pytest.raises(Permanent, match=hint):
        deliver(office, ef.RefreshCard())


def test_a_slack_that_hangs_is_given_up_in_time(office: Office) -> None:
    client = connect(office.settings)
    assert client.timeout <= 10
    assert client.retry_handlers == []


# -- the channel ---------------------------------------------------------------------------------------------------


def test_the_channel_is_named_after_the_incident_and_holds_who_is_needed(office: Office) -> None:
    office.types(JONAS, "/incident declare Gateway answers 502 & worse")
    office.delivers()
    assert office.channel.name == "inc-1-gateway-answers-502-worse"
    assert set(office.channel.members) >= {MAYA, JONAS}
    assert "SEV2" in office.channel.topic.value
    assert office.incident.channel_name == office.channel.name


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.DONE_DROP])
def test_a_channel_whose_birth_got_lost_is_adopted(office: Office, fault: Fault) -> None:
    office.burns()
    office.workspace.faults.plan(fault, "conversations.create")
    with pytest.raises(Transient):
        deliver(office, ef.OpenChannel())
    office.records(office.incident, *deliver_events(office, ef.OpenChannel(), 2))
    assert len([c for c in office.workspace.state.channels.values() if c.name.startswith("inc-1")]) == 1
    assert MAYA in office.channel.members


@pytest.mark.parametrize("fault", [Fault.RATELIMITED, Fault.SERVER_ERROR, Fault.DROP])
@pytest.mark.parametrize("method", ["conversations.setPurpose", "conversations.setTopic"])
def test_a_channel_without_its_purpose_is_a_channel(office: Office, fault: Fault, method: str) -> None:
    office.burns()
    office.workspace.faults.plan(fault, method)
    (opened,) = deliver_events(office, ef.OpenChannel())
    assert isinstance(opened, ev.ChannelOpened)
    assert {MAYA, JONAS} <= set(office.workspace.channel(opened.channel).members)


@pytest.mark.parametrize("fault", [Fault.RATELIMITED, Fault.SERVER_ERROR, Fault.DROP, Fault.DONE_DROP])
def test_who_could_not_be_invited_is_invited_again_and_the_channel_is_known_meanwhile(
    office: Office, fault: Fault
) -> None:
    office.burns()
    office.workspace.faults.plan(fault, "conversations.invite", times=2)
    office.delivers()
    assert office.incident.channel, "so that nobody looks for it, or makes another"
    assert JONAS not in office.channel.members
    for _ in range(6):
        office.after(seconds=1)
        office.delivers()
    assert {MAYA, JONAS} <= set(office.channel.members)
    assert "SEV1" in office.channel.topic.value
    assert len(office.calls("conversations.create")) == 1
    assert office.calls("conversations.list") == []
    assert [one["users"] for one in office.calls("conversations.invite")] == [MAYA, MAYA, MAYA, JONAS]
    assert office.events_told().count("ChannelOpened") == 1
    assert any(m.text.startswith(f"<@{MAYA}>") for m in office.said()), "called when she could hear it"


def test_an_invitation_that_never_works_holds_nothing_up_for_long(office: Office) -> None:
    office.burns()
    office.workspace.faults.plan(Fault.SERVER_ERROR, "conversations.invite", times=1000)
    for _ in range(30):
        office.delivers()
        office.after(seconds=1)
    assert 3 <= len(office.calls("conversations.invite")) <= 5
    assert any(m.text.startswith(f"<@{MAYA}>") for m in office.said())
    assert office.incident.troubles == ()


def test_no_call_is_begun_so_late_that_a_try_would_last_too_long(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.burns()
    monkeypatch.setattr("bot.slack.channels.BEGUN_WITHIN_S", 0.0)
    slow = deliver(office, ef.OpenChannel())
    assert isinstance(slow, Again)
    assert [type(event) for event in slow.events] == [ev.ChannelOpened]
    assert office.calls("conversations.invite") == []
    monkeypatch.undo()
    rest = office.courier.deliver(
        ef.OpenChannel(), office.incident, Attempt("job", 1, office.clock(), json.loads(json.dumps(slow.progress)))
    )
    assert rest == ()
    assert [one["users"] for one in office.calls("conversations.invite")] == [MAYA, JONAS]
    assert len(office.calls("conversations.create")) == 1


def test_a_channel_is_looked_for_among_very_many_in_more_than_one_try(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(250):
        office.workspace.api("conversations.create", {"name": f"team-{number}"})
    office.burns()
    office.workspace.faults.plan(Fault.LOST_ANSWER, "conversations.create")
    with pytest.raises(Transient):
        deliver(office, ef.OpenChannel())
    late = iter([False, True] + [False] * 20)
    monkeypatch.setattr("bot.slack.channels._is_late", lambda _: next(late))
    page = deliver(office, ef.OpenChannel(), 2)
    assert isinstance(page, Again)
    assert page.progress["cursor"]
    assert page.events == ()
    attempt = Attempt("job", 1, office.clock(), page.progress)
    found = office.courier.deliver(ef.OpenChannel(), office.incident, attempt)
    assert isinstance(found, tuple)
    office.records(office.incident, *found)
    assert office.channel.name == "inc-1-llama-70b-answers-500"
    cursors = [one.get("cursor", "") for one in office.calls("conversations.list")]
    assert cursors == ["", page.progress["cursor"]]


def test_a_channel_that_was_made_in_an_earlier_round_is_adopted(office: Office) -> None:
    """Slack may answer nothing for so long that the incident is over, and back, by then."""
    office.burns()
    office.workspace.faults.plan(Fault.LOST_ANSWER, "conversations.create")
    with pytest.raises(Transient):
        deliver(office, ef.OpenChannel())
    office.does(cmd.Resolve, office.incident.id, reason="recovered", despite_firing=True)
    office.after(minutes=9)
    office.does(cmd.Reopen, office.incident.id, by=Actor(ActorKind.SOURCE, "pagerduty", "PagerDuty"))
    office.records(office.incident, *deliver_events(office, ef.OpenChannel(), 2))
    assert len([c for c in office.workspace.state.channels.values() if c.name.startswith("inc-1")]) == 1
    assert office.channel.name == "inc-1-llama-70b-answers-500"


def test_the_second_choice_of_a_name_is_adopted_as_well(office: Office) -> None:
    office.workspace.api("conversations.create", {"name": "inc-1-llama-70b-answers-500"})
    office.after(days=2)
    office.burns()
    second = f"inc-1-llama-70b-answers-500-{office.incident.id[-6:]}"
    office.workspace.api("conversations.create", {"name": second})  # and the answer did not get through
    office.records(office.incident, *deliver_events(office, ef.OpenChannel(), 2))
    assert office.channel.name == second
    assert len([c for c in office.workspace.state.channels.values() if c.name.startswith("inc-1")]) == 2


def test_a_channel_of_that_name_from_an_earlier_life_is_left_alone(office: Office) -> None:
    made = office.workspace.api("conversations.create", {"name": "inc-1-llama-70b-answers-500"}).body["channel"]["id"]
    office.workspace.api("conversations.setPurpose", {"channel": made, "purpose": "INC-1: one incident of long ago"})
    office.after(days=2)
    office.burns()
    office.records(office.incident, *deliver_events(office, ef.OpenChannel()))
    assert office.channel.name.startswith("inc-1-llama-70b-answers-500-")


def test_people_who_cannot_be_invited_do_not_stand_in_the_way(office: Office) -> None:
    office.rota.people = ("U0NOBODY", MAYA)
    office.burns()
    office.delivers()
    assert MAYA in office.channel.members
    assert office.card("incident")


def test_where_channels_may_not_be_made_everything_goes_on_in_the_thread(office: Office) -> None:
    office.workspace.faults.plan(Fault.ERROR, "conversations.create", error="restricted_action")
    office.burns()
    office.delivers()
    office.does(cmd.PostUpdate, office.incident.id, text="We are on it.")
    office.delivers()
    card = office.card("intake")
    replies = office.workspace.channel(INTAKE).replies(card.ts)
    assert any("We are on it." in told(reply) for reply in replies)
    assert "could not" in told(card).lower(), "and the card says why"


@given(st.text(max_size=120), st.integers(1, 10**9))
def test_any_title_gives_a_name_that_slack_takes(title: str, number: int) -> None:
    incident = replace(Case().alerts(firing=1, new=1, title=title).inc, number=number)
    assert re.fullmatch(r"inc-[a-z0-9]+(-[a-z0-9]+)*", channel_name(incident))
    assert len(channel_name(incident)) <= 80


# -- messages ------------------------------------------------------------------------------------------------------


def test_a_message_with_nowhere_to_go_is_tried_again_at_once_and_then_ever_more_rarely(office: Office) -> None:
    office.workspace.faults.plan(Fault.ERROR, "conversations.create", error="restricted_action")
    office.workspace.channel(INTAKE).is_archived = True
    office.burns()
    for _ in range(60):
        office.delivers()
        office.after(seconds=5)
    office.after(minutes=2)
    (waiting,) = (job for job in office.outbox.ready() if isinstance(job.effect, ef.Tell))
    assert 8 <= waiting.attempts <= 12, "in five minutes"


def test_every_message_of_ours_is_marked_and_unfurls_nothing(office: Office) -> None:
    office.burns()
    office.delivers()
    for call in office.calls("chat.postMessage"):
        assert call["metadata"], "carries what a repeat finds it by"
        assert str(call["unfurl_links"]).lower() in ("false", "0")
        assert "link_names" not in call


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.DONE_DROP, Fault.DROP])
def test_a_message_whose_answer_got_lost_is_there_once(office: Office, fault: Fault) -> None:
    office.burns()
    office.delivers()
    office.does(cmd.PostUpdate, office.incident.id, text="We are on it.")
    ((entry, _),) = office.entries(ev.UpdatePosted)
    office.workspace.faults.plan(fault, "chat.postMessage")
    with pytest.raises(Transient) as lost:
        deliver(office, ef.Tell(entry.id))
    assert lost.value.ambiguous
    deliver(office, ef.Tell(entry.id), 2)
    assert len([m for m in office.said() if "We are on it." in told(m)]) == 1


def test_an_answer_that_got_lost_in_a_channel_we_were_put_out_of_is_looked_for_where_we_may(office: Office) -> None:
    office.burns()
    office.delivers()
    office.does(cmd.PostUpdate, office.incident.id, text="We are on it.")
    office.channel.members.remove(office.workspace.config.bot_user_id)
    office.workspace.faults.plan(Fault.SERVER_ERROR, "chat.postMessage")
    for _ in range(3):
        office.delivers()
        office.after(seconds=5)
    replies = office.workspace.channel(INTAKE).replies(office.card("intake").ts)
    assert len([reply for reply in replies if "We are on it." in told(reply)]) == 1
    assert office.incident.troubles == ()


def test_the_first_message_calls_who_is_on_call_and_the_next_calls_the_next(office: Office) -> None:
    office.burns()
    office.delivers()
    assert any(m.text.startswith(f"<@{MAYA}>") for m in office.said())
    assert not any(f"<@{JONAS}>" in m.text for m in office.said())
    office.after(minutes=6)
    office.does(cmd.CheckTimers, office.incident.id)
    office.delivers()
    assert any(m.text.startswith(f"<@{JONAS}>") for m in office.said())


def test_with_nobody_on_call_the_responders_are_called(office: Office) -> None:
    office.rota = _Nobody()
    office.wire()
    office.burns()
    office.delivers()
    assert any("<!subteam^S0RESPOND>" in m.text for m in office.said())


class _Nobody(Rota):
    def on_call(self, now: object) -> tuple[str, ...]:
        return ()


def test_the_title_of_an_alert_calls_nobody(office: Office) -> None:
    office.burns(title="<!channel> <@U0SAM> @here https://evil.test is down", service="<!everyone>")
    office.delivers()
    everything = " ".join(told(m) for c in (INTAKE, office.incident.channel) for m in office.said(c))
    ours = re.sub(rf"<!date\^[^>]+>|<@({MAYA}|{JONAS})>|<#C\w+>", "", everything)
    assert not re.search(r"<[!@#]|@(here|channel|everyone)\b", ours)
    assert "<!" not in office.channel.topic.value
