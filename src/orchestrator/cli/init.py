"""The verb that makes a new project: one flow with its tests, one function, ready to run."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.console import InputUnusable, say, show
from orchestrator.errors import Conflict
from orchestrator.settings import Settings

PARTS = {
    "orchestrator.yaml": "orchestrator.yaml",
    "workflows/expense.yaml": "workflows/expense.yaml",
    "workflows/expense.test.yaml": "workflows/expense.test.yaml",
    "activities/expenses.py": "activities/expenses.py",
    ".gitignore": "gitignore",
    "README.md": "README.md",
}
"""Each file of a new project, and what it is called here."""


def init(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(help="Where; made if it is not there. Without it, this folder.")
    ] = None,
) -> None:
    """Make a new project: a flow with its tests, a function, a project file. Overwrites nothing."""
    settings: Settings = context.obj
    target = folder or settings.project_dir
    for path in make_project(target):
        show(str(path))
    go_there = "" if target.resolve() == Path.cwd() else f"cd {target}, then "
    say(f"next: {go_there}orchestrator test, orchestrator up")


def make_project(folder: Path) -> list[Path]:
    """Write the files of a new project into ``folder``; returns them. Raises Conflict when one of them is there
    already, in which case nothing is written, and InputUnusable where nothing can be written."""
    there = [name for name in PARTS if (folder / name).exists() or (folder / name).is_symlink()]
    if there:
        raise Conflict(
            f"{folder} already has {', '.join(there)}; nothing was written. Name a folder that does not have "
            "them: orchestrator init FOLDER"
        )
    templates = files("orchestrator.cli") / "new_project"
    written = []
    try:
        for name, template in PARTS.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(templates.joinpath(template).read_text(encoding="utf-8"))
            written.append(path)
    except OSError as error:
        raise InputUnusable(f"{folder} cannot become a project: {error}") from error
    return written


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(init)
