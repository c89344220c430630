"""Messages of queues, and data that flows keep between runs.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "queue_message",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("queue", sa.String(200), nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("digest", sa.String(64)),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True)),
        sa.Column("deliveries", sa.Integer, nullable=False),
        sa.Column("refusals", sa.Integer, nullable=False),
        sa.Column("problem", sa.Text),
        sa.Column("outcome", sa.Text),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
    )
    op.create_index("queue_message_by_id", "queue_message", ["id"], unique=True)
    op.create_index("queue_message_by_turn", "queue_message", ["queue", "status", "due_at"])
    op.create_index("queue_message_by_key", "queue_message", ["digest", "status"])
    op.create_index("queue_message_by_end", "queue_message", ["status", "ended_at"])
    op.create_table(
        "kept_value",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("scope", sa.String(100), nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.Text),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
    )
    op.create_index("kept_value_by_expiry", "kept_value", ["expires_at"])
    op.create_table(
        "kept_change",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("answer", sa.Text),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("kept_change_by_time", "kept_change", ["made_at"])


def downgrade() -> None:
    op.drop_table("kept_change")
    op.drop_table("kept_value")
    op.drop_table("queue_message")
