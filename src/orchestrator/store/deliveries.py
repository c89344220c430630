"""Deliveries: which idempotency key started which run, and what was answered."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select, update

from orchestrator.errors import IdempotencyMismatch
from orchestrator.spec.definition import Json
from orchestrator.store import tables
from orchestrator.store.connection import Database, insert_into


@dataclass(frozen=True, slots=True)
class Claim:
    """Who was first. ``new`` is True for exactly one of many deliveries with the same key; ``answer`` is None
    until the first one recorded it."""

    id: str
    new: bool
    workflow_id: str
    answer: dict[str, Json] | None = None


class Deliveries:
    """The deliveries of the idempotency window."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(
        self, key: str, flow: str, body_hash: str, *, workflow_id: str, window: float = 7 * 86400.0
    ) -> Claim:
        """Take the key for a run, or learn which run has it.

        ``window`` is how many seconds a key is remembered. Raises IdempotencyMismatch when the key came with
        another body before.
        """
        table = tables.deliveries
        identity = delivery_id(key, flow)
        now = datetime.now(UTC)
        async with self._database.writing() as connection:
            await connection.execute(
                delete(table).where(table.c.id == identity, table.c.claimed_at < now - timedelta(seconds=window))
            )
            inserted = await connection.execute(
                insert_into(connection, table)
                .values(id=identity, flow=flow, body_hash=body_hash, workflow_id=workflow_id, claimed_at=now)
                .on_conflict_do_nothing()
            )
            found = await connection.execute(select(table).where(table.c.id == identity))
            row = found.one()
        if inserted.rowcount:
            return Claim(identity, True, workflow_id)
        if row.body_hash != body_hash:
            raise IdempotencyMismatch(
                f"the idempotency key '{key[:80]}' was used before with another body for flow '{flow}'; "
                "send a new key with a new body"
            )
        return Claim(identity, False, row.workflow_id, row.answer)

    async def record_answer(self, claim: Claim, answer: dict[str, Json]) -> None:
        """Keep what the first delivery was answered, for the next ones. A later answer replaces it."""
        table = tables.deliveries
        async with self._database.writing() as connection:
            await connection.execute(update(table).where(table.c.id == claim.id).values(answer=answer))

    async def forget(self, claim: Claim) -> None:
        """Give the key back, because nothing was started."""
        async with self._database.writing() as connection:
            await connection.execute(delete(tables.deliveries).where(tables.deliveries.c.id == claim.id))

    async def purge(self, older_than: float) -> int:
        """Delete deliveries older than so many seconds; how many there were."""
        table = tables.deliveries
        before = datetime.now(UTC) - timedelta(seconds=older_than)
        async with self._database.writing() as connection:
            deleted = await connection.execute(delete(table).where(table.c.claimed_at < before))
        return deleted.rowcount


def delivery_id(key: str, flow: str) -> str:
    """SHA-256 (hex) of flow and key: an id of fixed size for keys of any."""
    return hashlib.sha256(f"{flow}\n{key}".encode("utf-8", "surrogatepass")).hexdigest()
