"""The ``sql`` step: one statement on a database of the catalogue, its values always bound, never written
into it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.errors import TerminalError
from orchestrator.spec.acts.sql import Database, SqlConfig
from orchestrator.steps.context import Json, StepContext
from orchestrator.steps.data.database import OpenDatabase, open_database
from orchestrator.steps.data.statement import Statement, statements

TYPE = "sql"
CONFIG = SqlConfig


async def run(config: SqlConfig, context: StepContext) -> Json:
    """Execute the statement in a transaction of its own; the output is ``{rows, count}``: the rows it
    returned and their number, or for one that returns none the number of rows it changed.

    Raises TerminalError ``sql_constraint``, ``sql_syntax``, ``sql_data``, ``sql_access``, ``sql_error``,
    ``payload_too_large`` or ``invalid_config``; StepError ``network_error`` where the connection was lost
    or the database asks to try again (deadlock, serialization, lock).
    """
    entry = context.entry("databases", config.database, Database)
    database = await open_database(config.database, entry, context)
    batch = statements(config, database.quote)
    rows: list[dict[str, Json]] = []
    count = 0
    async with database.transaction() as connection:
        for statement in batch:
            found, changed = await _execute(connection, statement, database, entry.max_rows)
            rows += found
            count += changed
    return {"rows": rows, "count": count}


async def _execute(
    connection: AsyncConnection, statement: Statement, database: OpenDatabase, max_rows: int
) -> tuple[list[dict[str, Json]], int]:
    values = [{name: database.bound(value) for name, value in row.items()} for row in statement.values]
    if len(values) > 1:
        await connection.execute(text(statement.sql), values)
        return [], len(values)
    clause = text(statement.sql)
    if statement.reads:
        # A server-side cursor: an answer that is too large is noticed before it is in memory.
        async with connection.stream(clause, values[0]) as stream:
            names = list(stream.keys())
            found = await stream.fetchmany(max_rows + 1)
    else:
        result = await connection.execute(clause, values[0])
        if not result.returns_rows:
            return [], max(result.rowcount, 0)
        names = list(result.keys())
        found = result.fetchmany(max_rows + 1)
    return _rows(names, found, database, max_rows), min(len(found), max_rows)


def _rows(names: list[str], found: Sequence[Any], database: OpenDatabase, max_rows: int) -> list[dict[str, Json]]:
    if len(found) > max_rows:
        raise TerminalError(
            "payload_too_large",
            f"the statement returned more than {max_rows} rows (max_rows of the database); "
            "add a limit, or fetch the rows in pages",
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TerminalError(
            "sql_syntax", f"two columns of the result are called '{twice[0]}'; name one of them with AS"
        )
    return [{name: database.json_value(value) for name, value in zip(names, row, strict=True)} for row in found]
