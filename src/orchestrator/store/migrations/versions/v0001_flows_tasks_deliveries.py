"""Flows with their versions, human tasks, deliveries.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _instant() -> sa.DateTime:
    return sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "flow",
        sa.Column("id", sa.String(100), primary_key=True),
        sa.Column("version", sa.String(200)),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("updated_at", _instant(), nullable=False),
    )
    op.create_table(
        "flow_version",
        sa.Column("flow", sa.String(100), sa.ForeignKey("flow.id"), nullable=False),
        sa.Column("version", sa.String(200), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("definition", sa.JSON, nullable=False),
        sa.Column("triggers", sa.JSON, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("published_at", _instant(), nullable=False),
        sa.PrimaryKeyConstraint("flow", "version"),
    )
    counter = op.create_table(
        "counter",
        sa.Column("name", sa.String(50), primary_key=True),
        sa.Column("value", sa.Integer, nullable=False),
    )
    op.bulk_insert(counter, [{"name": "flows", "value": 0}])
    _create_tasks()
    _create_deliveries()


def _create_tasks() -> None:
    op.create_table(
        "task",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("flow", sa.String(100), nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("title", sa.Text),
        sa.Column("instructions", sa.Text),
        sa.Column("assignee", sa.Text),
        sa.Column("group", sa.Text),
        sa.Column("form", sa.JSON),
        sa.Column("decisions", sa.JSON, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("opened_at", _instant(), nullable=False),
        sa.Column("deadline", _instant()),
        sa.Column("decision", sa.Text),
        sa.Column("data", sa.JSON),
        sa.Column("comment", sa.Text),
        sa.Column("by", sa.Text),
        sa.Column("decided_at", _instant()),
        sa.Column("automatic", sa.Boolean, nullable=False),
    )
    op.create_index("task_by_status", "task", ["status", "opened_at"])
    op.create_index("task_by_run", "task", ["run_id"])


def _create_deliveries() -> None:
    op.create_table(
        "delivery",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("flow", sa.String(100), nullable=False),
        sa.Column("body_hash", sa.String(64), nullable=False),
        sa.Column("workflow_id", sa.Text, nullable=False),
        sa.Column("answer", sa.JSON),
        sa.Column("claimed_at", _instant(), nullable=False),
    )
    op.create_index("delivery_by_time", "delivery", ["claimed_at"])


def downgrade() -> None:
    for table in ("delivery", "task", "counter", "flow_version", "flow"):
        op.drop_table(table)
