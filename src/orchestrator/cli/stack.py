"""Verbs that run something for long: up, demo, worker, gateway; and doctor, which looks at all of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from orchestrator.cli.console import FAILED, run, say, say_problems, show, show_json
from orchestrator.cli.demo import demo as run_demo
from orchestrator.cli.doctor import Finding, examine
from orchestrator.devserver import HttpServer, Stack, connected
from orchestrator.errors import Problem, SettingsInvalid
from orchestrator.gateway.app import create_app
from orchestrator.settings import Settings
from orchestrator.worker import FlowWorker


class Told:
    """Tells on stderr what happens to flow files."""

    def note(self, text: str) -> None:
        """Something went as it should."""
        say(text, "dim")

    def problems(self, problems: Sequence[Problem]) -> None:
        """Findings with their place."""
        say_problems(problems)


def up(
    context: typer.Context,
    watch: Annotated[bool, typer.Option(help="Publish flows again when their files change.")] = True,
) -> None:
    """Start Temporal, worker and gateway in this process, and publish workflows/. Ctrl-C stops everything."""
    _log(context.obj)
    run(_up(context.obj, watch))


async def _up(settings: Settings, watch: bool) -> None:
    with stop_signals() as stop:
        async with Stack(settings, Told(), watch_files=watch) as stack:
            say(f"gateway          {stack.gateway_url}  (API at {stack.gateway_url}/docs)", "green")
            if stack.temporal_ui is not None:
                say(f"Temporal Web UI  {stack.temporal_ui}", "green")
            say("ready; Ctrl-C stops everything")
            await stack.wait(stop)
            say("stopping …", "dim")


def demo(
    context: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")] = False,
) -> None:
    """Run the content moderation flow once, from its webhook to the answered review, and show every step."""
    run(_demo(context.obj, keep))


async def _demo(settings: Settings, keep: bool) -> None:
    with stop_signals() as stop:
        working = asyncio.create_task(run_demo(settings, stop.wait if keep else None))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not working.done() and not keep:
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
            raise typer.Exit(FAILED)
        await working


def worker(context: typer.Context) -> None:
    """Run steps of flows, and nothing else. Start as many as you need."""
    _log(context.obj)
    run(_worker(context.obj))


async def _worker(settings: Settings) -> None:
    with stop_signals() as stop:
        async with connected(settings) as parts:
            temporal = parts.client.temporal
            async with FlowWorker(settings, temporal, parts.store, parts.project) as serving:
                say(f"worker on task queue {settings.task_queue} of {settings.address}; Ctrl-C stops it")
                await first_of(asyncio.shield(serving.wait()), stop.wait())


def gateway(context: typer.Context) -> None:
    """Serve webhooks and the HTTP API, and nothing else."""
    _log(context.obj)
    run(_gateway(context.obj))


async def _gateway(settings: Settings) -> None:
    with stop_signals() as stop:
        async with connected(settings) as parts:
            app = create_app(parts.client, parts.store, parts.project, settings)
            async with HttpServer(app, settings.host, settings.port) as serving:
                say(f"gateway on http://{settings.host}:{serving.port}; Ctrl-C stops it")
                await first_of(serving.exited(), stop.wait())


def doctor(
    context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Write the findings as JSON.")] = False
) -> None:
    """Look at versions, ports, Temporal, the store and the key, and say what to do. Exit code 1 if something fails."""
    findings = run(examine(context.obj))
    if as_json:
        show_json([finding.to_json() for finding in findings])
    else:
        for finding in findings:
            show(_line(finding))
    if any(finding.verdict == "fail" for finding in findings):
        raise typer.Exit(FAILED)


def _line(finding: Finding) -> str:
    mark = {"ok": "✓", "note": "·", "fail": "✗"}[finding.verdict]
    return f"{mark} {finding.what:<18} {finding.found}"


async def first_of(*works: Any) -> None:
    """Wait for the first to end, stop the others, and raise what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set; a second signal ends the process at once."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stopped(number: int) -> None:
        stop.set()
        loop.remove_signal_handler(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stopped, number)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _log(settings: Settings) -> None:
    levels = logging.getLevelNamesMapping()
    level = levels.get(settings.log_level.upper())
    if level is None:
        raise SettingsInvalid(f"ORCHESTRATOR_LOG_LEVEL={settings.log_level!r} is no level; one of {', '.join(levels)}")
    handler = logging.StreamHandler(sys.stderr)
    if level > logging.DEBUG:
        handler.addFilter(_without_trace)
    logging.basicConfig(
        level=max(level, logging.WARNING), format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=[handler]
    )
    logging.getLogger("orchestrator").setLevel(level)


def _without_trace(record: logging.LogRecord) -> bool:
    """A failed step is no defect: its error is in the run, and forty lines of our own frames tell nothing more."""
    if record.name.startswith("temporalio"):
        record.exc_info = None
    return True


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    for verb in (up, demo, worker, gateway, doctor):
        app.command()(verb)
