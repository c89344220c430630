"""The ``human-task`` step's part outside the workflow: the task that people see is opened and closed in the
store. The waiting itself is the engine's."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from orchestrator.errors import NotFound, StepError, TerminalError, Unavailable
from orchestrator.spec.acts.human_task import HumanTaskConfig
from orchestrator.spec.base import Spec
from orchestrator.steps.context import STORE, StepContext
from orchestrator.store.database import Store
from orchestrator.store.tasks import NewTask, Task

Json = Any

TYPE = "human-task"
CONFIG = HumanTaskConfig


class Closing(Spec):
    """How a task ended. ``path`` is the task's own path."""

    status: Literal["decided", "expired", "cancelled"]
    path: str = Field(min_length=1)
    decision: str | None = None
    data: Json = None
    comment: str | None = None
    by: str | None = None
    automatic: bool = False
    at: str | None = None
    """ISO instant."""


async def open_task(config: HumanTaskConfig, context: StepContext, deadline: str | None = None) -> Json:
    """Put the task where people find it, and return its row as JSON. Doing it twice leaves one task.

    ``deadline`` is the ISO instant the engine computed. Raises StepError ``store_unavailable``.
    """
    task = NewTask(
        run_id=context.run_id,
        flow=context.flow,
        step=context.step_id,
        path=context.path,
        title=config.title or context.step_id,
        instructions=config.instructions,
        assignee=config.assignee,
        group=config.group,
        form=config.form,
        decisions=list(config.labelled()),
        deadline=None if deadline is None else datetime.fromisoformat(deadline),
    )
    store = _store(context)
    try:
        opened = await store.tasks.open(task)
    except Unavailable as error:
        raise StepError("store_unavailable", str(error)) from error
    return _shown(opened)


run = open_task


async def close_task(closing: dict[str, Json], context: StepContext) -> Json:
    """Write how the task ended, as ``Closing`` says; a task that is closed keeps its first end. A task that
    was never opened (the run was cancelled before) is left alone and None is returned. Raises StepError
    ``store_unavailable``."""
    end = Closing.model_validate(closing)
    store = _store(context)
    try:
        closed = await store.tasks.close(
            f"{context.run_id}:{end.path}",
            status=end.status,
            decision=end.decision,
            data=end.data,
            comment=end.comment,
            by=end.by,
            automatic=end.automatic,
            decided_at=None if end.at is None else datetime.fromisoformat(end.at),
        )
    except NotFound:
        return None
    except Unavailable as error:
        raise StepError("store_unavailable", str(error)) from error
    return _shown(closed)


def _store(context: StepContext) -> Store:
    found: Store | None = context.resources.lent(STORE)
    if found is None:
        raise TerminalError("store_missing", "this worker has no store, so it cannot keep human tasks")
    return found


def _shown(task: Task) -> Json:
    return {
        "task_id": task.id,
        "status": task.status,
        "title": task.title,
        "assignee": task.assignee or task.group,
    }
