"""Helpers that work on objects. Members keep the order of the data."""

from __future__ import annotations

from orchestrator.expressions.helpers import helper
from orchestrator.expressions.library.arguments import members
from orchestrator.expressions.limits import MAX_INTEGER, Meter
from orchestrator.expressions.values import Json


@helper("object | keys", 1)
def keys(meter: Meter, value: Json) -> Json:
    """The names of the members."""
    return list(members(meter, value, "keys"))


@helper("object | values", 1)
def values(meter: Meter, value: Json) -> Json:
    """The values of the members."""
    return list(members(meter, value, "values").values())


@helper("object | items", 1)
def items(meter: Meter, value: Json) -> Json:
    """The members as a list of {key, value}."""
    return [{"key": key, "value": member} for key, member in members(meter, value, "items").items()]


@helper("object | merge(other)", 2, MAX_INTEGER)
def merge(meter: Meter, *objects: Json) -> Json:
    """One object with the members of all; where two have the same name, the later one counts. Not nested."""
    result: dict[str, Json] = {}
    for one in objects:
        result.update(members(meter, one, "merge"))
    return result
