"""Error filters (``on``, ``not_on``, ``catch``): FLOW_FORMAT §6 in one place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

NEVER_BY_STAR = frozenset({"cancelled", "run_timeout"})


def matches(filters: Iterable[str], error: Mapping[str, Any]) -> bool:
    """Whether any filter names the error record (FLOW_FORMAT §6): its type, ``http_404``, ``http_4xx``,
    ``http_5xx``, ``retryable`` or ``*``."""
    return any(_matches(name, error) for name in filters)


def _matches(name: str, error: Mapping[str, Any]) -> bool:
    kind = error.get("type")
    if name == kind:
        return True
    if name == "*":
        return kind not in NEVER_BY_STAR
    if name == "retryable":
        return bool(error.get("retryable"))
    status = error.get("status")
    if name.startswith("http_") and isinstance(status, int):
        return name in (f"http_{status}", f"http_{status // 100}xx")
    return False
