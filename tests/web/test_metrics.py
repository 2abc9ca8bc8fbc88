"""The bot's own figures: what a real Prometheus reads, and that they count what happens."""

import re
import shutil
import socket
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from bot.audit.pressure import Disk
from bot.incident import commands as cmd
from bot.web.metrics import Held, Numbers, exposition
from bot.web.traffic import GONE, Counted, Traffic
from tests.doors.house import NEW_TOKEN, House, open_house, webhook
from tests.doors.house import alert as fired
from tests.faults.process import eventually
from tests.story.night import Night, alert, open_night
from tests.web.site import Site

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
PROMTOOL = shutil.which("promtool")


def busy() -> Traffic:
    """A few requests."""
    traffic = Traffic(("/hooks/alertmanager", "/slack/events"))
    for seconds in (0.005, 0.0051, 30.0):
        traffic.note("/hooks/alertmanager", 200, seconds)
    traffic.note("/hooks/alertmanager", 503, 0.02)
    traffic.note("/wp-login.php", 404, 0.001)
    return traffic


HELD = Held(
    incidents={"open": 2, "resolved": 40},
    alerts={"firing": 1_234_567},
    news_waiting=1,
    effects={("slack", "waiting"): 3, ("pager", "dead"): 1, ("slack", "done"): 90},
    oldest={"slack": NOW - timedelta(seconds=12.5)},
)


def numbers(**changes: Any) -> Numbers:
    told = Numbers(
        started_at=NOW - timedelta(days=1),
        unopened=0,
        held=HELD,
        deliveries={("slack", "delivered"): 90, ("pager", "failed"): 1},
        findings={"pages": 2},
        turned_at=NOW - timedelta(seconds=1),
        audited_at=None,
        heartbeats={"sent": 60, "missed": 0},
        refused={("doors", "slow_body"): 4},
        traffic=busy(),
    )
    return replace(told, **changes)


def samples(text: str) -> dict[str, float]:
    """The text format, read by its rules: a name with labels, a blank, a number."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def checked(text: str) -> str:
    """What Prometheus' own parser and its rules of style say about the text: nothing, when all is well."""
    if PROMTOOL is None:
        pytest.skip("needs promtool")
    said = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    return said.stdout + said.stderr


def test_prometheus_reads_them_and_finds_no_fault() -> None:
    assert checked(exposition(numbers(), NOW)) == ""


def test_prometheus_reads_those_of_a_bot_that_has_just_started(tmp_path: Path) -> None:
    with open_house(tmp_path) as house:
        assert checked(exposition(house.app.numbers(), house.app.journal.clock())) == ""


def test_a_label_cannot_break_out_of_its_quotes() -> None:
    text = exposition(numbers(held=replace(HELD, alerts={'a"} 1\nb\\': 1})), NOW)
    assert r'fixfirst_alerts{status="a\"} 1\nb\\"} 1' in text
    assert checked(text) == ""


def test_metrics_count_what_the_journal_holds(site: Site) -> None:
    site.alerts(1, new=1)
    site.alerts(1, new=1, incident="i2")
    site.do(cmd.Acknowledge, "i2")
    site.after(seconds=90)
    answer = site.client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    told = samples(answer.text)
    assert told['fixfirst_incidents{status="open"}'] == 1
    assert told['fixfirst_incidents{status="acknowledged"}'] == 1
    assert told['fixfirst_outbox_effects{courier="pager",state="waiting"}'] == 3
    assert told['fixfirst_outbox_oldest_seconds{courier="pager"}'] == 90
    assert told['fixfirst_outbox_oldest_seconds{courier="runbook"}'] == 0


def test_while_the_journal_cannot_be_read_the_metrics_tell_all_the_rest() -> None:
    text = exposition(numbers(held=None), NOW)
    assert checked(text) == ""
    told = samples(text)
    assert told["fixfirst_journal_readable"] == 0
    assert told["fixfirst_start_time_seconds"] == (NOW - timedelta(days=1)).timestamp()
    whole = samples(exposition(numbers(), NOW))
    assert whole["fixfirst_journal_readable"] == 1
    held = {name.partition("{")[0] for name in set(whole) - set(told)}
    assert held == {
        "fixfirst_incidents",
        "fixfirst_alerts",
        "fixfirst_intake_news_waiting",
        "fixfirst_outbox_effects",
        "fixfirst_outbox_oldest_seconds",
        "fixfirst_pages_waiting_seconds",
        "fixfirst_verdicts_rated",
    }, "a figure of the journal is left out, not 0"


