"""What is left of incidents that were archived"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("incident", sa.Column("archived_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "archive",
        sa.Column("incident", sa.String(length=36), nullable=False),
        sa.Column("workspace", sa.String(length=80), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("file", sa.String(length=400), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("hashes", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["incident"], ["incident.id"], name=op.f("fk_archive_incident")),
        sa.PrimaryKeyConstraint("incident", name=op.f("pk_archive")),
    )
    op.create_index("ix_archive_last_at", "archive", ["workspace", "last_at"])


def downgrade() -> None:
    op.drop_table("archive")
    with op.batch_alter_table("incident") as batch:
        batch.drop_column("archived_at")
