"""Alerts: kept from the moment a run raises one until its channel has taken it, and a while longer."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, RowMapping, and_, delete, func, select, update

from orchestrator.errors import NotFound
from orchestrator.spec.definition import Json
from orchestrator.store import tables
from orchestrator.store.connection import Database, insert_into

Status = Literal["waiting", "sent", "failed"]


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert about one run. The channel is what the flow calls it: addresses and secrets are looked up when the
    alert is sent, and never kept."""

    id: str
    flow: str
    version: str
    run_id: str
    channel: str
    told: Mapping[str, Json]
    """``{"condition", "found", "values", "message", "status"}``; the status is the run's."""
    status: Status = "waiting"
    raised_at: datetime = datetime.min
    """When it was kept, as the last three: the store's to say."""
    since: datetime = datetime.min
    """When it was tried first: it is given up so and so long after that."""
    attempts: int = 0
    """How often it was handed out, this time included."""
    sent: Mapping[str, Json] = field(default_factory=dict)
    """What its channel has taken already, where the channel is several."""
    problem: str | None = None
    """Why it could not be sent the last time, or what could not be sent of it."""


class Alerts:
    """The alerts of the last weeks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.arrived = asyncio.Event()
        """Set when this process has kept one: a look is due."""

    async def put(self, alerts: Sequence[Alert]) -> None:
        """Keep alerts, due at once. One that is known stays as it is. Raises Unavailable."""
        if not alerts:
            return
        now = datetime.now(UTC)
        async with self._database.writing() as connection:
            for one in alerts:
                await connection.execute(
                    insert_into(connection, tables.alerts)
                    .values(
                        id=one.id,
                        flow=one.flow,
                        version=one.version,
                        run_id=one.run_id,
                        channel=one.channel,
                        told=json.dumps(one.told, ensure_ascii=False),
                        status="waiting",
                        raised_at=now,
                        since=now,
                        due_at=now,
                        attempts=0,
                        sent="{}",
                    )
                    .on_conflict_do_nothing(index_elements=["id"])
                )
        self.arrived.set()

    async def due_channels(self) -> list[str]:
        """Channels from which a ``take`` would get something: a look without a lock. Raises Unavailable."""
        query = select(tables.alerts.c.channel).where(_is_due(datetime.now(UTC))).distinct()
        async with self._database.reading() as connection:
            return sorted((await connection.execute(query)).scalars())

    async def take(self, channel: str, most: int, lease: float) -> list[Alert]:
        """Up to ``most`` alerts for a channel, oldest first, for ``lease`` seconds: until then nobody else gets them.
        Raises Unavailable."""
        table = tables.alerts
        now = datetime.now(UTC)
        due = (
            select(table.c.id)
            .where(_is_due(now), table.c.channel == channel)
            .order_by(table.c.due_at, table.c.id)
            .limit(most)
            .with_for_update(skip_locked=True)
        )
        async with self._database.writing() as connection:
            found = await connection.execute(
                update(table)
                .where(table.c.id.in_(due))
                .values(due_at=now + timedelta(seconds=lease), attempts=table.c.attempts + 1)
                .returning(*table.c)
            )
            rows = found.mappings().all()
        return [_alert(row) for row in sorted(rows, key=lambda row: (row["raised_at"], row["id"]))]

    async def done(self, alert: Alert, problem: str | None = None) -> None:
        """It was sent; ``problem`` is what could not be sent of it for good. Raises Unavailable."""
        await self._set(alert, status="sent", problem=problem, ended_at=datetime.now(UTC), sent="{}")

    async def again(self, alert: Alert, problem: str, after: float, sent: Mapping[str, Json]) -> None:
        """It could not be sent: again in ``after`` seconds. Raises Unavailable."""
        due = datetime.now(UTC) + timedelta(seconds=after)
        await self._set(alert, problem=problem, due_at=due, sent=json.dumps(dict(sent)))

    async def give_up(self, alert: Alert, problem: str, sent: Mapping[str, Json]) -> None:
        """It is not tried any more. Raises Unavailable."""
        kept = json.dumps(dict(sent))
        await self._set(alert, status="failed", problem=problem, ended_at=datetime.now(UTC), sent=kept)

    async def _set(self, alert: Alert, **values: Any) -> None:
        table = tables.alerts
        # Only where it is still in our hands: a lease that ran out may have given it to somebody else.
        mine = (table.c.id == alert.id, table.c.status == "waiting", table.c.attempts == alert.attempts)
        async with self._database.writing() as connection:
            await connection.execute(update(table).where(*mine).values(**values))

    async def list(self, *, flow: str | None = None, status: Status | None = None, most: int = 100) -> list[Alert]:
        """Alerts, newest first. Raises Unavailable."""
        table = tables.alerts
        query = select(table).order_by(table.c.raised_at.desc(), table.c.id).limit(most)
        if flow is not None:
            query = query.where(table.c.flow == flow)
        if status is not None:
            query = query.where(table.c.status == status)
        async with self._database.reading() as connection:
            return [_alert(row) for row in (await connection.execute(query)).mappings()]

    async def counts(self, flow: str, since: datetime) -> dict[str, int]:
        """How many alerts about a flow's runs stand how, of those raised since then. Raises Unavailable."""
        table = tables.alerts
        query = (
            select(table.c.status, func.count())
            .where(table.c.flow == flow, table.c.raised_at >= since)
            .group_by(table.c.status)
            .order_by(table.c.status)
        )
        async with self._database.reading() as connection:
            return {str(status): int(count) for status, count in await connection.execute(query)}

    async def resend(self, id: str | None = None) -> int:  # noqa: A002 - the column's name
        """Give alerts that were given up, or one of them, another chance; how many there were. Raises NotFound for an
        id that no such alert has, Unavailable."""
        table = tables.alerts
        now = datetime.now(UTC)
        which = [table.c.status == "failed", *([table.c.id == id] if id is not None else [])]
        async with self._database.writing() as connection:
            found = await connection.execute(
                update(table).where(*which).values(status="waiting", since=now, due_at=now, attempts=0, ended_at=None)
            )
        if id is not None and found.rowcount == 0:
            raise NotFound(f"no alert '{id}' was given up; see `orchestrator alerts list --status failed`")
        self.arrived.set()
        return found.rowcount

    async def purge(self, older_than: float) -> int:
        """Forget alerts that were raised more than so many seconds ago and are not waiting; how many there were.
        Raises Unavailable."""
        table = tables.alerts
        before = datetime.now(UTC) - timedelta(seconds=older_than)
        async with self._database.writing() as connection:
            gone = await connection.execute(
                delete(table).where(table.c.status != "waiting", table.c.raised_at < before)
            )
        return gone.rowcount


def alert_id(run_id: str, execution: str, place: int) -> str:
    """The id of an alert: a flow's ``place``-th one, about the run that began with this execution."""
    return hashlib.sha256(json.dumps([run_id, execution, place]).encode()).hexdigest()[:32]


def _is_due(now: datetime) -> ColumnElement[bool]:
    return and_(tables.alerts.c.status == "waiting", tables.alerts.c.due_at <= now)


def _alert(row: RowMapping) -> Alert:
    return Alert(
        id=row["id"],
        flow=row["flow"],
        version=row["version"],
        run_id=row["run_id"],
        channel=row["channel"],
        told=json.loads(row["told"]),
        status=row["status"],
        raised_at=row["raised_at"],
        since=row["since"],
        attempts=row["attempts"],
        sent=json.loads(row["sent"]),
        problem=row["problem"],
    )
