"""Responses: what callers that wait for a run are answered before it ends. The first answer of a run counts."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, select

from orchestrator.spec.definition import Json
from orchestrator.store import tables
from orchestrator.store.connection import Database, insert_into


@dataclass(frozen=True, slots=True)
class Response:
    """Who answered what. ``path`` is the journal path of the step, or empty where the trigger itself says the answer;
    ``answer`` is ``{"status", "headers", "body"}``, or None where the caller was told to come back before there was
    one."""

    run_id: str
    path: str | None
    answer: dict[str, Json] | None


class Responses:
    """The answers of the idempotency window."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, run_id: str, path: str | None, answer: dict[str, Json] | None) -> Response:
        """Keep an answer unless there is one, and return the one that counts. Without ``answer`` the caller has been
        told to come back: later answers are too late."""
        table = tables.responses
        members = {
            "run_id": run_id,
            "path": path,
            "answer": None if answer is None else json.dumps(answer),
            "created_at": datetime.now(UTC),
        }
        async with self._database.writing() as connection:
            await connection.execute(insert_into(connection, table).values(**members).on_conflict_do_nothing())
            found = await connection.execute(select(table).where(table.c.run_id == run_id))
            row = found.one()
        return Response(row.run_id, row.path, None if row.answer is None else json.loads(row.answer))

    async def found(self, run_ids: Collection[str]) -> dict[str, Response]:
        """The answers that there are, by run."""
        table = tables.responses
        async with self._database.reading() as connection:
            rows = await connection.execute(
                select(table).where(table.c.run_id.in_(list(run_ids)), table.c.answer.is_not(None))
            )
            return {row.run_id: Response(row.run_id, row.path, json.loads(row.answer)) for row in rows}

    async def reopen(self, run_id: str) -> None:
        """Somebody waits again: that an earlier caller was told to come back no longer counts."""
        table = tables.responses
        async with self._database.writing() as connection:
            await connection.execute(delete(table).where(table.c.run_id == run_id, table.c.answer.is_(None)))

    async def purge(self, older_than: float) -> int:
        """Delete answers older than so many seconds; how many there were."""
        table = tables.responses
        before = datetime.now(UTC) - timedelta(seconds=older_than)
        async with self._database.writing() as connection:
            deleted = await connection.execute(delete(table).where(table.c.created_at < before))
        return deleted.rowcount
