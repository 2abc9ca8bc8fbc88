"""Which steps of runbooks were begun of late is found without reading all that ever happened"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    where = sa.text("kind = 'run.step_started'")
    op.create_index("ix_event_step_begun", "event", ["workspace", "at"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index("ix_event_step_begun", table_name="event")
