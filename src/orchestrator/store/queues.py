"""Messages of queues: kept from the moment they are sent until a run has started for each, and a while longer."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, RowMapping, and_, delete, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.errors import NotFound
from orchestrator.spec.definition import Json
from orchestrator.store import tables
from orchestrator.store.connection import Database, insert_into

Status = Literal["waiting", "done", "dead"]
LARGEST_MESSAGE = 1_000_000
"""Bytes, as JSON."""
_LONGEST = 100 * 365 * 86400.0
"""Seconds; beyond it the calendar of Python and the databases ends."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it is kept."""

    id: str
    queue: str
    body: Json
    key: str | None
    status: Status
    sent_at: datetime
    due_at: datetime
    deliveries: int
    """How often it was handed out, this time included."""
    refusals: int = 0
    """How often a run was refused."""
    problem: str | None = None
    """Why no run was started the last time."""
    outcome: Mapping[str, Json] | None = None
    """What became of it: ``{"flow", "run_id"}``, or ``{"skipped": true}``."""
    place: str | None = None
    """Where a broker other than the store has it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a sending: the message's id, and whether it was not there already."""

    id: str
    new: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """How many messages of a queue wait for their start, and how many were given up."""

    queue: str
    waiting: int
    dead: int
    oldest: datetime | None
    """When the one that is due for longest was due."""


