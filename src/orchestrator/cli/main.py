"""The verbs, and the one place where an error becomes a sentence and an exit code."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated, NoReturn

import typer

from orchestrator.cli import (
    alerts,
    control,
    events,
    flows,
    init,
    mcp,
    metrics,
    payloads,
    queues,
    runs,
    samples,
    schedules,
    stack,
    tasks,
    test,
    transcript,
)
from orchestrator.cli.console import BAD_INPUT, FAILED, INTERRUPTED, InputUnusable, say, say_problems, show
from orchestrator.errors import (
    Conflict,
    FlowInvalid,
    InputsInvalid,
    NotFound,
    OrchestratorError,
    Refused,
    SettingsInvalid,
)
from orchestrator.settings import Settings

_BAD_INPUTS = (Conflict, InputsInvalid, InputUnusable, NotFound, Refused, SettingsInvalid)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Business processes with Claude inside: YAML flows, run durably on Temporal.",
)


@app.callback()
def project(
    context: typer.Context,
    directory: Annotated[
        Path | None, typer.Option("--project", "-C", help="Folder with orchestrator.yaml and workflows/.")
    ] = None,
) -> None:
    """Read the settings once; every verb gets them."""
    settings = Settings.from_environment()
    if directory is not None:
        if not directory.is_dir():
            raise SettingsInvalid(f"--project {directory} is no folder")
        settings = dataclasses.replace(settings, project_dir=directory)
    context.obj = settings


@app.command()
def version() -> None:
    """Print the version of Orchestrator, Python and the Temporal SDK."""
    installed = {name: importlib.metadata.version(name) for name in ("orchestrator", "temporalio")}
    beside = f"Python {platform.python_version()}, temporalio {installed['temporalio']}"
    show(f"orchestrator {installed['orchestrator']} ({beside})")


stack.add_to(app)
init.add_to(app)
flows.add_to(app)
test.add_to(app)
runs.add_to(app)
control.add_to(runs.runs_app)
transcript.add_to(runs.runs_app)
tasks.add_to(app)
events.add_to(app)
queues.add_to(app)
schedules.add_to(app)
mcp.add_to(app)
metrics.add_to(app)
alerts.add_to(app)
payloads.add_to(app)
samples.add_to(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb. Returns 0, 1 for a failed run or something unavailable, 2 for input that cannot be used."""
    sys.excepthook = _unexpected
    command = typer.main.get_command(app)
    try:
        command.main(args=None if arguments is None else list(arguments), prog_name="orchestrator")
    except SystemExit as stopped:
        return stopped.code if isinstance(stopped.code, int) else BAD_INPUT
    except FlowInvalid as error:
        say_problems(error.problems)
        return BAD_INPUT
    except OrchestratorError as error:
        say(f"error: {error}", "red")
        return BAD_INPUT if isinstance(error, _BAD_INPUTS) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (head, less) left: nothing to say, and nobody to say it to.
        sys.stderr.close()
        return FAILED
    return 0


def run_and_exit() -> NoReturn:
    """The console script: ``main``, then an end without the interpreter's own shutdown. While that runs, a thread of
    the Temporal SDK's native part may still ask for the interpreter, which aborts a process that did all it should."""
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError, ValueError):
            stream.flush()
    os._exit(code)


def _unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What an error nobody foresaw looks like: one sentence, and where the rest can be had."""
    last = trace
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    where = f"{last.tb_frame.f_code.co_filename}:{last.tb_lineno}" if last else "an unknown place"
    say(f"error: this is a bug in Orchestrator: {kind.__name__}: {error} (at {where}); please report it", "red")
