"""The engine on its own threads: which turns count, and what hangs does not hold it up."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from bot.engine.local import Chore, LocalEngine
from bot.journal import Busy
from bot.journal.audit import try_out
from tests.doors.house import House, open_house
from tests.web.site import Site

PATIENCE_S = 30.0


def until(happened: Callable[[], object]) -> None:
    """Waits for what other threads do."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / 0.01)):
        if happened():
            return
        pause.wait(0.01)
    raise AssertionError("it never happened")


def sabotage(house: House, statement: str) -> None:
    with closing(sqlite3.connect(house.app.config.data_dir / "fixfirst.db")) as database, database:
        database.execute(statement)


def test_only_a_turn_without_trouble_counts(tmp_path: Path) -> None:
    with open_house(tmp_path, bare=True) as house:
        engine = house.app.engine
        assert isinstance(engine, LocalEngine)
        engine.start()
        until(lambda: engine.last_turn)
        sabotage(house, "ALTER TABLE outbox RENAME TO elsewhere")
        until(lambda: house.logged("journal_busy"))
        engine.last_turn, seen = None, len(house.logged("journal_busy"))
        until(lambda: len(house.logged("journal_busy")) > seen)
        assert engine.last_turn is None
        sabotage(house, "ALTER TABLE elsewhere RENAME TO outbox")
        until(lambda: engine.last_turn)
        engine.stop()


def test_a_chore_that_hangs_holds_up_no_turn(tmp_path: Path) -> None:
    with open_house(tmp_path, bare=True) as house:
        hung, go_on = threading.Semaphore(0), threading.Event()

        def hang() -> None:
            hung.release()
            go_on.wait()

        engine = LocalEngine(house.app.desk, house.app.outbox, [Chore(hang, 0.01)] * 3)
        engine.start()
        try:
            assert all(hung.acquire(timeout=PATIENCE_S) for _ in range(3))
            engine.last_turn = None
            until(lambda: engine.last_turn)
        finally:
            go_on.set()
            engine.stop()


def test_the_journal_can_be_tried_out_on_either_database(site: Site) -> None:
    for _ in range(2):
        try_out(site.journal, PATIENCE_S)
    assert site.journal.waiting_groups() == []


@pytest.mark.parametrize("site", ["sqlite"], indirect=True)
def test_a_journal_that_is_closed_cannot_be_written(site: Site) -> None:
    site.journal.close()
    with pytest.raises(Busy, match="the journal is closed"):
        try_out(site.journal, PATIENCE_S)
