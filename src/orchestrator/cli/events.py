"""The verbs about events: events send, events list."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from orchestrator.cli.console import InputUnusable, run, show, show_json
from orchestrator.client.events import Sent, send_events
from orchestrator.devserver.connect import connected
from orchestrator.settings import Settings
from orchestrator.spec.project import load_project
from orchestrator.store.events import KeptEvent

Json = Any

events_app = typer.Typer(no_args_is_help=True, help="Send events to flows and runs, and see what became of them.")
_AS_JSON = typer.Option("--json", help="Write the result as JSON.")


@events_app.command("send")
def send(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="TYPE", help="Such as order.paid.")],
    data: Annotated[str | None, typer.Argument(help="The event's data, as JSON.")] = None,
    source: Annotated[str, typer.Option(help="Who tells of it.")] = "cli",
    event_id: Annotated[str | None, typer.Option("--id", help="The same id of a source counts once.")] = None,
    subject: Annotated[str | None, typer.Option(help="What it is about.")] = None,
    as_json: Annotated[bool, _AS_JSON] = False,
) -> None:
    """Send an event: every flow that subscribes starts, every run that waits for it gets it."""
    members: dict[str, Json] = {"type": kind, "source": source, "data": _read(data)}
    members |= {name: value for name, value in (("id", event_id), ("subject", subject)) if value is not None}
    [sent] = run(_send(context.obj, members))
    if as_json:
        show_json({"id": sent.event.id, "source": sent.event.source, "type": kind, "new": sent.new})
    else:
        show(f"{sent.event.id} {'accepted' if sent.new else 'was accepted before'}")


@events_app.command("list")
def listed(
    context: typer.Context,
    kind: Annotated[str | None, typer.Option("--type", help="Only events of this type.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 20,
    as_json: Annotated[bool, _AS_JSON] = False,
) -> None:
    """The newest events, and the runs they started or were delivered to."""
    found = run(_list(context.obj, kind, limit))
    if as_json:
        show_json([_shown(kept) for kept in found])
        return
    for kept in found:
        event = kept.event
        show(f"{kept.accepted_at:%Y-%m-%d %H:%M:%S}  {event.type}  {event.id}  {_became(kept)}")


def _read(data: str | None) -> Json:
    if data is None:
        return None
    try:
        return json.loads(data)
    except ValueError as error:
        raise InputUnusable(f"the data is not JSON: {error}") from error


async def _send(settings: Settings, members: dict[str, Json]) -> list[Sent]:
    async with connected(settings) as parts:
        return await send_events(parts.store, load_project(settings.project_dir), [members])


async def _list(settings: Settings, kind: str | None, limit: int) -> Sequence[KeptEvent]:
    async with connected(settings) as parts:
        return await parts.store.events.list(kind=kind, limit=limit)


def _shown(kept: KeptEvent) -> dict[str, Json]:
    routed = None if kept.routed_at is None else kept.routed_at.isoformat()
    times = {"accepted_at": kept.accepted_at.isoformat(), "routed_at": routed}
    return kept.event.told() | times | {"outcome": [dict(one) for one in kept.outcome]}


def _became(kept: KeptEvent) -> str:
    if kept.routed_at is None:
        return "waits to be routed: does a gateway run?"
    return "; ".join(_outcome(one) for one in kept.outcome) or "nobody wanted it"


def _outcome(one: Mapping[str, Json]) -> str:
    """What became of an event for one flow or run."""
    if one.get("delivered"):
        return f"delivered to {one['run_id']}"
    if "run_id" in one:
        return f"started {one['run_id']}"
    if "error" in one:
        return f"did not start {one['flow']}: {one['error']['message']}"
    return f"is gathered for {one['flow']}"


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.add_typer(events_app, name="events")
