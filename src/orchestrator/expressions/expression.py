"""One expression, compiled: what ``if``, ``while``, ``until``, ``items`` and ``value`` hold."""

from __future__ import annotations

from functools import lru_cache

from orchestrator.expressions.errors import ExpressionError, ExpressionSyntaxError, Fault
from orchestrator.expressions.evaluator import Run, compiled
from orchestrator.expressions.lexer import Names
from orchestrator.expressions.limits import MAX_SOURCE, Meter
from orchestrator.expressions.parser import parse_field
from orchestrator.expressions.tree import Reference
from orchestrator.expressions.values import SCALARS, Json, Scope, check_size, shown


class Expression:
    """A compiled expression. ``references`` lists every name it uses, in the order of the text."""

    __slots__ = ("_parts", "_run", "references", "source")

    def __init__(self, source: str, references: tuple[Reference, ...], run: Run, parts: int) -> None:
        self.source = source
        self.references = references
        self._run = run
        self._parts = parts

    def evaluate(self, scope: Scope, meter: Meter) -> Json:
        """The value, in the scope given. Raises ExpressionError."""
        try:
            meter.begin(self._parts)
            value = self._run(scope, meter)
            if type(value) not in SCALARS:
                check_size(value, meter)
        except Fault as fault:
            raise ExpressionError(fault.explain(), self.source, fault.offset or 0) from None
        return value

    def evaluate_bool(self, scope: Scope, meter: Meter) -> bool:
        """The value of a condition. Raises ExpressionError where it is neither true nor false."""
        value = self.evaluate(scope, meter)
        if value is True or value is False:
            return bool(value)
        raise ExpressionError(
            f"a condition must be true or false, not {shown(value)}; compare it, or write `x is defined`", self.source
        )


@lru_cache(maxsize=4096)
def compile_expression(source: str, names: Names) -> Expression:
    """The expression in the text of an expression field. Braces are optional, and ``{{ x }}`` inside other text means
    ``(x)``. Compiled once per process. Raises ExpressionSyntaxError."""
    if len(source) > MAX_SOURCE:
        raise ExpressionSyntaxError(f"the limit of {MAX_SOURCE:,} characters for one expression is exceeded", source)
    tree, references, parts = parse_field(source, names)
    return Expression(source, references, compiled(tree), parts)
