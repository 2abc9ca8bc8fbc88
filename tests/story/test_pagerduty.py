"""Two places, one incident: what people do in PagerDuty happens here, what they do here happens there, and no echo."""

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from bot.incident import events as ev
from bot.incident.state import Status
from bot.slack.actions import Do
from tests.story.night import JONAS, MAYA, Night, alert, open_night, told


def acts(night: Night, action: str, user: str = MAYA, text: str = "", nth: int = -1) -> None:
    """Somebody does something in PagerDuty's own app."""
    account = night.bench.pagerduty
    account.act(user, account.incidents[nth].id, action, text)
    account.advance()
    night.settle()


def born_there(night: Night, title: str = "Checkout is down", severity: str = "critical") -> None:
    """An incident that some other integration opens in PagerDuty."""
    night.bench.pagerduty.trigger("another-integration", {"summary": title, "source": "x", "severity": severity})
    night.bench.pagerduty.advance()
    night.settle()


def webhooks(night: Night) -> list[str]:
    return [json.loads(h.body)["event"]["event_type"] for h in night.wire.heard if h.path == "/hooks/pagerduty"]


def test_a_page_that_is_acknowledged_in_pagerduty_is_acknowledged_here_without_echo(night: Night) -> None:
    night.burns()
    acts(night, "acknowledge", JONAS)
    assert night.stands(Status.ACKNOWLEDGED)
    assert "Jonas Weber has it" in told(night.card)
    assert night.pager_calls() == ["trigger"], "PagerDuty is not told what it told us"
    night.after(minutes=10)
    assert night.events(ev.AckDeadlineMissed) == []


def test_the_person_is_the_same_person_in_both_places(night: Night) -> None:
    night.burns()
    acts(night, "acknowledge", JONAS)
    taken = night.incident.acknowledged
    assert taken is not None
    assert taken.by.id == JONAS
    assert "INC-1 is yours" in night.types(JONAS, "/incident ack", night.incident.channel)


def test_somebody_whom_slack_does_not_know_is_named_and_the_one_on_call_is_reminded(tmp_path: Path) -> None:
    with open_night(tmp_path, settings={'U0JONAS = "PJONAS1"': ""}) as night:
        night.burns()
        acts(night, "acknowledge", JONAS)
        assert "Jonas Weber has it" in told(night.card)
        night.through(minutes=31)
        (reminder,) = night.said("stakeholders have heard nothing")
        assert f"<@{MAYA}>" in told(reminder)
        assert "pagerduty:" not in told(reminder)


def test_what_we_do_here_comes_back_as_webhooks_and_changes_nothing_more(night: Night) -> None:
    night.burns()
    night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
    night.recovers()
    night.types(MAYA, "/incident resolve fixed", night.incident.channel)
    assert webhooks(night) == ["incident.triggered", "incident.acknowledged", "incident.resolved"]
    assert night.pager_calls() == ["trigger", "acknowledge", "resolve"]
    assert len(night.events(ev.Acknowledged)) == 1
    assert [event.reason for event in night.events(ev.Resolved)] == ["fixed"]


def test_the_card_links_to_the_page(night: Night) -> None:
    night.burns()
    (page,) = night.bench.pagerduty.incidents
    assert page.id in told(night.card)


def test_resolved_in_pagerduty_is_resolved_here_and_drafted(night: Night) -> None:
    night.burns()
    acts(night, "acknowledge")
    acts(night, "resolve")
    assert night.stands(Status.RESOLVED)
    assert night.incident.postmortem
    assert "resolved in PagerDuty" in told(night.card)
    assert night.pager_calls() == ["trigger"]
    assert night.incident.snoozed_until is not None, "an alert still fires, so it pages again when the snooze ends"
    night.through(minutes=31)
    assert night.stands(Status.OPEN)
    assert night.pages() == [("1", "resolved"), ("2", "triggered")]


