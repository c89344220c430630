"""What the operators do: strict about types, bounded in size."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orchestrator.expressions.errors import Fault
from orchestrator.expressions.limits import MAX_TEXT, Meter
from orchestrator.expressions.values import NUMBERS, Json, equal, in_range, kind, ordered_pair, shown

Operator = Callable[[Json, Json, Meter], Json]


def _numbers(left: Json, right: Json, sign: str) -> None:
    if type(left) in NUMBERS and type(right) in NUMBERS:
        return
    hint = ""
    if type(left) is str or type(right) is str:
        hint = "; write `~` to join text, `x | float` to read a number from text"
    elif left is None or right is None:
        hint = "; write `x | default(0, true)` for a value that may be none"
    raise Fault(f"`{sign}` needs two numbers, not {shown(left)} and {shown(right)}{hint}")


def add(left: Json, right: Json, meter: Meter) -> Json:
    """Numbers add, two texts or two lists are put together."""
    one, other = type(left), type(right)
    if one in NUMBERS and other in NUMBERS:
        _bounded(left, right, "+")
        return in_range(left + right, "`+`")
    if one is str and other is str:
        meter.charge_text(len(left) + len(right))
        return left + right
    if one is list and other is list:
        meter.charge((len(left) + len(right)) >> 3)
        return left + right
    if one is dict and other is dict:
        raise Fault("`+` does not join objects; write `a | merge(b)`")
    _numbers(left, right, "+")
    raise AssertionError("two numbers were handled above")


def subtract(left: Json, right: Json, meter: Meter) -> Json:
    """The difference of two numbers."""
    _numbers(left, right, "-")
    _bounded(left, right, "-")
    return in_range(left - right, "`-`")


def multiply(left: Json, right: Json, meter: Meter) -> Json:
    """The product of two numbers; text and lists are never repeated."""
    _numbers(left, right, "*")
    _bounded(left, right, "*")
    return in_range(left * right, "`*`")


def divide(left: Json, right: Json, meter: Meter) -> Json:
    """The quotient, always with a fraction: 4 / 2 is 2.0."""
    _divisible(left, right, "/")
    return in_range(left / right, "`/`")


def divide_whole(left: Json, right: Json, meter: Meter) -> Json:
    """The quotient rounded down."""
    _divisible(left, right, "//")
    return in_range(left // right, "`//`")


def remainder(left: Json, right: Json, meter: Meter) -> Json:
    """What is left after ``//``, with the sign of the divisor."""
    _divisible(left, right, "%")
    return in_range(left % right, "`%`")


def _bounded(left: Json, right: Json, sign: str) -> None:
    # Data may hold whole numbers of any length; arithmetic on those would cost more than it is counted for, and
    # mixing them with fractions overflows.
    in_range(left, f"the number before `{sign}`")
    in_range(right, f"the number after `{sign}`")


def _divisible(left: Json, right: Json, sign: str) -> None:
    _numbers(left, right, sign)
    _bounded(left, right, sign)
    if right == 0:
        raise Fault(f"`{sign}` divides by zero; test the divisor first")


def contains(container: Json, value: Json, meter: Meter) -> bool:
    """Whether a text holds a text, a list an element, an object a key."""
    if type(container) is str:
        if type(value) is not str:
            raise Fault(f"only text can be in text, not {shown(value)}; write `x | string` first")
        meter.charge_text(len(container))
        return value in container
    if type(container) is list:
        return any(_counted_equal(value, item, meter) for item in container)
    if isinstance(container, Mapping):
        return type(value) is str and value in container
    raise Fault(f"`in` looks into text, a list or an object, not {shown(container)}")


def _counted_equal(left: Json, right: Json, meter: Meter) -> bool:
    meter.charge(1)
    return equal(left, right, meter)


def _less(left: Json, right: Json, meter: Meter) -> bool:
    ordered_pair(left, right, "<")
    return bool(left < right)


def _less_equal(left: Json, right: Json, meter: Meter) -> bool:
    ordered_pair(left, right, "<=")
    return bool(left <= right)


def _greater(left: Json, right: Json, meter: Meter) -> bool:
    ordered_pair(left, right, ">")
    return bool(left > right)


def _greater_equal(left: Json, right: Json, meter: Meter) -> bool:
    ordered_pair(left, right, ">=")
    return bool(left >= right)


ARITHMETIC: dict[str, Operator] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "//": divide_whole,
    "%": remainder,
}

COMPARISONS: dict[str, Operator] = {
    "==": equal,
    "!=": lambda left, right, meter: not equal(left, right, meter),
    "<": _less,
    "<=": _less_equal,
    ">": _greater,
    ">=": _greater_equal,
    "in": lambda left, right, meter: contains(right, left, meter),
    "not in": lambda left, right, meter: not contains(right, left, meter),
}


def negate(value: Json) -> Json:
    """The number with the other sign."""
    if type(value) not in NUMBERS:
        raise Fault(f"`-` needs a number, not {shown(value)}")
    return in_range(-value, "`-`")


def cut(value: Json, start: Json, stop: Json, meter: Meter) -> Json:
    """The part of a text or list from start up to, not including, stop; negative positions count from the
    end."""
    for position in (start, stop):
        if position is not None and type(position) is not int:
            raise Fault(f"a slice is cut at whole numbers, not at {shown(position)}")
    if type(value) is not str and type(value) is not list:
        raise Fault(f"only text and lists can be sliced, not {kind(value)}")
    meter.charge(1 + (min(len(value), MAX_TEXT) >> 7))
    return value[slice(start, stop)]
