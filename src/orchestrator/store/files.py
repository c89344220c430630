"""Files: those of watched folders and of uploads to a flow, and which run each of them started."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import RowMapping, delete, select, update

from orchestrator.store import tables
from orchestrator.store.connection import Database, insert_into

KEPT = 400 * 86400.0
"""Seconds for which a file is known after it was seen last."""


@dataclass(frozen=True, slots=True)
class SeenFile:
    """A file that a trigger has seen. Without ``run_id`` and ``problem`` its run is being started."""

    id: str
    flow: str
    trigger: str
    path: str
    size: int
    sha256: str
    version: str | None
    """Of the flow, when its run was started or refused."""
    run_id: str | None
    problem: str | None
    """Why it started no run."""
    seen_at: datetime


class Files:
    """The files that triggers have seen. Raises Unavailable when the database is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def see(self, flow: str, trigger: str, key: str, *, path: str, size: int, sha256: str) -> SeenFile:
        """Note a file; what is known of the one that ``key`` makes the same, from now on this one's too."""
        table = tables.watched_files
        identity = hashlib.sha256(json.dumps([flow, trigger, key]).encode()).hexdigest()
        now = datetime.now(UTC)
        async with self._database.writing() as connection:
            await connection.execute(
                insert_into(connection, table)
                .values(id=identity, flow=flow, trigger=trigger, path=path, size=size, sha256=sha256, seen_at=now)
                .on_conflict_do_update(index_elements=["id"], set_={"seen_at": now})
            )
            found = await connection.execute(select(table).where(table.c.id == identity))
            return _seen(found.mappings().one())

    async def started(self, seen: SeenFile, run_id: str, version: str | None) -> None:
        """Note the run of a file."""
        await self._update(seen, run_id=run_id, version=version, problem=None)

    async def refused(self, seen: SeenFile, problem: str, version: str | None) -> None:
        """Note why a file started no run."""
        await self._update(seen, problem=problem, version=version)

    async def list(self, flow: str, limit: int = 100) -> list[SeenFile]:
        """Files of a flow, the last seen first."""
        table = tables.watched_files
        query = select(table).where(table.c.flow == flow).order_by(table.c.seen_at.desc(), table.c.id).limit(limit)
        async with self._database.reading() as connection:
            return [_seen(row) for row in (await connection.execute(query)).mappings()]

    async def purge(self, older_than: float = KEPT) -> int:
        """Forget what was seen last more than so many seconds ago; how many there were."""
        table = tables.watched_files
        before = datetime.now(UTC) - timedelta(seconds=older_than)
        async with self._database.writing() as connection:
            gone = await connection.execute(delete(table).where(table.c.seen_at < before))
        return gone.rowcount

    async def _update(self, seen: SeenFile, **values: str | None) -> None:
        table = tables.watched_files
        async with self._database.writing() as connection:
            await connection.execute(update(table).where(table.c.id == seen.id).values(**values))


def _seen(row: RowMapping) -> SeenFile:
    return SeenFile(**row)