def test_metrics_are_answered_while_the_journal_is_gone(site: Site) -> None:
    site.models = lambda: f"canaries_told {len(site.journal.live())}\n"
    site.open_pages()
    assert "canaries_told 0\n" in site.client.get("/metrics").text
    site.journal.close()
    shutil.rmtree(site.folder)
    answer = site.client.get("/metrics")
    assert answer.status_code == 200
    assert samples(answer.text)["fixfirst_journal_readable"] == 0
    assert "canaries_told" not in answer.text


def test_what_does_not_occur_is_zero_not_missing() -> None:
    told = samples(exposition(numbers(), NOW))
    assert told['fixfirst_incidents{status="cancelled"}'] == 0
    assert told['fixfirst_alerts{status="resolved"}'] == 0
    assert told['fixfirst_deliveries_total{courier="pager",result="postponed"}'] == 0
    assert told['fixfirst_outbox_effects{courier="slack",state="dead"}'] == 0
    assert (told['fixfirst_audit_findings{check="pages"}'], told['fixfirst_audit_findings{check="inbox"}']) == (2, 0)
    assert told["fixfirst_audit_last_timestamp_seconds"] == 0


def test_large_numbers_keep_all_their_digits() -> None:
    assert 'fixfirst_alerts{status="firing"} 1234567\n' in exposition(numbers(), NOW)
    assert f"fixfirst_engine_last_turn_timestamp_seconds {NOW.timestamp() - 1}\n" in exposition(numbers(), NOW)


def test_a_clock_that_went_back_gives_no_negative_age() -> None:
    assert HELD.waits("slack", NOW - timedelta(hours=1)) == 0


def test_a_door_tells_how_many_were_answered_within_each_time() -> None:
    told = samples(exposition(numbers(), NOW))
    door = 'door="/hooks/alertmanager"'
    counts = [told[f'fixfirst_request_duration_seconds_bucket{{{door},le="{edge}"}}'] for edge in ("0.005", "0.01")]
    assert counts == [1, 2], "what takes exactly as long as an edge is within it, and each holds those before"
    assert told[f'fixfirst_request_duration_seconds_bucket{{{door},le="+Inf"}}'] == 4
    assert told[f"fixfirst_request_duration_seconds_count{{{door}}}"] == 4
    assert told[f"fixfirst_request_duration_seconds_sum{{{door}}}"] == pytest.approx(30.0301)


def test_every_answer_of_a_door_is_counted_and_all_that_is_no_door_together(tmp_path: Path) -> None:
    with open_house(tmp_path) as house:
        house.alerts(webhook([fired()]))
        house.alerts(webhook([fired()]), token="wrong")
        for path in ("/wp-login.php", "/.env"):
            house.post(path, b"")
        told = samples(exposition(house.app.numbers(), NOW))
    assert {name: count for name, count in told.items() if "requests_total" in name} == {
        'fixfirst_requests_total{door="/hooks/alertmanager",code="200"}': 1,
        'fixfirst_requests_total{door="/hooks/alertmanager",code="401"}': 1,
        'fixfirst_requests_total{door="other",code="404"}': 2,
    }


def untaken(house: House) -> dict[str, float]:
    """What hooks did not take so far, by door and reason."""
    told = samples(exposition(house.app.numbers(), NOW))
    pattern = re.compile(r'fixfirst_hooks_untaken_total{door="/hooks/(\w+)",reason="(\w+)"}')
    return {" ".join(seen.groups()): count for name, count in told.items() if (seen := pattern.match(name))}


