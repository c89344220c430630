"""Cached outputs: what a step gave before, for runs whose step has the same key."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, or_, select

from orchestrator.spec.definition import Json
from orchestrator.store import tables
from orchestrator.store.connection import Database, insert_into

_LONGEST = 100 * 365 * 86400.0
"""Seconds; beyond it the calendar of Python and the databases ends."""


@dataclass(frozen=True, slots=True)
class Cached:
    """An output that was kept, and since when."""

    output: Json
    created_at: datetime


class Cache:
    """The outputs that may be used again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, id: str) -> Cached | None:  # noqa: A002 - the column's name
        """The output kept under an id of ``cache_id``; None when there is none or it has expired."""
        table = tables.cached
        fresh = or_(table.c.expires_at.is_(None), table.c.expires_at > datetime.now(UTC))
        async with self._database.reading() as connection:
            found = await connection.execute(select(table.c.output, table.c.created_at).where(table.c.id == id, fresh))
            row = found.one_or_none()
        return None if row is None else Cached(json.loads(row.output), row.created_at)

    async def put(self, id: str, output: str, *, flow: str, step: str, ttl: float | None = None) -> None:  # noqa: A002
        """Keep an output, given as JSON text in ASCII, for ``ttl`` seconds (None: until it is replaced). The last of
        several that write one id counts."""
        table = tables.cached
        now = datetime.now(UTC)
        members = {
            "output": output,
            "created_at": now,
            "expires_at": None if ttl is None else now + timedelta(seconds=min(ttl, _LONGEST)),
        }
        async with self._database.writing() as connection:
            await connection.execute(
                insert_into(connection, table)
                .values(id=id, flow=flow, step=step, **members)
                .on_conflict_do_update(index_elements=["id"], set_=members)
            )

    async def purge(self) -> int:
        """Delete what has expired; how many there were."""
        table = tables.cached
        async with self._database.writing() as connection:
            deleted = await connection.execute(delete(table).where(table.c.expires_at <= datetime.now(UTC)))
        return deleted.rowcount


def cache_id(scope: str, owner: str, key: Json) -> str:
    """SHA-256 (hex) of what makes two keys the same key, whatever the order of members in them. ``owner`` is what
    shares it: one step of one flow, or every step of a type."""
    text = json.dumps([scope, owner, key], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
