"""The ledger: how runs of monitored flows ended, and what they took."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, RowMapping, delete, func, select, update

from orchestrator.spec.definition import Json
from orchestrator.store import tables
from orchestrator.store.connection import Database, insert_into

_MISSING = "ended runs"
"""Under which name is kept until when runs that ended unnoticed were looked for."""
_UNJUDGED = ""
"""What stands for the conditions that held, until that is known."""
COUNTED = ("completed", "failed", "timed_out")
"""Ends that rates are made of: who cancels a run says nothing about the flow."""


@dataclass(frozen=True, slots=True)
class Line:
    """One run that has ended. Times are seconds, the cost US dollars."""

    run_id: str
    flow: str
    version: str
    status: str
    started_at: datetime
    finished_at: datetime
    execution_time: float
    execution: str = ""
    """Temporal's id of the first execution: a workflow id may be used again."""
    queue_time: float = 0.0
    step_duration: float = 0.0
    attempts: int = 0
    tokens: int = 0
    cost: float = 0.0
    trigger: str | None = None
    error: str | None = None
    """The type of what it failed with."""
    steps: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    """By id: ``{runs, seconds, longest, attempts, failed?, tokens?, cost?}``."""

    @property
    def id(self) -> str:
        """SHA-256 (hex) of what names the run."""
        return hashlib.sha256(json.dumps([self.run_id, self.execution]).encode()).hexdigest()

    @property
    def cut_off(self) -> bool:
        """Whether Temporal ended the run, which could not say then what its steps took."""
        return self.status == "terminated" or (self.status == "timed_out" and self.error == "timed_out")


@dataclass(frozen=True, slots=True)
class Recent:
    """The newest runs of a flow: how many count, and how many of them completed."""

    runs: int
    completed: int

    @property
    def success_rate(self) -> float | None:
        """From 0 to 1; None where no run counts."""
        return self.completed / self.runs if self.runs else None


class Ledger:
    """The runs of the last weeks, as long as they are kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, line: Line) -> None:
        """Keep a line. The same run again replaces it."""
        members = _members(line)
        async with self._database.writing() as connection:
            await connection.execute(
                insert_into(connection, tables.ledger)
                .values(id=line.id, held="[]", **members)
                .on_conflict_do_update(index_elements=["id"], set_=members)
            )

    async def add(self, line: Line) -> bool:
        """Keep a line unless the run has one; whether its alerts are still to be judged. Raises Unavailable."""
        table = tables.ledger
        async with self._database.writing() as connection:
            await connection.execute(
                insert_into(connection, table)
                .values(id=line.id, held=_UNJUDGED, **_members(line))
                .on_conflict_do_nothing(index_elements=["id"])
            )
            found = await connection.execute(select(table.c.held).where(table.c.id == line.id))
            return bool(found.scalar_one() == _UNJUDGED)

    async def looked_until(self) -> datetime | None:
        """Until when runs that ended without a line were looked for; None where nobody has. Raises Unavailable."""
        query = select(tables.looked.c.until).where(tables.looked.c.name == _MISSING)
        async with self._database.reading() as connection:
            found: datetime | None = (await connection.execute(query)).scalar_one_or_none()
        return found

    async def look(self, until: datetime) -> None:
        """Runs that ended without a line have been looked for until then. Raises Unavailable."""
        async with self._database.writing() as connection:
            await connection.execute(
                insert_into(connection, tables.looked)
                .values(name=_MISSING, until=until)
                .on_conflict_do_update(index_elements=["name"], set_={"until": until})
            )

    async def recent(self, flow: str, most: int) -> Recent:
        """The newest ``most`` runs of a flow that count."""
        table = tables.ledger
        newest = (
            select(table.c.status)
            .where(table.c.flow == flow, table.c.status.in_(COUNTED))
            .order_by(table.c.finished_at.desc(), table.c.id)
            .limit(most)
            .subquery()
        )
        async with self._database.reading() as connection:
            found = await connection.execute(select(newest.c.status, func.count()).group_by(newest.c.status))
            counts = {str(status): int(count) for status, count in found}
        return Recent(sum(counts.values()), counts.get("completed", 0))

    async def begun(self, line: Line, conditions: Sequence[str]) -> list[str]:
        """Which of the conditions about the flow as a whole that hold at the end of a run did not hold at the end of
        the run before it."""
        table = tables.ledger
        before = (
            select(table.c.held)
            .where(table.c.flow == line.flow, table.c.id != line.id, table.c.finished_at <= line.finished_at)
            .order_by(table.c.finished_at.desc(), table.c.id)
            .limit(1)
        )
        async with self._database.reading() as connection:
            known = (await connection.execute(before)).scalar_one_or_none()
        held = json.loads(known) if known else []
        return [condition for condition in conditions if condition not in held]

    async def hold(self, line: Line, conditions: Sequence[str]) -> None:
        """Note which conditions about the flow as a whole hold at the end of a run: its alerts are judged."""
        table = tables.ledger
        async with self._database.writing() as connection:
            noted = json.dumps(list(conditions), ensure_ascii=False)
            await connection.execute(update(table).where(table.c.id == line.id).values(held=noted))

    async def window(self, flow: str, since: datetime, until: datetime, most: int) -> list[Line]:
        """The runs of a flow that ended in that time, newest first, at most so many."""
        table = tables.ledger
        query = (
            select(table)
            .where(table.c.flow == flow, _between(since, until))
            .order_by(table.c.finished_at.desc(), table.c.id)
            .limit(most)
        )
        async with self._database.reading() as connection:
            return [_line(row) for row in (await connection.execute(query)).mappings()]

    async def purge(self, older_than: float) -> int:
        """Forget runs that ended more than so many seconds ago; how many there were."""
        before = datetime.now(UTC) - timedelta(seconds=older_than)
        async with self._database.writing() as connection:
            gone = await connection.execute(delete(tables.ledger).where(tables.ledger.c.finished_at < before))
        return gone.rowcount


def _members(line: Line) -> dict[str, Json]:
    return {
        "run_id": line.run_id,
        "flow": line.flow,
        "version": line.version,
        "status": line.status,
        "started_at": line.started_at,
        "finished_at": line.finished_at,
        "execution_time": line.execution_time,
        "queue_time": line.queue_time,
        "step_duration": line.step_duration,
        "attempts": line.attempts,
        "tokens": line.tokens,
        "cost": line.cost,
        "trigger": line.trigger,
        "error": line.error,
        "steps": json.dumps(line.steps, separators=(",", ":")),
    }


def _between(since: datetime, until: datetime) -> ColumnElement[bool]:
    return tables.ledger.c.finished_at.between(since, until)


def _line(row: RowMapping) -> Line:
    return Line(
        run_id=row["run_id"],
        flow=row["flow"],
        version=row["version"],
        status=row["status"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        execution_time=row["execution_time"],
        queue_time=row["queue_time"],
        step_duration=row["step_duration"],
        attempts=row["attempts"],
        tokens=row["tokens"],
        cost=row["cost"],
        trigger=row["trigger"],
        error=row["error"],
        steps=json.loads(row["steps"]),
    )
