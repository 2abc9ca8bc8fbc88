"""Servers that say they are alive, whose claim is whose, and on PostgreSQL procrastinate's tables"""

from importlib.resources import files
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "server",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("workspace", sa.String(length=80), nullable=False),
        sa.Column("beat_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_server")),
    )
    op.add_column("outbox", sa.Column("claimed_by", sa.String(length=36), nullable=True))
    if op.get_bind().dialect.name == "postgresql":
        _as_it_is((files("bot.journal") / "migrations" / "procrastinate_3_10.sql").read_text(encoding="utf-8"))
        # A job is fetched when none of its lane comes before it; procrastinate's own index begins with something else.
        op.create_index(
            "ix_procrastinate_jobs_lane",
            "procrastinate_jobs",
            ["lock", "id"],
            postgresql_where=sa.text("status IN ('todo', 'doing')"),
        )
        _as_it_is(_LEAVE)


def downgrade() -> None:
    op.drop_column("outbox", "claimed_by")
    op.drop_table("server")
    if op.get_bind().dialect.name == "postgresql":
        _as_it_is(_DROP)


def _as_it_is(sql: str) -> None:
    """Many statements at once, with percent signs that are no parameters: only the driver itself takes them."""
    driver: Any = op.get_bind().connection.driver_connection
    driver.execute(sql)


# Jobs are only wake-ups: what goes wrong with them is told to the caller, whose own transaction goes on without them.
_LEAVE = """\
CREATE FUNCTION fixfirst_leave_v1(queue text, errands jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM procrastinate_defer_jobs_v1(array_agg(
        ROW(queue, one.task, one.priority, one.lane, one.once, one.args, NULL)::procrastinate_job_to_defer_v1
        ORDER BY one.nth
    ))
    FROM jsonb_to_recordset(errands)
        AS one(nth integer, task text, priority integer, lane text, once text, args jsonb)
    WHERE NOT EXISTS (
        SELECT FROM procrastinate_jobs AS held WHERE held.queueing_lock = one.once AND held.status = 'todo'
    );
    RETURN NULL;
EXCEPTION
    WHEN unique_violation THEN RETURN NULL;  -- somebody else left the same job just now
    WHEN OTHERS THEN RETURN SQLERRM;
END;
$$;
"""

_DROP = """\
DROP FUNCTION fixfirst_leave_v1;
DO $$
DECLARE
    one regprocedure;
BEGIN
    FOR one IN
        SELECT oid FROM pg_proc WHERE proname LIKE 'procrastinate\\_%' AND pronamespace = current_schema()::regnamespace
    LOOP
        EXECUTE 'DROP FUNCTION ' || one || ' CASCADE';  -- with its triggers
    END LOOP;
END;
$$;
DROP TABLE procrastinate_events, procrastinate_periodic_defers, procrastinate_jobs, procrastinate_workers;
DROP TYPE procrastinate_job_to_defer_v1, procrastinate_job_status, procrastinate_job_event_type;
"""
