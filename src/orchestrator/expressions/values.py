"""JSON values as expressions see them: their kinds, how they compare, how they become text, how big they are."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from orchestrator.expressions.errors import Fault
from orchestrator.expressions.limits import MAX_DATA_DEPTH, MAX_INTEGER, MAX_OUTPUT, Meter

Json = Any
"""Any JSON value: None, bool, int, float, str, list or dict with text keys."""

Scope = Mapping[str, Any]
"""What an expression sees: root names (``trigger``, ``inputs``, ``steps`` …) and their values."""


class _Absent:
    def __repr__(self) -> str:
        return "<absent>"


ABSENT: Final = _Absent()
"""Stands for a name or member that is not there, where a guard is looking."""

NUMBERS: Final = frozenset({int, float})
PLAIN: Final = frozenset({str, int, float, bool, type(None), list, dict})
SCALARS: Final = frozenset({int, float, bool, type(None)})

_KINDS = {
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "none",
    list: "a list",
    dict: "an object",
}
_SHOWN = 80


def kind(value: Json) -> str:
    """What sort of JSON value this is, for messages."""
    return _KINDS.get(type(value), "an object" if isinstance(value, Mapping) else "not JSON")


def shown(value: Json) -> str:
    """A value for a message: its kind and, for a scalar, at most 80 characters of it."""
    if value is None or isinstance(value, bool):
        return "none" if value is None else str(value).lower()
    if isinstance(value, str):
        return f"the text '{clipped(value)}'"
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return "a number beyond 2**63"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return kind(value)


def clipped(text: str, limit: int = _SHOWN) -> str:
    """At most ``limit`` characters of a text on one line."""
    short = " ".join(text[:limit].split())
    return f"{short}…" if len(text) > limit else short


def listed(names: Iterable[Any]) -> str:
    """Some of the names, shortened to one readable list; ``nothing`` when there are none."""
    parts: list[str] = []
    room = _SHOWN
    for name in names:
        text = clipped(str(name), 40)
        room -= len(text) + 2
        if parts and room < 0:
            return ", ".join(parts) + ", …"
        parts.append(text)
    return ", ".join(parts) or "nothing"


def nearest(name: str, names: Iterable[Any]) -> str:
    """`` (did you mean 'x'?)`` where a name is close to the one given, else nothing."""
    # Bounded: the names may be the keys of somebody's data.
    known = [str(other)[:40] for other, _ in zip(names, range(50), strict=False)]
    close = difflib.get_close_matches(name[:40], known, 1, 0.7)
    return f" (did you mean '{close[0]}'?)" if close else ""


def equal(left: Json, right: Json, meter: Meter) -> bool:
    """JSON equality: different kinds are never equal (``1`` is not ``true`` and not ``'1'``), 1 equals 1.0, lists
    and objects compare by content, objects without regard to order."""
    kind_left, kind_right = type(left), type(right)
    if kind_left is kind_right and kind_left is not list and kind_left is not dict:
        if kind_left is str and len(left) == len(right):
            meter.charge(len(left) >> 7)
        return bool(left == right)
    if kind_left in NUMBERS and kind_right in NUMBERS:
        return bool(left == right)
    if kind_left is not kind_right:
        return False
    return _equal_inside(left, right, meter)


def _equal_inside(left: Json, right: Json, meter: Meter) -> bool:
    pending = [(left, right, 1)]
    while pending:
        one, other, depth = pending.pop()
        if type(one) is not type(other) or type(one) not in (list, dict):
            if not equal(one, other, meter):
                return False
            continue
        if len(one) != len(other):
            return False
        _check_depth(depth)
        meter.charge(len(one))
        if type(one) is list:
            pending.extend((a, b, depth + 1) for a, b in zip(one, other, strict=True))
        else:
            for key, value in one.items():
                if key not in other:
                    return False
                pending.append((value, other[key], depth + 1))
    return True


def _check_depth(depth: int) -> None:
    if depth > MAX_DATA_DEPTH:
        raise Fault(f"the limit of {MAX_DATA_DEPTH} levels of nesting in data is exceeded")


def ordered_pair(left: Json, right: Json, sign: str) -> None:
    """Two numbers or two texts have an order. Raises Fault for anything else."""
    if type(left) in NUMBERS and type(right) in NUMBERS:
        return
    if type(left) is str and type(right) is str:
        return
    hint = ""
    if {type(left), type(right)} & {str} and {type(left), type(right)} & NUMBERS:
        hint = "; write `x | float` to read a number from text"
    elif left is None or right is None:
        hint = "; none has no order: test `is none` first"
    raise Fault(f"`{sign}` compares two numbers or two texts, not {shown(left)} and {shown(right)}{hint}")


def in_range(number: Json, what: str) -> Json:
    """A result of arithmetic, kept inside the bounds of numbers."""
    if type(number) is int:
        if -MAX_INTEGER <= number <= MAX_INTEGER:
            return number
        raise Fault(f"the limit of ±2**63 for whole numbers is exceeded by {what}")
    if math.isfinite(number):
        return number
    raise Fault(f"the limit of finite numbers is exceeded by {what}")


def to_text(value: Json, meter: Meter) -> str:
    """A value inside a text: none is empty, true is ``true``, lists and objects are JSON, text is itself."""
    if type(value) is str:
        meter.charge(len(value) >> 7)
        return value
    if value is None:
        return ""
    if type(value) is int and -MAX_INTEGER <= value <= MAX_INTEGER:
        return str(value)
    return to_json(value, meter)


def to_json(value: Json, meter: Meter) -> str:
    """A value as JSON text, letters of every script kept."""
    check_size(value, meter)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise Fault("the value holds a number that JSON cannot write") from error
    meter.charge_text(len(text))
    return text


def check_size(value: Json, meter: Meter) -> None:
    """Walk a value and refuse one that is bigger than a result may be, nested too deep, or not JSON."""
    size = depth = 0
    level = [value]
    while level:
        _check_depth(depth)
        meter.charge(len(level) >> 3)
        below: list[Json] = []
        for item in level:
            kind_of = type(item)
            if kind_of is str:
                size += 2 + (len(item) if item.isascii() else len(item.encode("utf-8", "surrogatepass")))
            elif kind_of is dict:
                size += 2 + 6 * len(item) + _keys_size(item)
                below += item.values()
            elif kind_of is list:
                size += 2 + 2 * len(item)
                below += item
            elif kind_of in SCALARS:
                size += item.bit_length() // 3 + 1 if kind_of is int else 4
            else:
                raise Fault(f"a value of type {kind_of.__name__} is not JSON")
            if size > MAX_OUTPUT:
                raise Fault(f"the limit of {MAX_OUTPUT:,} bytes for a result is exceeded; pick the members you need")
        depth += 1
        level = below


def _keys_size(item: dict[str, Json]) -> int:
    try:
        return len("".join(item))
    except TypeError as error:
        raise Fault("an object has a key that is not text") from error
