"""JSON that everybody can take: what comes in has to be it, and what goes out is made it."""

from __future__ import annotations

import json
import math
from typing import Any

from fastapi.responses import JSONResponse

from orchestrator.expressions.limits import MAX_DATA_DEPTH

Json = Any

DEEPEST = MAX_DATA_DEPTH
"""Levels of lists and objects in each other: what lies deeper no expression of a flow could look at."""
_CUT = "…"


def check_sendable(value: Json) -> Json:
    """The value itself. Raises ValueError saying why it cannot be taken: it is no JSON, cannot be written as UTF-8, or
    is nested too deeply."""
    if is_too_deep(value):
        raise ValueError(f"is nested too deeply: {DEEPEST} levels are the limit")
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("holds half of a character (a lone surrogate)") from error
    return value


def is_too_deep(value: Json) -> bool:
    """Whether lists and objects lie in each other more than ``DEEPEST`` levels."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(DEEPEST):
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def showable(value: Json) -> Json:
    """What a step gave, as every reader can take it: the value itself, or else null for what is no number, U+FFFD for
    halves of characters, and an ellipsis for what lies too deep."""
    try:
        return check_sendable(value)
    except ValueError:
        return _shown(value, DEEPEST)


def answer_of(value: Json, status: int, headers: dict[str, str] | None = None, kind: str | None = None) -> JSONResponse:
    """The answer that says what a run gave, whatever it gave."""
    try:
        return JSONResponse(value, status, headers, kind)
    except (ValueError, RecursionError):
        return JSONResponse(showable(value), status, headers, kind)


def _shown(value: Json, levels: int) -> Json:
    if isinstance(value, str):
        return _written(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if not isinstance(value, (dict, list)):
        return value
    if levels == 0:
        return _CUT
    if isinstance(value, list):
        return [_shown(one, levels - 1) for one in value]
    return {_written(name): _shown(one, levels - 1) for name, one in value.items()}


def _written(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
