"""Control constructs that decide, shape or end: each a few lines, none costs an activity."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from orchestrator.engine.activities import Outcome
from orchestrator.engine.failures import RunEnded, StepFailed, error_record
from orchestrator.engine.frame import Frame
from orchestrator.engine.program import Case
from orchestrator.engine.run import Walk
from orchestrator.spec.definition import Json, Node

HANDLERS = ("on_error", "compensate")
"""Child lists that run only when something went wrong: they are not part of what a skip or a branch covers."""

Construct = Callable[[Walk, Node, Frame, str], Coroutine[Any, Any, Outcome]]
"""How a control construct runs: the walk that reached it, the node, its frame, its path."""


async def block(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """Its steps, as one."""
    return Outcome(await walk.run_list(node.lists.get("steps", ()), frame.into(node)))


async def condition(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """``then`` or ``else``."""
    state = walk.run.journal.state(path)
    if "branch" not in state:
        state["branch"] = "then" if walk.holds(walk.program.code(node).fields["if"], node, frame) else "else"
    taken = state["branch"]
    return await _branch(walk, node, frame, taken if node.lists.get(taken) else None, taken)


async def switch(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """The first case that matches, else ``default``."""
    state = walk.run.journal.state(path)
    if "branch" not in state:
        state["branch"] = await _case(walk, node, frame)
    number = state["branch"]
    if number is None:
        return await _branch(walk, node, frame, "default" if "default" in node.lists else None, "default")
    return await _branch(walk, node, frame, f"case[{number}]", number)


async def _case(walk: Walk, node: Node, frame: Frame) -> int | None:
    code = walk.program.code(node)
    value = walk.evaluate(code.fields["value"], node, frame) if "value" in code.fields else None
    for number, case in enumerate(code.cases):
        await walk.run.budget.breathe(walk.run.meter)
        if _matches(walk, case, value, node, frame):
            return number
    return None


def _matches(walk: Walk, case: Case, value: Json, node: Node, frame: Frame) -> bool:
    if case.condition is not None:
        return walk.holds(case.condition, node, frame)
    if case.equals is None:
        return False
    wanted = walk.render(case.equals, node, frame).value
    return any(_same(value, one) for one in (wanted if isinstance(wanted, list) else [wanted]))


def _same(left: Json, right: Json) -> bool:
    """Equality of JSON values: true is not 1."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)


async def _branch(walk: Walk, node: Node, frame: Frame, taken: str | None, shown: str | int) -> Outcome:
    """Run one of a step's lists; everything in the others is skipped."""
    for label, nodes in node.lists.items():
        if label != taken and label not in HANDLERS:
            for other in nodes:
                walk.skip(other, frame.into(node, label))
    if taken is None:
        return Outcome(None, {"branch": "none"})
    return Outcome(await walk.run_list(node.lists[taken], frame.into(node, taken)), {"branch": shown})


async def set_vars(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """New values of vars; all are read before any is written."""
    values = walk.render(walk.program.code(node).config, node, frame).value
    frame.scope["vars"].update(values)
    return Outcome(values)


async def transform(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """Its ``value``."""
    return Outcome(walk.render(walk.program.code(node).config, node, frame).value.get("value"))


async def fail(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """An error of the author's own."""
    config = walk.render(walk.program.code(node).config, node, frame).value
    kind, message = str(config.get("type", "failed")), str(config.get("message", "the flow said so"))
    raise StepFailed(error_record(node, path, kind, message, data=config.get("data")))


async def return_(walk: Walk, node: Node, frame: Frame, path: str) -> Outcome:
    """The end of the run."""
    config = walk.render(walk.program.code(node).config, node, frame).value
    raise RunEnded(config.get("output"), str(config.get("status", "completed")))
