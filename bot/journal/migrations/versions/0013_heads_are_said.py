"""A head that was made and not said yet is said again"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Empty, as it is in the rows of before: whoever made those has tried to say them.
    op.add_column("head", sa.Column("due_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("head", "due_at")
