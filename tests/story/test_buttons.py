"""Everything that can be pressed does something: every word has a button, and every button has somebody behind it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

import pytest

from bot.incident import events as ev
from bot.incident.events import Role, Severity
from bot.incident.run import StepStatus
from bot.incident.state import Status
from bot.slack.actions import Do, StepDo
from bot.workbench.slack.model import Message, SlackError
from tests.story.night import INTAKE, JONAS, MAYA, Night, controls, measuring, told

ROLLBACK = "rollback-model-deploy"

LAST = (StepDo.APPROVE, StepDo.UNDO, StepDo.SKIP, StepDo.STOP, Do.ACK)
"""Pressed after the others, because they change what can be pressed."""


class Control(NamedTuple):
    """Something that can be pressed, and where."""

    channel: str
    message: Message
    action_id: str
    value: str | None

    @property
    def verb(self) -> str:
        """What it is about: a menu's entry counts as the button it stands for."""
        return (self.value or "").partition(":")[0] if self.action_id == Do.MORE else self.action_id


def pressable(night: Night, first: str) -> list[Control]:
    """All that Maya can press right now, in both channels and in what only she sees; of what changes much, `first`."""
    places = [(INTAKE, message) for message in night.messages("incidents")]
    places += [(night.incident.channel, message) for message in night.messages()]
    workspace = night.bench.workspace
    places += workspace.state.ephemerals[MAYA]
    each = [Control(where, message, *one) for where, message in places for one in controls(message.blocks)]
    found = {(one.action_id, one.value, told(one.message)[:40]): one for one in each}.values()
    last = (first, *LAST)
    return sorted(found, key=lambda control: last.index(control.verb) if control.verb in LAST else -1)


def press_everything(night: Night, first: str = "") -> Iterator[str]:
    """Presses each control once and checks that something comes of it; gives the verbs."""
    workspace = night.bench.workspace
    for control in pressable(night, first):
        before = (len(night.whispers(MAYA)), night.incident.seq, len(night.bench.workspace.state.views))
        try:
            answer = night.clicks(MAYA, control.message, control.action_id, control.channel, control.value)
        except SlackError as gone:
            if gone.code not in ("action_not_found", "message_not_found"):
                raise
            continue  # an earlier press has changed the message
        assert "older version" not in answer, control
        assert "broke on our side" not in answer, control
        after = (len(night.whispers(MAYA)), night.incident.seq, len(night.bench.workspace.state.views))
        assert after != before or control.verb.startswith("link."), f"nothing came of {control}"
        for view in workspace.open_views(MAYA):
            workspace.close_view(MAYA, view.id)
        yield control.verb


def test_every_control_in_every_state_is_answered_and_no_word_lacks_one(night: Night) -> None:
    pressed: set[str] = set()
    numbers = {"http_requests_total": 0.3, "gateway_requests_total": 0.3}
    with measuring(night, numbers):
        night.types(MAYA, "/incident list")
        night.types(MAYA, "/incident help")
        night.burns()
        channel = night.incident.channel
        pressed |= set(press_everything(night))
        assert night.stands(Status.ACKNOWLEDGED), "the last thing pressed"
        pressed |= set(press_everything(night))
        for runbook, first in (("serve-from-cache", ""), (ROLLBACK, StepDo.SKIP), (ROLLBACK, StepDo.STOP)):
            night.types(MAYA, f"/incident run {runbook}", channel)
            night.fills_in(MAYA, **{"runbook": runbook, "param.model": "llama-70b"})
            for _ in range(3):
                pressed |= set(press_everything(night, first))
                night.after(seconds=20)
        night.recovers()
        night.types(MAYA, "/incident mitigated", channel)
        pressed |= set(press_everything(night))
        night.types(MAYA, "/incident resolve over", channel)
        pressed |= set(press_everything(night))
        night.through(seconds=30)
    words = {"declare", "ack", "sev", "note", "timeline", "health", "run", "mitigated", "update", "resolve", "list"}
    assert words <= pressed, "every word has its button (help is where the buttons are, typed /incident)"
    assert any(verb.startswith("link.") for verb in pressed), "the postmortem opens in the browser"
    elsewhere = {StepDo.RETRY.value, StepDo.UNDO_ALL.value, StepDo.SECOND.value, StepDo.ALONE.value}
    assert {verb.value for verb in StepDo} - elsewhere <= pressed, "those have stories of their own"


