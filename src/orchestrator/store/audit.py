"""What people did, and what was done in their name: written once, never changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import RowMapping, delete, select

from orchestrator.spec.definition import Json
from orchestrator.store import tables
from orchestrator.store.connection import Database, insert_into


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened. ``name`` is its own among those of its subject: the same name is written once."""

    name: str
    action: str
    by: str | None = None
    at: datetime | None = None
    details: Json = None


@dataclass(frozen=True, slots=True)
class Audited:
    """An entry as it is stored."""

    at: datetime
    action: str
    by: str | None
    details: Json


class Audit:
    """The entries of all subjects, such as ``task`` and a task's id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, topic: str, subject: str, *entries: Entry) -> int:
        """Write entries in this order; how many of them are new."""
        table = tables.audit
        written = 0
        async with self._database.writing() as connection:
            for entry in entries:
                done = await connection.execute(
                    insert_into(connection, table)
                    .values(
                        id=_id(topic, subject, entry.name),
                        topic=topic,
                        subject=subject,
                        at=entry.at or datetime.now(UTC),
                        action=entry.action,
                        by=entry.by,
                        details=json.dumps(entry.details, ensure_ascii=False),
                    )
                    .on_conflict_do_nothing(index_elements=["id"])
                )
                written += max(0, done.rowcount)
        return written

    async def of(self, topic: str, subject: str, *, after: int = 0, limit: int = 1000) -> list[Audited]:
        """Entries in the order they were written, without the first ``after``."""
        table = tables.audit
        query = (
            select(table)
            .where(table.c.topic == topic, table.c.subject == subject)
            .order_by(table.c.number)
            .offset(after)
            .limit(limit)
        )
        async with self._database.reading() as connection:
            return [_audited(row) for row in (await connection.execute(query)).mappings()]

    async def find(self, topic: str, subject: str, name: str) -> Audited | None:
        """The entry of that name; None where it was not written."""
        table = tables.audit
        query = select(table).where(table.c.id == _id(topic, subject, name))
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else _audited(row)

    async def purge(self, older_than: float) -> int:
        """Forget entries older than so many seconds; how many there were. What belongs to a task that is still open
        stays."""
        table, tasks = tables.audit, tables.tasks
        before = datetime.now(UTC) - timedelta(seconds=older_than)
        is_open = select(tasks.c.id).where(tasks.c.id == table.c.subject, tasks.c.status == "open").exists()
        async with self._database.writing() as connection:
            gone = await connection.execute(delete(table).where(table.c.at < before, ~is_open))
        return gone.rowcount


def _id(topic: str, subject: str, name: str) -> str:
    return hashlib.sha256(json.dumps([topic, subject, name]).encode()).hexdigest()


def _audited(row: RowMapping) -> Audited:
    return Audited(row["at"], row["action"], row["by"], json.loads(row["details"]))
