"""Verbs that act on a run: end it, hold it, talk to it, go on from it."""

from __future__ import annotations

import getpass
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.console import InputUnusable, run, say, show, show_json
from orchestrator.cli.runs import AsJson, Order, RunId, watch
from orchestrator.client import Client, Plan, Run
from orchestrator.devserver.connect import connected
from orchestrator.settings import Settings

Json = Any

Reason = Annotated[str | None, typer.Option("--reason", help="Why; kept with the run.")]
By = Annotated[str | None, typer.Option("--by", help="Who asks; without it, your login name.")]
Pin = Annotated[
    list[str] | None,
    typer.Option("--pin", metavar="STEP=JSON", help="A step's result, instead of running it; =@FILE reads a file."),
]
OnlyPlan = Annotated[bool, typer.Option("--plan", help="Only tell what would be kept and run again.")]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until the new run is over and print its result.")]

_SHOWN = 20
"""Steps a plan names per line; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Going:
    """How a run that goes on from another was asked for."""

    pins: dict[str, Json]
    by: str
    plan: bool
    wait: bool
    as_json: bool


def cancel(context: typer.Context, run_id: RunId, reason: Reason = None, as_json: AsJson = False) -> None:
    """Ask a run to stop; it compensates and cleans up first."""
    _act(context.obj, run_id, lambda found: found.cancel(reason), "cancellation requested", as_json)


def terminate(context: typer.Context, run_id: RunId, reason: Reason = None, as_json: AsJson = False) -> None:
    """End a run at once. Nothing is compensated, no `finally` runs, open tasks stay open."""
    _act(context.obj, run_id, lambda found: found.terminate(reason), "terminated; nothing was compensated", as_json)


def pause(
    context: typer.Context,
    run_id: RunId,
    stop_clock: Annotated[bool, typer.Option("--stop-clock", help="Stop deadlines and waits meanwhile.")] = False,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Let no new step begin. What runs finishes; signals are kept."""
    who = by or getpass.getuser()
    _act(context.obj, run_id, lambda found: found.pause(stop_clock=stop_clock, by=who), "pausing", as_json)


def resume(context: typer.Context, run_id: RunId, by: By = None, as_json: AsJson = False) -> None:
    """Let a paused run go on."""
    who = by or getpass.getuser()
    _act(context.obj, run_id, lambda found: found.resume(by=who), "resumed", as_json)


