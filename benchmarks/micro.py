"""Two small figures: one evaluation of an expression, one load of a flow of 200 steps."""

from __future__ import annotations

import itertools
import time
import uuid
from datetime import UTC, datetime

from benchmarks.flows import many_steps
from benchmarks.load import middle
from benchmarks.report import Row
from orchestrator.expressions import Meter, Names, compile_expression
from orchestrator.spec.loading import load_flow
from orchestrator.spec.project import Project

EXPRESSION = "steps.analyze.output.confidence < 0.8 and trigger.body.tags | length > 2"
_EVALUATIONS = 5_000
_STEPS = 200


def measure(rounds: int) -> list[Row]:
    """Medians of ``rounds`` rounds; every load is of a text never seen before."""
    expression = [_evaluate() for _ in range(rounds)]
    numbers = itertools.count()
    loads = [_load(next(numbers)) for _ in range(rounds)]
    return [
        Row("evaluate an expression, µs", 0, _figures(expression, 20)),
        Row(f"load and check a flow of {_STEPS} steps, ms", 0, _figures(loads, 100)),
    ]


def _figures(values: list[float], goal: float) -> dict[str, float]:
    return {"median": middle(values), "best": min(values), "goal": goal}


def _evaluate() -> float:
    compiled = compile_expression(EXPRESSION, Names(steps=frozenset({"analyze"})))
    scope = {"steps": {"analyze": {"output": {"confidence": 0.5}}}, "trigger": {"body": {"tags": [1, 2, 3]}}}
    began = time.perf_counter()
    for _ in range(_EVALUATIONS):
        if not compiled.evaluate_bool(scope, Meter(lambda: datetime.now(UTC), lambda: str(uuid.uuid4()))):
            raise RuntimeError("the expression must hold")
    return 1e6 * (time.perf_counter() - began) / _EVALUATIONS


def _load(number: int) -> float:
    text = many_steps(_STEPS).replace("example.com", f"example-{number}.com").replace("item {{", f"item {number} {{{{")
    project = Project()
    began = time.perf_counter()
    loaded = load_flow(text, "many-steps.yaml", project)
    elapsed = time.perf_counter() - began
    if len(loaded.definition.steps) != _STEPS:
        raise RuntimeError(f"{len(loaded.definition.steps)} steps were loaded, not {_STEPS}")
    return 1000 * elapsed