def test_reopened_in_pagerduty_is_open_here_and_stays_one_page(night: Night) -> None:
    night.burns()
    night.recovers()
    night.types(MAYA, "/incident ack", night.incident.channel)
    night.types(MAYA, "/incident resolve fixed", night.incident.channel)
    acts(night, "reopen", JONAS)
    assert night.stands(Status.OPEN)
    assert night.pages() == [("1", "triggered")], "PagerDuty has paged already"
    night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
    assert night.pages() == [("1", "acknowledged")], "and hears who has it"
    night.types(MAYA, "/incident resolve fixed for good", night.incident.channel)
    assert night.pages() == [("1", "resolved")]


def test_reopened_in_pagerduty_while_a_newer_one_has_its_alerts_it_stays_over_here(night: Night) -> None:
    night.burns()
    night.recovers()
    night.types(MAYA, "/incident resolve fixed", night.incident.channel)
    night.after(minutes=61)
    night.burns()
    acts(night, "reopen", JONAS, nth=0)
    reopened = json.loads(night.wire.last("incident.reopened").body)
    reopened["event"] |= {"id": "01BYAMACHINE", "agent": {"id": "PRULES1", "type": "service_reference"}}
    assert deliver(night, json.dumps(reopened).encode()) == 202, "by a person or by a rule over there"
    newer, older = night.app.journal.recent()
    assert (newer.status, older.status) == (Status.OPEN, Status.RESOLVED)
    night.recovers()
    night.types(MAYA, "/incident resolve fixed again", newer.channel)
    night.after(minutes=5)
    night.burns()
    assert [incident.ref for incident in night.app.journal.live()] == ["INC-2"], "and its alerts go where they went"


def test_reopened_by_a_person_it_does_not_resolve_itself_at_once(night: Night) -> None:
    night.burns(severity="warning")
    night.recovers()
    night.through(minutes=11)
    assert night.stands(Status.RESOLVED), "a SEV3 that nobody had to touch"
    acts(night, "reopen", JONAS)
    night.after(minutes=1)
    assert night.stands(Status.OPEN)


def test_a_note_in_pagerduty_is_on_the_timeline_here(night: Night) -> None:
    night.burns()
    acts(night, "note", JONAS, "node-2 was rebooted")
    assert [event.text for event in night.events(ev.NoteAdded)] == ["node-2 was rebooted"]
    assert "Jonas Weber noted: node-2 was rebooted" in night.types(MAYA, "/incident timeline", night.incident.channel)


def test_an_incident_born_in_pagerduty_opens_here_and_is_not_paged_back(night: Night) -> None:
    born_there(night)
    assert night.incident.title == "Checkout is down"
    assert night.stands(Status.OPEN)
    assert night.pager_calls() == [], "PagerDuty has woken people already"
    assert len(night.bench.pagerduty.incidents) == 1
    # The card and what is told about it go out side by side, so either may stand first.
    assert any("From PagerDuty" in told(message) for message in night.said("Checkout is down"))
    night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
    assert [page.status for page in night.bench.pagerduty.incidents] == ["acknowledged"], "it hears by REST"
    night.types(MAYA, "/incident resolve", night.incident.channel)
    night.fills_in(MAYA, reason="fixed", confirm=["yes"])
    assert [page.status for page in night.bench.pagerduty.incidents] == ["resolved"]
    assert night.stands(Status.RESOLVED)


def test_born_in_pagerduty_and_paged_anew_by_us_the_new_page_is_acknowledged_and_resolved(tmp_path: Path) -> None:
    with open_night(tmp_path, secrets={"FIXFIRST_PAGERDUTY_API_TOKEN": ""}) as night:
        born_there(night)
        night.types(MAYA, "/incident resolve", night.incident.channel)
        night.fills_in(MAYA, reason="it will drain", confirm=["yes"])
        night.through(minutes=31)
        assert night.incident.generation == 2, "still burning when the snooze ended"
        theirs = ("another-integration", "triggered")
        assert night.pages() == [theirs, ("2", "triggered")]
        night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
        assert night.pages() == [theirs, ("2", "acknowledged")], "theirs cannot be reached without a REST token"
        night.types(MAYA, "/incident resolve", night.incident.channel)
        night.fills_in(MAYA, reason="drained", confirm=["yes"])
        assert night.pages() == [theirs, ("2", "resolved")]


