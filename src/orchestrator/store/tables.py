"""The tables of the store. ``migrations`` brings a database to this shape; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
)


class Instant(TypeDecorator[datetime]):
    """A moment, always aware and in UTC in Python. SQLite knows no zones: it keeps the UTC value bare."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone cannot be stored")
        in_utc = value.astimezone(UTC)
        return in_utc.replace(tzinfo=None) if dialect.name == "sqlite" else in_utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


metadata = MetaData()

_JSON = JSON(none_as_null=True)

flows = Table(
    "flow",
    metadata,
    Column("id", String(100), primary_key=True),
    # No row of flow_version yet while the first publication is under way.
    Column("version", String(200)),
    Column("enabled", Boolean, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("updated_at", Instant, nullable=False),
)

versions = Table(
    "flow_version",
    metadata,
    Column("flow", String(100), ForeignKey("flow.id"), nullable=False),
    Column("version", String(200), nullable=False),
    # Of the definition, which is what a run pins.
    Column("hash", String(64), nullable=False),
    # Of the definition and the triggers: what may not change under a version.
    Column("content_hash", String(64), nullable=False),
    Column("name", Text),
    Column("definition", _JSON, nullable=False),
    Column("triggers", _JSON, nullable=False),
    Column("text", Text, nullable=False),
    Column("published_at", Instant, nullable=False),
    PrimaryKeyConstraint("flow", "version"),
)

counters = Table(
    "counter",
    metadata,
    Column("name", String(50), primary_key=True),
    Column("value", Integer, nullable=False),
)

tasks = Table(
    "task",
    metadata,
    Column("id", Text, primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("flow", String(100), nullable=False),
    Column("step", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("title", Text),
    Column("instructions", Text),
    Column("assignee", Text),
    Column("group", Text),
    Column("form", _JSON),
    Column("decisions", _JSON, nullable=False),
    Column("status", String(20), nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("deadline", Instant),
    Column("decision", Text),
    Column("data", _JSON),
    Column("comment", Text),
    Column("by", Text),
    Column("decided_at", Instant),
    Column("automatic", Boolean, nullable=False),
    Column("attachments", _JSON),
    Column("comment_required", _JSON),
    Column("quorum", _JSON),
    Column("not_by", _JSON),
    # Who is asked, as far as their names are declared.
    Column("people", _JSON),
    Column("votes", _JSON),
    Index("task_by_status", "status", "opened_at"),
    Index("task_by_run", "run_id"),
)

audit = Table(
    "audit",
    metadata,
    # The order in which it was written.
    Column("number", Integer, primary_key=True, autoincrement=True),
    # SHA-256 of what it is about and the entry's own name: the same entry is written once.
    Column("id", String(64), nullable=False, unique=True),
    Column("topic", String(50), nullable=False),
    Column("subject", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("action", String(50), nullable=False),
    Column("by", Text),
    # JSON as text, as in cached_output.
    Column("details", Text, nullable=False),
    Index("audit_by_subject", "topic", "subject", "number"),
)

deliveries = Table(
    "delivery",
    metadata,
    # SHA-256 of flow and key: senders choose keys of any length and any characters.
    Column("id", String(64), primary_key=True),
    Column("flow", String(100), nullable=False),
    Column("body_hash", String(64), nullable=False),
    Column("workflow_id", Text, nullable=False),
    Column("answer", _JSON),
    Column("claimed_at", Instant, nullable=False),
    Index("delivery_by_time", "claimed_at"),
)

cached = Table(
    "cached_output",
    metadata,
    # SHA-256 of scope, step and the author's key, which may be of any length and hold anybody's data.
    Column("id", String(64), primary_key=True),
    Column("flow", String(100), nullable=False),
    Column("step", Text, nullable=False),
    # JSON as text: PostgreSQL's own JSON refuses numbers and characters that a step's output may hold.
    Column("output", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Index("cached_output_by_expiry", "expires_at"),
)

transcripts = Table(
    "transcript",
    metadata,
    # SHA-256 of root, path and generation: a path may be longer than an index takes.
    Column("id", String(64), nullable=False),
    Column("position", Integer, nullable=False),
    Column("root", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("role", String(20), nullable=False),
    Column("created_at", Instant, nullable=False),
    # JSON as text, as in cached_output. The large one last: what comes before it is read without it.
    Column("about", Text, nullable=False),
    Column("content", Text, nullable=False),
    PrimaryKeyConstraint("id", "position"),
    Index("transcript_by_root", "root", "created_at"),
)

signing_keys = Table(
    "signing_key",
    metadata,
    Column("name", String(50), primary_key=True),
    Column("value", String(100), nullable=False),
    Column("created_at", Instant, nullable=False),
)

events = Table(
    "event",
    metadata,
    # SHA-256 of source and id, which together name an event (CloudEvents 1.0 §3.1) and are of any length.
    Column("id", String(64), primary_key=True),
    Column("event_id", Text, nullable=False),
    Column("type", String(255), nullable=False),
    Column("source", Text, nullable=False),
    Column("subject", Text),
    Column("time", String(40), nullable=False),
    # JSON as text, as in cached_output.
    Column("data", Text, nullable=False),
    # How many events led to this one.
    Column("depth", Integer, nullable=False),
    Column("accepted_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("leased_until", Instant),
    Column("routed_at", Instant),
    Column("outcome", Text),
    Index("event_by_turn", "routed_at", "due_at"),
    Index("event_by_time", "accepted_at"),
)

listeners = Table(
    "listener",
    metadata,
    # SHA-256 of run, path and type.
    Column("id", String(64), primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("type", String(255), nullable=False),
    Column("is_pattern", Boolean, nullable=False),
    # The members that correlate, as a JSON list, and SHA-256 over type and their values.
    Column("members", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    Index("listener_by_type", "is_pattern", "type"),
    Index("listener_by_digest", "digest"),
    Index("listener_by_run", "run_id"),
)

responses = Table(
    "response",
    metadata,
    Column("run_id", Text, primary_key=True),
    # What answered; nothing where the caller was told to come back before anything did.
    Column("path", Text),
    # JSON as text, as in cached_output.
    Column("answer", Text),
    Column("created_at", Instant, nullable=False),
    Index("response_by_time", "created_at"),
)

samples = Table(
    "sample",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("flow", String(100), nullable=False),
    Column("trigger", String(100), nullable=False),
    Column("version", String(200), nullable=False),
    # JSON as text, as in cached_output.
    Column("delivery", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Index("sample_by_flow", "flow", "trigger", "created_at"),
)

uploads = Table(
    "upload",
    metadata,
    # SHA-256 of the content: the same file is kept once.
    Column("id", String(64), primary_key=True),
    Column("size", Integer, nullable=False),
    Column("used_at", Instant, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Index("upload_by_time", "used_at"),
)

queue_messages = Table(
    "queue_message",
    metadata,
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    # SHA-256 of queue and the sender's own id.
    Column("id", String(64), nullable=False),
    Column("queue", String(200), nullable=False),
    Column("key", Text),
    # SHA-256 of queue and key.
    Column("digest", String(64)),
    # JSON as text, as in cached_output.
    Column("message", Text, nullable=False),
    Column("status", String(20), nullable=False),
    Column("sent_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("leased_until", Instant),
    Column("deliveries", Integer, nullable=False),
    Column("refusals", Integer, nullable=False),
    Column("problem", Text),
    Column("outcome", Text),
    Column("ended_at", Instant),
    Index("queue_message_by_id", "id", unique=True),
    Index("queue_message_by_turn", "queue", "status", "due_at"),
    Index("queue_message_by_key", "digest", "status"),
    Index("queue_message_by_end", "status", "ended_at"),
)

kept_values = Table(
    "kept_value",
    metadata,
    # SHA-256 of scope and key.
    Column("id", String(64), primary_key=True),
    # A flow's id; nothing for what all flows share.
    Column("scope", String(100), nullable=False),
    Column("key", Text, nullable=False),
    # JSON as text, as in cached_output; nothing where it was deleted.
    Column("value", Text),
    Column("changed_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Index("kept_value_by_expiry", "expires_at"),
)

kept_changes = Table(
    "kept_change",
    metadata,
    # SHA-256 of the idempotency key of the step that made it.
    Column("id", String(64), primary_key=True),
    Column("answer", Text),
    Column("made_at", Instant, nullable=False),
    Index("kept_change_by_time", "made_at"),
)

watched_files = Table(
    "watched_file",
    metadata,
    # SHA-256 of flow, trigger and what makes two files the same.
    Column("id", String(64), primary_key=True),
    Column("flow", String(100), nullable=False),
    Column("trigger", String(100), nullable=False),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("version", String(200)),
    Column("run_id", Text),
    Column("problem", Text),
    Column("seen_at", Instant, nullable=False),
    Index("watched_file_by_flow", "flow", "seen_at"),
)

ledger = Table(
    "ledger",
    metadata,
    # SHA-256 of run and first execution.
    Column("id", String(64), primary_key=True),
    Column("run_id", Text, nullable=False),
    Column("flow", String(100), nullable=False),
    Column("version", String(200), nullable=False),
    Column("status", String(20), nullable=False),
    Column("trigger", String(20)),
    Column("error", Text),
    Column("started_at", Instant, nullable=False),
    Column("finished_at", Instant, nullable=False),
    Column("execution_time", Float, nullable=False),
    Column("queue_time", Float, nullable=False),
    Column("step_duration", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("cost", Float, nullable=False),
    # JSON as text, as in cached_output: by step, and the conditions about the flow that held at the run's end.
    Column("steps", Text, nullable=False),
    Column("held", Text, nullable=False),
    Index("ledger_by_flow", "flow", "finished_at"),
    Index("ledger_by_time", "finished_at"),
)

alerts = Table(
    "alert",
    metadata,
    # Of run, first execution and place in the flow.
    Column("id", String(64), primary_key=True),
    Column("flow", String(100), nullable=False),
    Column("version", String(200), nullable=False),
    Column("run_id", Text, nullable=False),
    Column("channel", Text, nullable=False),
    # JSON as text, as in cached_output.
    Column("told", Text, nullable=False),
    Column("status", String(10), nullable=False),
    Column("raised_at", Instant, nullable=False),
    Column("since", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("sent", Text, nullable=False),
    Column("problem", Text),
    Column("ended_at", Instant),
    Index("alert_by_turn", "status", "due_at"),
    Index("alert_by_flow", "flow", "raised_at"),
    Index("alert_by_time", "raised_at"),
)

looked = Table(
    "looked",
    metadata,
    # What looks again and again, and until when it has seen everything.
    Column("name", String(100), primary_key=True),
    Column("until", Instant, nullable=False),
)
