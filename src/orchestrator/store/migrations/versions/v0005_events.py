"""Events that were accepted, and the runs that wait for some.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "event",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("type", sa.String(255), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("subject", sa.Text),
        sa.Column("time", sa.String(40), nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("depth", sa.Integer, nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True)),
        sa.Column("routed_at", sa.DateTime(timezone=True)),
        sa.Column("outcome", sa.Text),
    )
    op.create_index("event_by_turn", "event", ["routed_at", "due_at"])
    op.create_index("event_by_time", "event", ["accepted_at"])
    op.create_table(
        "listener",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("type", sa.String(255), nullable=False),
        sa.Column("is_pattern", sa.Boolean, nullable=False),
        sa.Column("members", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("listener_by_type", "listener", ["is_pattern", "type"])
    op.create_index("listener_by_digest", "listener", ["digest"])
    op.create_index("listener_by_run", "listener", ["run_id"])


def downgrade() -> None:
    op.drop_table("listener")
    op.drop_table("event")
