"""What machines ask: alive, able, and the figures."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

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


LIVE, READY = ("/health/live", "/healthz"), ("/health/ready", "/readyz")


def asked(site: Site, path: str) -> tuple[int, Any]:
    answer = site.client.get(path)
    return answer.status_code, answer.json()


@contextmanager
def held_by_somebody_else(site: Site) -> Iterator[None]:
    with closing(sqlite3.connect(site.folder / "fixfirst.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@pytest.mark.parametrize("path", LIVE)
def test_the_process_answers_whatever_the_journal_does(site: Site, path: str) -> None:
    with held_by_somebody_else(site):
        assert asked(site, path) == (200, {"ok": True})


@pytest.mark.parametrize("path", READY)
def test_ready_tells_the_age_of_what_waits_outside(site: Site, path: str) -> None:
    assert asked(site, path) == (200, {"ok": True, "outbox_oldest_seconds": 0, "outbox_late": False})
    site.alerts(1, new=1)
    site.after(minutes=6)
    assert asked(site, path) == (200, {"ok": True, "outbox_oldest_seconds": 360, "outbox_late": True})


@pytest.mark.parametrize("path", READY)
def test_a_journal_that_takes_no_writes_is_not_ready_until_it_does_again(site: Site, path: str) -> None:
    with held_by_somebody_else(site):
        assert asked(site, path) == (503, {"ok": False, "why": "the journal took no write within 0.2 s"})
    assert asked(site, path)[0] == 200


def test_to_be_ready_something_was_really_written_and_nothing_is_left_of_it(site: Site) -> None:
    log = site.folder / "fixfirst.db-wal"
    before = log.stat().st_size
    asked(site, "/health/ready")
    assert log.stat().st_size > before
    with closing(sqlite3.connect(site.folder / "fixfirst.db")) as database:
        assert database.execute("SELECT count(*) FROM inbox").fetchone() == (0,)


def test_a_schema_of_another_version_is_not_ready(site: Site) -> None:
    with closing(sqlite3.connect(site.folder / "fixfirst.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    status, answer = asked(site, "/health/ready")
    assert (status, answer["ok"]) == (503, False)
    assert answer["why"].startswith("the database has schema 9999, and this version works with ")


def test_the_engine_is_well_when_it_turns_and_nothing_is_late(site: Site) -> None:
    assert asked(site, "/health/engine")[0] == 503, "it has not begun"
    site.turned_at = site.now
    site.auditor.audit()
    assert asked(site, "/health/engine") == (200, {"ok": True, "findings": []})


def test_the_engine_is_not_well_when_it_stands_still_or_something_is_late(site: Site) -> None:
    site.alerts(1, new=1)
    site.turned_at = site.now
    site.after(seconds=75).auditor.audit()
    still, unpaged, *more = asked(site, "/health/engine")[1]["findings"]
    assert still == "The engine last completed a turn 75 s ago."
    assert unpaged == "INC-1 (SEV1) has had no accepted page for 75 s."
    assert more == []
    site.turned_at = site.now
    assert asked(site, "/health/engine") == (503, {"ok": False, "findings": [unpaged]})


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
