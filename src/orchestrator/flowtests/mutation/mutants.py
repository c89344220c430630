"""A flow without one of its steps, for each of its steps: what tests that promise something ought to notice."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import FlowInvalid
from orchestrator.spec.declared import assign_ids
from orchestrator.spec.findings import Findings
from orchestrator.spec.loading import LoadedFlow, load_flow
from orchestrator.spec.project import Project
from orchestrator.spec.reading import Placed, read_steps
from orchestrator.spec.source import Path, Source, read_source

Json = Any

_HANDLERS = ("fallback", "finally")
_NOTHING = {"type": "transform", "if": "false", "config": {"value": None}}
"""What stands for a step that was the only one of a list which may not be empty."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A flow without one step."""

    step: str
    """The removed step's id, or the name it is shown by."""
    type: str
    place: str
    """``file:line:column`` of the step."""
    is_act: bool
    inside: frozenset[str]
    """Ids of the step and of all that went with it."""
    flow: LoadedFlow | None
    """None where the flow cannot be loaded without the step: something else needs it."""


def mutants(flow: LoadedFlow, project: Project) -> Iterator[Mutant]:
    """Every flow that is ``flow`` without one step: those of branches, loops, handlers and compensations included, in
    the order of the file."""
    source = read_source(flow.text, flow.definition.file)
    data, steps = _written(source)
    for placed in steps:
        line, column = source.value_at(placed.path)
        yield Mutant(
            step=placed.id,
            type=placed.type,
            place=f"{flow.definition.file}:{line}:{column}",
            is_act=placed.is_act,
            inside=frozenset(one.id for one in placed.walk()),
            flow=_without(data, placed, flow, project),
        )


def _written(source: Source) -> tuple[dict[str, Json], list[Placed]]:
    """What the author wrote, and every step in it. Steps without an id have got the one they are shown by: without a
    step the others would be counted anew."""
    data: dict[str, Json] = copy.deepcopy(source.data)
    findings = Findings(source)
    top = read_steps(data.get("steps"), ("steps",), findings, parent=None, list_name="steps")
    handling = data.get("error_handling") or {}
    for name in _HANDLERS:
        at = ("error_handling", name)
        top += read_steps(handling.get(name), at, findings, parent=None, list_name=name, inline=name == "fallback")
    assign_ids(top, findings)
    steps = [placed for one in top for placed in one.walk()]
    for placed in steps:
        _at(data, placed.path)["id"] = placed.id
    if "version" in data:
        data["version"] = source.raw_at(("version",))
    return data, steps


def _without(data: dict[str, Json], placed: Placed, flow: LoadedFlow, project: Project) -> LoadedFlow | None:
    for candidate in _candidates(data, placed.path):
        text = json.dumps(candidate, ensure_ascii=False)
        try:
            return load_flow(text, flow.definition.file, project)
        except FlowInvalid:
            continue
    return None


def _candidates(data: dict[str, Json], path: Path) -> Iterator[dict[str, Json]]:
    """Ways to leave a step out, the best first. The second and third are for lists that would be empty."""
    *around, last = path
    holder = _at(data, tuple(around))
    if not isinstance(holder, list):
        # `compensate` with one step that is no list.
        yield _changed(data, path, lambda parent: parent.pop(last))
        return
    if len(holder) > 1:
        yield _changed(data, path, lambda parent: parent.pop(last))
        return
    if around[-1] != "steps" or len(around) > 1:
        yield _changed(data, tuple(around), lambda parent: parent.pop(around[-1]))
    yield _changed(data, path, lambda parent: parent.__setitem__(last, dict(_NOTHING)))


def _changed(data: dict[str, Json], path: Path, change: Any) -> dict[str, Json]:
    changed = copy.deepcopy(data)
    change(_at(changed, path[:-1]))
    return changed


def _at(data: Json, path: Path) -> Json:
    for part in path:
        data = data[part]
    return data
