"""Functions of the example flows, called as the worker calls them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.security.secrets import Secrets
from orchestrator.settings import Settings
from orchestrator.spec.project import Project
from orchestrator.steps.context import CURRENT, Resources, StepContext
from orchestrator.steps.function.handlers import discover, invoke_arguments

Json = Any
FUNCTIONS = discover(Path(__file__).parents[2] / "activities")


@contextmanager
def attempt(folder: Path, flow: str, step: str, project: Project | None = None) -> Iterator[StepContext]:
    """The attempt of a step that functions run in meanwhile; its project is empty where none is given."""
    context = StepContext(
        path=step,
        step_id=step,
        step_type="function",
        source="flow.yaml:1:1",
        flow=flow,
        version="1",
        run_id="run-1",
        root_id="run-1",
        attempt=1,
        idempotency_key=f"run-1/{step}#1",
        settings=Settings(project_dir=folder),
        project=project or Project(),
        secrets=Secrets({}),
        resources=Resources(),
        report=lambda _: None,
    )
    token = CURRENT.set(context)
    yield context
    CURRENT.reset(token)


def call(name: str, given: Json) -> Json:
    """The function with JSON, as the worker calls it; its result as JSON."""
    function = FUNCTIONS[name]
    return json.loads(json.dumps(function.call(*invoke_arguments(function, [given]))))
