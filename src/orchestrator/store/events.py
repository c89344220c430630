"""Accepted events: what has happened outside, kept until every flow and run that wants it has it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import RowMapping, delete, func, or_, select, update

from orchestrator.errors import NotFound
from orchestrator.spec.definition import Json
from orchestrator.store import tables
from orchestrator.store.connection import Database, insert_into


@dataclass(frozen=True, slots=True)
class Event:
    """One event (CloudEvents 1.0): ``source`` and ``id`` name it, ``data`` is any JSON."""

    id: str
    type: str
    source: str
    time: str
    data: Json = None
    subject: str | None = None
    depth: int = 0
    """How many events led to this one: 0 where it came from outside."""
    delay: float = 0.0
    """Seconds until it counts."""

    @property
    def key(self) -> str:
        """SHA-256 (hex) of what names it."""
        return event_key(self.source, self.id)

    def told(self) -> dict[str, Json]:
        """The event as waits and conditions see it."""
        return {
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "subject": self.subject,
            "time": self.time,
            "data": self.data,
        }


@dataclass(frozen=True, slots=True)
class KeptEvent:
    """An event as it is kept; ``outcome`` lists what became of it once it was routed."""

    event: Event
    accepted_at: datetime
    routed_at: datetime | None = None
    outcome: tuple[Mapping[str, Json], ...] = ()


class Events:
    """The events of the last days."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.arrived = asyncio.Event()
        """Set when this process has accepted one: a look is due."""

    async def accept(self, events: Sequence[Event]) -> list[bool]:
        """Keep all of them or none; which of them are new. An event that is known, by source and id, stays as it is."""
        table = tables.events
        new: list[bool] = []
        now = datetime.now(UTC)
        async with self._database.writing() as connection:
            for event in events:
                inserted = await connection.execute(
                    insert_into(connection, table)
                    .values(
                        id=event.key,
                        event_id=event.id,
                        type=event.type,
                        source=event.source,
                        subject=event.subject,
                        time=event.time,
                        data=json.dumps(event.data),
                        depth=event.depth,
                        accepted_at=now,
                        due_at=now + timedelta(seconds=event.delay),
                    )
                    .on_conflict_do_nothing()
                )
                new.append(inserted.rowcount == 1)
        if any(new):
            self.arrived.set()
        return new

    async def take(self, most: int, lease: float) -> list[KeptEvent]:
        """Up to ``most`` events whose turn it is, for ``lease`` seconds: until then nobody else gets them."""
        table = tables.events
        now = datetime.now(UTC)
        due = (
            select(table.c.id)
            .where(
                table.c.routed_at.is_(None),
                table.c.due_at <= now,
                or_(table.c.leased_until.is_(None), table.c.leased_until < now),
            )
            .order_by(table.c.due_at)
            .limit(most)
            .with_for_update(skip_locked=True)
        )
        async with self._database.writing() as connection:
            found = await connection.execute(
                update(table)
                .where(table.c.id.in_(due))
                .values(leased_until=now + timedelta(seconds=lease))
                .returning(*table.c)
            )
            rows = found.mappings().all()
        return sorted((_kept(row) for row in rows), key=lambda kept: kept.accepted_at)

    async def has_due(self) -> bool:
        """Whether a ``take`` would get something: a look without a lock."""
        table = tables.events
        now = datetime.now(UTC)
        query = (
            select(table.c.id)
            .where(
                table.c.routed_at.is_(None),
                table.c.due_at <= now,
                or_(table.c.leased_until.is_(None), table.c.leased_until < now),
            )
            .limit(1)
        )
        async with self._database.reading() as connection:
            return (await connection.execute(query)).first() is not None

    async def routed(self, key: str, outcome: Sequence[Mapping[str, Json]]) -> None:
        """Everybody who wants the event has it."""
        table = tables.events
        async with self._database.writing() as connection:
            await connection.execute(
                update(table)
                .where(table.c.id == key)
                .values(routed_at=datetime.now(UTC), leased_until=None, outcome=json.dumps(list(outcome)))
            )

    async def release(self, key: str, after: float) -> None:
        """The event could not be routed: again in ``after`` seconds."""
        table = tables.events
        until = datetime.now(UTC) + timedelta(seconds=after)
        async with self._database.writing() as connection:
            await connection.execute(update(table).where(table.c.id == key).values(leased_until=until))

    async def since(self, instant: datetime, most: int = 1_000) -> list[Event]:
        """Events accepted since then, oldest first."""
        table = tables.events
        query = select(table).where(table.c.accepted_at >= instant).order_by(table.c.accepted_at).limit(most)
        async with self._database.reading() as connection:
            return [_kept(row).event for row in (await connection.execute(query)).mappings()]

    async def get(self, source: str, event_id: str) -> KeptEvent:
        """One event. Raises NotFound."""
        table = tables.events
        async with self._database.reading() as connection:
            found = await connection.execute(select(table).where(table.c.id == event_key(source, event_id)))
            row = found.mappings().first()
        if row is None:
            raise NotFound(f"there is no event '{event_id}' of source '{source}' (any more)")
        return _kept(row)

    async def list(self, *, kind: str | None = None, limit: int = 100) -> list[KeptEvent]:
        """Events, newest first, narrowed to a type where one is given."""
        table = tables.events
        query = select(table).order_by(table.c.accepted_at.desc(), table.c.id).limit(limit)
        if kind is not None:
            query = query.where(table.c.type == kind)
        async with self._database.reading() as connection:
            return [_kept(row) for row in (await connection.execute(query)).mappings()]

    async def waiting(self) -> int:
        """How many have not been routed."""
        table = tables.events
        async with self._database.reading() as connection:
            found = await connection.execute(select(func.count()).where(table.c.routed_at.is_(None)))
            return int(found.scalar_one())

    async def purge(self, older_than: float) -> int:
        """Forget what was routed more than so many seconds ago; how many there were. So long a repeated event is
        known."""
        table = tables.events
        before = datetime.now(UTC) - timedelta(seconds=older_than)
        async with self._database.writing() as connection:
            gone = await connection.execute(delete(table).where(table.c.routed_at < before))
        return gone.rowcount


def event_key(source: str, event_id: str) -> str:
    """SHA-256 (hex) of what names an event."""
    return hashlib.sha256(json.dumps([source, event_id]).encode()).hexdigest()


def _kept(row: RowMapping) -> KeptEvent:
    event = Event(
        id=row["event_id"],
        type=row["type"],
        source=row["source"],
        time=row["time"],
        data=json.loads(row["data"]),
        subject=row["subject"],
        depth=row["depth"],
    )
    outcome = tuple(json.loads(row["outcome"])) if row["outcome"] else ()
    return KeptEvent(event, row["accepted_at"], row["routed_at"], outcome)
