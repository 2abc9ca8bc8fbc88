"""News need no key of their own: the ledger's row is what makes an alert's change happen once"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("inbox") as batch:
        batch.drop_constraint("uq_inbox_workspace_source_key", type_="unique")
        batch.drop_column("key")


def downgrade() -> None:
    with op.batch_alter_table("inbox") as batch:
        batch.add_column(sa.Column("key", sa.String(length=64), nullable=True))
    op.execute("UPDATE inbox SET key = id")
    with op.batch_alter_table("inbox") as batch:
        batch.alter_column("key", existing_type=sa.String(length=64), nullable=False)
        batch.create_unique_constraint("uq_inbox_workspace_source_key", ["workspace", "source", "key"])
