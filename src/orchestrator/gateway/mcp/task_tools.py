"""Tools about human tasks: list and decide."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, Field

from orchestrator.client import Client
from orchestrator.gateway.mcp.tool import Arguments, BuiltIn, Call, Given, Text
from orchestrator.gateway.tasks import TaskList, TaskShown

_DECIDER = "mcp"


class ListTasks(Arguments):
    """Which tasks."""

    status: Literal["open", "decided", "expired", "cancelled"] = "open"
    assignee: Text | None = Field(None, description="Only this person's or team's, and those of their groups")
    run_id: Text | None = Field(None, description="Only this run's")
    limit: int = Field(50, ge=1, le=500)


class DecideTask(Arguments):
    """An answer to a task."""

    task_id: Given = Field(description="As list_tasks shows it")
    decision: Given = Field(description="One of the task's decisions, such as approve or reject")
    data: Any = Field(None, description="What the task's form asks for")
    comment: Text | None = Field(None, description="Why")
    by: Text | None = Field(None, description=f"The person who decided; without it `{_DECIDER}`")


class TaskDecided(BaseModel):
    """The run has taken the decision."""

    task_id: str
    run_id: str
    decision: str
    accepted: bool


def tools(client: Client) -> list[BuiltIn]:
    """The tools about human tasks."""

    async def listed(given: ListTasks, _: Call) -> TaskList:
        found = await client.tasks(status=given.status, assignee=given.assignee, run_id=given.run_id, limit=given.limit)
        return TaskList(tasks=[TaskShown(**asdict(task)) for task in found])

    async def decide(given: DecideTask, _: Call) -> TaskDecided:
        task = await client.task(given.task_id)
        await client.decide(given.task_id, given.decision, given.data, given.comment, given.by or _DECIDER)
        return TaskDecided(task_id=task.id, run_id=task.run_id, decision=given.decision, accepted=True)

    return [
        BuiltIn(
            "list_tasks",
            "List tasks",
            "Human tasks, newest first; the open ones unless told otherwise. Each has its decisions and the form of "
            "its `data`.",
            ListTasks,
            TaskList,
            listed,
        ),
        BuiltIn(
            "decide_task",
            "Decide a task",
            "Answer an open human task: the run goes on with the decision. Decide only what the person you work for "
            "has decided.",
            DecideTask,
            TaskDecided,
            decide,
            reads=False,
        ),
    ]
