"""Whether a transformation spec makes sense for the columns there are: what a schema cannot say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import assert_never

from _etl_spec import Cast, Derive, Filter, MapValues, Normalise, Operation, Rename, SourceSpec, Spec, Type

Types = dict[str, Type | None]
"""The columns at one point of a spec; None where the type is not known."""

_OPERANDS = {"round": (2, 2), "year": (1, 1), "month": (1, 1), "day": (1, 1), "days_between": (2, 2)}
_PAIR = {"subtract": (2, 2), "divide": (2, 2)}
_VALUES = {"filled": (0, 0), "empty": (0, 0), "one_of": (1, 500)}


def problems_of(spec: Spec, columns: Mapping[str, list[str]], target: Mapping[str, Type]) -> list[str]:
    """What is wrong with a spec for these sources and this target; empty where nothing is. What it says of other
    sources is not looked at: it is for a day when they bring something."""
    named = [source.source for source in spec.sources]
    problems = [f"nothing is said of source '{name}'" for name in columns if name not in named]
    problems += [f"source '{name}' is there twice" for name in sorted({one for one in named if named.count(one) > 1})]
    for source in spec.sources:
        if source.source in columns:
            problems += _of_source(source, columns[source.source], target)
    for aggregate in spec.aggregates:
        lost = [name for name in (*aggregate.by, aggregate.column) if name not in target and name != "source"]
        problems += [f"aggregate '{aggregate.name}': there is no column '{name}'" for name in lost]
        if aggregate.function in ("sum", "mean") and target.get(aggregate.column) not in ("number", "integer"):
            problems.append(f"aggregate '{aggregate.name}': '{aggregate.column}' is no number")
    return problems


def _of_source(source: SourceSpec, columns: list[str], target: Mapping[str, Type]) -> Iterator[str]:
    types: Types = dict.fromkeys(columns)
    for number, operation in enumerate(source.operations, 1):
        here = f"source '{source.source}', operation {number} ({operation.op})"
        yield from (f"{here}: {problem}" for problem in _of_operation(operation, types))
        _after(operation, types)
    for column, wanted in target.items():
        if column not in types:
            yield f"source '{source.source}': the target's column '{column}' is never made"
        elif not _fits(types[column], wanted):
            how = types[column] or "whatever the source has"
            yield f"source '{source.source}': column '{column}' has to be {wanted} and is {how}; cast it"


def _fits(found: Type | None, wanted: Type) -> bool:
    return found == wanted or (wanted == "number" and found == "integer") or (wanted == "text" and found is None)


def _of_operation(operation: Operation, types: Types) -> Iterator[str]:
    if not isinstance(operation, Derive) and operation.column not in types:
        yield f"there is no column '{operation.column}'; there are {', '.join(types)}"
    match operation:
        case Rename():
            if operation.to in types:
                yield f"there is a column '{operation.to}' already"
        case Cast():
            if (operation.type == "date") != (operation.format is not None):
                yield "a date needs a format" if operation.type == "date" else "only a date takes a format"
        case Derive():
            yield from _of_derivation(operation, types)
        case Filter():
            least, most = _VALUES.get(operation.test, (1, 1))
            if not least <= len(operation.values) <= most:
                yield f"'{operation.test}' takes {least if least == most else f'{least} to {most}'} values"
        case MapValues() | Normalise():
            pass
        case _:
            assert_never(operation)


def _of_derivation(operation: Derive, types: Types) -> Iterator[str]:
    least, most = (_OPERANDS | _PAIR).get(operation.function, (1, 10))
    if not least <= len(operation.of) <= most:
        yield f"'{operation.function}' takes {least if least == most else f'{least} to {most}'} operands"
    for operand in operation.of:
        if operand.column is not None and operand.value is not None:
            yield "an operand is a column or a value, not both"
        elif operand.column is not None and operand.column not in types:
            yield f"there is no column '{operand.column}'; there are {', '.join(types)}"
    last = operation.of[-1]
    if operation.function == "divide" and last.column is None and last.value in (0, None):
        yield "division by nothing"


def _after(operation: Operation, types: Types) -> None:
    """Note what the operation does to the columns."""
    match operation:
        case Rename():
            types[operation.to] = types.pop(operation.column, None)
        case Cast():
            types[operation.column] = operation.type
        case Derive():
            types[operation.column] = _derived(operation)
        case MapValues():
            types[operation.column] = "text" if all(isinstance(one.becomes, str) for one in operation.values) else None


def _derived(operation: Derive) -> Type:
    if operation.function == "concat":
        return "text"
    return "integer" if operation.function in ("year", "month", "day", "days_between") else "number"
