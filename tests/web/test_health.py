"""What machines ask: alive, able, at work."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.web.site import Site

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
    within_s, site.writes_within_s = site.writes_within_s, 0.2
    with held_by_somebody_else(site):
        assert asked(site, path) == (503, {"ok": False, "why": "the journal took no write within 0.2 s"})
    site.writes_within_s = within_s
    assert asked(site, path)[0] == 200


@pytest.mark.parametrize("path", READY)
def test_a_server_that_turns_alerts_away_is_not_ready_though_its_journal_takes_writes(site: Site, path: str) -> None:
    site.turns_away = "The engine has not completed a turn for 61 s. Alerts are turned away."
    assert asked(site, path) == (503, {"ok": False, "why": site.turns_away})
    site.turns_away = ""
    assert asked(site, path)[0] == 200


def test_to_be_ready_something_was_really_written_and_nothing_is_left_of_it(site: Site) -> None:
    log = site.folder / "fixfirst.db-wal"
    before = log.stat().st_size if log.exists() else 0
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
