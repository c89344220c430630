"""Data that flows keep between runs: one JSON value by key, of one flow or of the project."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, or_, select, update

from orchestrator.errors import OrchestratorError
from orchestrator.spec.definition import Json
from orchestrator.store import tables
from orchestrator.store.connection import Database, insert_into

PROJECT = ""
"""The scope of what all flows share."""
_LONGEST = 100 * 365 * 86400.0
"""Seconds; beyond it the calendar of Python and the databases ends."""
_LARGEST = 1e300
"""Of a number; JSON readers of other languages give up a little later."""


class NotANumber(OrchestratorError):
    """What should be incremented is no number, or would be none afterwards."""

    code = "not_a_number"


@dataclass(frozen=True, slots=True)
class Kept:
    """A value as it was found or left. ``found``: whether there was one before."""

    value: Json = None
    found: bool = False


@dataclass(frozen=True, slots=True)
class _Row:
    text: str | None
    expires_at: datetime | None


class State:
    """The kept values. Every change is made once per idempotency key, as a whole, in the order of its commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, scope: str, key: str) -> Kept:
        """The value under a key. Raises Unavailable."""
        table = tables.kept_values
        query = select(table.c.value).where(table.c.id == _id(scope, key), _fresh(datetime.now(UTC)))
        async with self._database.reading() as connection:
            text = (await connection.execute(query)).scalar_one_or_none()
        return Kept() if text is None else Kept(json.loads(text), found=True)

    async def put(self, scope: str, key: str, value: Json, *, once: str, ttl: float | None = None) -> Kept:
        """Keep a value, for ``ttl`` seconds (None: until it is replaced). ``once`` names the change: with the same text
        it is made once, and answered as the first time. Raises Unavailable."""
        text = json.dumps(value, allow_nan=False)

        def change(old: _Row, now: datetime) -> _Row:
            return _Row(text, _end(now, ttl))

        return await self._change(scope, key, once, change)

    async def increment(self, scope: str, key: str, by: float, *, once: str, ttl: float | None = None) -> Kept:
        """Add to a number, which is 0 where there is none; ``ttl`` counts from the first addition. ``once`` as in
        ``put``. Raises NotANumber and Unavailable."""

        def change(old: _Row, now: datetime) -> _Row:
            if old.text is None:
                return _Row(json.dumps(_sum(0, by, key)), _end(now, ttl))
            return _Row(json.dumps(_sum(json.loads(old.text), by, key)), old.expires_at)

        return await self._change(scope, key, once, change)

    async def delete(self, scope: str, key: str, *, once: str) -> Kept:
        """Forget the value under a key. ``once`` as in ``put``. Raises Unavailable."""
        return await self._change(scope, key, once, lambda old, now: _Row(None, now))

    async def _change(self, scope: str, key: str, once: str, change: Callable[[_Row, datetime], _Row]) -> Kept:
        values, changes = tables.kept_values, tables.kept_changes
        change_id, value_id = _digest([once]), _id(scope, key)
        now = datetime.now(UTC)
        async with self._database.writing() as connection:
            made = await connection.execute(
                insert_into(connection, changes).values(id=change_id, answer=None, made_at=now).on_conflict_do_nothing()
            )
            if made.rowcount != 1:
                answer = await connection.execute(select(changes.c.answer).where(changes.c.id == change_id))
                return _read(answer.scalar_one())
            # An upsert that changes nothing: whoever else wants this key waits until we are done.
            locked = await connection.execute(
                insert_into(connection, values)
                .values(id=value_id, scope=scope, key=key, value=None, changed_at=now, expires_at=None)
                .on_conflict_do_update(index_elements=["id"], set_={"changed_at": now})
                .returning(values.c.value, values.c.expires_at)
            )
            row = locked.one()
            is_over = row.expires_at is not None and row.expires_at <= now
            old = _Row(None, None) if row.value is None or is_over else _Row(row.value, row.expires_at)
            new = change(old, now)
            await connection.execute(
                update(values).where(values.c.id == value_id).values(value=new.text, expires_at=new.expires_at)
            )
            told = json.dumps(
                {"value": None if new.text is None else json.loads(new.text), "found": old.text is not None}
            )
            await connection.execute(update(changes).where(changes.c.id == change_id).values(answer=told))
        return _read(told)

    async def clear(self) -> None:
        """Delete everything that is kept: tests of flows begin with nothing."""
        async with self._database.writing() as connection:
            await connection.execute(delete(tables.kept_values))
            await connection.execute(delete(tables.kept_changes))

    async def purge(self, window: float) -> int:
        """Delete what has expired or was deleted, and forget which changes were made more than ``window`` seconds ago;
        how many values there were."""
        values, changes = tables.kept_values, tables.kept_changes
        now = datetime.now(UTC)
        async with self._database.writing() as connection:
            gone = await connection.execute(delete(values).where(values.c.expires_at <= now))
            await connection.execute(delete(changes).where(changes.c.made_at < now - timedelta(seconds=window)))
        return gone.rowcount


def _fresh(now: datetime) -> ColumnElement[bool]:
    table = tables.kept_values
    return and_(table.c.value.is_not(None), or_(table.c.expires_at.is_(None), table.c.expires_at > now))


def _end(now: datetime, ttl: float | None) -> datetime | None:
    return None if ttl is None else now + timedelta(seconds=min(ttl, _LONGEST))


def _sum(old: Any, by: float, key: str) -> int | float:
    if isinstance(old, bool) or not isinstance(old, int | float):
        raise NotANumber(f"what is kept under '{key}' is no number and cannot be incremented; `put` one first")
    try:
        total = old + by
    except OverflowError as error:
        raise NotANumber(f"the number under '{key}' would be too large") from error
    if abs(total) > _LARGEST or not math.isfinite(total):
        raise NotANumber(f"the number under '{key}' would be too large")
    return total


def _read(text: str) -> Kept:
    told = json.loads(text)
    return Kept(told["value"], told["found"])


def _id(scope: str, key: str) -> str:
    return _digest([scope, key])


def _digest(told: Json) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
