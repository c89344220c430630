"""Helpers that work on numbers, and those that read them from text."""

from __future__ import annotations

import math
import re
from decimal import ROUND_HALF_UP, Context, Decimal

from orchestrator.expressions.errors import Fault
from orchestrator.expressions.helpers import helper
from orchestrator.expressions.library.arguments import elements, key_of, number, text, whole
from orchestrator.expressions.limits import MAX_INTEGER, Meter
from orchestrator.expressions.values import Json, in_range, ordered_pair, shown

_WIDE = Context(prec=400)
"""Enough digits to write any float out in full."""
_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")


@helper("number | round(digits)", 1, 2)
def round_to(meter: Meter, value: Json, digits: Json = 0) -> Json:
    """The nearest number with that many digits after the point, halves away from zero; without digits a
    whole number."""
    source, places = number(value, "round"), whole(digits, "round", -15, 15)
    # Through the shortest decimal notation, so that 2.675 | round(2) is 2.68 as on paper.
    rounded = Decimal(repr(source)).quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP, context=_WIDE)
    if places <= 0:
        return in_range(int(rounded), "`round`")
    return source if type(source) is int else in_range(float(rounded), "`round`")


@helper("number | abs", 1)
def absolute(meter: Meter, value: Json) -> Json:
    """The number without its sign."""
    return abs(number(value, "abs"))


@helper("x | int", 1)
def integer(meter: Meter, value: Json) -> Json:
    """A whole number from a text such as '42', or from a number, its fraction cut off."""
    if type(value) is str:
        source = text(meter, value, "int").strip()
        if not _WHOLE.fullmatch(source):
            raise Fault(f"{shown(value)} is not a whole number of at most 19 digits; `float` reads fractions")
        return in_range(int(source), "`int`")
    return in_range(math.trunc(number(value, "int")), "`int`")


@helper("x | float", 1)
def fraction(meter: Meter, value: Json) -> Json:
    """A number with fraction from a text such as '4.20', or from a number."""
    if type(value) is str:
        source = text(meter, value, "float").strip()
        if not _DECIMAL.fullmatch(source):
            raise Fault(f"{shown(value)} is not a number")
        return in_range(float(source), "`float`")
    return float(number(value, "float"))


@helper("x | bool", 1)
def boolean(meter: Meter, value: Json) -> Json:
    """true or false from the texts 'true' and 'false', in any letters."""
    if value is True or value is False:
        return value
    word = value[:8].strip().lower() if type(value) is str else ""
    if word in ("true", "false") and len(value) <= 8:
        return word == "true"
    raise Fault(f"`bool` reads 'true' and 'false', not {shown(value)}; compare it instead, as in `x == 1`")


@helper("list | sum(key)", 1, 2)
def total(meter: Meter, value: Json, key: Json = None) -> Json:
    """The sum of a list of numbers, or of that member of each element."""
    result: int | float = 0
    for element in picked(elements(meter, value, "sum"), key, "sum"):
        result = in_range(result + number(element, "sum"), "`sum`")
    return result


@helper("list | min(key)", 1, MAX_INTEGER)
def least(meter: Meter, *values: Json) -> Json:
    """The smallest of a list of numbers or texts, or of several arguments: min(a, b); with a key the
    element whose member is smallest."""
    return _extreme(meter, values, "min")


@helper("list | max(key)", 1, MAX_INTEGER)
def greatest(meter: Meter, *values: Json) -> Json:
    """The greatest of a list of numbers or texts, or of several arguments: max(a, b); with a key the
    element whose member is greatest."""
    return _extreme(meter, values, "max")


def _extreme(meter: Meter, values: tuple[Json, ...], name: str) -> Json:
    listed = type(values[0]) is list
    if listed and len(values) > 2:
        raise Fault(f"`{name}` takes one list with a key, or several numbers or texts")
    candidates = elements(meter, values[0] if listed else list(values), name)
    ranks = picked(candidates, values[1] if listed and len(values) == 2 else None, name)
    if not candidates:
        raise Fault(f"`{name}` of an empty list; guard it: `0 if x | length == 0 else x | {name}`")
    best = 0
    for index, rank in enumerate(ranks):
        ordered_pair(rank, ranks[best], name)
        meter.charge(len(rank) >> 7 if type(rank) is str else 0)
        if rank < ranks[best] if name == "min" else rank > ranks[best]:
            best = index
    return candidates[best]


def picked(found: list[Json], key: Json, name: str) -> list[Json]:
    """The elements of a list, or with a key that member of each. Raises Fault for an element without it."""
    if key is None:
        return found
    member = key_of(key, name)
    for index, element in enumerate(found):
        if type(element) is not dict or member not in element:
            raise Fault(f"`{name}`: element {index} has no member '{member[:40]}'; it is {shown(element)}")
    return [element[member] for element in found]


@helper("range(start, stop, step)", 1, 3)
def counted(meter: Meter, first: Json, stop: Json = None, step: Json = 1) -> Json:
    """Whole numbers from start up to, not including, stop; range(n) starts at 0."""
    low, high = (0, first) if stop is None else (first, stop)
    by = whole(step, "range")
    if by == 0:
        raise Fault("`range` needs a step that is not 0")
    low, high = whole(low, "range"), whole(high, "range")
    # `len` cannot count beyond the machine's word; this can.
    meter.charge(max(0, -((low - high) // by)))
    return list(range(low, high, by))
