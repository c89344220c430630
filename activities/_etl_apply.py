"""Executes a transformation spec, row by row. It does what the operations say and nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any, assert_never

from _etl_spec import Cast, Derive, Filter, MapValues, Normalise, Operand, Operation, Rename, SourceSpec, Type

Json = Any
MAX_DIGITS = 9
LONGEST = 10_000
"""Characters that ``concat`` may make."""


class RowRefused(ValueError):
    """The row cannot become one of the target; says why."""


def transform(row: Mapping[str, Json], spec: SourceSpec, target: Mapping[str, Type]) -> dict[str, Json] | None:
    """The row as the target has it, None where a filter leaves it out. Raises RowRefused."""
    values = dict(row)
    for operation in spec.operations:
        if not _apply(operation, values):
            return None
    return {column: _final(column, values.get(column), kind) for column, kind in target.items()}


def _final(column: str, value: Json, kind: Type) -> Json:
    """The value where the target's column can hold it."""
    if value is None:
        return None
    if kind in ("number", "integer"):
        if isinstance(value, Decimal):
            value = float(value)
        whole = kind == "number" or float(value).is_integer() if isinstance(value, int | float) else False
        if isinstance(value, bool) or not whole or not math.isfinite(value):
            raise RowRefused(f"{column}: {value!r} is no {kind}")
        return int(value) if kind == "integer" else value
    if kind == "date":
        if not isinstance(value, date):
            raise RowRefused(f"{column}: {value!r} is no date")
        return value.isoformat()
    return str(value)


def _apply(operation: Operation, values: dict[str, Json]) -> bool:
    """Do one operation; False where the row is left out."""
    match operation:
        case Rename():
            values[operation.to] = values.pop(operation.column, None)
        case Normalise():
            values[operation.column] = _normalised(values.get(operation.column), operation.form)
        case MapValues():
            values[operation.column] = _mapped(values.get(operation.column), operation)
        case Cast():
            values[operation.column] = _cast(values.get(operation.column), operation)
        case Derive():
            values[operation.column] = _derived(operation, values)
        case Filter():
            return _holds(values.get(operation.column), operation)
        case _:
            assert_never(operation)
    return True


def _normalised(value: Json, form: str) -> Json:
    if not isinstance(value, str):
        return value
    if form == "squeeze":
        return " ".join(value.split())
    done = {"trim": value.strip, "lower": value.lower, "upper": value.upper, "title": value.title}
    return done[form]()


def _mapped(value: Json, operation: MapValues) -> Json:
    for pair in operation.values:
        if value is not None and str(value) == pair.value:
            return pair.becomes
    if operation.otherwise == "refuse":
        raise RowRefused(f"{operation.column}: nothing is said of {value!r}")
    return None if operation.otherwise == "null" else value


def _cast(value: Json, operation: Cast) -> Json:
    if value is None or value == "":
        return None
    try:
        if operation.type == "text":
            return str(value)
        if operation.type == "date":
            return _date(value, operation.format or "iso")
        number = _number(value, operation.decimal)
        if operation.type == "integer":
            if number != number.to_integral_value():
                raise ValueError
            return int(number)
        return number
    except (ValueError, InvalidOperation):
        raise RowRefused(f"{operation.column}: {value!r} is no {operation.type}") from None


def _date(value: Json, form: str) -> date:
    if isinstance(value, date):
        return value
    if form == "iso":
        return datetime.fromisoformat(str(value)).date()
    return datetime.strptime(str(value), form).date()


def _number(value: Json, decimal: str) -> Decimal:
    if isinstance(value, bool):
        raise ValueError
    if isinstance(value, str):
        for other in {".", ",", " ", "'", "\u00a0"} - {decimal}:
            value = value.replace(other, "")
        value = value.replace(",", ".")
    number = Decimal(str(value))
    if not number.is_finite():
        raise ValueError
    return number


def _derived(operation: Derive, values: Mapping[str, Json]) -> Json:
    given = [_value(operand, values) for operand in operation.of]
    if operation.function == "concat":
        text = "".join("" if value is None else str(value) for value in given)
        if len(text) > LONGEST:
            raise RowRefused(f"{operation.column}: a text of more than {LONGEST} characters")
        return text
    if any(value is None for value in given):
        return None
    if operation.function in ("year", "month", "day", "days_between"):
        return _of_dates(operation, given)
    return _of_numbers(operation, given)


def _value(operand: Operand, values: Mapping[str, Json]) -> Json:
    return operand.value if operand.column is None else values.get(operand.column)


def _of_dates(operation: Derive, given: list[Json]) -> int:
    for value in given:
        if not isinstance(value, date):
            raise RowRefused(f"{operation.column}: {operation.function} of {value!r}, which is no date")
    if operation.function == "days_between":
        return (given[1] - given[0]).days
    found: int = getattr(given[0], operation.function)
    return found


def _of_numbers(operation: Derive, given: list[Json]) -> Decimal:
    try:
        first, *rest = (_number(value, ".") for value in given)
        for number in rest:
            first = _calculated(operation.function, first, number)
        return first
    except (ValueError, ArithmeticError):
        raise RowRefused(f"{operation.column}: {operation.function} of {given} cannot be computed") from None


def _calculated(function: str, left: Decimal, right: Decimal) -> Decimal:
    if function == "add":
        return left + right
    if function == "subtract":
        return left - right
    if function == "multiply":
        return left * right
    if function == "divide":
        return left / right
    digits = min(max(int(right), 0), MAX_DIGITS)
    return left.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def _holds(value: Json, operation: Filter) -> bool:
    filled = value is not None and value != ""
    if operation.test in ("filled", "empty"):
        return filled == (operation.test == "filled")
    if operation.test in ("equals", "one_of"):
        return any(_same(value, other) for other in operation.values)
    if operation.test == "not_equals":
        return not _same(value, operation.values[0])
    if not filled:
        return False
    return _compared(value, operation)


def _same(left: Json, right: Json) -> bool:
    if isinstance(left, Decimal | int | float) and isinstance(right, int | float):
        return float(left) == float(right)
    return (left is None and right is None) or (left is not None and right is not None and str(left) == str(right))


def _compared(value: Json, operation: Filter) -> bool:
    bound = operation.values[0]
    try:
        if isinstance(value, Decimal | int | float):
            left, right = _number(value, "."), _number(bound, ".")
            order = (left > right) - (left < right)
        else:
            one, other = (value.isoformat() if isinstance(value, date) else str(value)), str(bound)
            order = (one > other) - (one < other)
    except (ValueError, InvalidOperation):
        raise RowRefused(f"{operation.column}: {value!r} cannot be compared with {bound!r}") from None
    return {"less": order < 0, "at_most": order <= 0, "more": order > 0, "at_least": order >= 0}[operation.test]
