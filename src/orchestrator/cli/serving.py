"""What ``up``, ``demo``, ``worker`` and ``gateway`` do until they are told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Iterator, Sequence

import typer

from orchestrator.cli.claude import claude_for
from orchestrator.cli.console import FAILED, say, say_problems
from orchestrator.cli.demo import demo
from orchestrator.devserver.connect import connected
from orchestrator.devserver.serve import HttpServer, first_of
from orchestrator.devserver.stack import Stack
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


async def serve_all(settings: Settings, *, watch: bool, stand_in: bool) -> None:
    """Embedded Temporal, worker and gateway; with ``stand_in`` a Claude stand-in too, where there is no key. Raises
    OrchestratorError."""
    log_to_stderr(settings)
    claude = claude_for(settings) if stand_in else contextlib.nullcontext(settings)
    with stop_signals() as stop:
        async with claude as with_claude, Stack(with_claude, Told(), watch_files=watch) as stack:
            say(f"gateway          {stack.gateway_url}  (API at {stack.gateway_url}/docs)", "green")
            say(f"tasks and runs   {stack.gateway_url}/inbox", "green")
            if stack.temporal_ui is not None:
                say(f"Temporal Web UI  {stack.temporal_ui}", "green")
            say("ready; Ctrl-C stops everything")
            await stack.wait(stop)
            say("stopping …", "dim")


async def serve_worker(settings: Settings) -> None:
    """A worker. Raises OrchestratorError."""
    log_to_stderr(settings)
    with stop_signals() as stop:
        async with (
            connected(settings) as parts,
            FlowWorker(settings, parts.client.temporal, parts.store, parts.project) as worker,
        ):
            say(f"worker on task queue {settings.task_queue} of {settings.address}; Ctrl-C stops it")
            # Shielded: whoever stops waiting for the worker must not stop the worker itself.
            await first_of(asyncio.shield(worker.wait()), stop.wait())


async def serve_gateway(settings: Settings) -> None:
    """A gateway. Raises OrchestratorError."""
    log_to_stderr(settings)
    with stop_signals() as stop:
        async with connected(settings) as parts:
            app = create_app(parts.client, parts.store, parts.project, settings)
            async with HttpServer(app, settings.host, settings.port) as gateway:
                say(f"gateway on http://{settings.host}:{gateway.port}; Ctrl-C stops it")
                await first_of(gateway.exited(), stop.wait())


async def show_demo(settings: Settings, *, keep: bool) -> None:
    """The demo; a signal ends it early. Raises OrchestratorError."""
    log_to_stderr(settings)
    with stop_signals() as stop:
        showing = asyncio.create_task(demo(settings, stop.wait if keep else None))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({showing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not showing.done() and not keep:
            showing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await showing
            raise typer.Exit(FAILED)
        await showing


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


def log_to_stderr(settings: Settings) -> None:
    """Our own log at the level asked for, the libraries' from warnings on. Raises SettingsInvalid."""
    levels = logging.getLevelNamesMapping()
    level = levels.get(settings.log_level.upper())
    if level is None:
        raise SettingsInvalid(f"ORCHESTRATOR_LOG_LEVEL={settings.log_level!r} is no level; one of {', '.join(levels)}")
    handler = logging.StreamHandler(sys.stderr)
    if level > logging.DEBUG:
        handler.addFilter(_without_trace)
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=max(level, logging.WARNING), format=form, handlers=[handler])
    logging.getLogger("orchestrator").setLevel(level)


def _without_trace(record: logging.LogRecord) -> bool:
    """A failed step is no defect: its error is in the run, and forty lines of our own frames tell nothing more."""
    if record.name.startswith("temporalio"):
        record.exc_info = None
    return True
