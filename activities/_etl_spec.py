"""The language in which Claude may say how rows are transformed: a closed list of operations on columns. It has no text
that is evaluated, no names of files, tables or functions: what is not listed here cannot be said."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Json = Any
Type = Literal["text", "number", "integer", "date"]
DateFormat = Literal["%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y%m%d", "iso"]
MAX_OPERATIONS = 60
"""Of one source."""

Column = Annotated[str, Field(min_length=1, max_length=100)]
Scalar = str | float | int | bool | None


class Closed(BaseModel):
    """Nothing but the keys that are declared."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Rename(Closed):
    """The column gets another name, which no other column has."""

    op: Literal["rename"]
    column: Column
    to: Column


class Normalise(Closed):
    """``trim`` and ``squeeze`` (spaces inside), letters as said."""

    op: Literal["normalise"]
    column: Column
    form: Literal["trim", "squeeze", "lower", "upper", "title"]


class Pair(Closed):
    """One value and what it becomes."""

    value: Annotated[str, Field(max_length=500)]
    becomes: Scalar


class MapValues(Closed):
    """Values are replaced; others stay, become null, or refuse their row."""

    op: Literal["map"]
    column: Column
    values: Annotated[list[Pair], Field(min_length=1, max_length=500)]
    otherwise: Literal["keep", "null", "refuse"]


class Cast(Closed):
    """Text becomes a value of a type; a row whose value cannot is refused."""

    op: Literal["cast"]
    column: Column
    type: Type
    format: DateFormat | None = None
    """Of a date."""
    decimal: Literal[".", ","] = "."
    """Of a number; the other one, spaces and ``'`` may separate thousands."""


class Operand(Closed):
    """A column or a fixed value."""

    column: Column | None = None
    value: Scalar = None


Function = Literal["add", "subtract", "multiply", "divide", "round", "concat", "year", "month", "day", "days_between"]


class Derive(Closed):
    """A column is computed from others, one function at a time; ``round`` takes a number and a number of digits."""

    op: Literal["derive"]
    column: Column
    function: Function
    of: Annotated[list[Operand], Field(min_length=1, max_length=10)]


Test = Literal["equals", "not_equals", "less", "at_most", "more", "at_least", "one_of", "filled", "empty"]


class Filter(Closed):
    """Rows for which this does not hold are left out."""

    op: Literal["filter"]
    column: Column
    test: Test
    values: Annotated[list[Scalar], Field(max_length=500)] = Field(default_factory=list)


Operation = Annotated[Rename | Normalise | MapValues | Cast | Derive | Filter, Field(discriminator="op")]


class SourceSpec(Closed):
    """How the rows of one source become rows of the target."""

    source: Column
    operations: Annotated[list[Operation], Field(max_length=MAX_OPERATIONS)]


class Aggregate(Closed):
    """A summary of the rows that are loaded."""

    name: Column
    by: Annotated[list[Column], Field(max_length=5)]
    column: Column
    function: Literal["count", "sum", "min", "max", "mean"]


class Spec(Closed):
    """Everything Claude may say."""

    sources: Annotated[list[SourceSpec], Field(min_length=1, max_length=20)]
    aggregates: Annotated[list[Aggregate], Field(max_length=10)] = Field(default_factory=list)


def read_spec(given: Json) -> tuple[Spec | None, list[str]]:
    """The spec, or why it is none."""
    try:
        return Spec.model_validate(given), []
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        return None, [f"{_where(problem['loc'])}: {problem['msg']}" for problem in problems[:20]]


def _where(place: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in place) or "the spec"