class Queues:
    """All queues of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.arrived = asyncio.Event()
        """Set when this process has sent one: a look is due."""

    async def send(self, queue: str, body: Json, *, once: str, key: str | None = None, delay: float = 0.0) -> Sent:
        """Put a message into a queue, due in ``delay`` seconds. ``once`` names the sending: with the same text it is
        one message, however often it is sent. A message of the same ``key`` and content that still waits is the same
        one. Raises Unavailable."""
        table = tables.queue_messages
        text = json.dumps(body, sort_keys=True)
        now = datetime.now(UTC)
        sent = Sent(message_id(queue, once), new=True)
        async with self._database.writing() as connection:
            digest = None if key is None else _digest([queue, key])
            if digest is not None:
                same = await self._same(connection, sent.id, digest, text)
                if same is not None:
                    return Sent(same, new=False)
            inserted = await connection.execute(
                insert_into(connection, table)
                .values(
                    id=sent.id,
                    queue=queue,
                    key=key,
                    digest=digest,
                    message=text,
                    status="waiting",
                    sent_at=now,
                    due_at=now + timedelta(seconds=min(delay, _LONGEST)),
                    deliveries=0,
                    refusals=0,
                )
                .on_conflict_do_nothing(index_elements=["id"])
            )
            is_new = inserted.rowcount == 1
        if is_new:
            self.arrived.set()
        return Sent(sent.id, new=is_new)

    async def _same(self, connection: AsyncConnection, id: str, digest: str, text: str) -> str | None:  # noqa: A002
        """The message of this key and content that waits and nobody has taken, or the one that was sent as ``id``."""
        table = tables.queue_messages
        if connection.dialect.name == "postgresql":
            # Two senders of one key at once: the second one looks when the first is done.
            await connection.execute(select(func.pg_advisory_xact_lock(int(digest[:15], 16))))
        untouched = and_(
            table.c.digest == digest,
            table.c.status == "waiting",
            table.c.deliveries == 0,
            table.c.message == text,
        )
        found = await connection.execute(
            select(table.c.id).where(or_(table.c.id == id, untouched)).order_by(table.c.id != id).limit(1)
        )
        return found.scalar_one_or_none()

    async def take(self, queue: str, most: int, lease: float) -> list[Message]:
        """Up to ``most`` messages whose turn it is, for ``lease`` seconds: until then nobody else gets them. Of one key
        only the first that is not done. Raises Unavailable."""
        table = tables.queue_messages
        now = datetime.now(UTC)
        due = (
            select(table.c.number)
            .where(table.c.queue == queue, *_ready(now))
            .order_by(table.c.due_at, table.c.number)
            .limit(most)
            .with_for_update(skip_locked=True)
        )
        async with self._database.writing() as connection:
            found = await connection.execute(
                update(table)
                .where(table.c.number.in_(due))
                .values(leased_until=now + timedelta(seconds=lease), deliveries=table.c.deliveries + 1)
                .returning(*table.c)
            )
            rows = found.mappings().all()
        return [_message(row) for row in sorted(rows, key=lambda row: (row["due_at"], row["number"]))]

    async def with_due(self, queues: Sequence[str]) -> list[str]:
        """Those of ``queues`` from which a ``take`` would get something: a look without a lock. Raises Unavailable."""
        table = tables.queue_messages
        ready = _ready(datetime.now(UTC))
        due = []
        async with self._database.reading() as connection:
            for queue in queues:
                first = select(table.c.number).where(table.c.queue == queue, *ready).limit(1)
                if (await connection.execute(first)).first() is not None:
                    due.append(queue)
        return due

    async def done(self, message: Message, outcome: Mapping[str, Json]) -> None:
        """Somebody has seen to it: it is not handed out again. Its content is forgotten. Raises Unavailable."""
        table = tables.queue_messages
        async with self._database.writing() as connection:
            await connection.execute(
                update(table)
                .where(table.c.id == message.id, table.c.status == "waiting")
                .values(
                    status="done",
                    message="null",
                    leased_until=None,
                    problem=None,
                    outcome=json.dumps(dict(outcome)),
                    ended_at=datetime.now(UTC),
                )
            )

    async def release(self, message: Message, after: float) -> None:
        """It could not be seen to, through no fault of its own: again in ``after`` seconds. Raises Unavailable."""
        await self._again(message, after, {})

    async def refuse(self, message: Message, problem: str, after: float | None) -> None:
        """It cannot start a run as it is: again in ``after`` seconds, or never (None), which puts it among the dead
        letters. Raises Unavailable."""
        told = {"problem": problem, "refusals": message.refusals + 1}
        if after is None:
            told |= {"status": "dead", "ended_at": datetime.now(UTC)}
        await self._again(message, after or 0.0, told)

    async def _again(self, message: Message, after: float, told: dict[str, Any]) -> None:
        table = tables.queue_messages
        until = datetime.now(UTC) + timedelta(seconds=after)
        # Only where it is still in our hands: a lease that ran out may have given it to somebody else.
        mine = (
            table.c.id == message.id,
            table.c.status == "waiting",
            table.c.deliveries == message.deliveries,
        )
        async with self._database.writing() as connection:
            await connection.execute(update(table).where(*mine).values(leased_until=until, **told))

    async def counts(self) -> list[Counts]:
        """Every queue that holds messages, by name. Raises Unavailable."""
        table = tables.queue_messages
        query = (
            select(table.c.queue, table.c.status, func.count().label("number"), func.min(table.c.due_at).label("due"))
            .where(table.c.status != "done")
            .group_by(table.c.queue, table.c.status)
            .order_by(table.c.queue)
        )
        found: dict[str, dict[str, Any]] = {}
        async with self._database.reading() as connection:
            for row in (await connection.execute(query)).all():
                found.setdefault(row.queue, {})[row.status] = (row.number, row.due)
        nothing = (0, None)
        return [
            Counts(
                queue, many.get("waiting", nothing)[0], many.get("dead", nothing)[0], many.get("waiting", nothing)[1]
            )
            for queue, many in found.items()
        ]

    async def count(self, queue: str) -> Counts:
        """What one queue holds. Raises Unavailable."""
        return next((one for one in await self.counts() if one.queue == queue), Counts(queue, 0, 0, None))

    async def list(self, queue: str, status: Status = "waiting", most: int = 100) -> list[Message]:
        """Messages of a queue in the order of their turn; nothing is taken. Raises Unavailable."""
        table = tables.queue_messages
        query = (
            select(table)
            .where(table.c.queue == queue, table.c.status == status)
            .order_by(table.c.due_at, table.c.number)
            .limit(most)
        )
        async with self._database.reading() as connection:
            return [_message(row) for row in (await connection.execute(query)).mappings()]

    async def get(self, id: str) -> Message:  # noqa: A002 - the column's name
        """One message. Raises NotFound and Unavailable."""
        table = tables.queue_messages
        async with self._database.reading() as connection:
            row = (await connection.execute(select(table).where(table.c.id == id))).mappings().first()
        if row is None:
            raise NotFound(f"there is no message '{id}' (any more)")
        return _message(row)

    async def redrive(self, queue: str, id: str | None = None) -> int:  # noqa: A002 - the column's name
        """Give the dead letters of a queue, or one of them, another chance; how many there were. Raises Unavailable."""
        table = tables.queue_messages
        which = [table.c.queue == queue, table.c.status == "dead"]
        if id is not None:
            which.append(table.c.id == id)
        async with self._database.writing() as connection:
            found = await connection.execute(
                update(table)
                .where(*which)
                .values(status="waiting", refusals=0, leased_until=None, ended_at=None, due_at=datetime.now(UTC))
            )
        self.arrived.set()
        return found.rowcount

    async def discard(self, queue: str, status: Status) -> int:
        """Delete the messages of a queue that wait or are dead; how many there were. Raises Unavailable."""
        table = tables.queue_messages
        async with self._database.writing() as connection:
            gone = await connection.execute(delete(table).where(table.c.queue == queue, table.c.status == status))
        return gone.rowcount

    async def purge(self, window: float) -> int:
        """Forget what was done more than ``window`` seconds ago; how many there were. So long a repeated sending is
        known. Raises Unavailable."""
        table = tables.queue_messages
        before = datetime.now(UTC) - timedelta(seconds=window)
        async with self._database.writing() as connection:
            gone = await connection.execute(delete(table).where(table.c.status == "done", table.c.ended_at < before))
        return gone.rowcount


def message_id(queue: str, once: str) -> str:
    """The id of the message that a sending makes."""
    return _digest([queue, once])[:32]


def _ready(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Waiting, due, in nobody's hands, and no earlier one of its key is waiting."""
    table = tables.queue_messages
    other = tables.queue_messages.alias()
    earlier = or_(
        other.c.due_at < table.c.due_at, and_(other.c.due_at == table.c.due_at, other.c.number < table.c.number)
    )
    return (
        table.c.status == "waiting",
        table.c.due_at <= now,
        or_(table.c.leased_until.is_(None), table.c.leased_until <= now),
        or_(
            table.c.digest.is_(None),
            ~exists(
                select(other.c.number)
                .where(other.c.digest == table.c.digest, other.c.status == "waiting", earlier)
                .correlate(table)
            ),
        ),
    )


def _message(row: RowMapping) -> Message:
    return Message(
        id=row["id"],
        queue=row["queue"],
        body=json.loads(row["message"]),
        key=row["key"],
        status=row["status"],
        sent_at=row["sent_at"],
        due_at=row["due_at"],
        deliveries=row["deliveries"],
        refusals=row["refusals"],
        problem=row["problem"],
        outcome=json.loads(row["outcome"]) if row["outcome"] else None,
    )


def _digest(told: Json) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()
