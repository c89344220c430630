"""Databases of the catalogue as a worker holds them open: engine, values in and out, errors."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from orchestrator.errors import StepError, TerminalError
from orchestrator.spec.acts.sql import Database
from orchestrator.steps.context import Json, StepContext

_DRIVER_ERRORS: tuple[type[Exception], ...] = (sqlite3.Error,)
try:
    import asyncpg  # type: ignore[import-untyped]
except ImportError:  # PostgreSQL is an extra
    pass
else:
    _DRIVER_ERRORS += (asyncpg.PostgresError, asyncpg.InterfaceError)

_DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}
SQLITE_PATIENCE = 10.0
"""Seconds a statement waits for another process that is writing the file."""
POOL_PATIENCE = 120.0
"""Seconds a step waits for one of the database's connections."""
_EXACT_DIGITS = 15
"""Decimal digits every JSON number keeps."""


class OpenDatabase:
    """One database of the catalogue, open until the worker ends."""

    def __init__(self, name: str, engine: AsyncEngine) -> None:
        self._name = name
        self._engine = engine
        self.quote: Callable[[str], str] = engine.dialect.identifier_preparer.quote

    @property
    def is_sqlite(self) -> bool:
        """SQLite stores lists and objects as JSON text; PostgreSQL has types for them."""
        return self._engine.dialect.name == "sqlite"

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction; the database's errors leave it as StepError or TerminalError."""
        try:
            async with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise _mapped(error.orig or error, self._name, lost=error.connection_invalidated) from error
        except _DRIVER_ERRORS as error:
            # What a cursor meets while it reads reaches us as the driver's own error.
            raise _mapped(error, self._name) from error
        except PoolTimeout as error:
            message = f"database '{self._name}': no connection became free; raise its pool_size"
            raise StepError("timeout", message) from error
        except SQLAlchemyError as error:
            raise TerminalError("sql_error", f"database '{self._name}': {error}") from error
        except OSError as error:
            raise StepError("network_error", f"database '{self._name}' cannot be reached: {error}") from error
        except (OverflowError, UnicodeEncodeError) as error:
            # SQLite's driver refuses such values before it sends anything.
            message = f"database '{self._name}': a value does not fit: {error}"
            raise TerminalError("sql_data", message) from error

    async def setup(self, statements: list[str]) -> None:
        """Run the entry's setup statements in one transaction; workers that start together take turns."""
        if not statements:
            return
        try:
            async with self.transaction() as connection:
                if not self.is_sqlite:
                    lock = int.from_bytes(hashlib.sha256(b"orchestrator-setup").digest()[:7])
                    await connection.execute(text(f"SELECT pg_advisory_xact_lock({lock})"))
                for statement in statements:
                    await connection.exec_driver_sql(statement)
        except StepError as error:
            kind = type(error)
            raise kind(error.type, f"setup of {error.message}", data=error.data) from error

    def bound(self, value: Json) -> Any:
        """The JSON value as the driver takes it."""
        if self.is_sqlite and isinstance(value, list | dict):
            return json.dumps(value, ensure_ascii=False)
        return value

    def json_value(self, value: Any) -> Json:
        """A value of a row as JSON: instants as ISO text, bytes as base64 text, decimals as numbers unless a
        number would lose digits, then as text."""
        if value is None or isinstance(value, bool | int | str):
            return value
        for kinds, convert in _CONVERSIONS:
            if isinstance(value, kinds):
                return convert(value)
        if isinstance(value, dict):
            return {str(key): self.json_value(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.json_value(item) for item in value]
        return str(value)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


def _decimal(value: Decimal) -> Json:
    if not value.is_finite():
        return str(value)
    if value == value.to_integral_value() and value.adjusted() < _EXACT_DIGITS:
        return int(value)
    return float(value) if len(value.as_tuple().digits) <= _EXACT_DIGITS else str(value)


def _instant(value: datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat()
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


_CONVERSIONS: tuple[tuple[Any, Callable[[Any], Json]], ...] = (
    (float, lambda value: value if math.isfinite(value) else str(value)),
    (Decimal, _decimal),
    (datetime, _instant),
    ((date, time), lambda value: value.isoformat()),
    (timedelta, lambda value: value.total_seconds()),
    ((bytes, bytearray, memoryview), lambda value: base64.b64encode(bytes(value)).decode()),
)


async def open_database(name: str, entry: Database, context: StepContext) -> OpenDatabase:
    """The open database of the entry, set up by the first step that names it."""

    async def opener() -> OpenDatabase:
        database = OpenDatabase(name, _engine(name, entry, context.settings.project_dir))
        try:
            await database.setup(entry.setup)
        except BaseException:
            await database.aclose()
            raise
        return database

    # The digest keeps passwords out of the key and two flows' entries of one name apart.
    digest = hashlib.sha256(entry.model_dump_json().encode()).hexdigest()
    return await context.resources.shared(f"database:{name}:{digest}", opener)


def _engine(name: str, entry: Database, project_dir: Path) -> AsyncEngine:
    url = _url(name, entry.url, project_dir)
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(url, connect_args={"timeout": SQLITE_PATIENCE})
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        return engine
    try:
        engine = create_async_engine(
            url,
            pool_size=entry.pool_size,
            max_overflow=0,
            pool_timeout=POOL_PATIENCE,
            pool_pre_ping=True,
            connect_args={
                "timeout": 10,
                "server_settings": {"timezone": "UTC", "application_name": "orchestrator"},
            },
        )
    except (NoSuchModuleError, ImportError) as error:
        raise TerminalError(
            "invalid_config",
            f"databases.{name} is PostgreSQL: pip install 'orchestrator[postgres]' where workers run",
        ) from error
    event.listen(engine.sync_engine, "connect", prepare_postgres)
    return engine


def _url(name: str, given: str, project_dir: Path) -> URL:
    try:
        url = make_url(given)
    except (ArgumentError, ValueError) as error:
        raise TerminalError("invalid_config", f"databases.{name}.url is no database URL") from error
    driver = _DRIVERS.get(url.drivername.partition("+")[0])
    if driver is None:
        raise TerminalError(
            "invalid_config",
            f"databases.{name}.url: '{url.drivername}' is not supported; use sqlite or postgresql",
        )
    url = url.set(drivername=driver)
    if driver.startswith("sqlite") and url.database and url.database != ":memory:":
        path = project_dir.resolve() / url.database
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TerminalError("sql_access", f"databases.{name}: cannot make folder {path.parent}: {error}") from error
        url = url.set(database=str(path))
    return url


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def prepare_postgres(connection: Any, _record: Any) -> None:
    """Let JSON values stand for PostgreSQL's: the server says which type each place has, these say how a
    JSON value is written as that type and read back."""

    async def prepare(driver: Any) -> None:
        for type_, encode, decode in _CODECS:
            await driver.set_type_codec(type_, schema="pg_catalog", encoder=encode, decoder=decode, format="text")

    connection.run_async(prepare)


def _read_instant(value: str) -> str:
    try:
        return _instant(datetime.fromisoformat(value))
    except ValueError:
        return value  # infinity, or before year 1


def _to_bytea(value: str) -> str:
    return "\\x" + base64.b64decode(value, validate=True).hex()


def _from_bytea(value: str) -> str:
    return base64.b64encode(bytes.fromhex(value.removeprefix("\\x"))).decode()


def _plain(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a text is expected, not {type(value).__name__}")
    return value


def _write_json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


_CODECS: tuple[tuple[str, Callable[[Any], str], Callable[[str], Json]], ...] = (
    ("timestamptz", _plain, _read_instant),
    ("timestamp", _plain, _read_instant),
    ("date", _plain, str),
    ("time", _plain, str),
    ("timetz", _plain, str),
    ("interval", _plain, str),
    ("bytea", _to_bytea, _from_bytea),
    ("json", _write_json, json.loads),
    ("jsonb", _write_json, json.loads),
)

_PASSING_SQLSTATES = ("08", "40", "53", "55P03", "57P0")
"""Connection, transaction rollback (deadlock, serialization), resources, lock not available, server going
down."""


def _mapped(error: BaseException, name: str, *, lost: bool = False) -> StepError:
    said = _one_line(error)
    state = getattr(error, "sqlstate", None)
    message = f"database '{name}': {said}"
    if lost or (state and state.startswith(_PASSING_SQLSTATES)):
        return StepError("network_error", message, data={"sqlstate": state})
    kind = _kind_by_state(state) if state else _kind_by_text(said)
    if kind == "network_error":
        return StepError(kind, message)
    return TerminalError(kind, message, data={"sqlstate": state} if state else None)


def _kind_by_state(state: str) -> str:
    if state == "42501" or state[:2] in ("28", "3D"):
        return "sql_access"
    return {"23": "sql_constraint", "22": "sql_data", "42": "sql_syntax", "26": "network_error"}.get(
        state[:2], "sql_error"
    )


def _kind_by_text(said: str) -> str:
    """SQLite has no states; asyncpg none for what it refuses before sending."""
    lower = said.lower()
    tells = (
        (
            "network_error",
            ("locked", "busy", "connection was closed", "connection is closed", "cached statement"),
        ),
        (
            "sql_syntax",
            ("syntax error", "no such", "has no column", "ambiguous column", "one statement at a time"),
        ),
        ("sql_constraint", ("constraint",)),
        ("sql_access", ("unable to open", "readonly", "not authorized")),
        ("sql_data", ("invalid input", "datatype mismatch", "type '", "too large", "unsupported type")),
    )
    for kind, words in tells:
        if any(word in lower for word in words):
            return kind
    return "sql_error"


def _one_line(error: BaseException) -> str:
    """The driver's message without SQLAlchemy's echo of statement and values, which may hold private data."""
    message = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return message.split(">: ", 1)[1] if message.startswith("<class ") and ">: " in message else message
