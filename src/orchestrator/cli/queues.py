"""The verbs about queues: queues list, peek, send, redrive, purge."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from orchestrator.cli.console import InputUnusable, run, show, show_json, show_table
from orchestrator.client.queues import QueueDesk, QueueInfo
from orchestrator.settings import Settings
from orchestrator.spec.base import parse_duration
from orchestrator.spec.project import load_project
from orchestrator.store.database import Store
from orchestrator.store.queues import Message, Sent, Status

Json = Any
AsJson = Annotated[bool, typer.Option("--json", help="Write the result as JSON.")]
Queue = Annotated[str, typer.Argument(metavar="QUEUE", help="Its name.")]

queues_app = typer.Typer(no_args_is_help=True, help="Look into queues, send messages, see to dead letters.")


@queues_app.command("list")
def listed(context: typer.Context, as_json: AsJson = False) -> None:
    """Every queue: how many messages wait, how many were given up, which flows consume it."""
    found = run(_list(context.obj))
    if as_json:
        show_json([asdict(one) for one in found])
    elif not found:
        show("there are no queues yet; a flow with a `queue` trigger or step makes one")
    else:
        columns = ("QUEUE", "WAITING", "DEAD", "OLDEST", "CONSUMED BY")
        rows = ((one.queue, one.waiting, one.dead, one.oldest, ", ".join(one.consumers) or "nobody") for one in found)
        show_table(columns, rows)


@queues_app.command()
def peek(
    context: typer.Context,
    queue: Queue,
    dead: Annotated[bool, typer.Option("--dead", help="The dead letters, with the reason.")] = False,
    done: Annotated[bool, typer.Option("--done", help="What was seen to, with the run.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 20,
    as_json: AsJson = False,
) -> None:
    """Look at messages; nothing is taken out."""
    if dead and done:
        raise InputUnusable("--dead and --done exclude each other")
    found = run(_peek(context.obj, queue, "dead" if dead else "done" if done else "waiting", limit))
    if as_json:
        show_json([asdict(one) for one in found])
        return
    rows = ((one.id, one.due_at, one.key, one.deliveries, _became(one), _short(one.body)) for one in found)
    show_table(("MESSAGE", "DUE", "KEY", "TRIES", "BECAME", "CONTENT"), rows)


@queues_app.command()
def send(
    context: typer.Context,
    queue: Queue,
    message: Annotated[str, typer.Argument(help="The message, as JSON.")],
    message_id: Annotated[str | None, typer.Option("--id", help="The same id is one message.")] = None,
    key: Annotated[str | None, typer.Option(help="Messages of one key start their runs in order.")] = None,
    delay: Annotated[str, typer.Option(help="Such as 30s or 2h.")] = "0s",
    as_json: AsJson = False,
) -> None:
    """Send a message: the flow that consumes the queue starts with it."""
    try:
        body, seconds = json.loads(message), parse_duration(delay)
    except ValueError as error:
        raise InputUnusable(f"the message cannot be sent: {error}; write for example '{{\"order\": 7}}'") from error
    sent = run(_send(context.obj, queue, body, message_id, key, seconds))
    if as_json:
        show_json(asdict(sent))
    else:
        show(f"{sent.id} {'accepted' if sent.new else 'was accepted before'}")


@queues_app.command()
def redrive(
    context: typer.Context,
    queue: Queue,
    message: Annotated[str | None, typer.Argument(metavar="[MESSAGE]", help="One of them; without it all.")] = None,
) -> None:
    """Give dead letters another chance."""
    count = run(_redrive(context.obj, queue, message))
    show(f"{count} dead {'letter gets' if count == 1 else 'letters get'} another chance")


@queues_app.command()
def purge(
    context: typer.Context,
    queue: Queue,
    waiting: Annotated[bool, typer.Option("--waiting", help="What has not started a run yet.")] = False,
    dead: Annotated[bool, typer.Option("--dead", help="The dead letters.")] = False,
) -> None:
    """Delete messages for good."""
    if waiting == dead:
        raise InputUnusable("say which messages to delete: --waiting or --dead")
    count = run(_purge(context.obj, queue, "dead" if dead else "waiting"))
    show(f"{count} {'message' if count == 1 else 'messages'} deleted")


async def _list(settings: Settings) -> Sequence[QueueInfo]:
    async with _desk(settings) as desk:
        return await desk.infos()


async def _peek(settings: Settings, queue: str, status: Status, limit: int) -> Sequence[Message]:
    async with _desk(settings) as desk:
        return await desk.broker(queue).list(queue, status, limit)


async def _send(settings: Settings, queue: str, body: Json, id_: str | None, key: str | None, delay: float) -> Sent:
    async with _desk(settings) as desk:
        return await desk.send(queue, body, id=id_, key=key, delay=delay)


async def _redrive(settings: Settings, queue: str, message: str | None) -> int:
    async with _desk(settings) as desk:
        return await desk.broker(queue).redrive(queue, message)


async def _purge(settings: Settings, queue: str, status: Status) -> int:
    async with _desk(settings) as desk:
        return await desk.broker(queue).discard(queue, status)


@contextlib.asynccontextmanager
async def _desk(settings: Settings) -> AsyncIterator[QueueDesk]:
    """Over the store alone: no verb here needs Temporal."""
    project = load_project(settings.project_dir)
    store = await Store.open(settings.store)
    try:
        async with contextlib.aclosing(QueueDesk(store, lambda: project, settings)) as desk:
            yield desk
    finally:
        await store.aclose()


def _became(message: Message) -> str:
    if message.outcome is not None:
        return str(message.outcome.get("run_id") or "no flow wanted it")
    return message.problem or ""


def _short(body: Json) -> str:
    text = json.dumps(body, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:99]}…"


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.add_typer(queues_app, name="queues")
