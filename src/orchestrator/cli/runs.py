"""Verbs about runs: run, runs list, runs show. Those that act on one are in ``control.py``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator import admission
from orchestrator.cli import progress
from orchestrator.cli.console import FAILED, InputUnusable, run, say, show, show_json, show_table
from orchestrator.cli.inputs import read_inputs, typed
from orchestrator.client import Run, RunCancelled, RunFailed
from orchestrator.devserver.connect import Parts, connected
from orchestrator.settings import Settings
from orchestrator.spec.loading import load_flow_file
from orchestrator.store.flows import FlowVersion

Json = Any
AsJson = Annotated[bool, typer.Option("--json", help="Write the result as JSON.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]

runs_app = typer.Typer(no_args_is_help=True, help="Look at runs, end and hold them, go on from them.")


@dataclass(frozen=True, slots=True)
class Order:
    """How a start was asked for."""

    wait: bool
    until: str | None
    run_id: str | None
    as_json: bool


def run_flow(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="FILE|FLOW", help="A flow file, or the id of a published flow.")],
    given: Annotated[
        list[str] | None, typer.Option("--input", "-i", metavar="NAME=VALUE", help="One input; may be repeated.")
    ] = None,
    inputs_file: Annotated[Path | None, typer.Option("--inputs-file", help="JSON file with all inputs.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the run is over and print its result.")] = False,
    until: Annotated[str | None, typer.Option("--until", help="End after this step with its output.")] = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="The run's id; made up without it.")] = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Only show what the steps would be called with.")] = False,
    mocks: Annotated[
        Path | None, typer.Option("--mocks", help="With --dry-run: what steps answer; the rest is made up.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start a flow. A file is published as an edit first, so that the published version stays as it is."""
    settings: Settings = context.obj
    inputs = read_inputs(inputs_file, given or [])
    if dry:
        from orchestrator.cli.dry_run import show_dry_run

        run(show_dry_run(settings, target, inputs, mocks, as_json=as_json))
        return
    if mocks is not None:
        raise InputUnusable("--mocks says what steps answer in a --dry-run; steps of a run that is started are called")
    run(_run_flow(settings, target, inputs, Order(wait, until, run_id, as_json)))


async def _run_flow(settings: Settings, target: str, inputs: dict[str, Json], order: Order) -> None:
    async with connected(settings) as parts:
        version = await _version_of(parts, target)
        started = await parts.client.start(
            version.flow,
            typed(inputs, version.definition.inputs),
            version=version.version,
            run_id=order.run_id,
            until=order.until,
        )
        if order.wait:
            await watch(started, order)
        elif order.as_json:
            show_json({"run_id": started.id, "flow": started.flow, "version": started.version})
        else:
            show(started.id)


async def _version_of(parts: Parts, target: str) -> FlowVersion:
    """The version to run: a file's, published as an edit, or a flow's current one."""
    path = Path(target)
    if path.suffix not in admission.FLOW_SUFFIXES:
        return await parts.store.flows.current(target)
    loaded = load_flow_file(path, parts.project())
    published = await admission.publish(parts.store, parts.project(), loaded, as_edit=True)
    return await parts.store.flows.version(published.flow, published.version)


async def watch(started: Run, order: Order) -> None:
    """Show the run on stderr until it is over, then its result on stdout. Exit code 1 unless it completed."""
    say(f"run {started.id} of flow {started.flow} {started.version}")
    shown: dict[str, None] = {}
    told = progress.Told(_tell)
    while True:
        state = await progress.follow(started, told, lambda wait: wait["path"] not in shown)
        if state["status"] in progress.OVER:
            break
        for wait in state["waits"]:
            shown[wait["path"]] = None
            say(f"  waiting at {wait['path']}{_how_to_answer(wait)}", "cyan")
    await _end(started, order)


async def _end(started: Run, order: Order) -> None:
    try:
        result = await started.result()
    except RunFailed as failure:
        if order.as_json:
            show_json({"run_id": started.id, "status": "failed", "error": failure.error})
        say(f"error: {failure}", "red")
        raise typer.Exit(FAILED) from failure
    except RunCancelled as cancelled:
        if order.as_json:
            show_json({"run_id": started.id, "status": "cancelled"})
        say(f"error: {cancelled}", "red")
        raise typer.Exit(FAILED) from cancelled
    if order.as_json:
        show_json({"run_id": started.id, "status": "completed", "result": result})
    else:
        show_json(result)


def _tell(path: str, record: dict[str, Json]) -> None:
    if record["status"] == "running":
        return
    mark, style = progress.MARKS.get(record["status"], ("?", None))
    why = f"  {record['error']['message']}" if "error" in record else ""
    say(f"  {mark} {path}  {progress.kind(path, record)}  {progress.duration(record)}{why}", style)


def _how_to_answer(wait: dict[str, Json]) -> str:
    if "task_id" in wait:
        return f": orchestrator tasks approve {wait['task_id']}"
    return f" until {wait['until']}" if wait.get("until") else ""


@runs_app.command("list")
def list_runs(
    context: typer.Context,
    flow: Annotated[str | None, typer.Option("--flow", help="Only this flow's runs.")] = None,
    status: Annotated[str | None, typer.Option("--status", help="running, completed, failed …")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    run(_list(context.obj, flow, status, limit, as_json))


async def _list(settings: Settings, flow: str | None, status: str | None, limit: int, as_json: bool) -> None:
    async with connected(settings) as parts:
        found = await parts.client.runs(flow=flow, status=status, limit=limit)
    if as_json:
        show_json(found)
        return
    show_table(
        ("RUN", "FLOW", "VERSION", "STATUS", "STARTED", "FINISHED"),
        ((info.id, info.flow, info.version, info.status, info.started_at, info.finished_at) for info in found),
    )


@runs_app.command("show")
def show_run(context: typer.Context, run_id: RunId, as_json: AsJson = False) -> None:
    """Show one run: its steps, what it waits for, its error."""
    run(_show(context.obj, run_id, as_json))


async def _show(settings: Settings, run_id: str, as_json: bool) -> None:
    async with connected(settings) as parts:
        info = await parts.client.run(run_id).info()
        following = await parts.client.next_of(info)
        state = await parts.client.run(run_id).state()
    if as_json:
        show_json(state)
        return
    show(f"{run_id}: flow {state.get('flow', '?')} {state.get('version', '')}, {state['status']}")
    if info.retry_of:
        show(f"goes on from {info.retry_of}")
    if following:
        show(f"goes on as {following.id}, which is {following.status}")
    show_table(
        ("STEP", "TYPE", "STATUS", "TIME", "ATTEMPTS"),
        (
            (path, progress.kind(path, record), record["status"], progress.duration(record), record["attempts"])
            for path, record in state["steps"].items()
        ),
    )
    for undone in state.get("compensations", ()):
        show(f"compensation of {undone['path']}: {undone['status']}")
    for wait in state["waits"]:
        show(f"waiting at {wait['path']}{_how_to_answer(wait)}")
    if "error" in state:
        show(f"error: {state['error']['type']}: {state['error']['message']}")


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.command("run")(run_flow)
    app.add_typer(runs_app, name="runs")
