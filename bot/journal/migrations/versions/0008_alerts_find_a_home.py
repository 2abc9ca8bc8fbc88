"""An alert takes its place in its group's index when an incident takes it in, and not before"""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_OF_A_GROUP: Final[Sequence[str | sa.TextClause]] = [
    "workspace",
    "group_key",
    "status",
    "severity",
    sa.text("starts_at DESC"),
    "fingerprint",
    "incident",
]


def upgrade() -> None:
    op.drop_index("ix_alert_group", table_name="alert")
    _over("ix_alert_group", _OF_A_GROUP, "incident IS NOT NULL")
    _over("ix_alert_homeless", ["workspace", "group_key"], "incident IS NULL AND status = 'firing'")


def downgrade() -> None:
    op.drop_index("ix_alert_homeless", table_name="alert")
    op.drop_index("ix_alert_group", table_name="alert")
    op.create_index("ix_alert_group", "alert", _OF_A_GROUP)


def _over(name: str, columns: Sequence[str | sa.TextClause], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, "alert", columns, sqlite_where=where, postgresql_where=where)
