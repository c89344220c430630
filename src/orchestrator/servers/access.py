"""What the database server does with its database: look around, query within limits, insert."""

from __future__ import annotations

import asyncio
import difflib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult, inspect, text
from sqlalchemy.exc import DBAPIError, NoSuchTableError
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.errors import StepError, TerminalError
from orchestrator.servers.fence import SqliteFence, plan_problem
from orchestrator.servers.sql_engine import FENCE, database_url, reading_engine, writing_engine
from orchestrator.spec.acts.sql import SqlConfig
from orchestrator.steps.data.database import OpenDatabase
from orchestrator.steps.data.statement import statements

T = TypeVar("T")
Json = Any
Parameters = list[Json] | dict[str, Json]

_PAGE = 100
"""Rows read between two looks at the size."""
_CAST = re.compile(r"(?<![:\w]):(\w+)::")
"""A place that is cast the way PostgreSQL does, which hides it."""
_AT_ONCE = 5
"""Connections at a time."""
_GRACE = 2.0
"""Seconds the database has to stop by itself, before its connection is closed."""
_CANCELED = "57014"
"""What PostgreSQL says when a statement took too long."""
MAX_RECORDS = 10_000
_MAX_TABLES = 1_000
_FUNCTIONS = "SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one answer may hold, and how long it may take."""

    rows: int = 1_000
    bytes: int = 1_000_000
    seconds: float = 30.0


