"""The audit of a running bot: what it logs, and when the service outside hears of it."""

import re
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.audit.auditor import AUDIT_EVERY, LOOK_EVERY_S, Auditor
from bot.audit.findings import Check
from bot.audit.heartbeat import Heartbeat, Settings
from bot.engine.local import LocalEngine
from bot.incident.policy import Policy
from bot.outbox import Outbox
from bot.workbench.server import bind
from tests.audit.service import SECRET, Service
from tests.clocked import by_the_clock
from tests.databases import only_to_be_read
from tests.servers import drip, free_port, raw_server
from tests.story.night import MAYA, Night, alert
from tests.web.site import PAGER, Site


def audits(night: Night) -> list[str]:
    """The next audit of the night; what is wrong now."""
    night.after(seconds=AUDIT_EVERY.total_seconds())
    night.app.auditor.look()
    return [finding.text for finding in night.app.auditor.findings()]


def logged(night: Night, event: str) -> list[Mapping[str, Any]]:
    return [line for line in night.logs if line["event"] == event]


def test_through_an_ordinary_night_every_audit_is_clean_and_heard_outside(night: Night, service: Service) -> None:
    assert audits(night) == []
    night.burns()
    assert audits(night) == []
    night.types(MAYA, "/incident ack", night.incident.channel)
    night.recovers()
    assert audits(night) == []
    assert service.heard == [f"GET /{SECRET}"] * 3
    assert logged(night, "audit_finding") == []


def test_an_incident_without_an_accepted_page_is_found_and_the_service_outside_hears_nothing(
    night: Night, service: Service
) -> None:
    night.bench.pagerduty.outage = "500"
    night.alerts(alert())
    assert audits(night) == [], "there is still time"
    (found,) = audits(night)
    assert found.startswith("INC-1 (SEV1) has had no accepted page for")
    audits(night)
    assert len(service.heard) == 1, "not since the finding"
    (line,) = logged(night, "audit_finding")
    assert (line["check"], line["about"], line["log_level"]) == ("pages", "INC-1", "warning")
    night.bench.pagerduty.outage = "none"
    assert audits(night) == []
    (gone,) = logged(night, "audit_finding_gone")
    assert gone["about"] == "INC-1"
    assert len(service.heard) == 2


def test_a_clean_audit_lasts_a_minute_and_after_a_finding_the_next_one_comes_soon(
    night: Night, service: Service
) -> None:
    assert audits(night) == []
    night.after(seconds=LOOK_EVERY_S).app.auditor.look()
    assert len(service.heard) == 1, "still the same minute"
    night.bench.pagerduty.outage = "500"
    night.alerts(alert())
    audits(night)
    assert audits(night) != []
    night.bench.pagerduty.outage = "none"
    night.after(seconds=LOOK_EVERY_S).app.auditor.look()
    assert night.app.auditor.findings() == ()


def test_what_pagerduty_opened_itself_needs_no_page_of_ours(night: Night) -> None:
    night.bench.pagerduty.trigger("another", {"summary": "Checkout is down", "source": "x", "severity": "critical"})
    night.after(seconds=1)
    assert night.incident.source == "pagerduty"
    assert audits(night) == []


def test_an_engine_that_stands_still_is_found_between_two_audits_and_seen_to_go_on(site: Site) -> None:
    turned = site.now
    auditor = Auditor(site.journal, Policy(), lambda: turned)
    auditor.audit()
    site.after(seconds=11)
    assert [finding.check for finding in auditor.findings()] == [Check.ENGINE]
    auditor.audit()
    turned = site.now
    assert auditor.findings() == ()


def test_when_audits_stop_that_is_found_too(site: Site) -> None:
    auditor = Auditor(site.journal, Policy(), site.clock)
    assert auditor.findings() == (), "the first one is still to come"
    site.after(seconds=151)
    assert [finding.text for finding in auditor.findings()] == ["There has been no audit for 2 min."]
    auditor.audit()
    assert auditor.findings() == ()


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_an_audit_that_cannot_be_made_says_so_and_forgets_nothing(site: Site, service: Service) -> None:
    site.alerts(1, new=1)
    site.after(seconds=100)
    auditor = Auditor(site.journal, Policy(pagers=(PAGER,)), site.clock, Heartbeat(Settings(service.url)))
    auditor.audit()
    site.journal.close()
    shutil.rmtree(site.folder)
    with capture_logs() as lines:
        auditor.audit()
        auditor.audit()
    assert [finding.check for finding in auditor.findings()] == [Check.PAGES, Check.AUDIT]
    assert [line["event"] for line in lines] == ["audit_failed", "audit_finding", "audit_failed"]
    assert [line["exc_info"] for line in lines if line["event"] == "audit_failed"] == [None, None], "it is no bug"
    assert "could not be read" in lines[0]["reason"]
    assert service.heard == []


