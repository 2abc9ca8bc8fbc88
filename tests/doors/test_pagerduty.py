"""What is done in PagerDuty happens here too, also to incidents that PagerDuty opened by itself."""

from datetime import timedelta
from typing import Any

from bot.incident.events import NoteAdded
from bot.incident.state import Incident, Status
from tests.doors.house import NOW, House, pager_event


def follow(house: House, kind: str, event: str, **data: Any) -> None:
    assert house.pager(pager_event(kind, event, NOW + timedelta(seconds=1), **data)).status == 202
    house.turn()


def only(house: House) -> Incident:
    (incident,) = house.app.journal.recent()
    return incident


def test_each_incident_of_pagerdutys_is_one_of_ours(house: House) -> None:
    for number in (1, 2):
        follow(house, "incident.triggered", f"01T{number}", id=f"Q{number}", title=f"Trouble {number}")
    assert {incident.title for incident in house.app.journal.live()} == {"Trouble 1", "Trouble 2"}


def test_it_is_acknowledged_noted_and_resolved_there(house: House) -> None:
    follow(house, "incident.triggered", "01T")
    assert only(house).status is Status.OPEN
    follow(house, "incident.acknowledged", "01A")
    assert only(house).status is Status.ACKNOWLEDGED
    acknowledged = only(house).acknowledged
    assert acknowledged is not None
    assert acknowledged.by.name == "Maya Okafor"
    note = {"type": "incident_note", "content": "Failing over", "incident": {"id": "QBORNTHERE0001"}}
    follow(house, "incident.annotated", "01N", **note)
    follow(house, "incident.resolved", "01R")
    assert only(house).status is Status.RESOLVED
    notes = [e.event.text for e in house.app.journal.entries(only(house).id) if isinstance(e.event, NoteAdded)]
    assert notes == ["Failing over"]


def test_an_event_of_an_unknown_incident_is_welcome_and_does_nothing(quiet_house: House) -> None:
    before = quiet_house.rows()
    assert quiet_house.pager(pager_event("incident.acknowledged", "01X", id="QNEVERSEEN")).status == 202
    assert quiet_house.rows() == before


def test_what_is_done_to_an_incident_that_cannot_be_read_here_is_to_be_told_again(house: House) -> None:
    follow(house, "incident.triggered", "01T")
    entry = house.spoils("{}")
    answer = house.pager(pager_event("incident.acknowledged", "01A", NOW + timedelta(seconds=1)))
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    house.spoils(entry)
    follow(house, "incident.acknowledged", "01A")
    assert only(house).status is Status.ACKNOWLEDGED
