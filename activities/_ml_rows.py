"""How a row becomes numbers and words: the same code when a model is trained and when it answers (workflows/ml)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

Kind = Literal["number", "category", "time"]
Row = Mapping[str, Any]

TIME_PARTS = ("month_sin", "month_cos", "weekday_sin", "weekday_cos", "hour")


def schema_of(columns: Mapping[Kind, list[str]]) -> dict[str, Kind]:
    """The kind of each column, for what flows write as ``{number: [...], category: [...], time: [...]}``."""
    return {column: kind for kind, named in columns.items() for column in named}


class BadValue(ValueError):
    """A value that its column cannot hold; says which."""


def read_value(kind: Kind, column: str, value: Any) -> Any:
    """The value as its kind has it; None where there is none. Raises BadValue."""
    if value is None or value == "":
        return None
    try:
        if kind == "number":
            number = float(value)
            if not math.isfinite(number):
                raise ValueError
            return number
        if kind == "time":
            return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise BadValue(f"column '{column}': {value!r} is no {kind}") from None
    return str(value)


def feature_kinds(schema: Mapping[str, Kind]) -> dict[str, Literal["number", "category"]]:
    """The features that ``features`` makes of a row, in their order: a time becomes several numbers."""
    kinds: dict[str, Literal["number", "category"]] = {}
    for column, kind in schema.items():
        if kind == "time":
            kinds |= {f"{column}_{part}": "number" for part in TIME_PARTS}
        else:
            kinds[column] = kind
    return kinds


def features(row: Row, schema: Mapping[str, Kind]) -> list[Any]:
    """One value for each feature; NaN for a number that is missing, ``""`` for a word. Raises BadValue."""
    found: list[Any] = []
    for column, kind in schema.items():
        value = read_value(kind, column, row.get(column))
        if kind == "time":
            found += [math.nan] * len(TIME_PARTS) if value is None else _time_parts(value)
        elif kind == "number":
            found.append(math.nan if value is None else value)
        else:
            found.append(value or "")
    return found


def _time_parts(time: datetime) -> list[float]:
    """As points on circles, so that December is as near to January as it is."""
    year, week = 2 * math.pi * (time.month - 1) / 12, 2 * math.pi * time.weekday() / 7
    return [math.sin(year), math.cos(year), math.sin(week), math.cos(week), time.hour + time.minute / 60]
