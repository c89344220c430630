"""Whole numbers in the config of control steps that a template may give."""

from __future__ import annotations

from orchestrator.engine.failures import StepFailed, error_record, told
from orchestrator.spec.definition import Json, Node


def whole_number(given: Json, key: str, node: Node, path: str, most: int | None = None) -> int:
    """The number under ``key`` of a rendered config: 1 or more. Raises StepFailed ``invalid_config``, which shows what
    was given."""
    number = int(given) if isinstance(given, str) and given.strip().isdecimal() else given
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or number < 1 or (most is not None and number > most):
        bound = "" if most is None else f" to {most}"
        message = f"`{key}` of '{node.id}' gave {told(given)}; it takes a whole number from 1{bound}"
        raise StepFailed(error_record(node, path, "invalid_config", message))
    return number
