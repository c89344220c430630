"""What every test of the expression language needs: a meter with a fixed clock, and one call to evaluate."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.expressions import Meter, Names, compile_expression, compile_value

Evaluate = Callable[..., Any]


def fixed_meter(limit: int = 50_000) -> Meter:
    return Meter(lambda: datetime(2026, 3, 1, 9, 30, 5, 678901, tzinfo=UTC), lambda: "id-1", limit)


@pytest.fixture
def meter() -> Meter:
    """A meter that has spent nothing."""
    return fixed_meter()


@pytest.fixture(scope="session")
def evaluate() -> Evaluate:
    """``evaluate(source, scope)``: the value of an expression field."""

    def run(source: str, scope: dict[str, Any] | None = None, names: Names | None = None) -> Any:
        return compile_expression(source, names or Names()).evaluate(scope or {}, fixed_meter())

    return run


@pytest.fixture(scope="session")
def render() -> Evaluate:
    """``render(value, scope)``: a value with its templates filled in."""

    def run(value: Any, scope: dict[str, Any] | None = None, names: Names | None = None) -> Any:
        return compile_value(value, names or Names()).render(scope or {}, fixed_meter()).value

    return run
