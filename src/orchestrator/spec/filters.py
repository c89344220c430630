"""Error filters (``on``, ``not_on``, ``catch``): FLOW_FORMAT §6 in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

OF_RUNS = frozenset({"cancelled", "run_timeout"})
_WAIT_FOR_RUNS = frozenset({"flow", "for-each"})


def ended_a_run(error: Mapping[str, Any]) -> bool:
    """Whether an error is that of a run which was cancelled or took too long: this one, or one that it waited for.
    What a step merely calls so, such as a vendor's `cancelled` for an order, is a failure like any other."""
    if error.get("type") not in OF_RUNS:
        return False
    step, cause = error.get("step"), error.get("cause")
    if not isinstance(step, Mapping):
        return True
    return step.get("type") in _WAIT_FOR_RUNS and (not isinstance(cause, Mapping) or ended_a_run(cause))


def matches(filters: Iterable[str], error: Mapping[str, Any]) -> bool:
    """Whether any filter names the error record (FLOW_FORMAT §6): its type, ``http_404``, ``http_4xx``,
    ``http_5xx``, ``retryable`` or ``*``."""
    return any(_matches(name, error) for name in filters)


def _matches(name: str, error: Mapping[str, Any]) -> bool:
    kind = error.get("type")
    if name == kind:
        return True
    if name == "*":
        return not ended_a_run(error)
    if name == "retryable":
        return bool(error.get("retryable"))
    status = error.get("status")
    if name.startswith("http_") and isinstance(status, int):
        return name in (f"http_{status}", f"http_{status // 100}xx")
    return False
