"""How incidents end and come back: under fire, by themselves, too early, within the half hour, and much later."""

from bot.incident import events as ev
from bot.incident.state import Status
from bot.slack.actions import Do
from tests.story.night import JONAS, MAYA, Night, action_ids, alert, told


def taken(night: Night) -> str:
    """An incident that Maya has; its channel."""
    night.burns()
    night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
    return night.incident.channel


def test_from_the_alert_to_the_end_everybody_sees_it_in_place(night: Night) -> None:
    channel = taken(night)
    cards = len(night.said("llama-70b answers with errors", "incidents"))
    night.recovers()
    assert "All alerts have recovered" in told(night.card)
    night.presses(MAYA, Do.RESOLVE)
    night.fills_in(MAYA, reason="Rolled back; errors are at 0.1 %")
    assert night.stands(Status.RESOLVED)
    assert night.pages() == [("1", "resolved")]
    assert "Rolled back; errors are at 0.1 %" in told(night.card)
    assert Do.RESOLVE not in action_ids(night.card)
    (announced,) = night.said("INC-1", "incidents")
    assert "resolved" in told(announced)
    assert cards == 1, "the announcement was edited, never posted again"
    (drafted,) = night.said("The postmortem is drafted", channel)
    assert "Open the postmortem" in told(drafted)


def test_resolving_under_fire_asks_then_is_quiet_then_pages_again(night: Night) -> None:
    channel = taken(night)
    night.types(MAYA, "/incident resolve it is only the staging copy", channel)
    assert "1 alert is still firing" in str(night.form(MAYA).body)
    outcome = night.fills_in(MAYA, reason="only the staging copy")
    assert "tick the box" in outcome.errors["confirm"]
    assert night.stands(Status.ACKNOWLEDGED), "not without saying so"
    assert night.fills_in(MAYA, reason="only the staging copy", confirm=["yes"]).ok
    assert night.stands(Status.RESOLVED)
    assert "still firing; they page again" in told(night.card)
    assert night.pages() == [("1", "resolved")]
    night.alerts(alert("f1", at=night.clock.now))
    night.burns("f2")
    night.through(minutes=25)
    assert night.stands(Status.RESOLVED), "snoozed: neither a repeat nor a new alert of the same kind wakes anybody"
    night.through(minutes=6)
    assert night.stands(Status.OPEN)
    assert night.incident.generation == 2
    assert night.pages() == [("1", "resolved"), ("2", "triggered")]
    (back,) = night.said("INC-1 is back", channel)
    assert f"<@{MAYA}>" in told(back)
    assert Do.ACK in action_ids(back)


def test_an_alert_that_dies_down_during_the_snooze_wakes_nobody(night: Night) -> None:
    channel = taken(night)
    night.types(MAYA, "/incident resolve", channel)
    night.fills_in(MAYA, reason="it will drain", confirm=["yes"])
    night.after(minutes=5)
    night.recovers()
    night.through(minutes=40)
    assert night.stands(Status.RESOLVED)
    assert night.pages() == [("1", "resolved")]


def test_the_same_alert_within_half_an_hour_reopens_with_a_new_page(night: Night) -> None:
    channel = taken(night)
    night.recovers()
    night.types(MAYA, "/incident resolve fixed", channel)
    night.after(minutes=29)
    night.burns()
    assert [incident.ref for incident in night.app.journal.recent()] == ["INC-1"]
    assert night.stands(Status.OPEN)
    assert night.pages() == [("1", "resolved"), ("2", "triggered")]
    assert night.incident.acknowledged is None, "the old acknowledgement does not count"
    assert "Back again" in told(night.card)
    night.clicks(JONAS, night.card, Do.ACK, channel)
    assert night.pages() == [("1", "resolved"), ("2", "acknowledged")]
    night.recovers()
    night.types(JONAS, "/incident resolve really fixed", channel)
    assert night.pages() == [("1", "resolved"), ("2", "resolved")]


def test_a_round_that_came_back_begins_its_own_deadlines(night: Night) -> None:
    channel = taken(night)
    night.types(MAYA, "/incident update All is well again.", channel)
    night.recovers()
    night.types(MAYA, "/incident resolve fixed", channel)
    night.after(minutes=28)
    night.burns()
    night.after(minutes=5)
    assert len(night.events(ev.AckDeadlineMissed)) == 1
    night.types(JONAS, "/incident ack", channel)
    night.after(minutes=10)
    assert night.events(ev.UpdateReminded) == [], "the half hour for the next word began when it came back"


