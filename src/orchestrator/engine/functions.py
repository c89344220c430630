"""The call of a ``function`` step: an activity of the function's own name, with the author's arguments."""

from __future__ import annotations

from orchestrator.engine.activities import Call, Plans, is_foreign
from orchestrator.engine.failures import StepFailed, error_record, told
from orchestrator.expressions import Rendered
from orchestrator.spec.definition import Json, Node

LONGEST_NAME = 500
"""Bytes; Temporal takes 1,000 at most, and a run that asks for more sticks."""


def function_call(
    node: Node, path: str, rendered: Rendered, generation: int, cache: dict[str, Json] | None, plans: Plans
) -> Call:
    """What to schedule. Raises StepFailed ``invalid_config`` for what templates gave and no call can carry."""
    config = rendered.value
    handler = _name(config["handler"], "handler", node, path)
    given = config.get("task_queue")
    queue = node.task_queue if given is None else _name(given, "task_queue", node, path)
    if rendered.late and is_foreign(queue):
        message = f"late names such as secrets cannot be sent to task queue '{queue}': they would enter its history"
        raise StepFailed(error_record(node, path, "invalid_config", message))
    args = config.get("args", [])
    if not isinstance(args, list):
        message = f"`args` gave {told(args)}; it takes a list (`params` takes one argument of any kind)"
        raise StepFailed(error_record(node, path, "invalid_config", message))
    if "params" in config:
        args = [config["params"]]
    late = [_shift(place) for place in rendered.late]
    return Call(node, path, handler, list(args), late, queue, node.retry, generation, cache, plans)


def _name(given: Json, key: str, node: Node, path: str) -> str:
    if isinstance(given, str) and 0 < len(given.encode(errors="replace")) <= LONGEST_NAME:
        return given
    message = f"`{key}` gave {told(given)}; it takes a name of 1 to {LONGEST_NAME} bytes"
    raise StepFailed(error_record(node, path, "invalid_config", message))


def _shift(place: dict[str, Json]) -> dict[str, Json]:
    """A late place in a function's config, as a place in its arguments."""
    head, *rest = place["path"]
    return place | {"path": rest if head == "args" else [0, *rest]}
