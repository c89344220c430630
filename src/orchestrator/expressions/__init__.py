"""``{{ … }}``: parsed once, checked when a flow is loaded, evaluated in the workflow. Pure and bounded.

The language looks like Jinja's expressions and is its own: data keys are never methods, types never mix by
themselves, an absent name is an error unless ``default`` or ``is defined`` guards it, and every evaluation is bounded
by counted operations. Instants are text in UTC with milliseconds as ``date()`` and ``now()`` write it, so that
comparing two of them as text compares the times.
"""

from orchestrator.expressions import library as library  # fills the table of helpers
from orchestrator.expressions.errors import ExpressionError, ExpressionSyntaxError
from orchestrator.expressions.expression import Expression, compile_expression
from orchestrator.expressions.helpers import HELPERS, Helper
from orchestrator.expressions.late import fill_catalogue_entry, fill_late
from orchestrator.expressions.lexer import Names
from orchestrator.expressions.limits import Meter
from orchestrator.expressions.tree import Reference
from orchestrator.expressions.value import CompiledValue, Rendered, compile_value
from orchestrator.expressions.values import Json, Scope

__all__ = [
    "HELPERS",
    "CompiledValue",
    "Expression",
    "ExpressionError",
    "ExpressionSyntaxError",
    "Helper",
    "Json",
    "Meter",
    "Names",
    "Reference",
    "Rendered",
    "Scope",
    "compile_expression",
    "compile_value",
    "fill_catalogue_entry",
    "fill_late",
]
