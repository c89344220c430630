"""The bounds of every evaluation, all of them counted: none depends on a clock or on the machine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from orchestrator.expressions.errors import Fault

MAX_SOURCE = 16_384
"""Characters of one expression."""
MAX_TEMPLATE = 1 << 20
"""Characters of one text with templates in it."""
MAX_DEPTH = 64
"""Nesting of an expression."""
MAX_OPERATIONS = 50_000
"""Operations of one evaluation."""
MAX_TEXT = 1 << 20
"""Characters of a text that an operation reads or makes."""
MAX_OUTPUT = 2 * 1024 * 1024
"""Bytes of a result written as JSON."""
MAX_DATA_DEPTH = 100
"""Nesting of data that an operation walks."""
MAX_INTEGER = 2**63
"""Whole numbers lie between minus this and this."""


class Meter:
    """Counts what evaluations cost, and lends them the run's time and randomness.

    ``limit`` bounds each ``evaluate`` or ``render``; ``spent`` is the sum over all of them and never falls, also when
    one fails. One operation is about a third of a microsecond: a node of the expression, an element visited, 128
    characters touched. The nodes are counted before the evaluation starts, branches not taken included, so that the
    cost of an expression does not depend on its way through.
    """

    __slots__ = ("_ceiling", "limit", "now", "spent", "uuid")

    def __init__(self, now: Callable[[], datetime], uuid: Callable[[], str], limit: int = MAX_OPERATIONS) -> None:
        self.now = now
        self.uuid = uuid
        self.limit = limit
        self.spent = 0
        self._ceiling = limit

    def begin(self, operations: int) -> None:
        """A new evaluation starts: it has the whole limit to itself."""
        self._ceiling = self.spent + self.limit
        self.charge(operations)

    def charge(self, operations: int) -> None:
        """Count operations before they are done, so that the one that would be too much is not done."""
        if self.spent + operations > self._ceiling:
            # The refused work was not done, so it is not counted; what is counted may not exceed the limit.
            self.spent = self._ceiling
            raise Fault(
                f"the limit of {self.limit:,} operations per evaluation is reached; "
                "work on less data, or move the work into a function step"
            )
        self.spent += operations

    def charge_text(self, characters: int) -> None:
        """Count the reading or writing of a text."""
        if characters > MAX_TEXT:
            raise Fault(
                f"the limit of {MAX_TEXT:,} characters for a text in an expression is exceeded by a text of "
                f"{characters:,}; work on it in a function step"
            )
        self.charge(1 + (characters >> 7))