@pytest.mark.parametrize(
    ("do", "values", "happened"),
    [
        (Do.SEVERITY, {"severity": "SEV3"}, ev.SeverityChanged(Severity.SEV1, Severity.SEV3)),
        (Do.ROLE, {"role": Role.SCRIBE.value, "user": JONAS}, ev.RoleAssigned(Role.SCRIBE, JONAS)),
        (Do.IMPACT, {"text": "Chat users, one in three"}, ev.ImpactStated("Chat users, one in three")),
        (Do.NOTE, {"text": "the pipeline is stopped"}, ev.NoteAdded("the pipeline is stopped")),
        (Do.UPDATE, {"text": "We are on it."}, ev.UpdatePosted("We are on it.")),
        (Do.MITIGATED, {"text": "rolled back"}, ev.Mitigated("rolled back")),
        (Do.RESOLVE, {"reason": "a drill", "cancel": ["yes"]}, ev.Cancelled("a drill")),
    ],
)
def test_a_button_asks_for_what_the_word_would_have_said(
    night: Night, do: Do, values: dict[str, str], happened: ev.Event
) -> None:
    night.burns()
    night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
    night.presses(MAYA, do)
    assert night.fills_in(MAYA, **values).ok
    assert happened in night.events(type(happened))
    assert night.bench.workspace.open_views(MAYA) == []


def test_the_impact_says_since_when_and_not_of_a_time_to_come(night: Night) -> None:
    night.burns()
    night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
    night.presses(MAYA, Do.IMPACT)
    soon = night.clock.now + timedelta(minutes=5)
    refused = night.fills_in(MAYA, text="Chat users, one in three", since=int(soon.timestamp()))
    assert refused.errors == {"since": "That is still to come; when were users first hit?"}
    began = night.clock.now - timedelta(minutes=5)
    assert night.fills_in(MAYA, text="Chat users, one in three", since=int(began.timestamp())).ok
    assert night.incident.started_at == began.replace(microsecond=0)
    night.presses(MAYA, Do.IMPACT)
    earlier = began - timedelta(minutes=1)
    assert night.fills_in(MAYA, since=int(earlier.timestamp())).ok
    assert night.incident.started_at == earlier.replace(microsecond=0), "the same words with another time"


def test_who_only_looks_is_told_alone(night: Night) -> None:
    night.burns()
    assert "llama-70b answers with errors" in night.types(JONAS, "/incident timeline", night.incident.channel)
    assert "BLIND" in night.presses(JONAS, Do.HEALTH), "no Prometheus answers tonight, and it says so"
    assert night.whispers(MAYA) == []


def test_who_presses_second_is_told_who_was_first(night: Night) -> None:
    night.burns()
    old = night.card
    night.clicks(MAYA, old, Do.ACK, night.incident.channel)
    answer = night.types(JONAS, "/incident ack", night.incident.channel)
    assert "already acknowledged by Maya Okafor" in answer
    assert len(night.events(ev.Acknowledged)) == 1
    assert night.pager_calls("acknowledge") == ["acknowledge"]


def test_what_can_no_longer_be_pressed_has_no_button(night: Night) -> None:
    night.burns()
    night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
    everywhere = [*night.messages(), *night.messages("incidents")]
    assert [told(message) for message in everywhere if (Do.ACK, None) in controls(message.blocks)] == []


def test_a_step_offers_to_look_again_after_it_could_not_be_measured(night: Night) -> None:
    night.burns()
    night.types(MAYA, "/incident run rollback-model-deploy", night.incident.channel)
    night.fills_in(MAYA, **{"runbook": "rollback-model-deploy", "param.model": "llama-70b"})
    night.through(seconds=40)
    (run,) = night.incident.runs.values()
    assert run.steps[0].status is StepStatus.FAILED
    (shown,) = [message for message in night.messages() if (StepDo.RETRY, None) in controls(message.blocks)]
    with measuring(night, {"http_requests_total": 0.3}):
        night.clicks(MAYA, shown, StepDo.RETRY, night.incident.channel)
    (run,) = night.incident.runs.values()
    assert run.steps[0].status is StepStatus.DONE
