"""Verbs about schedules: schedules list, show, pause, resume, trigger, backfill."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated

import typer

from orchestrator.cli.console import InputUnusable, moment, run, show, show_json, show_table
from orchestrator.client.schedules import ScheduleInfo, Schedules
from orchestrator.devserver.connect import connected
from orchestrator.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Write the result as JSON.")]
Flow = Annotated[str, typer.Argument(metavar="FLOW", help="The flow's id.")]
Trigger = Annotated[
    str | None, typer.Argument(metavar="[TRIGGER]", help="The schedule's id in the flow; not needed if it has one.")
]
Note = Annotated[str | None, typer.Option("--note", help="Why.")]

schedules_app = typer.Typer(no_args_is_help=True, help="Look at schedules, pause them, start what they would.")


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[Schedules]:
    async with connected(settings) as parts:
        yield Schedules(parts.client)


async def _named(schedules: Schedules, flow: str, trigger: str | None) -> str:
    """The one that is meant. Raises InputUnusable where that is not clear."""
    if trigger is not None:
        return trigger
    names = [one.trigger for one in await schedules.list(flow)]
    if len(names) != 1:
        listed = f": {', '.join(names)}; name one" if names else ""
        raise InputUnusable(f"flow '{flow}' has {len(names) or 'no'} schedules{listed}")
    return names[0]


@schedules_app.command("list")
def list_schedules(
    context: typer.Context,
    flow: Annotated[str | None, typer.Option("--flow", help="Only this flow's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List schedules and when they come next."""
    run(_list(context.obj, flow, as_json))


async def _list(settings: Settings, flow: str | None, as_json: bool) -> None:
    async with _open(settings) as schedules:
        found = await schedules.list(flow)
    if as_json:
        show_json(found)
        return
    show_table(
        ("FLOW", "TRIGGER", "STATUS", "WHEN", "ZONE", "NEXT", "STARTED"),
        (
            (one.flow, one.trigger, one.status, one.when, one.timezone, next(iter(one.next), None), one.started)
            for one in found
        ),
    )


@schedules_app.command("show")
def show_schedule(context: typer.Context, flow: Flow, trigger: Trigger = None, as_json: AsJson = False) -> None:
    """Show a schedule: its next starts, the last ones, what was left out."""
    run(_show(context.obj, flow, trigger, as_json))


async def _show(settings: Settings, flow: str, trigger: str | None, as_json: bool) -> None:
    async with _open(settings) as schedules:
        one = await schedules.get(flow, await _named(schedules, flow, trigger))
    if as_json:
        show_json(one)
        return
    show(f"{one.flow} {one.trigger}: {one.when} ({one.timezone}), {one.status}{f': {one.note}' if one.note else ''}")
    show(f"started {one.started}, left out {one.skipped} for a run that went on, missed {one.missed}")
    for when in one.next[:5]:
        show(f"next  {moment(when)}")
    for start in one.recent[:5]:
        show(f"last  {moment(start.scheduled_time)}  {start.run_id}")


@schedules_app.command()
def pause(context: typer.Context, flow: Flow, trigger: Trigger = None, note: Note = None) -> None:
    """Start nothing until it is resumed, also when the flow is published again."""
    run(_hold(context.obj, flow, trigger, note, paused=True))


@schedules_app.command()
def resume(context: typer.Context, flow: Flow, trigger: Trigger = None, note: Note = None) -> None:
    """Go on after a pause."""
    run(_hold(context.obj, flow, trigger, note, paused=False))


async def _hold(settings: Settings, flow: str, trigger: str | None, note: str | None, *, paused: bool) -> None:
    async with _open(settings) as schedules:
        name = await _named(schedules, flow, trigger)
        found = await (schedules.pause if paused else schedules.resume)(flow, name, note)
    _tell(found)


def _tell(found: ScheduleInfo) -> None:
    coming = f", next {moment(found.next[0])}" if found.next else ""
    show(f"{found.flow} {found.trigger}: {found.status}{coming}")


@schedules_app.command("trigger")
def trigger_schedule(context: typer.Context, flow: Flow, trigger: Trigger = None) -> None:
    """Start a run now."""
    run(_trigger(context.obj, flow, trigger))


async def _trigger(settings: Settings, flow: str, trigger: str | None) -> None:
    async with _open(settings) as schedules:
        name = await _named(schedules, flow, trigger)
        await schedules.trigger(flow, name)
    show(f"{flow} {name}: a run starts now")


@schedules_app.command()
def backfill(
    context: typer.Context,
    flow: Flow,
    trigger: Trigger = None,
    start: Annotated[str, typer.Option("--from", help="ISO-8601 with zone.")] = "",
    end: Annotated[str, typer.Option("--to", help="ISO-8601 with zone.")] = "",
    overlap: Annotated[str, typer.Option(help="How runs may overlap.")] = "buffer-all",
) -> None:
    """Start the runs of a time that is past, one after the other."""
    run(_backfill(context.obj, flow, trigger, _instant("--from", start), _instant("--to", end), overlap))


def _instant(option: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise InputUnusable(f"{option} {text!r} is no instant; write for example 2026-11-20T09:00:00Z") from error


async def _backfill(
    settings: Settings, flow: str, trigger: str | None, start: datetime, end: datetime, overlap: str
) -> None:
    async with _open(settings) as schedules:
        name = await _named(schedules, flow, trigger)
        moments = await schedules.backfill(flow, name, start, end, overlap)
    show(f"{flow} {name}: {len(moments)} starts")
    for when in moments:
        show(f"  {moment(when)}")


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.add_typer(schedules_app, name="schedules")
