"""A flow run without effects: in which order its steps would be called, and with what."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.errors import FlowInvalid, Problem
from orchestrator.flowtests.dry_run.made_up import made_up
from orchestrator.flowtests.lanes.lane import Lane
from orchestrator.flowtests.results import CaseResult
from orchestrator.settings import Settings
from orchestrator.spec.findings import kind_of
from orchestrator.spec.flowtests.cases import FlowCase
from orchestrator.spec.flowtests.checks import MOCKABLE
from orchestrator.spec.flowtests.loading import load_cases
from orchestrator.spec.inputs import check_inputs
from orchestrator.spec.loading import LoadedFlow
from orchestrator.spec.project import read_text
from orchestrator.spec.source import read_source

Json = Any

_REAL = ("state",)
"""What is kept between runs is looked for in a store of the dry run's own, which is empty."""
_PARTS = ("mocks", "events", "env")
"""What a file of mocks may hold beside them."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A step, in the order the steps would begin."""

    path: str
    step: str
    type: str
    status: str
    configs: list[Json] = field(default_factory=list)
    """What it would be called with, attempt by attempt; empty for steps that call nobody."""
    output: Json = None
    error: dict[str, Json] | None = None
    made_up: bool = False
    """Whether nobody said what it answers."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a flow would do."""

    flow: str
    version: str
    status: str
    output: Json
    error: dict[str, Json] | None
    steps: list[Planned]
    problems: list[str]
    """Why the run did not come to its end, where it did not."""


async def dry_run(settings: Settings, flow: LoadedFlow, inputs: dict[str, Json], mocks: Path | None = None) -> DryRun:
    """Run the flow with answers of the file ``mocks`` and, where it has none, made up ones. Nobody outside is called;
    ``set``, ``transform`` and everything that decides runs as ever. Raises FlowInvalid, InputsInvalid, Unavailable."""
    definition = flow.definition
    check_inputs(definition.flow, definition.inputs, inputs)
    given = {} if mocks is None else _given(mocks)
    answered = {name.rpartition("/")[2] for name in given.get("mocks", {})}
    answered |= {event[key] for event in given.get("events", ()) for key in ("decide", "callback") if key in event}
    invented = {
        node.id: {"output": made_up(node, definition)}
        for node in definition.walk()
        if node.type in MOCKABLE and node.type not in _REAL and node.id not in answered
    }
    mocked = {"mocks": given.get("mocks", {}) | invented, "real": list(_REAL)}
    case = {"name": "dry run", "inputs": inputs} | given | mocked
    ready = _case(case, flow, mocks)
    async with Lane(settings) as lane:
        result = await lane.run(ready, flow)
    return DryRun(
        flow=definition.flow,
        version=definition.version,
        status=result.status,
        output=result.output,
        error=result.error,
        steps=_planned(result, invented),
        problems=[problem.message for problem in result.problems] if result.status == "running" else [],
    )


def _case(case: dict[str, Json], flow: LoadedFlow, mocks: Path | None) -> FlowCase:
    """The case as it runs. Raises FlowInvalid for what the file of mocks says wrongly."""
    try:
        [ready] = load_cases(json.dumps({"cases": [case]}), str(mocks or "<dry run>"), flow, Path())
    except FlowInvalid as error:
        # Its places are those of the text that was made here.
        raise FlowInvalid([replace(problem, line=1, column=1) for problem in error.problems]) from error
    return ready


def _planned(result: CaseResult, invented: dict[str, Json]) -> list[Planned]:
    return [
        Planned(
            path=ran.path,
            step=ran.step,
            type=ran.type,
            status=ran.status,
            configs=[call.config for call in result.calls if call.path == ran.path and call.flow == ran.flow],
            output=ran.output,
            error=ran.error,
            made_up=ran.step in invented and ran.status == "completed",
        )
        for ran in result.steps
    ]


def _given(path: Path) -> dict[str, Json]:
    """The file's mocks, alone or under ``mocks``, and what else a case may say of what happens. Raises FlowInvalid."""
    data = read_source(read_text(path), str(path)).data
    if not isinstance(data, dict):
        raise FlowInvalid(
            [Problem(f"a file of mocks is a mapping of steps to answers, got {kind_of(data)}", str(path))]
        )
    if "mocks" not in data:
        return {"mocks": data}
    unknown = [name for name in data if name not in _PARTS]
    if unknown:
        hint = f"it may hold {', '.join(f'`{name}`' for name in _PARTS)}"
        raise FlowInvalid([Problem(f"unknown key `{unknown[0]}` in a file of mocks", str(path), hint=hint)])
    return data
