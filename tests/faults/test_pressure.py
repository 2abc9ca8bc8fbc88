"""What is a reason to turn alerts away, and what is none; who is let in all the same; and how people hear of it."""

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from bot.audit import pressure
from bot.audit.findings import Check
from bot.audit.pressure import Disk, disk_of
from bot.journal.database import folder_of, sqlite_url
from bot.web import doors
from tests.doors.house import Answer, House, alert, open_house, pager_event, webhook
from tests.story.night import MAYA, Night, open_night
from tests.story.night import alert as burning

MIB = 1024 * 1024
ROOMY = Disk(size=1_000 * MIB, free=500 * MIB)
INFORMATION = {"labels": {"alertname": "CertificateExpiresSoon", "severity": "info", "service": "gateway"}}


@dataclass
class Measured:
    """What the disk says of itself from now on."""

    now: Disk = ROOMY


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Measured:
    measured = Measured()
    monkeypatch.setattr("bot.app.disk_of", lambda _: measured.now)
    return measured


def left(share: float) -> Disk:
    """So much of the reserve is left."""
    return Disk(ROOMY.size, int(ROOMY.reserve * share))


def fills(house: House, disk: Measured, share: float) -> None:
    disk.now = left(share)
    house.app.pressure.look()


def is_turned_away(answer: Answer) -> bool:
    return answer.status == 503 and answer.headers["retry-after"] == "5" and answer.error == "busy, try again"


@pytest.mark.parametrize(
    ("size", "reserve"), [(1_000 * MIB, 50 * MIB), (5_120 * MIB, 256 * MIB), (2_000_000 * MIB, 256 * MIB)]
)
def test_the_reserve_is_a_twentieth_of_a_small_disk_and_a_fixed_size_on_a_large_one(size: int, reserve: int) -> None:
    assert Disk(size, 0).reserve == reserve


def test_the_disk_that_counts_is_the_one_the_journal_lies_on(tmp_path: Path) -> None:
    folder = folder_of(sqlite_url(tmp_path))
    assert folder == tmp_path
    assert 0 < disk_of(folder).free <= disk_of(folder).size
    assert folder_of("postgresql+psycopg://somewhere/fixfirst") is None


def test_on_a_small_rest_of_the_disk_what_wakes_people_is_taken_and_what_informs_them_is_not(
    disk: Measured, tmp_path: Path
) -> None:
    with open_house(tmp_path) as house:
        fills(house, disk, 0.9)
        assert is_turned_away(house.alerts(webhook([alert("f1", **INFORMATION)])))
        assert house.alerts(webhook([alert("f2", **INFORMATION), alert("f3")])).status == 200
        fills(house, disk, 1.1)
        assert house.alerts(webhook([alert("f1", **INFORMATION)])).status == 200


def test_a_server_is_ready_for_as_long_as_it_takes_in_what_wakes_people(disk: Measured, tmp_path: Path) -> None:
    with open_house(tmp_path) as house:
        pages = TestClient(house.app.pages, base_url="http://127.0.0.1:8081")
        answers = {}
        for share in (0.9, 0.1, 1.1):
            fills(house, disk, share)
            answers[share] = pages.get("/health/ready").status_code
        assert answers == {0.9: 200, 0.1: 503, 1.1: 200}


