"""How a verb talks to the person and to scripts: results on stdout, everything else on stderr, errors in words."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any, TypeVar

import uvloop
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from orchestrator.errors import OrchestratorError, Problem

T = TypeVar("T")
Json = Any

BAD_INPUT = 2
FAILED = 1
INTERRUPTED = 130
_PIPE_WIDTH = 400


class InputUnusable(OrchestratorError):
    """A file or argument given to a verb cannot be used as it is."""

    code = "invalid_input"


def error_console() -> Console:
    """Where lines for the person go: stderr, so that stdout stays a script's."""
    return Console(file=sys.stderr, soft_wrap=True, highlight=False)


def say(text: str, style: str | None = None) -> None:
    """A line for the person, on stderr."""
    error_console().print(escape(text), style=style)


def show(text: str) -> None:
    """A line of the result, on stdout."""
    sys.stdout.write(f"{text}\n")


def show_json(value: Json) -> None:
    """The result as JSON, on stdout."""
    shown = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    show(json.dumps(to_jsonable_python(shown), ensure_ascii=False, indent=2))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """A table on stdout; empty cells for None."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        # The first column is the id that other verbs take: never shortened.
        table.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*(escape(_cell(cell)) for cell in row))
    # A pipe has no width: a script gets every row on one line.
    Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH).print(table)


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return moment(value)
    return "" if value is None else str(value)


def moment(instant: datetime) -> str:
    """An instant in the person's own zone, to the second."""
    return instant.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def say_problems(problems: Iterable[Problem]) -> None:
    """One line per finding: position, message, hint."""
    for problem in problems:
        say(f"{problem.severity}: {problem}", "red" if problem.severity == "error" else "yellow")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a verb's coroutine to its end."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
