"""``run --dry-run``: what a flow would do, without doing it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from orchestrator import admission
from orchestrator.cli.console import FAILED, say, show, show_json
from orchestrator.cli.inputs import typed
from orchestrator.cli.progress import MARKS
from orchestrator.flowtests.dry_run.run import DryRun, Planned, dry_run
from orchestrator.flowtests.recording.appending import as_yaml
from orchestrator.settings import Settings
from orchestrator.spec.loading import LoadedFlow, load_flow, load_flow_file
from orchestrator.spec.project import load_project
from orchestrator.store.database import Store

Json = Any

_LONGEST = 400
"""Characters of an output that is shown."""


async def show_dry_run(
    settings: Settings, target: str, inputs: dict[str, Json], mocks: Path | None, *, as_json: bool
) -> None:
    """Show the steps of a file's or a published flow's run in order, each with what it would be called with. Exit code
    1 where the run would not complete. Raises OrchestratorError."""
    flow = await _flow(settings, target)
    run = await dry_run(settings, flow, typed(inputs, flow.definition.inputs), mocks)
    if as_json:
        show_json(asdict(run))
    else:
        _tell(run)
    if run.status != "completed":
        raise typer.Exit(FAILED)


async def _flow(settings: Settings, target: str) -> LoadedFlow:
    project = load_project(settings.project_dir)
    path = Path(target)
    if path.suffix in admission.FLOW_SUFFIXES:
        return load_flow_file(path, project)
    store = await Store.open(settings.store)
    try:
        version = await store.flows.current(target)
    finally:
        await store.aclose()
    return load_flow(version.text, version.definition.file, project)


def _tell(run: DryRun) -> None:
    say(f"flow {run.flow} {run.version}: nothing outside is called")
    for step in run.steps:
        _step(step)
    for problem in run.problems:
        say(problem, "red")
    if run.error is not None:
        say(f"it would end as {run.status}: {run.error['type']}: {run.error['message']}", "red")
        if any(step.made_up for step in run.steps):
            say("some answers are made up: say in --mocks FILE what the steps answer", "yellow")
    elif run.status == "completed":
        show(json.dumps(run.output, indent=2, ensure_ascii=False))


def _step(step: Planned) -> None:
    mark, style = MARKS.get(step.status, ("?", None))
    say(f"  {mark} {step.path}  {step.type}", style)
    for config in step.configs:
        for line in as_yaml(config).splitlines():
            say(f"      {line}")
    if step.error is not None:
        say(f"      fails: {step.error['type']}: {step.error['message']}", style)
    elif step.configs:
        answer = json.dumps(step.output, ensure_ascii=False)
        cut = answer if len(answer) <= _LONGEST else f"{answer[:_LONGEST]}…"
        say(f"      → {cut}{'  (made up)' if step.made_up else ''}")
