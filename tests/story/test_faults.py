"""What goes wrong around an incident: a card deleted, a name taken, a scope missing, Slack slow or away, a crash."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from bot.incident import events as ev
from bot.incident.state import Status
from bot.slack.actions import Do
from bot.workbench.launch import MANIFEST
from bot.workbench.slack.faults import Fault
from bot.workbench.slack.model import Channel
from tests.story.night import ELSEWHERE, INTAKE, JONAS, MAYA, Night, action_ids, alert, open_night, told


def test_a_deleted_card_is_posted_anew_and_that_one_is_edited_from_then_on(night: Night) -> None:
    night.burns()
    channel, gone = night.incident.channel, night.card.ts
    night.bench.workspace.channel(channel).remove(night.card)
    night.foretold.add("message_not_found")
    night.types(MAYA, "/incident ack", channel)
    assert night.card.ts != gone
    assert "Maya Okafor has it" in told(night.card)
    night.types(MAYA, "/incident sev 2", channel)
    assert "SEV2" in told(night.card)
    assert len([message for message in night.messages() if "Commander" in told(message)]) == 1


def test_a_deleted_announcement_is_posted_anew_too(night: Night) -> None:
    night.burns()
    (announced,) = night.said("INC-1", "incidents")
    night.bench.workspace.channel(INTAKE).remove(announced)
    night.foretold.add("message_not_found")
    night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
    assert "Maya Okafor has it" in told(night.said("INC-1", "incidents")[0])


def test_in_an_archived_channel_the_work_goes_on_elsewhere_and_people_are_told(night: Night) -> None:
    night.burns()
    night.bench.workspace.channel(night.incident.channel).is_archived = True
    night.foretold |= {"is_archived", "is_inactive"}
    night.types(MAYA, "/incident ack INC-1")
    assert night.stands(Status.ACKNOWLEDGED)
    card, said = night.messages("incidents")
    assert "Maya Okafor has it" in told(card)
    assert "Maya Okafor acknowledged" in told(said), "and what would be said there is said here"
    assert Do.RESOLVE in action_ids(card), "the whole card, to work with from here"


@contextmanager
def archived(night: Night) -> Iterator[None]:
    night.bench.workspace.channel(INTAKE).is_archived = True
    yield
    night.bench.workspace.channel(INTAKE).is_archived = False


@contextmanager
def without_the_bot(night: Night) -> Iterator[None]:
    bot = night.bench.workspace.config.bot_user_id
    night.bench.workspace.channel(INTAKE).members.remove(bot)
    yield
    night.bench.workspace.channel(INTAKE).members.append(bot)


@contextmanager
def not_there(night: Night) -> Iterator[None]:
    channels = night.bench.workspace.state.channels
    intake = channels.pop(INTAKE)
    yield
    channels[INTAKE] = intake


UNUSABLE = {"is_archived": archived, "not_in_channel": without_the_bot, "channel_not_found": not_there}


@pytest.mark.parametrize("error", UNUSABLE)
def test_an_intake_channel_that_takes_nothing_costs_only_its_own_card_until_it_is_repaired(
    night: Night, error: str
) -> None:
    night.foretold.add(error)
    with UNUSABLE[error](night):
        night.burns()
        channel = night.incident.channel
        night.types(MAYA, "/incident ack", channel)
        night.types(MAYA, "/incident sev 2", channel)
        assert len([m for m in night.messages() if "Commander" in told(m)]) == 1, "one card, edited in place"
        assert "SEV2" in told(night.card)
        assert f"in the intake channel: Slack refused it: {error}" in told(night.card)
        assert [trouble.effect for trouble in night.events(ev.DeliveryFailed)] == ["refresh_card"], "said once"
    assert night.messages(INTAKE) == []
    night.types(MAYA, "/incident sev 1", channel)
    (announced,) = night.messages(INTAKE)
    assert "Maya Okafor has it" in told(announced)
    assert len([m for m in night.messages() if "Commander" in told(m)]) == 1
    assert "Could not deliver" not in told(night.card)
    assert len(night.events(ev.DeliverySettled)) == 1


def test_an_intake_channel_that_is_archived_in_the_middle_is_on_the_card_at_once(night: Night) -> None:
    night.burns()
    night.foretold |= {"is_archived", "is_inactive"}
    with archived(night):
        night.types(MAYA, "/incident ack", night.incident.channel)
        assert "in the intake channel: Slack refused it: is_archived" in told(night.card)
        night.types(MAYA, "/incident sev 2", night.incident.channel)
        assert len(night.events(ev.DeliveryFailed)) == 1
        assert "Nobody has it yet" in told(night.messages(INTAKE)[0]), "there it stands still"
    night.types(MAYA, "/incident sev 1", night.incident.channel)
    (announced,) = night.messages(INTAKE)
    assert "Maya Okafor has it" in told(announced), "and goes on when it can"
    assert "Could not deliver" not in told(night.card)


def test_a_card_that_can_be_shown_nowhere_is_missed_once(night: Night) -> None:
    night.burns()
    night.foretold |= {"is_archived", "is_inactive"}
    night.bench.workspace.channel(night.incident.channel).is_archived = True
    with archived(night):
        night.types(MAYA, "/incident ack INC-1", ELSEWHERE)
        night.types(MAYA, "/incident sev INC-1 2", ELSEWHERE)
    missed = [trouble for trouble in night.events(ev.DeliveryFailed) if trouble.effect == "refresh_card"]
    assert night.incident.severity is ev.Severity.SEV2
    assert len(missed) == 1


def test_a_name_that_somebody_else_has_taken_is_left_to_them(night: Night) -> None:
    name = "inc-1-llama-70b-answers-with-errors"
    theirs = Channel("C0THEIRS000", name, JONAS, int(night.clock.seconds()) - 86_400, members=[JONAS])
    night.bench.workspace.state.channels[theirs.id] = theirs
    night.foretold.add("name_taken")
    night.burns()
    assert night.incident.channel != theirs.id
    assert night.incident.channel_name.startswith(name)
    assert theirs.messages == []
    assert MAYA in night.bench.workspace.channel(night.incident.channel).members


def test_a_channel_that_was_made_although_slack_said_otherwise_is_found_and_used(night: Night) -> None:
    night.bench.workspace.faults.plan(Fault.LOST_ANSWER, "conversations.create")
    night.foretold |= {"fatal_error", "name_taken"}
    night.burns()
    night.through(seconds=10)
    made = [channel for channel in night.bench.workspace.state.channels.values() if channel.name.startswith("inc-1")]
    assert [channel.id for channel in made] == [night.incident.channel]
    assert night.incident.channel_name == made[0].name
    assert "llama-70b answers with errors" in told(night.card)


def test_a_message_that_was_posted_although_slack_said_otherwise_is_not_posted_again(night: Night) -> None:
    night.bench.workspace.faults.plan(Fault.DONE_DROP, "chat.postMessage", times=2)
    night.burns()
    night.through(seconds=10)
    assert len(night.said("INC-1", "incidents")) == 1
    assert len(night.said("From Alertmanager")) == 1


def without(folder: Path, scope: str) -> Path:
    """The app as somebody installed it who left a scope out."""
    manifest = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))
    manifest["oauth_config"]["scopes"]["bot"].remove(scope)
    path = folder / "manifest.yaml"
    path.write_text(yaml.safe_dump(manifest), encoding="utf-8")
    return path


def test_a_missing_scope_is_told_by_name_and_work_goes_on_in_the_thread(tmp_path: Path) -> None:
    with open_night(tmp_path, manifest=without(tmp_path, "channels:manage")) as night:
        night.foretold.add("missing_scope")
        night.burns()
        assert night.incident.channel == ""
        (card,) = [message for message in night.messages(INTAKE) if not message.is_reply]
        assert "lacks the scope channels:manage; add it and install it again" in told(card)
        replies = night.bench.workspace.channel(INTAKE).replies(card.ts)
        assert any("From Alertmanager" in told(reply) for reply in replies), "what would be said there is said here"
        night.clicks(MAYA, card, Do.ACK)
        assert night.pages() == [("1", "acknowledged")]


@pytest.mark.parametrize("scope", ["pins:write", "usergroups:read"])
def test_less_than_all_scopes_is_less_than_all_but_not_nothing(tmp_path: Path, scope: str) -> None:
    with open_night(tmp_path, manifest=without(tmp_path, scope)) as night:
        night.foretold.add("missing_scope")
        night.burns()
        assert "llama-70b answers with errors" in told(night.card)
        assert night.pages() == [("1", "triggered")]


def test_slack_asking_one_channel_to_slow_down_holds_no_other_incident_up(night: Night) -> None:
    night.burns()
    night.foretold.add("ratelimited")
    first = night.incident
    night.types(MAYA, "/incident ack", first.channel)
    night.bench.workspace.faults.plan(Fault.RATELIMITED, "chat.update", retry_after=30)
    night.types(MAYA, "/incident sev 2", first.channel)
    slowed = night.app.journal.incident(first.id)
    assert slowed is not None
    old = next(m for m in night.messages(first.channel) if m.ts == slowed.cards["incident"].ts)
    assert "SEV1" in told(old), "it waits as long as Slack asked"
    night.burns("f9", service="search", model_name="mistral-small")
    assert "Nobody has it yet" in told(night.card), "the other one was not held up"
    assert len(night.pages()) == 2
    night.through(seconds=40)
    again = next(m for m in night.messages(first.channel) if m.ts == slowed.cards["incident"].ts)
    assert "SEV2" in told(again)


def test_with_slack_away_the_page_goes_out_and_the_card_comes_when_it_is_back(night: Night) -> None:
    night.foretold.add("service_unavailable")
    night.bench.workspace.faults.down = True
    night.alerts(alert())
    assert night.pages() == [("1", "triggered")]
    night.through(minutes=2)
    night.bench.workspace.faults.clear()
    night.through(minutes=2)
    assert "llama-70b answers with errors" in told(night.card)
    assert len(night.said("INC-1", "incidents")) == 1
    assert len(night.events(ev.ChannelOpened)) == 1


def test_stopping_and_starting_at_any_moment_loses_nothing_and_pages_once(night: Night) -> None:
    token = night.bench.secrets.alertmanager_token
    body = json.dumps({**_webhook(), "alerts": [alert()]}).encode()
    assert night.post("/hooks/alertmanager", body, {"Authorization": f"Bearer {token}"})[0] == 200
    night.crash()
    for _ in range(60):
        if not night.app.engine.turn() + night.afterwards.run():
            break
        night.crash()
    night.settle()
    assert night.pages() == [("1", "triggered")]
    assert len(night.messages("incidents")) == 1
    assert len(night.said("From Alertmanager")) == 1
    assert len([c for c in night.bench.workspace.state.channels.values() if c.name.startswith("inc-")]) == 1


def _webhook() -> dict[str, object]:
    about = {"groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "receiver": "bot"}
    return {"version": "4", "groupKey": "{}", "status": "firing", "externalURL": "http://am.example", **about}
