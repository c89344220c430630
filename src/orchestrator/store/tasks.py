"""Human tasks: what people see and decide. The run's own record is in Temporal; a task is its public face."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Column, ColumnElement, RowMapping, Text, and_, cast, func, not_, or_, select, update

from orchestrator.errors import NotFound
from orchestrator.spec.definition import Json
from orchestrator.store import tables
from orchestrator.store.connection import Database, insert_into

Status = Literal["open", "decided", "expired", "cancelled"]
Order = Literal["newest", "oldest", "deadline", "closed"]
"""Of a list: by when tasks were opened, by deadline (without one last), by when they were closed, newest first."""
CLOSED: tuple[Status, ...] = ("decided", "expired", "cancelled")


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


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which tasks a list has; what is None narrows nothing."""

    statuses: Sequence[Status] | None = None
    run_id: str | None = None
    flow: str | None = None
    holders: Sequence[str] | None = None
    """Names one of which has the task: a person, and the groups they are a member of."""
    person: str | None = None
    """Who might decide: tasks for which others are asked, or which this person may not decide, are left out."""
    overdue_at: datetime | None = None
    """Their deadline was before this moment."""


class Tasks:
    """The human tasks of all runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, task: NewTask) -> Task:
        """Record an open task. Idempotent by id: a task that exists, open or closed, is returned as it is."""
        table = tables.tasks
        async with self._database.writing() as connection:
            await connection.execute(
                insert_into(connection, table)
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
        wanted = Wanted(
            None if status is None else (status,), run_id, holders=None if assignee is None else (assignee,)
        )
        return list(await self.find(wanted, limit=limit))

    async def find(
        self, wanted: Wanted, *, order: Order = "newest", limit: int = 100, offset: int = 0
    ) -> Sequence[Task]:
        """Tasks in this order, without the first ``offset``."""
        query = select(tables.tasks).where(*_conditions(wanted)).order_by(*_order(order)).limit(limit).offset(offset)
        async with self._database.reading() as connection:
            return [_task(row) for row in (await connection.execute(query)).mappings()]

    async def count(self, wanted: Wanted) -> int:
        """How many there are."""
        query = select(func.count()).select_from(tables.tasks).where(*_conditions(wanted))
        async with self._database.reading() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def flows(self, wanted: Wanted) -> Sequence[str]:
        """The flows they come from, by name."""
        query = select(tables.tasks.c.flow).where(*_conditions(wanted)).distinct().order_by(tables.tasks.c.flow)
        async with self._database.reading() as connection:
            return (await connection.execute(query)).scalars().all()


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    table = tables.tasks.c
    found: list[ColumnElement[bool]] = []
    if wanted.statuses is not None:
        found.append(table.status.in_(list(wanted.statuses)))
    if wanted.run_id is not None:
        found.append(table.run_id == wanted.run_id)
    if wanted.flow is not None:
        found.append(table.flow == wanted.flow)
    if wanted.overdue_at is not None:
        found.append(table.deadline < wanted.overdue_at)
    if wanted.person is not None:
        # In a quorum only those who are asked vote; they may have taken the place of a member.
        asked = _names(table.people, wanted.person)
        others_are_asked = and_(table.quorum.is_not(None), table.people.is_not(None), not_(asked))
        found += [not_(others_are_asked), or_(table.not_by.is_(None), not_(_names(table.not_by, wanted.person)))]
        if wanted.holders is not None:
            found.append(or_(_held_by(wanted.holders), and_(table.people.is_not(None), asked)))
    elif wanted.holders is not None:
        found.append(_held_by(wanted.holders))
    return found


def _held_by(names: Sequence[str]) -> ColumnElement[bool]:
    table = tables.tasks.c
    return or_(table.assignee.in_(list(names)), table.group.in_(list(names)))


def _names(column: Column[Any], person: str) -> ColumnElement[bool]:
    """Whether a column that holds a list of names, as JSON, has that of the person. False where it is null."""
    return func.coalesce(cast(column, Text), "").icontains(json.dumps(person), autoescape=True)


def _order(order: Order) -> tuple[ColumnElement[Any], ...]:
    table = tables.tasks.c
    match order:
        case "oldest":
            return table.opened_at.asc(), table.id
        case "deadline":
            return table.deadline.is_(None), table.deadline.asc(), table.opened_at.asc(), table.id
        case "closed":
            return table.decided_at.desc(), table.opened_at.desc(), table.id
        case "newest":
            return table.opened_at.desc(), table.id


def _task(row: RowMapping | dict[str, Any]) -> Task:
    return Task(**row)
