"""Condition, switch, if."""

from __future__ import annotations

import pytest
from tests.engine.harness import Workbench

CONDITION = """
id: condition
inputs: {score: number}
steps:
  - id: risk
    type: condition
    config:
      if: "{{ inputs.score }} > 0.7"
      then: [{id: high, type: transform, config: {value: high}}]
      else: [{id: low, type: transform, config: {value: low}}]
output:
  got: "{{ steps.risk.output }}"
  branch: "{{ steps.risk.branch }}"
  other: "{{ steps.high.status }}"
"""


@pytest.mark.parametrize(("score", "branch"), [(0.9, "then"), (0.2, "else")])
async def test_a_condition_runs_one_list_and_skips_the_other(workbench: Workbench, score: float, branch: str) -> None:
    got = await workbench.run(CONDITION, {"score": score})
    assert got["branch"] == branch
    assert got["got"] == {"then": "high", "else": "low"}[branch]
    assert got["other"] == {"then": "completed", "else": "skipped"}[branch]


async def test_a_condition_without_the_taken_list_gives_nothing(workbench: Workbench) -> None:
    flow = """
    id: none
    steps:
      - {id: c, type: condition, config: {if: "1 > 2", then: [{id: x, type: transform, config: {value: 1}}]}}
    output: ["{{ steps.c.output }}", "{{ steps.c.branch }}"]
    """
    assert await workbench.run(flow) == [None, "none"]


SWITCH = """
id: switch
inputs: {level: any}
steps:
  - id: route
    type: switch
    config:
      value: "{{ inputs.level }}"
      cases:
        - {equals: 1, steps: [{id: one, type: transform, config: {value: one}}]}
        - {equals: [two, zwei], steps: [{id: two, type: transform, config: {value: two}}]}
        - {if: "inputs.level is none", steps: [{id: nothing, type: transform, config: {value: nothing}}]}
      default: [{id: other, type: transform, config: {value: other}}]
output: ["{{ steps.route.output }}", "{{ steps.route.branch }}"]
"""


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (1, ["one", 0]),
        ("zwei", ["two", 1]),
        (None, ["nothing", 2]),
        (True, ["other", "default"]),
        ("1", ["other", "default"]),
    ],
)
async def test_a_switch_takes_the_first_match_without_coercion(
    workbench: Workbench, level: object, expected: list[object]
) -> None:
    flow = SWITCH.replace("level: any", "level: {}")
    assert await workbench.run(flow, {"level": level}) == expected


async def test_a_condition_that_is_not_true_or_false_fails_the_step_with_its_place(
    workbench: Workbench,
) -> None:
    flow = """
    id: not-bool
    inputs: {n: integer}
    steps:
      - {id: c, type: condition, config: {if: "inputs.n", then: [{id: x, type: transform, config: {value: 1}}]}}
    """
    error = await workbench.failure(flow, {"n": 3})
    assert error["type"] == "expression_error"
    assert error["source"].startswith("flow.yaml:")
    assert error["step"] == {"id": "c", "type": "condition", "path": "c"}


async def test_a_skipped_block_skips_what_is_inside(workbench: Workbench) -> None:
    flow = """
    id: skipped-block
    steps:
      - {id: b, type: block, if: "false", config: {steps: [{id: inner, type: transform, config: {value: 1}}]}}
    output: "{{ steps.inner.status }}"
    """
    assert await workbench.run(flow) == "skipped"
