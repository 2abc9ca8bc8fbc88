"""The main job, from the alert to the drafted postmortem, as people live it."""

from bot.incident.state import Status
from bot.slack.actions import Do, StepDo
from tests.story.night import MAYA, Night, alert, measuring, told


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
    night.bench.fleet.set_fault("bad-deploy", True)
    night.burns()
    channel = night.incident.channel
    with measuring(night, {"http_requests_total": 0.3}) as numbers:
        night.after(seconds=40)
        night.clicks(MAYA, night.card, Do.ACK, channel)
        assert night.stands(Status.ACKNOWLEDGED)
        assert night.pages() == [("1", "acknowledged")]
        assert "Maya Okafor has it" in told(night.card)
        night.clicks(MAYA, night.card, Do.RUN, channel)
        night.fills_in(MAYA, **{"runbook": "rollback-model-deploy", "param.model": "llama-70b"})
        night.clicks(MAYA, night.card, StepDo.APPROVE, channel)
        assert "r42" in told(night.card), "the card itself shows what would be done, and the button to do it"
        night.clicks(MAYA, night.card, StepDo.APPROVE, channel)
        numbers["http_requests_total"] = 0.001
        night.through(seconds=30)
    assert night.stands(Status.MITIGATED)
    assert night.bench.fleet.model("llama-70b")["revision"] == "r41"
    night.clicks(MAYA, night.card, Do.UPDATE, channel)
    night.fills_in(MAYA, text="Chat failed for one in three; we are back on r41.")
    night.recovers()
    night.clicks(MAYA, night.card, Do.RESOLVE, channel)
    night.fills_in(MAYA, reason="Rolled back to r41; errors are at 0.1 %")
    assert night.stands(Status.RESOLVED)
    assert night.pages() == [("1", "resolved")]
    (draft,) = (night.bench.directory / "postmortems").glob("*.md")
    text = draft.read_text(encoding="utf-8")
    for told_there in ("Rolled back to r41; errors are at 0.1 %", "Chat failed for one in three", "acknowledged"):
        assert told_there in text