def test_the_first_alert_that_is_refused_is_seen_and_told_from_those_who_only_try_the_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.app.disk_of", lambda _: Disk(size=10**9, free=0))
    with open_house(tmp_path) as house:
        doors = ("alertmanager", "change", "pagerduty")
        never = {f"{door} {reason}": 0.0 for door in doors for reason in ("refused", "no_token", "busy")}
        assert untaken(house) == never, "a first change from 0 is a rise, a first value of 1 is none"
        house.alerts(webhook([fired()]))
        house.post("/hooks/alertmanager", b"{}")
        house.post("/hooks/alertmanager", b"", {"Authorization": "Bearer x"}, method="GET")
        house.pager({}, signature="v1=wrong")
        for token, body in (("wrong", webhook([fired()])), (NEW_TOKEN, b"no JSON"), (NEW_TOKEN, b" " * 1024 * 1025)):
            assert house.alerts(body, token=token).status in (401, 400, 413)
        house.app.pressure.look()
        assert house.alerts(webhook([fired(fingerprint="another")])).status == 503
        expected = {"alertmanager refused": 3, "alertmanager no_token": 1, "alertmanager busy": 1}
        assert untaken(house) == {**never, **expected, "pagerduty refused": 1}


def test_a_sender_that_hangs_up_half_way_was_not_refused(tmp_path: Path) -> None:
    with open_house(tmp_path) as house:
        head = f"POST /hooks/alertmanager HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {NEW_TOKEN}\r\n"
        with socket.create_connection(("127.0.0.1", house.port)) as sender:
            sender.sendall(f"{head}Content-Length: 100\r\n\r\nhalf".encode())
        eventually(lambda: house.app.doors.traffic.answers)
        assert house.app.doors.traffic.answers == {("/hooks/alertmanager", GONE): 1}
        assert set(untaken(house).values()) == {0}


def test_a_door_that_breaks_is_counted_as_an_error() -> None:
    async def breaks(request: Request) -> Response:
        raise RuntimeError(request.url.path)

    traffic = Traffic(("/hooks/alertmanager",))
    app = Starlette(routes=[Route("/hooks/alertmanager", breaks)], middleware=[Middleware(Counted, traffic=traffic)])
    assert TestClient(app, raise_server_exceptions=False).get("/hooks/alertmanager").status_code == 500
    assert traffic.answers == {("/hooks/alertmanager", 500): 1}


def test_a_night_is_counted(tmp_path: Path) -> None:
    with open_night(tmp_path) as night:
        night.bench.pagerduty.outage = "500"
        night.alerts(alert())
        night.bench.pagerduty.outage = "none"
        night.after(minutes=1)
        night.app.auditor.audit()
        told = figures(night)
    assert told['fixfirst_deliveries_total{courier="pager",result="postponed"}'] >= 1
    assert told['fixfirst_deliveries_total{courier="pager",result="delivered"}'] == 1
    assert told['fixfirst_deliveries_total{courier="slack",result="delivered"}'] > 2
    assert told['fixfirst_alerts{status="firing"}'] == 1
    assert told["fixfirst_audit_last_timestamp_seconds"] == night.clock.seconds()
    assert told["fixfirst_engine_last_turn_timestamp_seconds"] == night.clock.seconds()
    assert {count for name, count in told.items() if "audit_findings" in name} == {0}


def test_an_alert_that_was_over_before_anybody_looked_is_counted_and_pages_nobody(tmp_path: Path) -> None:
    with open_night(tmp_path) as night:
        night.arrives()
        night.recovers()
        night.app.journal.write(lambda txn: None).result(10)  # its one writer has told of all that came before
        told = figures(night)
        assert night.app.journal.recent(1) == ()
        assert night.pager_calls() == []
        (line,) = (line for line in night.logs if line["event"] == "alerts_opened_nothing")
    assert told["fixfirst_intake_unopened_total"] == 1
    assert told["fixfirst_intake_news_waiting"] == 0
    assert told['fixfirst_alerts{status="resolved"}'] == 1
    assert (line["log_level"], line["source"], line["began"], line["ended"]) == ("info", "alertmanager", 1, 1)


def figures(night: Night) -> dict[str, float]:
    """As Prometheus gets them."""
    client = TestClient(night.app.pages, base_url="http://127.0.0.1")
    return samples(client.get("/metrics").text)


def test_every_metric_is_in_the_document() -> None:
    document = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    told = re.findall(r"^# TYPE (\w+)", exposition(numbers(), NOW), flags=re.MULTILINE)
    listed = re.findall(r"^\| `(fixfirst_\w+)", document, flags=re.MULTILINE)
    assert sorted(listed) == sorted(told)
