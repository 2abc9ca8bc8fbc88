"""What machines ask: alive, able, and the figures."""

from datetime import UTC, datetime, timedelta
from typing import Any

from bot.incident import commands as cmd
from bot.web.health import exposition, outbox_age
from tests.web.site import Site

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def numbers(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "incidents": {"open": 2, "resolved": 40},
        "alerts": {"firing": 1_234_567},
        "news_waiting": 1,
        "outbox": {"states": {"waiting": 3, "dead": 1, "done": 90}, "oldest": NOW - timedelta(seconds=12.5)},
        "delivered": 90,
        "failed": 1,
    }
    return {**values, **changes}


def samples(text: str) -> dict[str, float]:
    """The text format, read by its rules: a name with labels, a blank, a number."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_the_process_answers(site: Site) -> None:
    assert site.client.get("/healthz").json() == {"ok": True}


def test_ready_tells_the_age_of_what_waits_outside(site: Site) -> None:
    assert site.client.get("/readyz").json()["outbox_oldest_seconds"] == 0
    site.alerts(1, new=1)
    site.after(minutes=6)
    assert site.client.get("/readyz").json() == {"ok": True, "outbox_oldest_seconds": 360, "outbox_late": True}


def test_metrics_count_what_the_journal_holds(site: Site) -> None:
    site.alerts(1, new=1)
    site.alerts(1, new=1, incident="i2")
    site.do(cmd.Acknowledge, "i2")
    answer = site.client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    told = samples(answer.text)
    assert told['fixfirst_incidents{status="open"}'] == 1
    assert told['fixfirst_incidents{status="acknowledged"}'] == 1
    assert told['fixfirst_deliveries_total{result="delivered"}'] == 3


def test_a_state_that_does_not_occur_is_zero_not_missing() -> None:
    told = samples(exposition(numbers(), NOW))
    assert told['fixfirst_incidents{status="cancelled"}'] == 0
    assert told['fixfirst_alerts{status="resolved"}'] == 0


def test_the_outbox_is_told_by_state_and_age() -> None:
    told = samples(exposition(numbers(), NOW))
    assert (told["fixfirst_outbox_pending"], told["fixfirst_outbox_dead"]) == (3, 1)
    assert told["fixfirst_outbox_oldest_seconds"] == 12.5


def test_large_numbers_keep_all_their_digits() -> None:
    assert 'fixfirst_alerts{status="firing"} 1234567\n' in exposition(numbers(), NOW)


def test_every_family_has_help_and_type_once() -> None:
    lines = exposition(numbers(), NOW).splitlines()
    helped = [line.split()[2] for line in lines if line.startswith("# HELP")]
    typed = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert helped == typed
    assert len(set(helped)) == len(helped)


def test_a_label_cannot_break_out_of_its_quotes() -> None:
    text = exposition(numbers(alerts={'a"} 1\nb\\': 1}), NOW)
    assert r'fixfirst_alerts{status="a\"} 1\nb\\"} 1' in text


def test_a_clock_that_went_back_gives_no_negative_age() -> None:
    assert outbox_age(numbers(), NOW - timedelta(hours=1)) == 0