def test_a_journal_that_takes_no_write_is_found_on_a_quiet_night_and_the_service_outside_hears_nothing(
    site: Site, service: Service
) -> None:
    engine = LocalEngine(site.desk, Outbox(site.desk, {}))
    auditor = Auditor(site.journal, Policy(), lambda: engine.last_turn, Heartbeat(Settings(service.url)))
    site.auditor = auditor
    site.open_pages()
    with only_to_be_read(site.journal):
        assert engine.turn() == 0, "there is nothing to do, and to see that takes no write"
        auditor.audit()
        (found,) = auditor.findings()
        assert found.check is Check.JOURNAL
        assert re.match(r"No alert can be kept: .*read.?only.*\. Look at the journal's disk", found.text), found.text
        answer = site.client.get("/health/engine")
        assert (answer.status_code, answer.json()["findings"]) == (503, [found.text])
        assert service.heard == []
    site.after(seconds=LOOK_EVERY_S)
    engine.turn()
    auditor.look()
    assert auditor.findings() == ()
    assert len(service.heard) == 1


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_when_the_clock_is_set_back_audits_and_signs_of_life_go_on(site: Site, service: Service) -> None:
    turned = site.now
    auditor = Auditor(site.journal, Policy(), lambda: turned, Heartbeat(Settings(service.url)))
    auditor.look()
    turned = site.after(hours=-1).now
    auditor.look()
    assert auditor.findings() == ()
    assert len(service.heard) == 2
    site.after(seconds=LOOK_EVERY_S)
    turned = site.now
    auditor.look()
    assert len(service.heard) == 2, "and no more often than before"


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_what_stands_still_when_the_clock_is_set_back_is_found_all_the_same(site: Site) -> None:
    turned = site.now
    auditor = Auditor(site.journal, Policy(), lambda: turned)
    auditor.audit()
    site.after(hours=-1)
    assert [finding.text for finding in auditor.findings()] == [
        "The clock was set back, and the engine has completed no turn since.",
        "The clock was set back, and there has been no audit since.",
    ]


# -- the heartbeat --------------------------------------------------------------------------------------------------


def test_a_heartbeat_that_is_refused_is_logged_once_and_once_when_it_is_heard_again(service: Service) -> None:
    heartbeat = Heartbeat(Settings(service.url))
    with capture_logs() as lines:
        for status in (200, 404, 500, 200, 200):
            service.status = status
            heartbeat.beat()
    assert [(line["event"], line.get("reason", "")) for line in lines] == [
        ("heartbeat_not_heard", "it answered 404"),
        ("heartbeat_heard_again", ""),
    ]
    assert (heartbeat.sent, heartbeat.missed) == (3, 2)


def test_a_service_that_is_not_there_is_no_reason_to_stop_and_its_address_stays_out_of_the_log() -> None:
    heartbeat = Heartbeat(Settings(f"http://127.0.0.1:{free_port()}/{SECRET}"))
    with capture_logs() as lines:
        heartbeat.beat()
    assert [line["event"] for line in lines] == ["heartbeat_not_heard"]
    assert SECRET not in str(lines)


def test_a_service_that_does_not_answer_is_waited_for_only_so_long() -> None:
    silent = bind(0, "--heartbeat-port")
    heartbeat = Heartbeat(Settings(f"http://127.0.0.1:{silent.getsockname()[1]}/{SECRET}", timeout=0.05))
    with capture_logs() as lines:
        heartbeat.beat()
    silent.close()
    assert [line["reason"] for line in lines] == ["ReadTimeout"]


@by_the_clock
def test_a_service_whose_answer_drips_ends_neither_audits_nor_signs_of_life(site: Site) -> None:
    answers: list[Callable[[socket.socket], None]] = [partial(drip, first=b"HTTP/1.1 200 OK\r\nX: "), well]

    def talk(connection: socket.socket) -> None:
        answers.pop(0)(connection)

    with raw_server(talk) as port:
        heartbeat = Heartbeat(Settings(f"http://127.0.0.1:{port}/{SECRET}", timeout=1))
        auditor, began = Auditor(site.journal, Policy(), site.clock, heartbeat), time.monotonic()
        auditor.audit()
        assert time.monotonic() - began < 4
        auditor.audit()
    assert (heartbeat.sent, heartbeat.missed) == (1, 1)


def well(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


@pytest.mark.parametrize(
    ("where", "reason"),
    [(b"/on", "TooManyRedirects"), (b"/\xff\xfe", "UnicodeDecodeError"), (b"http://[::1", "ValueError")],
)
def test_a_service_that_sends_us_on_for_ever_or_nowhere_has_not_heard(where: bytes, reason: str) -> None:
    asked: list[bytes] = []

    def sends_on(connection: socket.socket) -> None:
        asked.append(connection.recv(65_536))
        head = b"HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: "
        connection.sendall(head + where + b"\r\n\r\n")

    with raw_server(sends_on) as port, capture_logs() as lines:
        Heartbeat(Settings(f"http://127.0.0.1:{port}/{SECRET}")).beat()
    assert [line["reason"] for line in lines] == [reason]
    assert len(asked) <= 4


def test_a_sign_of_life_goes_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bytes] = []

    def proxy(connection: socket.socket) -> None:
        heard.append(connection.recv(65_536).partition(b"\r\n")[0])
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with raw_server(proxy) as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.delenv("no_proxy", raising=False)
        heartbeat = Heartbeat(Settings("http://outside.example/x"))
        heartbeat.beat()
    assert (heartbeat.sent, heard) == (1, [b"GET http://outside.example/x HTTP/1.1"])
