"""Functions of the `incident-response` flow: how bad it is, and what a playbook may do, are rules and no opinions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from temporalio import activity

from orchestrator.errors import FlowInvalid
from orchestrator.spec.source import read_source

Json = Any

LEVELS = ((0.5, 5), (0.25, 4), (0.1, 3), (0.02, 2))
"""Share of failed requests, and the level that such a share has at least."""
MOST_SEVERE = 5
STEP_KEYS = frozenset({"id", "name", "type", "config", "retry", "timeout", "compensate"})
"""What a step of a playbook may say. Where it runs and whether it is undone is the flow's concern."""


@dataclass(frozen=True)
class Assessment:
    """What Claude thinks of an alert, and what was measured."""

    level: int
    remedy: str
    """``restart``, or ``none`` where no restart will help."""
    error_rate: float | None = None


@dataclass(frozen=True)
class Playbook:
    """A playbook as Claude wrote it, and what it may do."""

    steps: str
    """A list of steps as YAML or JSON; each may say in ``compensate`` how it is undone."""
    service: str
    """The only service it may touch."""
    operations: dict[str, bool]
    """Methods of the service ``operations`` that it may call; true where the call has to be undone on failure."""
    types: list[str] = field(default_factory=lambda: ["api", "wait"])
    most: int = 5
    """Actions."""


@activity.defn
def assess_severity(assessment: Assessment) -> dict[str, object]:
    """``{level, auto_remediable}``. What was measured can raise the level, never lower it; the worst incidents are not
    touched before somebody has looked at them."""
    measured = next((level for share, level in LEVELS if (assessment.error_rate or 0.0) >= share), 1)
    level = max(1, min(MOST_SEVERE, max(assessment.level, measured)))
    return {"level": level, "auto_remediable": assessment.remedy == "restart" and level < MOST_SEVERE}


@activity.defn
def check_playbook(playbook: Playbook) -> dict[str, Json]:
    """``{ok, problems, actions, rehearsal}``. An action is ``{id, name, step, undo}``, ``undo`` being a list of steps.
    The rehearsal holds every step with ``if: false``: a ``run-steps`` checks it as it checks what it runs, and runs
    nothing."""
    try:
        steps = _listed(playbook.steps)
    except FlowInvalid as error:
        return _refused([f"line {one.line}: {one.message}" for one in error.problems])
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        return _refused(["a playbook is a list of steps"])
    actions = [_action(number, step) for number, step in enumerate(steps, 1)]
    problems = [f"{len(actions)} actions, at most {playbook.most} are allowed"] if len(actions) > playbook.most else []
    for action in actions:
        problems += [f"action `{action['id']}`: {problem}" for problem in _problems(action, playbook)]
    if problems:
        return _refused(problems)
    rehearsal = [step | {"if": False, "needs": []} for action in actions for step in (action["step"], *action["undo"])]
    return {"ok": True, "problems": [], "actions": actions, "rehearsal": rehearsal}


def _refused(problems: list[str]) -> dict[str, Json]:
    return {"ok": False, "problems": problems, "actions": [], "rehearsal": []}


def _listed(text: str) -> Json:
    data = read_source(text, "playbook").data
    return data["steps"] if isinstance(data, dict) and list(data) == ["steps"] else data


def _action(number: int, step: dict[str, Json]) -> dict[str, Json]:
    """One action: what is done, apart from how it is undone."""
    name = step.get("id") or f"action-{number}"
    undo = step.get("compensate") or []
    listed = undo if isinstance(undo, list) else [undo]
    named = [
        {"id": f"undo-{name}-{position}"} | one if isinstance(one, dict) else one
        for position, one in enumerate(listed, 1)
    ]
    done = {key: value for key, value in step.items() if key != "compensate"}
    return {"id": name, "name": step.get("name") or name, "step": {"id": name} | done, "undo": named}


def _problems(action: dict[str, Json], playbook: Playbook) -> Iterator[str]:
    """What an action may not do, by rules that only this flow knows. Its form is the engine's to check."""
    for step in (action["step"], *action["undo"]):
        if not isinstance(step, dict):
            yield "what undoes it is no step"
            continue
        yield from (f"a step of a playbook has no `{key}`" for key in sorted(step.keys() - STEP_KEYS))
        if step.get("type") not in playbook.types:
            yield f"`{step.get('type')}` is not allowed; allowed: {', '.join(playbook.types)}"
        elif step["type"] == "api":
            yield from _call_problems(step.get("config"), playbook)
    if _has_to_be_undone(action["step"], playbook) and not action["undo"]:
        yield "says in no `compensate` how it is undone"


def _call_problems(config: Json, playbook: Playbook) -> Iterator[str]:
    if not isinstance(config, dict):
        yield "its `config` is no mapping"
        return
    if config.get("service") != "operations":
        yield f"service `{config.get('service')}` is not allowed; allowed: operations"
    elif config.get("method") not in playbook.operations:
        allowed = ", ".join(playbook.operations)
        yield f"`operations` has no method `{config.get('method')}` for playbooks; allowed: {allowed}"
    params = config.get("params")
    touched = params.get("service") if isinstance(params, dict) else None
    if touched != playbook.service:
        yield f"touches `{touched}`; the alert is about `{playbook.service}`"


def _has_to_be_undone(step: dict[str, Json], playbook: Playbook) -> bool:
    config = step.get("config")
    return isinstance(config, dict) and playbook.operations.get(str(config.get("method")), False)
