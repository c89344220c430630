"""The ledger of finished runs.

Revision ID: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ledger",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("flow", sa.String(100), nullable=False),
        sa.Column("version", sa.String(200), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("trigger", sa.String(20)),
        sa.Column("error", sa.Text),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("execution_time", sa.Float, nullable=False),
        sa.Column("queue_time", sa.Float, nullable=False),
        sa.Column("step_duration", sa.Float, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("tokens", sa.BigInteger, nullable=False),
        sa.Column("cost", sa.Float, nullable=False),
        sa.Column("steps", sa.Text, nullable=False),
        sa.Column("held", sa.Text, nullable=False),
    )
    op.create_index("ledger_by_flow", "ledger", ["flow", "finished_at"])
    op.create_index("ledger_by_time", "ledger", ["finished_at"])


def downgrade() -> None:
    op.drop_table("ledger")
