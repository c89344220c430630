"""``/v1/tasks``: what waits for a person."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, field_validator

from orchestrator.client import Client
from orchestrator.store.tasks import Task

Status = Literal["open", "decided", "expired", "cancelled"]


class TaskShown(BaseModel):
    """A human task."""

    id: str
    run_id: str
    flow: str
    step: str
    path: str
    title: str | None
    instructions: str | None
    assignee: str | None
    group: str | None
    form: dict[str, Any] | None = Field(description="JSON Schema of `data`")
    decisions: list[Any]
    status: Status
    opened_at: datetime
    deadline: datetime | None
    decision: str | None
    data: Any
    comment: str | None
    by: str | None
    decided_at: datetime | None
    automatic: bool


class TaskList(BaseModel):
    tasks: list[TaskShown]


class Decision(BaseModel):
    """An answer to a task."""

    model_config = ConfigDict(extra="forbid")

    decision: str = Field(description="One of the task's decisions", examples=["approve"])
    data: Any = Field(None, description="What the task's form asks for")
    comment: str | None = None
    by: str | None = Field(None, description="Who decided")

    @field_validator("decision", "comment", "by")
    @classmethod
    def _text(cls, value: str | None) -> str | None:
        if value is not None and "\x00" in value:
            raise ValueError("holds a NUL character")
        return value


class DecisionTaken(BaseModel):
    """The run has taken the decision."""

    model_config = ConfigDict(extra="allow")

    accepted: bool


def router(client: Client) -> APIRouter:
    """The operations on tasks."""
    api = APIRouter(prefix="/v1/tasks", tags=["tasks"])

    @api.get("", operation_id="listTasks", summary="List tasks, newest first")
    async def list_tasks(
        status: Status | None = None,
        assignee: str | None = None,
        run_id: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> TaskList:
        found = await client.tasks(status=status, assignee=assignee, run_id=run_id, limit=limit)
        return TaskList(tasks=[_shown(task) for task in found])

    @api.get("/{task_id:path}", operation_id="getTask", summary="Look at a task")
    async def show(task_id: str) -> TaskShown:
        return _shown(await client.task(task_id))

    @api.post("/{task_id:path}/decision", operation_id="decideTask", summary="Decide an open task")
    async def decide(task_id: str, body: Decision) -> DecisionTaken:
        answer = await client.decide(task_id, body.decision, body.data, body.comment, body.by)
        return DecisionTaken(**answer)

    return api


def _shown(task: Task) -> TaskShown:
    return TaskShown(**asdict(task))
