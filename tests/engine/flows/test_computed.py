"""``run-steps``: computed steps run like steps of the flow, inside what their author allowed."""

from __future__ import annotations

import pytest
from tests.engine.harness import Workbench, failure_of, scheduled

ACT = """
id: act
inputs: {plan: {}}
vars: {n: 1}
defaults: {retry: {max_attempts: 2, initial_interval: 10ms}}
steps:
  - {id: look-up, type: transform, config: {value: 5}}
  - {id: plan, type: run-steps, config: {steps: "{{ inputs.plan }}", allow: [transform, function, block, for-each, condition, set], max_steps: 5}}
output: {plan: "{{ steps.plan.output }}", n: "{{ vars.n }}"}
"""


def value(name: str, template: str) -> dict[str, object]:
    return {"id": name, "type": "transform", "config": {"value": template}}


async def test_computed_steps_see_the_flow_and_each_other(workbench: Workbench) -> None:
    plan = [
        value("look", "{{ steps.look-up.output-1 }}"),
        value("double", "{{ steps.look.output * 2 }}"),
        {"type": "set", "config": {"n": "{{ steps.double.output }}"}},
    ]
    result = await workbench.run(ACT, {"plan": plan})
    assert result["n"] == 8
    assert {name: result["plan"][name] for name in ("look", "double")} == {"look": 4, "double": 8}


async def test_computed_activities_are_recorded_under_the_path_of_their_step(workbench: Workbench) -> None:
    plan = [{"id": "say", "type": "function", "config": {"handler": "echo", "args": ["hi"]}}]
    handle = await workbench.start(ACT, {"plan": plan})
    assert (await handle.result())["plan"] == {"say": "hi"}
    assert await scheduled(handle) == ["plan/say"]


async def test_computed_steps_inherit_the_defaults_around_them(workbench: Workbench) -> None:
    plan = [{"id": "try-it", "type": "function", "config": {"handler": "fail_times", "params": {"times": 5}}}]
    error = await workbench.failure(ACT, {"plan": plan})
    assert (error["type"], error["attempts"]) == ("network_error", 2)


async def test_computed_steps_in_a_loop_know_the_element_of_their_pass(workbench: Workbench) -> None:
    flow = """
    id: each
    inputs: {plan: array}
    steps:
      - id: each
        type: for-each
        config:
          items: [1, 2]
          as: row
          steps: [{id: plan, type: run-steps, config: {steps: "{{ inputs.plan }}", allow: [transform]}}]
    """
    result = await workbench.run(flow, {"plan": [value("a", "{{ row * 10 + loop.index }}")]})
    assert result == [{"a": 10}, {"a": 21}]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ([{"id": "a", "type": "http", "config": {"url": "https://x.example"}}], "`http` is not allowed here"),
        ("no list at all", "computed steps must be a list, got text"),
        ([value("a", "{{ secrets.KEY }}")], "`secrets.KEY` cannot be used in step `a`"),
        ([value("plan", "1")], "the id `plan` belongs to a step of the flow"),
        ([value("a", "1")] * 6, "at most 5 are allowed"),
    ],
)
async def test_what_may_not_run_fails_the_step_before_anything_ran(
    workbench: Workbench, plan: object, said: str
) -> None:
    good = [{"id": "say", "type": "function", "config": {"handler": "echo", "args": ["hi"]}}]
    handle = await workbench.start(ACT, {"plan": plan if isinstance(plan, str) else [*good, *plan]})  # type: ignore[misc]
    error = await failure_of(handle)
    assert error["type"] == "invalid_steps"
    assert said in error["message"]
    assert workbench.calls() == []
    assert await scheduled(handle) == []
