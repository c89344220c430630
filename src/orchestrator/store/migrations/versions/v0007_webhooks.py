"""What webhooks are answered, what was tried on them, and the files they brought.

Revision ID: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "response",
        sa.Column("run_id", sa.Text, primary_key=True),
        sa.Column("path", sa.Text),
        sa.Column("answer", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("response_by_time", "response", ["created_at"])
    op.create_table(
        "sample",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("flow", sa.String(100), nullable=False),
        sa.Column("trigger", sa.String(100), nullable=False),
        sa.Column("version", sa.String(200), nullable=False),
        sa.Column("delivery", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("sample_by_flow", "sample", ["flow", "trigger", "created_at"])
    op.create_table(
        "upload",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_index("upload_by_time", "upload", ["used_at"])


def downgrade() -> None:
    op.drop_table("upload")
    op.drop_table("sample")
    op.drop_table("response")
