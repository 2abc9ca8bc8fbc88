"""The main job, from the alert to the drafted postmortem, as people live it."""

from bot.incident.state import Status
from bot.slack.actions import Do
from tests.story.night import MAYA, Night, alert, told


def test_an_alert_becomes_a_card_a_page_and_a_channel(night: Night) -> None:
    night.alerts(alert())
    assert night.stands(Status.OPEN)
    assert night.pages() == [("1", "triggered")]
    assert "llama-70b answers with errors" in told(night.card)
    assert "Acknowledge" in told(night.card)
    intake = night.messages("incidents")
    assert len(intake) == 1, "one message in the intake channel, edited in place"
    assert f"<#{night.incident.channel}>" in told(intake[0])
    assert MAYA in night.bench.workspace.channel(night.incident.channel).members


def test_from_alert_to_postmortem(night: Night) -> None:
    night.alerts(alert())
    night.after(seconds=40)
    night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
    assert night.stands(Status.ACKNOWLEDGED)
    assert night.pages() == [("1", "acknowledged")]
    assert "Maya Okafor has it" in told(night.card)
