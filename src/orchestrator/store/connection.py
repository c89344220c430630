"""One database behind the store: SQLite or PostgreSQL, opened, migrated, and its errors put into words."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, Table, event, make_url, text
from sqlalchemy.dialects.postgresql import insert as _insert_postgresql
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.dialects.sqlite import insert as _insert_sqlite
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from orchestrator.errors import SettingsInvalid, Unavailable

_MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x6F726368
"""Held on PostgreSQL while a process migrates; any number that is always the same."""
_BUSY_SECONDS = 15.0
_migrating: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
"""Alembic keeps its context in module globals: one migration at a time in an event loop."""


class Database:
    """Connections to the store's database. Every failure to reach it is ``Unavailable``, in one sentence."""

    def __init__(self, engine: AsyncEngine, shown: str) -> None:
        self._engine = engine
        self._shown = shown

    @classmethod
    async def open(cls, url: str) -> Database:
        """Connect and migrate. Raises SettingsInvalid for a URL nothing can be done with, Unavailable when
        the database cannot be reached or is newer than this release."""
        parsed = _driver_url(url)
        engine = _engine(parsed)
        database = cls(engine, parsed.set(drivername=parsed.get_backend_name()).render_as_string())
        try:
            async with database._worded():
                if parsed.get_backend_name() == "sqlite":
                    Path(parsed.database or "").parent.mkdir(parents=True, exist_ok=True)
            await database._migrate()
        except BaseException:
            await engine.dispose()
            raise
        return database

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for statements that change nothing."""
        async with self._worded(), self._engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction, committed at the end, rolled back on any exception."""
        async with self._worded(), self._engine.connect() as connection:
            await connection.execution_options(writing=True)
            async with connection.begin():
                yield connection

    async def aclose(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    async def _migrate(self) -> None:
        async with _migrating.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            async with self.reading() as connection:
                if await connection.run_sync(_is_current):
                    return
            async with self.writing() as connection:
                if connection.dialect.name == "postgresql":
                    await connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
                try:
                    await connection.run_sync(_upgrade)
                except CommandError as error:
                    raise Unavailable(
                        f"the store {self._shown} was written by a newer release; upgrade this one or choose "
                        "another store with ORCHESTRATOR_STORE_URL"
                    ) from error

    @asynccontextmanager
    async def _worded(self) -> AsyncIterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            raise self._unavailable(error.orig or error) from error
        except DBAPIError as error:
            # Bare classes: a file that is no database, a server that refuses to let us in.
            if not error.connection_invalidated and type(error) not in (DBAPIError, DatabaseError):
                raise
            raise self._unavailable(error.orig or error) from error
        except _CONNECTION_ERRORS as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: BaseException) -> Unavailable:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        return Unavailable(
            f"the store {self._shown} cannot be used: {reason}; "
            "check ORCHESTRATOR_STORE_URL and that the database is running"
        )


def insert_into(connection: AsyncConnection, table: Table) -> Insert:
    """An insert that may say ``on_conflict_do_nothing`` or ``on_conflict_do_update``. Both databases spell these alike;
    SQLAlchemy has a class for each."""
    if connection.dialect.name == "postgresql":
        return _insert_postgresql(table)  # type: ignore[return-value]
    return _insert_sqlite(table)


def _driver_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise SettingsInvalid(
            f"ORCHESTRATOR_STORE_URL={url!r} is no database URL; write sqlite:///file.db or postgresql://user@host/name"
        ) from error
    backend = parsed.drivername.split("+")[0]
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise SettingsInvalid("the store needs a file: write for example sqlite:///.orchestrator/store.db")
        return parsed.set(drivername="sqlite+aiosqlite")
    if backend in ("postgresql", "postgres"):
        if importlib.util.find_spec("asyncpg") is None:
            raise SettingsInvalid("a PostgreSQL store needs the driver: pip install 'orchestrator[postgres]'")
        query = dict(parsed.query)
        if "sslmode" in query:
            # libpq's name, in every URL a hosting provider hands out; asyncpg calls it ssl.
            query["ssl"] = query.pop("sslmode")
        return parsed.set(drivername="postgresql+asyncpg", query=query)
    raise SettingsInvalid(f"ORCHESTRATOR_STORE_URL names '{backend}'; the store can be sqlite:///… or postgresql://…")


def _engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() == "postgresql":
        return create_async_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=10)
    engine = create_async_engine(url, connect_args={"timeout": _BUSY_SECONDS, "isolation_level": None})
    event.listen(engine.sync_engine, "connect", _sqlite_connected)
    event.listen(engine.sync_engine, "begin", _sqlite_begins)
    return engine


def _sqlite_connected(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _sqlite_begins(connection: Connection) -> None:
    # IMMEDIATE, because a transaction that reads first and writes later cannot wait for another writer.
    if connection.get_execution_options().get("writing"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _is_current(connection: Connection) -> bool:
    heads = ScriptDirectory.from_config(_config(connection)).get_heads()
    return set(MigrationContext.configure(connection).get_current_heads()) == set(heads)


def _upgrade(connection: Connection) -> None:
    command.upgrade(_config(connection), "head")


def _connection_errors() -> tuple[type[BaseException], ...]:
    if importlib.util.find_spec("asyncpg") is None:
        return (OSError,)
    # asyncpg raises its own classes while connecting, before SQLAlchemy could translate them.
    driver: Any = importlib.import_module("asyncpg")
    return (OSError, driver.PostgresError, driver.InterfaceError)


_CONNECTION_ERRORS = _connection_errors()