def signal(
    context: typer.Context,
    run_id: RunId,
    name: Annotated[str, typer.Argument(help="The signal a step waits for.")],
    data: Annotated[str | None, typer.Option("--data", metavar="JSON", help="Its data; @FILE reads a file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send a signal to a run."""
    given = None if data is None else _json("--data", data)
    _act(context.obj, run_id, lambda found: found.signal(name, given), f"signal {name} sent", as_json)


def event(
    context: typer.Context,
    run_id: RunId,
    kind: Annotated[str, typer.Argument(metavar="TYPE", help="The event's type, such as order.paid.")],
    data: Annotated[str | None, typer.Option("--data", metavar="JSON", help="Its data; @FILE reads a file.")] = None,
    event_id: Annotated[str | None, typer.Option("--id", help="The same id is taken once.")] = None,
    as_json: AsJson = False,
) -> None:
    """Hand a run an event; every wait that it matches takes it."""
    given = None if data is None else _json("--data", data)
    happened = {"type": kind, "id": event_id, "data": given}
    _act(context.obj, run_id, lambda found: found.deliver(happened), f"event {kind} delivered", as_json)


def retry(
    context: typer.Context,
    run_id: RunId,
    pin: Pin = None,
    by: By = None,
    plan: OnlyPlan = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that failed or was stopped, as a new run that keeps what completed."""
    going = _going(pin, by, plan, wait, as_json)
    _go_on(
        context.obj,
        going,
        lambda client: client.plan_retry(run_id, pins=going.pins),
        lambda client: client.retry(run_id, pins=going.pins, by=going.by),
    )


def rerun(
    context: typer.Context,
    run_id: RunId,
    from_step: Annotated[str, typer.Option("--from", metavar="STEP", help="The step's id, or its path.")],
    pin: Pin = None,
    by: By = None,
    plan: OnlyPlan = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Run a step and everything after it again, as a new run that keeps what was before."""
    going = _going(pin, by, plan, wait, as_json)
    _go_on(
        context.obj,
        going,
        lambda client: client.plan_rerun(run_id, from_step, pins=going.pins),
        lambda client: client.rerun(run_id, from_step, pins=going.pins, by=going.by),
    )


def restart(
    context: typer.Context,
    run_id: RunId,
    version: Annotated[
        str | None, typer.Option("--version", help="A published version; without it the latest.")
    ] = None,
    pin: Pin = None,
    by: By = None,
    plan: OnlyPlan = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Go on with a run that failed or was stopped, on another version of its flow."""
    going = _going(pin, by, plan, wait, as_json)
    _go_on(
        context.obj,
        going,
        lambda client: client.plan_restart(run_id, version, pins=going.pins),
        lambda client: client.restart(run_id, version, pins=going.pins, by=going.by),
    )


def _act(settings: Settings, run_id: str, deed: Callable[[Run], Awaitable[Json]], done: str, as_json: bool) -> None:
    async def act() -> None:
        async with connected(settings) as parts:
            await deed(parts.client.run(run_id))

    run(act())
    if as_json:
        show_json({"run_id": run_id, "accepted": True})
    else:
        show(f"{run_id}: {done}")


def _going(pin: list[str] | None, by: str | None, plan: bool, wait: bool, as_json: bool) -> Going:
    return Going(pins_of(pin or []), by or getpass.getuser(), plan, wait, as_json)


def _go_on(
    settings: Settings,
    going: Going,
    plan: Callable[[Client], Awaitable[Plan]],
    start: Callable[[Client], Awaitable[Run]],
) -> None:
    async def go_on() -> None:
        async with connected(settings) as parts:
            if going.plan:
                _show_plan(await plan(parts.client), going.as_json)
                return
            started = await start(parts.client)
            if going.wait:
                await watch(started, Order(True, None, None, going.as_json))
            elif going.as_json:
                show_json({"run_id": started.id, "flow": started.flow, "version": started.version})
            else:
                show(started.id)

    run(go_on())


def _show_plan(plan: Plan, as_json: bool) -> None:
    if as_json:
        show_json(plan)
        return
    show(f"{plan.run_id}: goes on from {plan.retry_of}, flow {plan.flow} {plan.version}")
    told = (
        ("kept", plan.kept),
        ("run again", [path for path in plan.again if path not in plan.undone]),
        ("run again, compensated before", plan.undone),
        ("not taken over, another step now", plan.changed),
        ("pinned", plan.pinned),
        ("their effect stays, no compensation is known", plan.left),
    )
    for what, paths in told:
        if paths:
            more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
            show(f"{what}: {', '.join(paths[:_SHOWN])}{more}")
    say("nothing was started")


def pins_of(given: list[str]) -> dict[str, Json]:
    """Results by step, from ``--pin`` options. Raises InputUnusable."""
    pins: dict[str, Json] = {}
    for pair in given:
        step, equals, value = pair.partition("=")
        if not equals or not step:
            raise InputUnusable(f"--pin {pair!r} has no result: write --pin step=JSON or --pin step=@file.json")
        pins[step] = _json(f"--pin {step}", value)
    return pins


def _json(option: str, text: str) -> Json:
    """JSON of the command line, or of a file where it begins with ``@``. Raises InputUnusable."""
    try:
        return json.loads(Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        raise InputUnusable(f"{option} cannot be read as JSON: {error}; text needs quotes of its own") from error


def add_to(app: typer.Typer) -> None:
    """Register the verbs under ``runs``."""
    for verb in (cancel, terminate, pause, resume, signal, event, retry, rerun, restart):
        app.command(verb.__name__)(verb)
