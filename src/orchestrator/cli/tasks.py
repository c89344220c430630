"""Verbs about human tasks: tasks list, show, approve, reject, decide, comment, delegate, history, links."""

from __future__ import annotations

import getpass
import json
from dataclasses import asdict
from datetime import timedelta
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
    assignee: Annotated[
        str | None, typer.Option("--assignee", help="Only this person's or team's, and those of their groups.")
    ] = None,
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


@tasks_app.command("show")
def show_task(context: typer.Context, task: TaskId, as_json: AsJson = False) -> None:
    """Show a task: who has it, what it asks, what is attached, the votes so far."""
    run(_show(context.obj, task, as_json))


async def _show(settings: Settings, task_id: str, as_json: bool) -> None:
    async with connected(settings) as parts:
        task = await parts.client.task(task_id)
    if as_json:
        show_json(task)
        return
    for name, value in asdict(task).items():
        if value not in (None, [], False):
            show(f"{name}: {value if isinstance(value, str) else _plain(value)}")


def _plain(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


@tasks_app.command()
def comment(
    context: typer.Context, task: TaskId, text: Annotated[str, typer.Argument(help="What to say.")], by: By = None
) -> None:
    """Say something about an open task without deciding it."""
    run(_comment(context.obj, task, text, by))


async def _comment(settings: Settings, task: str, text: str, by: str | None) -> None:
    async with connected(settings) as parts:
        await parts.client.comment(task, text, by or getpass.getuser())
    show(f"{task}: commented")


@tasks_app.command()
def delegate(
    context: typer.Context,
    task: TaskId,
    to: Annotated[str, typer.Argument(help="Who gets it.")],
    comment: Comment = None,
    by: By = None,
) -> None:
    """Hand an open task on to somebody else."""
    run(_delegate(context.obj, task, to, comment, by))


async def _delegate(settings: Settings, task: str, to: str, comment: str | None, by: str | None) -> None:
    async with connected(settings) as parts:
        await parts.client.delegate(task, to, by or getpass.getuser(), comment)
    show(f"{task}: {to} has it now")


@tasks_app.command()
def history(context: typer.Context, task: TaskId, as_json: AsJson = False) -> None:
    """Show what has happened to a task."""
    run(_history(context.obj, task, as_json))


async def _history(settings: Settings, task: str, as_json: bool) -> None:
    async with connected(settings) as parts:
        found = await parts.client.task_history(task)
    if as_json:
        show_json(found)
        return
    told = ((entry.at, entry.action, entry.by, _plain(entry.details) if entry.details else None) for entry in found)
    show_table(("AT", "ACTION", "BY", "DETAILS"), told)


@tasks_app.command()
def links(
    context: typer.Context,
    task: TaskId,
    person: Annotated[str, typer.Argument(help="Who will have decided.")],
    expires_in: Annotated[
        int | None,
        typer.Option(min=1, max=90 * 86_400, help="Seconds; without it until the task's deadline, or a week."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make links with which a person can decide a task, once, from a mail or a chat."""
    run(_links(context.obj, task, person, expires_in, as_json))


async def _links(settings: Settings, task: str, person: str, expires_in: int | None, as_json: bool) -> None:
    lasts = None if expires_in is None else timedelta(seconds=expires_in)
    async with connected(settings) as parts:
        made = await parts.client.task_links(task, person, lasts, getpass.getuser())
    if as_json:
        show_json(made)
        return
    show_table(("DECISION", "EXPIRES", "LINK"), ((one.decision or "any", one.expires_at, one.url) for one in made))


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.add_typer(tasks_app, name="tasks")