def test_many_refusals_are_one_line_in_the_log_with_their_number(
    disk: Measured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_house(tmp_path) as house:
        fills(house, disk, 0.1)
        for number in range(20):
            assert is_turned_away(house.alerts(webhook([alert(f"f{number}")])))
        assert [line["times"] for line in house.logged("door_busy")] == [1]
        monkeypatch.setattr(doors, "TELL_BUSY_EVERY_S", 0.0)
        house.alerts(webhook([alert("one-more")]))
        assert [line["times"] for line in house.logged("door_busy")] == [1, 20]


def test_on_the_last_of_it_no_alert_is_taken_but_people_and_their_pager_still_are(
    disk: Measured, tmp_path: Path
) -> None:
    with open_house(tmp_path) as house:
        assert house.alerts(webhook([alert("known")])).status == 200
        assert house.pager(pager_event()).status == 202
        fills(house, disk, 0.2)
        assert is_turned_away(house.alerts(webhook([alert("new")])))
        assert house.alerts(webhook([alert("known")])).status == 200, "what is on disk already is only said again"
        assert house.pager(pager_event("incident.acknowledged", "01TAKEN0000001")).status == 202
        assert any(incident.acknowledged for incident in house.app.journal.recent())
        assert house.logged("alerts_turned_away")
        fills(house, disk, 5.0)
        assert house.alerts(webhook([alert("new")])).status == 200
        assert house.logged("alerts_welcome_again")


def test_a_page_for_what_was_accepted_goes_out_on_the_last_of_the_disk(disk: Measured, tmp_path: Path) -> None:
    with open_night(tmp_path) as night:
        night.bench.pagerduty.outage = "500"
        night.alerts(burning())
        disk.now = left(0.1)
        night.app.pressure.look()
        night.bench.pagerduty.outage = "none"
        night.through(seconds=15)
        assert night.pages() == [("1", "triggered")]
        night.types(MAYA, "/incident ack", night.incident.channel)
        assert night.pages() == [("1", "acknowledged")]


def test_an_engine_that_stands_still_for_a_minute_is_promised_nothing(tmp_path: Path) -> None:
    with open_night(tmp_path) as night:
        night.alerts(burning())
        night.clock.now += timedelta(seconds=55)
        assert posts(night, burning("f2")) == 200
        night.clock.now += timedelta(seconds=10)
        night.app.pressure.look()
        assert posts(night, burning("f3")) == 503
        assert posts(night, burning("f2")) == 200
        night.settle()
        night.app.pressure.look()
        assert posts(night, burning("f3")) == 200
        night.after(seconds=5)
        assert night.incident.firing == 3
        night.wire.heard.clear()


def posts(night: Night, *alerts: Any) -> int:
    """The status of one webhook, and nothing that follows from it."""
    token = night.bench.secrets.alertmanager_token
    body = json.dumps({"version": "4", "truncatedAlerts": 0, "alerts": list(alerts)}).encode()
    return night.post("/hooks/alertmanager", body, {"Authorization": f"Bearer {token}"})[0]


def test_so_much_waits_to_be_worked_in_that_more_would_not_be_acted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pressure, "MOST_NEWS", 2)
    with open_house(tmp_path) as house:
        for name in ("a", "b", "c"):
            assert house.alerts(webhook([alert(name, labels={"alertname": name, "severity": "info"})])).status == 200
        house.app.pressure.look()
        assert is_turned_away(house.alerts(webhook([alert("d")])))
        house.turn()
        house.app.pressure.look()
        assert house.alerts(webhook([alert("d")])).status == 200


def test_a_dead_slack_and_a_dead_pagerduty_turn_nobody_away(tmp_path: Path) -> None:
    with open_night(tmp_path) as night:
        night.foretold |= {"service_unavailable", "fatal_error", "internal_error"}
        night.bench.workspace.faults.down = True
        night.bench.pagerduty.outage = "500"
        night.alerts(burning())
        for number in range(6):
            night.after(minutes=10)
            night.app.pressure.look()
            assert night.app.pressure.findings() == ()
            night.alerts(burning(f"later-{number}"))
        held = night.app.journal.numbers()["outbox"]
        assert held["states"]["waiting"] > 3
        assert night.clock() - min(held["oldest"].values()) >= timedelta(minutes=59)
        night.bench.pagerduty.outage = "none"
        night.bench.workspace.faults.clear()
        night.after(minutes=2)
        assert night.pages() == [("1", "triggered")]


def test_people_hear_of_it_where_they_hear_of_everything_that_is_late(disk: Measured, tmp_path: Path) -> None:
    with open_house(tmp_path) as house:
        house.turn()
        house.app.auditor.audit()
        assert house.app.auditor.findings() == ()
        fills(house, disk, 0.9)
        (finding,) = house.app.auditor.findings()
        assert finding.check is Check.PRESSURE
        assert finding.text == (
            "The journal's disk has 46,080 KiB left of 1,024,000. Alerts that wake nobody are turned away."
        )
        house.app.auditor.audit()
        assert [line["check"] for line in house.logged("audit_finding")] == ["pressure"]
        assert [found.check for found in house.app.auditor.findings()] == [Check.PRESSURE], "and said once"
        fills(house, disk, 0.1)
        assert house.app.auditor.findings()[0].text.endswith("left of 1,024,000. Alerts are turned away.")
        fills(house, disk, 2.0)
        house.app.auditor.audit()
        assert house.app.auditor.findings() == ()
