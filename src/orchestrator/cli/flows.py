"""Verbs about flows: validate, publish, schema, eval, graph."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from orchestrator import admission
from orchestrator.cli.console import BAD_INPUT, InputUnusable, run, say, say_problems, show, show_json
from orchestrator.errors import FlowInvalid, Problem
from orchestrator.expressions import ExpressionError, Meter, Names, compile_expression
from orchestrator.settings import Settings
from orchestrator.spec.graph.mermaid import mermaid
from orchestrator.spec.graph.svg import svg_file
from orchestrator.spec.loading import LoadedFlow, load_flow_file
from orchestrator.spec.project import Project, load_project
from orchestrator.spec.schema import flow_schema, project_schema
from orchestrator.store.database import Store

Json = Any

Paths = Annotated[
    list[Path] | None, typer.Argument(help="Flow files or folders; without any, the project's workflows/.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Write the result as JSON.")]


def flow_files(settings: Settings, paths: Iterable[Path] | None) -> list[Path]:
    """The flow files under ``paths``, folders searched, in a stable order. Raises FlowInvalid for a missing path."""
    given = list(paths or [settings.project_dir / "workflows"])
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            found += admission.flow_files(path)
        elif path.is_file():
            found.append(path)
        else:
            raise FlowInvalid([Problem("there is no such file or folder", str(path))])
    return found


def validate(context: typer.Context, paths: Paths = None, as_json: AsJson = False) -> None:
    """Check flow files without running anything. Exit code 2 when a problem stands in the way."""
    settings: Settings = context.obj
    project = load_project(settings.project_dir)
    reports = [_report(path, project) for path in flow_files(settings, paths)]
    if as_json:
        show_json(reports)
    elif not reports:
        say(f"there are no flows in {settings.project_dir / 'workflows'}", "yellow")
    failed = any(problem["severity"] == "error" for report in reports for problem in report["problems"])
    if not as_json:
        for report in reports:
            say_problems(Problem(**problem) for problem in report["problems"])
            if report["flow"] is not None:
                show(f"{report['file']}: flow {report['flow']} {report['version']}, {report['steps']} steps")
    if failed:
        raise typer.Exit(BAD_INPUT)


def _report(path: Path, project: Project) -> dict[str, Json]:
    try:
        loaded = load_flow_file(path, project)
    except FlowInvalid as error:
        problems = [asdict(problem) for problem in error.problems]
        return {"file": str(path), "flow": None, "version": None, "steps": 0, "problems": problems}
    later = [replace(problem, severity="later") for problem in loaded.unsupported]
    return {
        "file": loaded.definition.file,
        "flow": loaded.definition.flow,
        "version": loaded.definition.version,
        "steps": sum(1 for _ in loaded.definition.walk()),
        "problems": [asdict(problem) for problem in [*loaded.warnings, *later]],
    }


def publish(context: typer.Context, paths: Paths = None, as_json: AsJson = False) -> None:
    """Make flow versions known, so that their triggers and starts use them. Nothing is published when one file is
    not valid."""
    settings: Settings = context.obj
    project = load_project(settings.project_dir)
    loaded = load_all(flow_files(settings, paths), project)
    published, remarks = run(_publish(settings, project, loaded))
    say_problems(remarks)
    if as_json:
        show_json(published)
        return
    for version in published:
        what = "published" if version["created"] else "unchanged"
        show(f"{what}: flow {version['flow']} {version['version']}")


def load_all(files: Iterable[Path], project: Project) -> list[LoadedFlow]:
    """Every flow, or FlowInvalid with the problems of all files."""
    loaded: list[LoadedFlow] = []
    problems: list[Problem] = []
    for path in files:
        try:
            loaded.append(load_flow_file(path, project))
        except FlowInvalid as error:
            problems += error.problems
    if problems:
        raise FlowInvalid(problems)
    return loaded


async def _publish(
    settings: Settings, project: Project, flows: list[LoadedFlow]
) -> tuple[list[dict[str, Json]], list[Problem]]:
    store = await Store.open(settings.store)
    try:
        published = [asdict(await admission.publish(store, project, flow, beside=flows)) for flow in flows]
        told = await admission.remarks(store, project, settings, flows)
        return published, [problem for problems in told.values() for problem in problems]
    finally:
        await store.aclose()


def schema(
    what: Annotated[Literal["flow", "project"], typer.Argument(help="Which kind of file.")] = "flow",
) -> None:
    """Print the JSON Schema that editors use to complete and check flow files or orchestrator.yaml."""
    show_json(flow_schema() if what == "flow" else project_schema())


def evaluate(
    expression: Annotated[str, typer.Argument(help="An expression, with or without {{ }}.")],
    scope: Annotated[Path | None, typer.Option("--scope", help="JSON file with inputs, steps, vars …")] = None,
) -> None:
    """Evaluate an expression against a scope, as a flow would."""
    given = _read_scope(scope)
    declared = {root: frozenset(given.get(root) or {}) for root in ("steps", "inputs", "vars", "env")}
    meter = Meter(lambda: datetime.now(UTC), lambda: str(uuid.uuid4()))
    try:
        compiled = compile_expression(expression, Names(**declared))
        show_json(compiled.evaluate(given, meter))
    except ExpressionError as error:
        say(f"error: {error}", "red")
        raise typer.Exit(BAD_INPUT) from error


def _read_scope(path: Path | None) -> dict[str, Json]:
    if path is None:
        return {}
    try:
        scope = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputUnusable(f"the scope {path} cannot be read as JSON: {error}") from error
    if not isinstance(scope, dict):
        raise InputUnusable(f'the scope {path} must be a JSON object such as {{"inputs": {{}}, "steps": {{}}}}')
    return scope


def graph(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="A flow file.")],
    svg: Annotated[Path | None, typer.Option("--svg", help="Write a picture there instead; - prints it.")] = None,
) -> None:
    """Print a flow as a Mermaid diagram, or draw it."""
    settings: Settings = context.obj
    definition = load_flow_file(path, load_project(settings.project_dir)).definition
    if svg is None:
        show(mermaid(definition))
    elif str(svg) == "-":
        show(svg_file(definition))
    else:
        try:
            svg.write_text(svg_file(definition), encoding="utf-8")
        except OSError as error:
            raise InputUnusable(f"--svg {svg} cannot be written: {error.strerror}") from error
        say(f"{svg}: {definition.flow} {definition.version}")


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.command()(validate)
    app.command()(publish)
    app.command()(schema)
    app.command("eval")(evaluate)
    app.command()(graph)
