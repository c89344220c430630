"""What goes wrong in an expression, and the one line that says so."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.errors import OrchestratorError

_WINDOW = 80
"""How much of a source a message shows."""


class ExpressionError(OrchestratorError):
    """An expression or template cannot be evaluated. ``message`` says why and what to write instead, ``source`` is
    the text as the author wrote it, ``offset`` the 0-based character where it went wrong. ``str()`` is one line."""

    code = "expression_error"

    def __init__(self, message: str, source: str = "", offset: int = 0) -> None:
        self.message = message
        self.source = source
        self.offset = offset
        where = f" (in `{_excerpt(source, offset)}`, character {offset + 1})" if source else ""
        super().__init__(f"{message}{where}")


class ExpressionSyntaxError(ExpressionError):
    """The text is no expression of this language; raised when it is compiled, never when it is evaluated."""


class Fault(Exception):
    """Inside the package only: a failed operation that does not know its source yet."""

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.offset = offset

    def explain(self) -> str:
        """The message for the author."""
        return str(self.args[0])


class Missing(Fault):
    """A name or member that is not there. The message is built on demand: a guard never needs it."""

    def __init__(self, explain: Callable[[], str], offset: int | None = None) -> None:
        super().__init__("", offset)
        self._explain = explain

    def explain(self) -> str:
        return self._explain()


def _excerpt(source: str, offset: int) -> str:
    start = 0 if len(source) <= _WINDOW else max(0, min(offset - _WINDOW // 2, len(source) - _WINDOW))
    text = " ".join(source[start : start + _WINDOW].split())
    return ("…" if start else "") + text + ("…" if start + _WINDOW < len(source) else "")
