"""Late names, filled in where they are known: inside the activity."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from orchestrator.expressions.errors import ExpressionError, Fault
from orchestrator.expressions.lexer import Names
from orchestrator.expressions.limits import MAX_DEPTH, Meter
from orchestrator.expressions.template import Late, Template, compile_template
from orchestrator.expressions.values import Json


def fill_late(value: Json, late: list[dict[str, Any]], resolve: Callable[[str], Json]) -> Json:
    """A rendered value with its late names filled in; neither it nor anything in it is changed. ``resolve`` is asked
    for ``secrets.NAME``, ``step.attempt``, ``callback.<id>.url``. A name that is the whole value keeps its type.
    Raises what ``resolve`` raises, and ExpressionError where a position does not lie in the value."""
    for entry in late:
        value = _replaced(value, entry["path"], _resolved(entry["parts"], resolve))
    return value


def _resolved(parts: list[Json], resolve: Callable[[str], Json]) -> Json:
    if len(parts) == 1 and isinstance(parts[0], dict):
        return resolve(parts[0]["name"])
    return "".join(part if isinstance(part, str) else _text(resolve(part["name"])) for part in parts)


def _text(value: Json) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _replaced(value: Json, path: list[str | int], new: Json) -> Json:
    """The value with one place exchanged, copied along the way to it."""
    if not path:
        return new
    key = path[0]
    if isinstance(value, dict) and key in value:
        return {**value, key: _replaced(value[key], path[1:], new)}
    if isinstance(value, list) and isinstance(key, int) and 0 <= key < len(value):
        return [*value[:key], _replaced(value[key], path[1:], new), *value[key + 1 :]]
    raise ExpressionError(f"the position {path!r} of a late name does not lie in the value it belongs to")


def fill_catalogue_entry(entry: Json, secret: Callable[[str], str]) -> Json:
    """An entry of ``orchestrator.yaml`` with its secrets filled in by ``secret(name)``. Its strings may hold
    ``{{ secrets.NAME }}``, text in quotes, and nothing else. Raises ExpressionError for any other template, and what
    ``secret`` raises."""
    return _entry(entry, secret, 0)


def _entry(entry: Json, secret: Callable[[str], str], depth: int) -> Json:
    if depth > MAX_DEPTH:
        raise ExpressionError(f"the limit of {MAX_DEPTH} levels of nesting in an entry is exceeded")
    if isinstance(entry, dict):
        return {key: _entry(value, secret, depth + 1) for key, value in entry.items()}
    if isinstance(entry, list):
        return [_entry(value, secret, depth + 1) for value in entry]
    if not isinstance(entry, str):
        return entry
    template = compile_template(entry, Names())
    return entry if template is None else _entry_text(template, secret)


def _entry_text(template: Template, secret: Callable[[str], str]) -> str:
    only_secrets = all(name.startswith("secrets.") for name in template.late_names)
    if template.references or not only_secrets:
        raise ExpressionError(
            "an entry of orchestrator.yaml may use {{ secrets.NAME }} and no other name: it is read by the worker, "
            "outside any run",
            template.source,
        )
    texts = []
    for segment in template.segments:
        if isinstance(segment, Late):
            texts.append(secret(segment.name.removeprefix("secrets.")))
        else:
            texts.append(_constant(segment, template.source) if callable(segment) else segment)
    return "".join(texts)


def _constant(segment: Callable[..., Json], source: str) -> str:
    try:
        value = segment({}, Meter(_no_run, _no_run))
    except Fault as fault:
        raise ExpressionError(fault.explain(), source, fault.offset or 0) from None
    return _text(value)


def _no_run() -> Any:
    raise Fault("there is no run here: `now()` and `uuid()` are not available in orchestrator.yaml")
