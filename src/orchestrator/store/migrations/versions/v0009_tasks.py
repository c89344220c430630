"""Human tasks that several people decide, that are handed on, and the history of what happened to them.

Revision ID: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0006"
branch_labels = None
depends_on = None

_COLUMNS = ("attachments", "comment_required", "quorum", "not_by", "people", "votes")


def upgrade() -> None:
    for name in _COLUMNS:
        op.add_column("task", sa.Column(name, sa.JSON))
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("topic", sa.String(50), nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.String(50), nullable=False),
        sa.Column("by", sa.Text),
        sa.Column("details", sa.Text, nullable=False),
    )
    op.create_index("audit_by_subject", "audit", ["topic", "subject", "number"])


def downgrade() -> None:
    op.drop_table("audit")
    for name in _COLUMNS:
        op.drop_column("task", name)
