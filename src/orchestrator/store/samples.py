"""Samples: deliveries to a trigger's test address, kept for editors and tests of flows. They started nothing."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import delete, select

from orchestrator.spec.definition import Json
from orchestrator.store import tables
from orchestrator.store.connection import Database

KEPT = 20
"""Samples of one trigger; older ones go."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One delivery. ``delivery`` is what ``trigger`` would have been, ``outcome`` what would have been started."""

    id: str
    flow: str
    trigger: str
    version: str
    delivery: dict[str, Json]
    outcome: dict[str, Json]
    created_at: datetime


class Samples:
    """The newest deliveries to test addresses."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, flow: str, trigger: str, version: str, delivery: dict[str, Json], outcome: dict[str, Json]
    ) -> Sample:
        """Keep a delivery; of one trigger the newest ``KEPT``."""
        sample = Sample(uuid.uuid4().hex, flow, trigger, version, delivery, outcome, datetime.now(UTC))
        table = tables.samples
        async with self._database.writing() as connection:
            await connection.execute(
                table.insert().values(
                    id=sample.id,
                    flow=flow,
                    trigger=trigger,
                    version=version,
                    delivery=json.dumps(delivery),
                    outcome=json.dumps(outcome),
                    created_at=sample.created_at,
                )
            )
            mine = (table.c.flow == flow) & (table.c.trigger == trigger)
            newest = select(table.c.id).where(mine).order_by(table.c.created_at.desc(), table.c.id).limit(KEPT)
            await connection.execute(delete(table).where(mine, table.c.id.not_in(newest)))
        return sample

    async def list(self, flow: str, trigger: str | None = None, limit: int = KEPT) -> list[Sample]:
        """Samples of a flow, newest first."""
        table = tables.samples
        query = select(table).where(table.c.flow == flow)
        if trigger is not None:
            query = query.where(table.c.trigger == trigger)
        async with self._database.reading() as connection:
            rows = await connection.execute(query.order_by(table.c.created_at.desc(), table.c.id).limit(limit))
            return [
                Sample(
                    row.id,
                    row.flow,
                    row.trigger,
                    row.version,
                    json.loads(row.delivery),
                    json.loads(row.outcome),
                    row.created_at,
                )
                for row in rows
            ]
