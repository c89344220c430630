"""Verbs about human tasks: tasks list, approve, reject, decide."""

from __future__ import annotations

import getpass
import json
from typing import Annotated, Any, Literal

import typer

from orchestrator.cli.console import InputUnusable, run, show, show_json, show_table
from orchestrator.devserver.connect import connected
from orchestrator.settings import Settings
from orchestrator.store.tasks import Status

Json = Any
AsJson = Annotated[bool, typer.Option("--json", help="Write the result as JSON.")]
TaskId = Annotated[str, typer.Argument(metavar="TASK", help="The task's id, as `tasks list` shows it.")]
Comment = Annotated[str | None, typer.Option("--comment", "-c", help="Why.")]
By = Annotated[str | None, typer.Option("--by", help="Who decides; without it, your login name.")]
Data = Annotated[str | None, typer.Option("--data", help="JSON for the task's form.")]

tasks_app = typer.Typer(no_args_is_help=True, help="Look at human tasks and decide them.")


@tasks_app.command("list")
def list_tasks(
    context: typer.Context,
    status: Annotated[
        Literal["open", "decided", "expired", "cancelled", "all"], typer.Option("--status", help="Which ones.")
    ] = "open",
    assignee: Annotated[str | None, typer.Option("--assignee", help="Only this person's or team's.")] = None,
    run_id: Annotated[str | None, typer.Option("--run", help="Only this run's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List human tasks, the open ones unless told otherwise."""
    run(_list(context.obj, None if status == "all" else status, assignee, run_id, as_json))


async def _list(
    settings: Settings, status: Status | None, assignee: str | None, run_id: str | None, as_json: bool
) -> None:
    async with connected(settings) as parts:
        found = await parts.client.tasks(status=status, assignee=assignee, run_id=run_id)
    if as_json:
        show_json(found)
        return
    show_table(
        ("TASK", "STATUS", "ASSIGNEE", "DEADLINE", "TITLE"),
        ((task.id, task.status, task.assignee or task.group, task.deadline, task.title) for task in found),
    )


@tasks_app.command()
def approve(context: typer.Context, task: TaskId, comment: Comment = None, data: Data = None, by: By = None) -> None:
    """Decide a task with `approve`."""
    run(_decide(context.obj, task, "approve", data, comment, by))


@tasks_app.command()
def reject(context: typer.Context, task: TaskId, comment: Comment = None, data: Data = None, by: By = None) -> None:
    """Decide a task with `reject`."""
    run(_decide(context.obj, task, "reject", data, comment, by))


@tasks_app.command()
def decide(
    context: typer.Context,
    task: TaskId,
    decision: Annotated[str, typer.Argument(help="One of the task's decisions.")],
    comment: Comment = None,
    data: Data = None,
    by: By = None,
) -> None:
    """Decide a task with any of its decisions."""
    run(_decide(context.obj, task, decision, data, comment, by))


async def _decide(
    settings: Settings, task: str, decision: str, data: str | None, comment: str | None, by: str | None
) -> None:
    try:
        given = None if data is None else json.loads(data)
    except ValueError as error:
        raise InputUnusable(f"--data is no JSON: {error}") from error
    async with connected(settings) as parts:
        await parts.client.decide(task, decision, data=given, comment=comment, by=by or getpass.getuser())
    show(f"{task}: {decision}")


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.add_typer(tasks_app, name="tasks")
