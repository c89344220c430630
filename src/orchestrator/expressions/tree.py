"""The parts an expression is made of, as the parser finds them and the evaluator runs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reference:
    """One use of a name: ``steps.risk-check.output.score`` has root ``steps`` and the path behind it, as far as it
    is written out. ``guarded`` where ``default`` or ``is defined`` looks after its absence."""

    root: str
    path: tuple[str | int, ...]
    guarded: bool
    offset: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Any part. ``height`` is the depth of the tree below it, itself included."""

    offset: int
    height: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Literal(Part):
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOf(Part):
    items: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectOf(Part):
    keys: tuple[str, ...]
    values: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Path(Part):
    """A root name and the members written out behind it."""

    root: str
    path: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Member(Part):
    """A member of what another part gives, or one whose name is computed."""

    operand: Part
    key: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice(Part):
    operand: Part
    start: Part | None
    stop: Part | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unary(Part):
    """``-`` or ``not``."""

    sign: str
    operand: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain(Part):
    """Operators of one rank from left to right: ``a + b - c``. ``rest`` holds (operator, its offset,
    operand)."""

    first: Part
    rest: tuple[tuple[str, int, Part], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison(Part):
    """``a < b``, ``a in b``, or ``a < b <= c``, which means ``a < b and b <= c``."""

    first: Part
    rest: tuple[tuple[str, int, Part], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Logic(Part):
    """Operands joined by ``and`` or by ``or``."""

    sign: str
    operands: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Part):
    """``a if condition else b``."""

    condition: Part
    then: Part
    otherwise: Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Part):
    """A helper, as filter or function."""

    name: str
    arguments: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Default(Part):
    """``operand | default(fallback, also_empty)``."""

    operand: Part
    fallback: Part
    also_empty: Part | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Defined(Part):
    operand: Part
    negated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KindTest(Part):
    """``x is none``, ``x is not text`` and the like."""

    operand: Part
    kind: str
    negated: bool