def test_the_same_alert_an_hour_later_is_a_new_incident_that_names_the_old_one(night: Night) -> None:
    channel = taken(night)
    first = night.incident
    night.recovers()
    night.types(MAYA, "/incident resolve fixed", channel)
    night.after(minutes=61)
    night.burns()
    assert night.incident.ref == "INC-2"
    assert night.incident.recurs == first.id
    assert any("it has happened before" in told(message) for message in night.said("INC-2"))
    assert night.pages() == [("1", "resolved"), ("1", "triggered")], "a first page of its own"
    assert len({page.key for page in night.bench.pagerduty.incidents}) == 2


def test_alerts_that_fire_again_take_a_mitigation_back(night: Night) -> None:
    channel = taken(night)
    night.types(MAYA, "/incident mitigated traffic moved", channel)
    assert night.stands(Status.MITIGATED)
    night.recovers()
    night.after(minutes=3)
    night.burns()
    assert night.stands(Status.ACKNOWLEDGED)
    (relapse,) = night.said("INC-1 is no longer mitigated", channel)
    assert f"<@{MAYA}>" in told(relapse)
    assert night.pages() == [("1", "acknowledged")], "somebody has it: nobody is woken"


def test_a_small_thing_that_ends_by_itself_resolves_itself(night: Night) -> None:
    night.burns(severity="warning")
    assert night.pages() == [("1", "triggered")]
    night.after(minutes=2)
    night.recovers(severity="warning")
    night.through(minutes=9)
    assert night.stands(Status.OPEN)
    night.through(minutes=2)
    assert night.stands(Status.RESOLVED)
    assert night.pages() == [("1", "resolved")]
    assert "nobody had to step in" in told(night.card)


def test_what_a_person_has_taken_no_recovery_resolves(night: Night) -> None:
    night.burns(severity="warning")
    night.types(MAYA, "/incident ack", night.incident.channel)
    night.recovers(severity="warning")
    night.through(minutes=30)
    assert night.stands(Status.ACKNOWLEDGED)
    assert Do.RESOLVE in action_ids(night.card)


def test_a_grave_thing_never_resolves_itself(night: Night) -> None:
    night.burns()
    night.recovers()
    night.through(minutes=20)
    assert night.stands(Status.OPEN)


def test_the_end_of_an_alert_that_nobody_knows_opens_nothing(night: Night) -> None:
    night.alerts(alert("never seen", firing=False))
    assert night.app.journal.recent() == ()
    assert night.messages("incidents") == []


def test_stakeholders_who_hear_nothing_are_remembered_every_half_hour(night: Night) -> None:
    channel = taken(night)
    night.through(minutes=29)
    assert night.said("Stakeholders have heard nothing") == []
    night.through(minutes=2)
    (reminder,) = night.said("Stakeholders have heard nothing")
    assert f"<@{MAYA}>" in told(reminder), "whoever has it"
    night.clicks(MAYA, reminder, Do.UPDATE, channel)
    night.fills_in(MAYA, text="One in three chat requests fails; we are rolling back.")
    assert "rolling back" in told(night.said("Update", "incidents")[0]), "where stakeholders look"
    night.through(minutes=29)
    assert len(night.said("Stakeholders have heard nothing")) == 1
    night.through(minutes=2)
    assert len(night.said("Stakeholders have heard nothing")) == 2


def test_a_false_alarm_is_called_off_without_a_postmortem(night: Night) -> None:
    night.burns()
    night.presses(MAYA, Do.RESOLVE)
    night.fills_in(MAYA, reason="a drill in staging", cancel=["yes"])
    assert night.stands(Status.CANCELLED)
    assert night.pages() == [("1", "resolved")]
    assert night.incident.postmortem == ""
    night.after(hours=2)
    assert night.stands(Status.CANCELLED)


def test_a_thousand_alerts_are_one_incident_one_card_one_page(night: Night) -> None:
    night.alerts(*(alert(f"f{n}", pod=f"llama-{n}") for n in range(1000)), truncated=7)
    assert len(night.app.journal.recent()) == 1
    assert len(night.messages("incidents")) == 1
    assert night.pages() == [("1", "triggered")]
    assert "Alerts: 1000 firing" in told(night.card)
    assert "7 more left out" in told(night.card)


def test_a_worse_alert_raises_the_severity_and_pages_if_nothing_did(night: Night) -> None:
    night.burns(severity="info")
    assert night.pages() == [], "nobody is woken for a SEV4"
    night.burns("f2", severity="critical")
    assert [incident.ref for incident in night.app.journal.recent()] == ["INC-1"]
    assert night.pages() == [("1", "triggered")]
    assert "SEV1" in told(night.card)
