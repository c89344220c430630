"""Tests of flows: 100 cases of a flow with retries, a loop, a person and a month of waiting; cases per second."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.report import Row
from orchestrator.flowtests.runner import run_files
from orchestrator.settings import Settings

CASES = 100
GOAL = 10.0
"""Cases per second, on two cores that have nothing else to do."""
FLOW = """\
id: order
inputs: {order: {type: object, required: [id, lines]}}
steps:
  - id: reserve
    type: http
    config: {url: "https://stock.example/{{ inputs.order.id }}", method: POST}
    compensate: {id: release, type: http, config: {url: "https://stock.example/release", method: POST}}
  - id: lines
    type: for-each
    config:
      items: "{{ inputs.order.lines }}"
      steps: [{id: price, type: http, config: {url: "https://price.example/{{ item }}"}}]
  - {id: approval, type: human-task, config: {assignee: kim, deadline: 60d}}
  - {id: charge, type: http, config: {url: "https://pay.example", method: POST}}
  - {id: grace, type: wait, config: {duration: 30d}}
  - {id: ship, type: http, config: {url: "https://ship.example", method: POST}}
output: {charged: "{{ steps.charge.output }}"}
"""
CASE = """\
  - name: order {number}
    inputs: {{order: {{id: o{number}, lines: [a, b, c]}}}}
    mocks:
      reserve: {{output: true}}
      price: {{output: {number}}}
      charge: [{{error: temporary_service_unavailable}}, {{output: {number}}}]
      ship: {{output: true}}
    events: [{{decide: approval, decision: approve}}]
    expect: {{output: {{charged: {number}}}, calls: {{charge: 2, price: 3}}, ran: [ship], duration: 30d}}
"""


async def measure(rounds: int) -> list[Row]:
    """Each round on a server of its own, whose start counts."""
    with tempfile.TemporaryDirectory() as folder:
        tests = _written(Path(folder))
        return [await _round(tests, number) for number in range(rounds)]


async def _round(tests: Path, number: int) -> Row:
    began = time.perf_counter()
    report = await run_files(Settings(project_dir=tests.parent), [tests])
    elapsed = time.perf_counter() - began
    if not report.passed or len(report.cases) != CASES:
        raise RuntimeError(f"{len(report.cases)} cases ran, and not all {CASES} passed")
    inside = sorted(case.took for case in report.cases)
    figures = {"cases/s": CASES / elapsed, "p50 ms of a case": 1000 * inside[CASES // 2], "goal cases/s": GOAL}
    return Row(f"{CASES} cases, one lane", number, figures)


def _written(folder: Path) -> Path:
    (folder / "order.yaml").write_text(FLOW, encoding="utf-8")
    tests = folder / "order.test.yaml"
    cases = "".join(CASE.format(number=number) for number in range(CASES))
    tests.write_text(f"cases:\n{cases}", encoding="utf-8")
    return tests
