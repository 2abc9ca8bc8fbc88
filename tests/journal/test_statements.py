"""The statements of every day are answered by an index, however many incidents and deliveries there once were."""

import sqlite3

import pytest
from sqlalchemy import Executable
from sqlalchemy.dialects import sqlite

from bot.journal import ledger, post, statements
from tests.journal.conftest import House

WHOLE_BY_NATURE = {"HIGHEST_NUMBER", "RECENT", "_LEFT"}
"""The two walk an index backwards and stop at once; the last is only the beginning of others."""
NOT_EVERYDAY = {"INCIDENTS_BY_STATUS", "ALERTS_BY_STATUS", "_COUNTED", "_FORGET_JOBS", "_FORGET_NEWS", "UNFINISHED"}
"""They count for the health page, tidy once an hour, or look around once at the start."""
EVERYDAY = {
    name: query
    for module in (statements, post, ledger)
    for name, value in vars(module).items()
    if isinstance(query := value.get("sqlite") if isinstance(value, dict) else value, Executable)
    and name not in WHOLE_BY_NATURE | NOT_EVERYDAY
    and not str(query).startswith("INSERT")
}


def test_there_are_statements_to_look_at() -> None:
    assert {"HEAD_OF", "LIVE", "DUE", "_READY", "_KNOWN", "_NEWS"} <= set(EVERYDAY)


@pytest.mark.parametrize("name", EVERYDAY)
def test_an_everyday_statement_walks_through_no_table(house_on_file: House, name: str) -> None:
    query = str(EVERYDAY[name].compile(dialect=sqlite.dialect()))  # type: ignore[attr-defined]
    connection = sqlite3.connect(house_on_file.folder / "fixfirst.db")
    try:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", ["[]"] * query.count("?"))]
    finally:
        connection.close()
    partial = ("ix_incident_live (workspace=?)", "ix_outbox_waiting (workspace=?)", "ix_inbox_waiting (workspace=?)")
    for step in plan:
        if (
            step.startswith(("SCAN listed VIRTUAL TABLE", "SCAN (subquery-", "SCAN placed"))
            or step == "SCAN CONSTANT ROW"
        ):
            continue  # the list that is asked for, or what another step has found; no table at all
        assert "SCAN" not in step.replace("SCALAR", ""), plan
        assert not step.endswith("(workspace=?)") or step.endswith(partial), plan
