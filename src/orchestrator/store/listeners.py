"""Runs that wait for events: which types, and which members have to have which values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import delete, or_, select

from orchestrator.spec.definition import Json
from orchestrator.spec.patterns import matches_type, member
from orchestrator.store import tables
from orchestrator.store.connection import Database, insert_into


@dataclass(frozen=True, slots=True)
class Listener:
    """One wait for one type of events, or a pattern in which ``*`` is any text."""

    run_id: str
    path: str
    type: str
    correlate: Mapping[str, Json]
    """Value by member (``data.orderid``)."""

    @property
    def id(self) -> str:
        """SHA-256 (hex) of run, path and type."""
        return _digest([self.run_id, self.path, self.type])


class Listeners:
    """The waits of all runs. One whose run is over is dropped when an event meets it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, listeners: Sequence[Listener]) -> None:
        """Begin to listen; again changes nothing but what has to correlate."""
        table = tables.listeners
        now = datetime.now(UTC)
        async with self._database.writing() as connection:
            for one in listeners:
                members = sorted(one.correlate)
                told = {
                    "members": json.dumps(members),
                    "digest": _correlation(one.type, [one.correlate[name] for name in members]),
                }
                await connection.execute(
                    insert_into(connection, table)
                    .values(
                        id=one.id,
                        run_id=one.run_id,
                        path=one.path,
                        type=one.type,
                        is_pattern="*" in one.type,
                        created_at=now,
                        **told,
                    )
                    .on_conflict_do_update(index_elements=["id"], set_=told)
                )

    async def runs_for(self, event: Mapping[str, Json]) -> list[str]:
        """The ids of the runs that an event is for, each once."""
        table = tables.listeners
        async with self._database.reading() as connection:
            kinds = await connection.execute(
                select(table.c.type, table.c.members)
                .where(or_(table.c.is_pattern.is_(True), table.c.type == event["type"]))
                .distinct()
            )
            digests = [
                _correlation(kind, [member(event, name) for name in json.loads(members)])
                for kind, members in kinds.all()
                if matches_type((kind,), event["type"])
            ]
            if not digests:
                return []
            found = await connection.execute(
                select(table.c.run_id, table.c.created_at)
                .where(table.c.digest.in_(digests))
                .order_by(table.c.created_at, table.c.run_id)
            )
            return list(dict.fromkeys(row.run_id for row in found))

    async def drop(self, run_id: str) -> None:
        """A run is over."""
        table = tables.listeners
        async with self._database.writing() as connection:
            await connection.execute(delete(table).where(table.c.run_id == run_id))


def _correlation(kind: str, values: Sequence[Json]) -> str:
    return _digest([kind, [_plain(value) for value in values]])


def _plain(value: Json) -> Json:
    """Numbers that are equal are written alike."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _digest(told: Json) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