def test_born_in_pagerduty_and_raised_here_both_pages_are_acknowledged(night: Night) -> None:
    born_there(night)
    night.types(MAYA, "/incident sev 4", night.incident.channel)
    night.types(MAYA, "/incident sev 1", night.incident.channel)
    assert night.pages() == [("another-integration", "triggered"), ("1", "triggered")]
    night.clicks(MAYA, night.card, Do.ACK, night.incident.channel)
    assert night.pages() == [("another-integration", "acknowledged"), ("1", "acknowledged")]


def test_two_incidents_born_in_pagerduty_are_two_here(night: Night) -> None:
    born_there(night)
    night.after(seconds=5)
    night.bench.pagerduty.trigger("a-third", {"summary": "Search is down", "source": "x", "severity": "critical"})
    night.bench.pagerduty.advance()
    night.settle()
    assert [incident.title for incident in night.app.journal.live()] == ["Search is down", "Checkout is down"]


def test_an_incident_born_in_pagerduty_lives_and_ends_with_what_happens_there(night: Night) -> None:
    born_there(night, severity="warning")
    acts(night, "note", JONAS, "looking")
    acts(night, "acknowledge", JONAS)
    assert night.stands(Status.ACKNOWLEDGED)
    assert [event.text for event in night.events(ev.NoteAdded)] == ["looking"]
    night.after(minutes=2)
    acts(night, "resolve", JONAS)
    assert night.stands(Status.RESOLVED)
    assert night.incident.snoozed_until is None, "nothing fires any more"
    night.after(minutes=2)
    acts(night, "reopen", JONAS)
    assert night.stands(Status.OPEN)
    night.through(minutes=20)
    assert night.stands(Status.OPEN), "it is open until a person there or here says otherwise"
    assert night.pager_calls("trigger") == []
    assert len(night.app.journal.recent()) == 1


def test_an_acknowledgement_that_comes_late_does_not_reopen_what_is_resolved(night: Night) -> None:
    night.burns()
    acts(night, "acknowledge")
    acts(night, "resolve")
    late = next(h for h in night.wire.heard if b"incident.acknowledged" in h.body)
    renamed = replace(late, body=late.body.replace(b'"id":"01E', b'"id":"01X', 1))
    assert deliver(night, renamed.body) == 202
    assert night.stands(Status.RESOLVED)


def test_what_was_said_about_an_earlier_round_does_not_touch_the_present_one(night: Night) -> None:
    night.burns()
    night.recovers()
    night.types(MAYA, "/incident resolve fixed", night.incident.channel)
    night.after(minutes=5)
    night.burns()
    assert night.incident.generation == 2
    for word in ("acknowledged", "resolved"):
        first = json.loads(next(h.body for h in night.wire.heard if b"incident.triggered" in h.body))
        first["event"] |= {"id": f"01LATE{word}", "event_type": f"incident.{word}"}
        assert deliver(night, json.dumps(first).encode()) == 202
    assert night.stands(Status.OPEN)
    assert night.incident.acknowledged is None


def test_a_delivery_that_is_repeated_counts_once(night: Night) -> None:
    night.burns()
    acts(night, "note", JONAS, "node-2 was rebooted")
    note = next(h for h in night.wire.heard if b"incident.annotated" in h.body)
    assert [night.again(note)[0] for _ in range(3)] == [202, 202, 202]
    assert len(night.events(ev.NoteAdded)) == 1


