"""``/v1/tasks``: what waits for a person."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from orchestrator.client import Client
from orchestrator.errors import NotFound
from orchestrator.gateway.sendable import check_sendable, showable
from orchestrator.store.tasks import Task

Status = Literal["open", "decided", "expired", "cancelled"]


class TaskShown(BaseModel):
    """A human task. `assignee` and `group` are who has it now."""

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
    attachments: list[Any] | None = Field(None, description="What is shown with the task: `name` and `value`")
    comment_required: list[str] | None = Field(None, description="Decisions that need a comment")
    quorum: Any = Field(None, description="How many have to agree; absent: one")
    not_by: list[str] | None = Field(None, description="Who may not decide")
    people: list[str] | None = Field(None, description="Who is asked, where `contacts` tell")
    votes: list[Any] | None = Field(None, description="Votes so far: `by`, `decision`, `comment`, `data`, `at`")


class TaskList(BaseModel):
    tasks: list[TaskShown]


def _storable(value: str | None) -> str | None:
    if value is not None and "\x00" in value:
        raise ValueError("holds a NUL character")
    return value


class Decision(BaseModel):
    """An answer to a task."""

    model_config = ConfigDict(extra="forbid")

    decision: str = Field(description="One of the task's decisions", examples=["approve"])
    data: Annotated[Any, AfterValidator(check_sendable)] = Field(None, description="What the task's form asks for")
    comment: str | None = None
    by: str | None = Field(None, description="Who decided")

    _text = field_validator("decision", "comment", "by")(_storable)


class Comment(BaseModel):
    """Something said about a task."""

    model_config = ConfigDict(extra="forbid")

    comment: str = Field(min_length=1)
    by: str | None = Field(None, description="Who says it")

    _text = field_validator("comment", "by")(_storable)


class Delegation(BaseModel):
    """A task is handed on."""

    model_config = ConfigDict(extra="forbid")

    to: str = Field(min_length=1, description="Who gets it")
    by: str = Field(min_length=1, description="Who has it")
    comment: str | None = None

    _text = field_validator("to", "by", "comment")(_storable)


class LinksWanted(BaseModel):
    """For whom links are made."""

    model_config = ConfigDict(extra="forbid")

    person: str = Field(min_length=1, max_length=200, description="Who will have decided")
    expires_in: int | None = Field(
        None, ge=1, le=90 * 86_400, description="Seconds; without it until the task's deadline, or a week"
    )
    by: str | None = Field(None, description="Who gives the links out")

    _text = field_validator("person", "by")(_storable)


class LinkShown(BaseModel):
    """A link that decides a task, once. It opens a page that asks for confirmation."""

    decision: str | None = Field(description="What it decides; null: chosen behind it")
    label: str
    url: str
    expires_at: datetime


class LinkList(BaseModel):
    links: list[LinkShown]


class HistoryEntry(BaseModel):
    """Something that happened to a task."""

    at: datetime
    action: str = Field(description="opened, commented, delegated, escalated, reminded, voted, decided, expired …")
    by: str | None
    details: dict[str, Any] | None


class TaskHistory(BaseModel):
    history: list[HistoryEntry]


class DecisionTaken(BaseModel):
    """The run has taken the answer."""

    model_config = ConfigDict(extra="allow")

    accepted: bool


def router(client: Client) -> APIRouter:
    """The operations on tasks."""
    api = APIRouter(prefix="/v1/tasks", tags=["tasks"])

    @api.get("", operation_id="listTasks", summary="List tasks, newest first")
    async def list_tasks(
        status: Status | None = None,
        assignee: Annotated[
            str | None, Query(description="Who has it: this person or team, or a group that they are a member of")
        ] = None,
        run_id: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> TaskList:
        found = await client.tasks(status=status, assignee=assignee, run_id=run_id, limit=limit)
        return TaskList(tasks=[_shown(task) for task in found])

    # Before the task itself, whose id takes the rest of the path.
    @api.get("/{task_id:path}/history", operation_id="getTaskHistory", summary="What has happened to a task")
    async def history(task_id: str) -> TaskHistory:
        try:
            found = await client.task_history(task_id)
        except NotFound:
            # A step may be called so too, and then this is the address of its task.
            task = await client.task(f"{task_id}/history")
            return JSONResponse(jsonable_encoder(_shown(task)))  # type: ignore[return-value]
        return TaskHistory(history=[HistoryEntry(**asdict(entry)) for entry in found])

    @api.get("/{task_id:path}", operation_id="getTask", summary="Look at a task")
    async def show(task_id: str) -> TaskShown:
        return _shown(await client.task(task_id))

    @api.post("/{task_id:path}/decision", operation_id="decideTask", summary="Decide an open task")
    async def decide(task_id: str, body: Decision) -> DecisionTaken:
        answer = await client.decide(task_id, body.decision, body.data, body.comment, body.by)
        return DecisionTaken(**answer)

    @api.post("/{task_id:path}/comments", operation_id="commentTask", summary="Say something about an open task")
    async def comment(task_id: str, body: Comment) -> DecisionTaken:
        return DecisionTaken(**await client.comment(task_id, body.comment, body.by))

    @api.post("/{task_id:path}/delegation", operation_id="delegateTask", summary="Hand an open task on")
    async def delegate(task_id: str, body: Delegation) -> DecisionTaken:
        return DecisionTaken(**await client.delegate(task_id, body.to, body.by, body.comment))

    @api.post("/{task_id:path}/links", operation_id="makeTaskLinks", summary="Links with which a person can decide")
    async def links(task_id: str, body: LinksWanted) -> LinkList:
        """For mail and chat: each can be used once, until it expires."""
        lasts = None if body.expires_in is None else timedelta(seconds=body.expires_in)
        made = await client.task_links(task_id, body.person, lasts, body.by)
        return LinkList(links=[LinkShown(**asdict(link)) for link in made])

    return api


def _shown(task: Task) -> TaskShown:
    given = {name: showable(getattr(task, name)) for name in ("form", "data", "attachments", "votes")}
    return TaskShown(**asdict(task) | given)
