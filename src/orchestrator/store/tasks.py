"""Human tasks: what people see and decide. The run's own record is in Temporal; a task is its public face."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import RowMapping, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from orchestrator.errors import NotFound
from orchestrator.spec.definition import Json
from orchestrator.store import tables
from orchestrator.store.connection import Database

Status = Literal["open", "decided", "expired", "cancelled"]


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task as a step opens it. ``path`` is the step's journal path: every pass of a loop has its own."""

    run_id: str
    flow: str
    step: str
    path: str
    title: str | None = None
    instructions: str | None = None
    assignee: str | None = None
    group: str | None = None
    form: dict[str, Json] | None = None
    decisions: list[Json] = field(default_factory=lambda: ["approve", "reject"])
    deadline: datetime | None = None
    attachments: list[Json] | None = None
    comment_required: list[str] | None = None
    quorum: Json = None
    not_by: list[str] | None = None
    people: list[str] | None = None
    """Who is asked, where the contacts tell."""

    @property
    def id(self) -> str:
        return f"{self.run_id}:{self.path}"


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it is stored. The fields from ``decision`` to ``automatic`` are set when it is closed; ``assignee`` and
    ``group`` are who has it now."""

    id: str
    run_id: str
    flow: str
    step: str
    path: str
    title: str | None
    instructions: str | None
    assignee: str | None
    group: str | None
    form: dict[str, Json] | None
    decisions: list[Json]
    status: Status
    opened_at: datetime
    deadline: datetime | None = None
    decision: str | None = None
    data: Json = None
    comment: str | None = None
    by: str | None = None
    decided_at: datetime | None = None
    automatic: bool = False
    attachments: list[Json] | None = None
    comment_required: list[str] | None = None
    quorum: Json = None
    not_by: list[str] | None = None
    people: list[str] | None = None
    votes: list[Json] | None = None

    @property
    def decision_names(self) -> list[str]:
        """What can be decided, in the author's order."""
        return [entry["name"] if isinstance(entry, dict) else entry for entry in self.decisions]


class Tasks:
    """The human tasks of all runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, task: NewTask) -> Task:
        """Record an open task. Idempotent by id: a task that exists, open or closed, is returned as it is."""
        table = tables.tasks
        async with self._database.writing() as connection:
            insert = postgresql_insert if connection.dialect.name == "postgresql" else sqlite_insert
            await connection.execute(
                insert(table)
                .values(
                    id=task.id,
                    run_id=task.run_id,
                    flow=task.flow,
                    step=task.step,
                    path=task.path,
                    title=task.title,
                    instructions=task.instructions,
                    assignee=task.assignee,
                    group=task.group,
                    form=task.form,
                    decisions=task.decisions,
                    deadline=task.deadline,
                    status="open",
                    opened_at=datetime.now(UTC),
                    automatic=False,
                    attachments=task.attachments,
                    comment_required=task.comment_required,
                    quorum=task.quorum,
                    not_by=task.not_by,
                    people=task.people,
                )
                .on_conflict_do_nothing()
            )
            found = await connection.execute(select(table).where(table.c.id == task.id))
            return _task(found.mappings().one())

    async def get(self, task_id: str) -> Task:
        """The task. Raises NotFound."""
        table = tables.tasks
        async with self._database.reading() as connection:
            found = await connection.execute(select(table).where(table.c.id == task_id))
            row = found.mappings().first()
        if row is None:
            raise NotFound(f"there is no task '{task_id}'; `orchestrator tasks list` shows the open ones")
        return _task(row)

    async def update(self, task_id: str, **changed: Json) -> Task:
        """Write who has an open task now, until when, and the votes so far; a closed task stays as it is. Raises
        NotFound."""
        table = tables.tasks
        async with self._database.writing() as connection:
            await connection.execute(
                update(table).where(table.c.id == task_id, table.c.status == "open").values(**changed)
            )
        return await self.get(task_id)

    async def close(
        self,
        task_id: str,
        *,
        status: Status,
        decision: str | None = None,
        data: Json = None,
        comment: str | None = None,
        by: str | None = None,
        automatic: bool = False,
        decided_at: datetime | None = None,
    ) -> Task:
        """Close an open task and return it. A closed task keeps its first end. Raises NotFound."""
        table = tables.tasks
        async with self._database.writing() as connection:
            await connection.execute(
                update(table)
                .where(table.c.id == task_id, table.c.status == "open")
                .values(
                    status=status,
                    decision=decision,
                    data=data,
                    comment=comment,
                    by=by,
                    automatic=automatic,
                    decided_at=decided_at or datetime.now(UTC),
                )
            )
        return await self.get(task_id)

    async def list(
        self,
        *,
        status: Status | None = None,
        assignee: str | None = None,
        run_id: str | None = None,
        limit: int = 100,
    ) -> list[Task]:
        """Tasks, newest first, narrowed by what is given."""
        table = tables.tasks
        wanted = {"status": status, "assignee": assignee, "run_id": run_id}
        query = select(table).order_by(table.c.opened_at.desc(), table.c.id).limit(limit)
        for column, value in wanted.items():
            if value is not None:
                query = query.where(table.c[column] == value)
        async with self._database.reading() as connection:
            found = await connection.execute(query)
            return [_task(row) for row in found.mappings()]


def _task(row: RowMapping | dict[str, Any]) -> Task:
    return Task(**row)