def test_while_the_secret_is_rotated_either_signature_counts_and_a_forged_one_never(night: Night) -> None:
    night.burns()
    note = json.dumps(json.loads(next(h.body for h in night.wire.heard if h.path == "/hooks/pagerduty"))).encode()
    new, wrong = hmac.new(b"the next secret", note, hashlib.sha256).hexdigest(), "0" * 64
    right = night.bench.pagerduty.subscription.signature(note)
    sends = [
        night.post("/hooks/pagerduty", note, {"X-PagerDuty-Signature": header})[0]
        for header in (f"v1={new},{right}", f"{right},v1={new}", f"v1={wrong}", "", f"v2={right[3:]}")
    ]
    assert sends == [202, 202, 401, 401, 401]


def test_kinds_that_we_do_not_follow_are_taken_all_the_same(night: Night) -> None:
    night.burns()
    night.bench.pagerduty.ping()
    night.bench.pagerduty.advance()
    known = json.loads(next(h.body for h in night.wire.heard if h.path == "/hooks/pagerduty"))
    seq = night.incident.seq
    for kind in ("incident.priority_updated", "incident.something_new", "service.updated", "incident.delegated"):
        known["event"] |= {"id": f"01{kind}", "event_type": kind}
        assert deliver(night, json.dumps(known).encode()) == 202
    assert night.incident.seq == seq
    assert all(delivery.outcome == "delivered" for delivery in night.bench.pagerduty.subscription.history)


def test_with_pagerduty_away_slack_goes_on_and_the_page_is_sent_when_it_is_back(night: Night) -> None:
    night.bench.pagerduty.outage = "500"
    night.alerts(alert())
    assert "llama-70b answers with errors" in told(night.card), "the chat waits for nobody"
    night.through(seconds=90)
    assert "still trying" in told(night.card), "and says what did not work"
    night.bench.pagerduty.outage = "none"
    night.through(minutes=2)
    assert night.pages() == [("1", "triggered")]
    assert "PagerDuty" in told(night.card)
    assert "still trying" not in told(night.card)
    assert night.events(ev.DeliverySettled) == [], "that it was accepted says so"


def test_an_acknowledgement_that_got_through_after_all_is_no_trouble_on_the_card_any_more(night: Night) -> None:
    night.burns()
    night.bench.pagerduty.outage = "500"
    night.types(MAYA, "/incident ack", night.incident.channel)
    night.through(minutes=2)
    assert "Could not deliver acknowledge page by pager: PagerDuty answered 500; still trying" in told(night.card)
    night.crash()
    night.bench.pagerduty.outage = "none"
    night.through(minutes=1)
    assert night.pages() == [("1", "acknowledged")]
    assert "Could not deliver" not in told(night.card)
    assert night.events(ev.DeliverySettled) == [ev.DeliverySettled("pager", "acknowledge_page")]
    timeline = night.types(MAYA, "/incident timeline", night.incident.channel)
    assert "The trouble with acknowledge page by pager is over" in timeline


def test_a_page_that_got_through_although_it_was_answered_with_an_error_is_still_one_page(night: Night) -> None:
    night.bench.pagerduty.outage = "500-after"
    night.alerts(alert())
    night.bench.pagerduty.outage = "none"
    night.through(minutes=1)
    assert night.pages() == [("1", "triggered")]
    assert night.incident.opened_at - night.clock() < timedelta(0)


def deliver(night: Night, body: bytes) -> int:
    """One webhook with the right signature."""
    signature = night.bench.pagerduty.subscription.signature(body)
    status, _ = night.post("/hooks/pagerduty", body, {"X-PagerDuty-Signature": signature})
    night.settle()
    return status


def test_a_stumble_of_the_rest_api_holds_nothing_up_for_a_minute(night: Night) -> None:
    born_there(night)
    night.bench.pagerduty.outage = "500-after"
    night.types(MAYA, "/incident ack", night.incident.channel)
    night.bench.pagerduty.outage = "none"
    assert night.app.journal.numbers()["outbox"]["effects"]["pager", "waiting"]
    night.after(seconds=5)
    left = night.app.journal.numbers()["outbox"]["effects"]
    assert ("pager", "waiting") not in left, "ratelimit-reset is for who met the limit"