class Access:
    """One database, seen through the limits. Everything raises StepError or TerminalError with the database's own
    words, and never the URL."""

    def __init__(
        self,
        url: str,
        root: Path,
        *,
        tables: list[str] | None = None,
        write: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._tables = None if tables is None else frozenset(table.strip().lower() for table in tables)
        parsed = database_url(url, root)
        name = Path(parsed.database or "").name
        reading = reading_engine(parsed, self._tables, self._limits.seconds, self._limits.bytes)
        self._reader = OpenDatabase(name, reading)
        self._writer = OpenDatabase(name, writing_engine(parsed, self._limits.seconds)) if write else None
        self._built_in: frozenset[str] = frozenset()
        self._turns = asyncio.Semaphore(_AT_ONCE)

    @property
    def dialect(self) -> str:
        """``SQLite`` or ``PostgreSQL``, for people and models."""
        return "SQLite" if self._reader.is_sqlite else "PostgreSQL"

    async def aclose(self) -> None:
        """Close what is open."""
        await self._reader.aclose()
        if self._writer is not None:
            await self._writer.aclose()

    async def privileged(self) -> bool:
        """Whether the account is a superuser, whom PostgreSQL lets reach files and programs even while it reads.
        Connects: raises where that fails."""
        async with self._reading() as connection:
            if self._reader.is_sqlite:
                await connection.exec_driver_sql("SELECT 1 FROM sqlite_schema")
                return False
            return (await connection.exec_driver_sql("SHOW is_superuser")).scalar() == "on"

    async def tables(self) -> Json:
        """``{"tables": [{"name", "kind"}], "note"}``: tables and views the server offers."""
        async with self._reading() as connection:
            found = await connection.run_sync(_list_tables)
        offered = [table for table in found if self._offers(table["name"])]
        note = f"{len(offered) - _MAX_TABLES} more were left out" if len(offered) > _MAX_TABLES else None
        return {"tables": offered[:_MAX_TABLES], "note": note}

    async def describe(self, table: str) -> Json:
        """Columns, primary key and foreign keys of a table or view."""
        self._check_offered(table)
        async with self._reading() as connection:
            described = await connection.run_sync(_describe, table)
            if described is None:
                names = [found["name"] for found in await connection.run_sync(_list_tables)]
                raise _no_table(table, [name for name in names if self._offers(name)])
        return described

    async def query(self, query: str, parameters: Parameters | None = None, limit: int | None = None) -> Json:
        """``{"rows", "count", "complete", "note"}`` of one query. ``parameters`` is a list for the dialect's own places
        (``?`` or ``$1``) or an object for ``:name``. ``note`` says in words that and why rows were left out."""
        if limit is not None and limit < 1:
            raise TerminalError("invalid_config", "'limit' is at least 1")
        rows = min(limit or self._limits.rows, self._limits.rows)
        read = self._read_sqlite if self._reader.is_sqlite else self._read_postgres
        async with self._reading() as connection:
            names, values, more = await read(connection, query.strip().rstrip(";"), parameters or None, rows)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise TerminalError("sql_syntax", f"two columns of the result are called '{twice[0]}'; name one with AS")
        answer = [dict(zip(names, row, strict=True)) for row in values]
        note = f"only the first {len(answer)} rows are here, more were left out: {more}" if more else None
        return {"rows": answer, "count": len(answer), "complete": not more, "note": note}

    async def insert(self, table: str, records: list[dict[str, Json]]) -> Json:
        """``{"inserted": n}``, all in one transaction or none at all."""
        if self._writer is None:
            raise TerminalError("sql_access", "this server only reads; start it with --write to insert")
        self._check_offered(table)
        if not 1 <= len(records) <= MAX_RECORDS:
            raise TerminalError("invalid_config", f"one call inserts 1 to {MAX_RECORDS} records, not {len(records)}")
        described = await self.describe(table)
        if described["kind"] != "table":
            raise TerminalError("invalid_config", f"'{table}' is a view; insert into its tables")
        _check_records(table, described["columns"], records)
        config = SqlConfig.model_validate({"database": "-", "insert": {"table": table, "rows": records}})
        batch = statements(config, self._writer.quote)
        async with self._in_time(), self._writer.transaction() as connection:
            for statement in batch:
                rows = [{name: self._writer.bound(value) for name, value in row.items()} for row in statement.values]
                await connection.execute(text(statement.sql), rows)
        return {"inserted": len(records)}

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for one use. What it changed in its session goes with it."""
        async with self._in_time(), self._reader.transaction() as connection:
            if not self._reader.is_sqlite:
                # From the first snapshot on PostgreSQL does not let a transaction become a writing one.
                await connection.exec_driver_sql("SET TRANSACTION READ ONLY")
                await connection.exec_driver_sql("SELECT 1")
            yield connection
            await connection.rollback()

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        seconds = self._limits.seconds
        message = f"the database took longer than {seconds:g} s; ask for less at once"
        try:
            async with self._turns, asyncio.timeout(seconds + _GRACE):
                yield
        except TimeoutError:
            raise TerminalError("timeout", message) from None
        except TerminalError as error:
            if error.message.endswith(": interrupted") or (error.data or {}).get("sqlstate") == _CANCELED:
                raise TerminalError("timeout", message) from None
            raise

    async def _read_sqlite(
        self, connection: AsyncConnection, query: str, parameters: Parameters | None, rows: int
    ) -> tuple[list[str], list[list[Json]], str]:
        fence: SqliteFence = (await connection.get_raw_connection()).info[FENCE]
        bound = self._bound(parameters)

        def read(sync: Connection) -> tuple[list[str], list[list[Json]], str]:
            options = {"stream_results": True}
            result = sync.exec_driver_sql(query, bound, execution_options=options)
            if not result.returns_rows:
                raise TerminalError("sql_syntax", "this is no query: it returns no rows")
            names = list(result.keys())
            return names, *self._page(lambda: result.fetchmany(_PAGE), rows)

        fence.raise_for(self._limits.seconds)
        try:
            return await connection.run_sync(read)
        except DBAPIError as error:
            if fence.refused is not None:
                raise TerminalError("sql_access", f"{fence.refused}; this server only reads") from error
            raise
        finally:
            fence.drop()

    async def _read_postgres(
        self, connection: AsyncConnection, query: str, parameters: Parameters | None, rows: int
    ) -> tuple[list[str], list[list[Json]], str]:
        if isinstance(parameters, dict):
            if cast := _CAST.search(query):
                message = f"write CAST(:{cast[1]} AS …) instead of :{cast[1]}::…, or give a list for places $1, $2"
                raise TerminalError("invalid_config", message)
            # Says which place has no value, and which value no place.
            statements(SqlConfig(database="-", query=query, params=parameters), self._reader.quote)
        await self._check_plan(connection, query, parameters)

        def read(sync: Connection) -> tuple[list[str], list[list[Json]], str]:
            # A cursor takes nothing but a query: no COPY, DO, CALL or SET.
            self._execute(sync, f"DECLARE asked NO SCROLL CURSOR FOR {query}", parameters)
            fetch = f"FETCH FORWARD {_PAGE} FROM asked"
            first = sync.exec_driver_sql(fetch)
            names, pending = list(first.keys()), [first.fetchall()]

            def page() -> list[Any]:
                return list(pending.pop() if pending else sync.exec_driver_sql(fetch).fetchall())

            return names, *self._page(page, rows)

        return await connection.run_sync(read)

    async def _check_plan(self, connection: AsyncConnection, query: str, parameters: Parameters | None) -> None:
        if self._tables is not None and not self._built_in:
            self._built_in = frozenset((await connection.exec_driver_sql(_FUNCTIONS)).scalars())
        explain = f"EXPLAIN (VERBOSE, FORMAT JSON) {query}"
        plan = await connection.run_sync(lambda sync: self._execute(sync, explain, parameters).scalar())
        problem = plan_problem(json.loads(plan) if isinstance(plan, str) else plan, self._tables, self._built_in)
        if problem is not None:
            raise TerminalError("sql_access", problem)

    def _execute(self, sync: Connection, statement: str, parameters: Parameters | None) -> CursorResult[Any]:
        if isinstance(parameters, dict):
            return sync.execute(text(statement), parameters)
        return sync.exec_driver_sql(statement, self._bound(parameters))

    def _bound(self, parameters: Parameters | None) -> Any:
        if isinstance(parameters, dict):
            return {name: self._reader.bound(value) for name, value in parameters.items()}
        return tuple(self._reader.bound(value) for value in parameters or ()) or None

    def _page(self, page: Callable[[], Any], rows: int) -> tuple[list[list[Json]], str]:
        """Rows as JSON up to the limits, and which limit cut them off."""
        found: list[list[Json]] = []
        size = 0
        for row in _rows(page):
            if len(found) == rows:
                return found, f"the limit is {rows} rows"
            values = [self._reader.json_value(value) for value in row]
            size += len(json.dumps(values, ensure_ascii=False).encode())
            if size > self._limits.bytes:
                if not found:
                    message = (
                        f"one row alone has more than {self._limits.bytes} bytes; ask for fewer or shorter columns"
                    )
                    raise TerminalError("payload_too_large", message)
                return found, f"an answer has at most {self._limits.bytes} bytes"
            found.append(values)
        return found, ""

    def _offers(self, table: str) -> bool:
        return self._tables is None or table.lower() in self._tables or f"public.{table.lower()}" in self._tables

    def _check_offered(self, table: str) -> None:
        if not self._offers(table):
            raise _no_table(table, sorted(self._tables or ()))


def _rows(page: Callable[[], Any]) -> Iterator[Any]:
    while rows := page():
        yield from rows


def _no_table(table: str, known: list[str]) -> StepError:
    near = difflib.get_close_matches(table, known, 3) or known[:20]
    return TerminalError("not_found", f"there is no table '{table}'; there: {', '.join(near) or 'none'}")


def _split(table: str) -> tuple[str | None, str]:
    schema, dot, name = table.rpartition(".")
    return (schema, name) if dot else (None, table)


def _list_tables(sync: Connection) -> list[dict[str, str]]:
    looking = inspect(sync)
    default = looking.default_schema_name
    schemas = [None] if sync.dialect.name == "sqlite" else looking.get_schema_names()
    found = []
    for schema in schemas:
        if schema == "information_schema":
            continue
        prefix = "" if schema in (None, default) else f"{schema}."
        found += [{"name": f"{prefix}{name}", "kind": "table"} for name in looking.get_table_names(schema)]
        found += [{"name": f"{prefix}{name}", "kind": "view"} for name in looking.get_view_names(schema)]
    return sorted(found, key=lambda table: table["name"])


def _describe(sync: Connection, table: str) -> dict[str, Json] | None:
    looking = inspect(sync)
    schema, name = _split(table)
    try:
        columns = looking.get_columns(name, schema)
        key = looking.get_pk_constraint(name, schema)["constrained_columns"]
        foreign = looking.get_foreign_keys(name, schema)
    except NoSuchTableError:
        return None
    return {
        "table": table,
        "kind": "view" if name in looking.get_view_names(schema) else "table",
        "columns": [
            {
                "name": column["name"],
                "type": str(column["type"]),
                "nullable": bool(column["nullable"]),
                "default": column.get("default"),
                "generated": _generated(column, key),
            }
            for column in columns
        ],
        "primary_key": list(key),
        "foreign_keys": [
            {"columns": link["constrained_columns"], "table": link["referred_table"], "to": link["referred_columns"]}
            for link in foreign
        ],
    }


def _generated(column: Any, key: list[str]) -> bool:
    """Whether the database fills the column in by itself."""
    counted = key == [column["name"]] and str(column["type"]) == "INTEGER"
    return bool(column.get("identity") or column.get("computed") or column.get("autoincrement") is True or counted)


def _check_records(table: str, columns: list[dict[str, Json]], records: list[dict[str, Json]]) -> None:
    """Raise where a record names a column the table has not, or leaves out one it must have."""
    known = [column["name"] for column in columns]
    needed = [
        column["name"]
        for column in columns
        if not column["nullable"] and column["default"] is None and not column["generated"]
    ]
    for position, record in enumerate(records):
        for name in record:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean '{near[0]}'?" if near else f"there: {', '.join(known)}"
                message = f"records[{position}]: table '{table}' has no column '{name}'; {hint}"
                raise TerminalError("invalid_config", f"{message} Nothing was inserted.")
        missing = [name for name in needed if record.get(name) is None]
        if missing:
            message = f"records[{position}]: table '{table}' needs {', '.join(missing)}"
            raise TerminalError("invalid_config", f"{message}. Nothing was inserted.")
