"""Engines of the database server: one that can only read, one that writes into a database that exists."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from orchestrator.errors import TerminalError
from orchestrator.servers.fence import SqliteFence, Tables
from orchestrator.steps.data.database import SQLITE_PATIENCE, prepare_postgres

FENCE = "fence"
"""The key of a SQLite connection's fence in its ``info``."""
_CONNECT_SECONDS = 10
_VALUE_FACTOR = 4
"""One value may be so many times as long as a whole answer: it is built before it can be measured."""
_STEPS = 1_000
"""Instructions of SQLite between two looks at the clock."""


def database_url(text: str, root: Path) -> URL:
    """The URL with the driver we use; a SQLite path starts in ``root``. Raises TerminalError ``invalid_config``, which
    never repeats the URL: it may hold a password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise TerminalError(
            "invalid_config", "this is no database URL; write sqlite:///data/shop.db or postgresql://user@host/name"
        ) from None
    kind = url.drivername.partition("+")[0]
    if kind in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+asyncpg")
    if kind != "sqlite":
        raise TerminalError("invalid_config", f"'{kind}' is not supported; use sqlite or postgresql")
    path = root / (url.database or "")
    if not url.database or url.database == ":memory:" or not path.is_file():
        raise TerminalError("invalid_config", f"there is no SQLite file at {path}; the server creates none")
    return url.set(drivername="sqlite+aiosqlite", database=str(path.resolve()), query={})


def reading_engine(url: URL, tables: Tables, seconds: float, max_bytes: int) -> AsyncEngine:
    """An engine whose connections cannot write: SQLite files are opened read-only behind a fence, PostgreSQL sessions
    start with read-only transactions. Each connection serves one use, so that nothing a query set outlives it."""
    if url.get_backend_name() != "sqlite":
        return _postgres(url, {"default_transaction_read_only": "on"}, seconds)
    engine = _sqlite(url, "ro")

    @event.listens_for(engine.sync_engine, "connect")
    def guard(connection: Any, record: Any) -> None:
        fence = record.info[FENCE] = SqliteFence(tables)

        async def prepare(driver: Any) -> None:
            await driver.execute("PRAGMA query_only=ON")
            await driver.set_authorizer(fence.authorize)
            await driver.set_progress_handler(fence.progress, _STEPS)
            # aiosqlite has no name for this one.
            await driver._execute(driver._conn.setlimit, sqlite3.SQLITE_LIMIT_LENGTH, max_bytes * _VALUE_FACTOR)

        connection.run_async(prepare)

    return engine


def writing_engine(url: URL, seconds: float) -> AsyncEngine:
    """An engine for inserts."""
    if url.get_backend_name() != "sqlite":
        return _postgres(url, {}, seconds)
    engine = _sqlite(url, "rw")

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    return engine


def _sqlite(url: URL, mode: str) -> AsyncEngine:
    uri = URL.create(
        "sqlite+aiosqlite", database=f"file:{quote(url.database or '')}", query={"mode": mode, "uri": "true"}
    )
    # Without a cache every statement is prepared, and so authorized, anew.
    connect = {"timeout": SQLITE_PATIENCE, "cached_statements": 0}
    return create_async_engine(uri, poolclass=NullPool, connect_args=connect)


def _postgres(url: URL, settings: dict[str, str], seconds: float) -> AsyncEngine:
    server_settings = {
        "timezone": "UTC",
        "application_name": "orchestrator database server",
        "statement_timeout": str(int(seconds * 1000)),
        **settings,
    }
    try:
        engine = create_async_engine(
            url,
            poolclass=NullPool,
            connect_args={"timeout": _CONNECT_SECONDS, "server_settings": server_settings},
        )
    except (NoSuchModuleError, ImportError) as error:
        raise TerminalError("invalid_config", "PostgreSQL needs: pip install 'orchestrator[postgres]'") from error
    event.listen(engine.sync_engine, "connect", prepare_postgres)
    return engine
