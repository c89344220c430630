"""``run-steps``: steps computed while the flow runs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from tests.engine.harness import Workbench, events, failure_of, scheduled

from orchestrator.engine.workflow import FlowWorkflow

COMPUTED = """
id: computed
inputs: {steps: {}, n: {default: 2}}
steps:
  - {id: before, type: transform, config: {value: {rate: 3}}}
  - id: act
    type: run-steps
    OPTIONS
    config: {steps: "{{ inputs.steps }}", allow: [function, transform, condition, for-each, wait, fail], max_steps: 6}
  - {id: after, type: transform, config: {value: "{{ steps.act.output }}"}}
output: "{{ steps.act.output }}"
"""


def computed(options: str = "name: act") -> str:
    return COMPUTED.replace("OPTIONS", options)


def say(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "type": "function", "config": {"handler": "echo", "args": [name]}} | more


async def test_computed_steps_run_and_give_their_outputs_by_id(workbench: Workbench) -> None:
    handle = await workbench.start(computed(), {"steps": [say("x"), say("y"), say("z", **{"if": "1 > 2"})]})
    assert await handle.result() == {"x": "x", "y": "y"}
    assert workbench.calls() == ["echo x", "echo y"]
    assert await scheduled(handle) == ["act/x", "act/y"]
    state = await handle.query("state")
    assert {path: record["status"] for path, record in state["steps"].items() if "/" in path} == {
        "act/x": "completed",
        "act/y": "completed",
        "act/z": "skipped",
    }


@pytest.mark.parametrize(
    "given",
    [
        json.dumps([say("x")]),
        "- {id: x, type: function, config: {handler: echo, args: [x]}}",
        "Here they are:\n```yaml\n- {id: x, type: function, config: {handler: echo, args: [x]}}\n```\n",
        {"steps": [say("x")]},
    ],
    ids=["json", "yaml", "fenced", "mapping"],
)
async def test_steps_may_be_text_as_a_model_writes_it(workbench: Workbench, given: Any) -> None:
    assert await workbench.run(computed(), {"steps": given}) == {"x": "x"}


async def test_computed_expressions_see_each_other_and_the_flow_around(workbench: Workbench) -> None:
    steps = [
        {"id": "x", "type": "transform", "config": {"value": "{{ steps.before.output.rate * inputs.n }}"}},
        {"id": "y", "type": "transform", "config": {"value": "{{ steps.x.output + 1 }}"}},
        {
            "id": "loop",
            "type": "for-each",
            "config": {
                "items": "{{ steps.y.output - 4 }}",
                "steps": [{"id": "z", "type": "transform", "config": {"value": "{{ item * steps.x.output }}"}}],
            },
        },
    ]
    assert await workbench.run(computed(), {"steps": steps}) == {"x": 6, "y": 7, "loop": [0, 6, 12]}


async def test_needs_and_handlers_of_computed_steps_hold(workbench: Workbench) -> None:
    bad = {"type": "fail", "config": {"type": "boom", "message": "m"}}
    steps = [
        say("late", needs=["first"]),
        say("first", needs=[]),
        {
            "id": "bad",
            **bad,
            "on_error": [{"id": "saved", "type": "transform", "config": {"value": "{{ error.type }}"}}],
        },
    ]
    assert await workbench.run(computed(), {"steps": steps}) == {"late": "late", "first": "first", "bad": "boom"}
    assert workbench.calls() == ["echo first", "echo late"]


REFUSED: list[tuple[Any, str]] = [
    ([{"id": "x", "type": "http", "config": {"url": "http://x"}}], "`http` is not allowed here"),
    ([{"id": "x", "type": "run-steps", "config": {"steps": [], "allow": ["http"]}}], "cannot compute further steps"),
    ([say(f"x{n}") for n in range(7)], "7 steps were computed, at most 6"),
    ([say("before")], "before"),
    ([say("x", needs=["nope"])], "nope"),
    ([say("x"), say("x")], "x"),
    ([{"id": "x", "type": "transform", "config": {"value": "{{ steps.nope.output }}"}}], "nope"),
    ([{"id": "x", "type": "transform", "config": {"value": "{{ steps.after.output }}"}}], "after"),
    ([{"id": "x", "type": "function", "config": {"handler": "echo", "args": ["{{ secrets.KEY }}"]}}], "secrets"),
    ([say("x", compensate={"type": "transform", "config": {"value": 1}})], "cannot carry compensations"),
    ([{"id": "x", "type": "transform", "config": {"valeu": 1}}], "value"),
    ("not a list: at all", "list"),
    ("- {id: x", "closed"),
    ([], "empty"),
    (7, "list"),
    (None, "list"),
]


async def test_what_is_not_allowed_fails_the_step_with_every_problem_before_anything_runs(workbench: Workbench) -> None:
    async def refused(steps: Any) -> dict[str, Any]:
        given = [say("good"), *steps] if isinstance(steps, list) and steps and len(steps) < 6 else steps
        return await workbench.failure(computed(), {"steps": given})

    errors = await asyncio.gather(*(refused(steps) for steps, _ in REFUSED))
    for (steps, told), error in zip(REFUSED, errors, strict=True):
        assert (error["type"], error["step"]["path"]) == ("invalid_steps", "act"), steps
        assert told in error["message"], (steps, error["message"])
    assert workbench.calls() == []


async def test_two_problems_are_both_told(workbench: Workbench) -> None:
    steps = [{"id": "x", "type": "http", "config": {"url": "http://x"}}, say("y", needs=["nope"])]
    message = (await workbench.failure(computed(), {"steps": steps}))["message"]
    assert "`http` is not allowed" in message
    assert "nope" in message


async def test_a_refusal_can_be_handled_like_any_failure(workbench: Workbench) -> None:
    options = "on_error: [{id: plan-b, type: transform, config: {value: '{{ error.type }}'}}]"
    assert await workbench.run(computed(options), {"steps": 7}) == "invalid_steps"


async def test_a_failing_computed_step_fails_with_its_own_place(workbench: Workbench) -> None:
    steps = [say("x"), {"id": "bad", "type": "fail", "config": {"type": "boom", "message": "m"}}, say("y")]
    error = await workbench.failure(computed(), {"steps": steps})
    assert (error["type"], error["step"]["path"]) == ("boom", "act/bad")
    assert workbench.calls() == ["echo x"]


async def test_what_was_checked_is_recorded_and_not_checked_again_on_replay(workbench: Workbench) -> None:
    handle = await workbench.start(computed(), {"steps": [say("x")]})
    await handle.result()
    markers = [event for event in await events(handle) if event.HasField("marker_recorded_event_attributes")]
    assert len(markers) == 1
    # A replayer has no activities: a second check would fail it.
    replayed = await Replayer(workflows=[FlowWorkflow], workflow_runner=UnsandboxedWorkflowRunner()).replay_workflow(
        await handle.fetch_history(), raise_on_replay_failure=False
    )
    assert replayed.replay_failure is None


async def test_computed_steps_in_a_loop_have_the_paths_and_names_of_their_pass(workbench: Workbench) -> None:
    flow = """
    id: each-computed
    inputs: {steps: {}}
    steps:
      - id: each
        type: for-each
        config:
          items: [a, b]
          as: letter
          steps:
            - {id: act, type: run-steps, config: {steps: "{{ inputs.steps }}", allow: [function]}}
    """
    step = {"id": "x", "type": "function", "config": {"handler": "echo", "args": ["{{ letter }}{{ loop.index }}"]}}
    handle = await workbench.start(flow, {"steps": [step]})
    assert await handle.result() == [{"x": "a0"}, {"x": "b1"}]
    assert await scheduled(handle) == ["each[0]/act/x", "each[1]/act/x"]


async def test_the_compensation_of_the_step_undoes_its_computed_steps_as_one(workbench: Workbench) -> None:
    options = 'compensate: {type: function, config: {handler: echo, args: ["undo {{ steps.act.output.x }}"]}}'
    flow = computed(options).replace("output:", "  - {id: boom, type: fail, config: {type: boom, message: m}}\noutput:")
    error = await failure_of(await workbench.start(flow, {"steps": [say("x")]}))
    assert error["compensations"] == [{"path": "act", "status": "completed"}]
    assert workbench.calls() == ["echo x", "echo undo x"]


async def test_a_timeout_of_the_step_stops_what_was_computed(workbench: Workbench) -> None:
    step = {"id": "hang", "type": "function", "config": {"handler": "slow", "params": {"seconds": 60}}}
    error = await workbench.failure(computed("timeout: 1s"), {"steps": [step]})
    assert (error["type"], error["step"]["path"]) == ("step_timeout", "act")
    assert workbench.calls() == ["start act/hang", "cancelled act/hang"]


async def test_cancelling_the_run_stops_what_was_computed(workbench: Workbench) -> None:
    handle = await workbench.start(computed(), {"steps": [{"id": "nap", "type": "wait", "config": {"duration": "1h"}}]})
    await workbench.waiting(handle, "nap")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)
    assert (await handle.query("state"))["steps"]["act/nap"]["status"] == "cancelled"


async def test_a_computed_step_runs_by_its_own_policy_whatever_had_its_id_before(workbench: Workbench) -> None:
    # Another list in the same run, another run of the same flow, a step of the flow's own text: each has its own.
    def steps(attempts: int, seconds: float, schema: Any) -> list[dict[str, Any]]:
        retry = {"max_attempts": attempts, "initial_interval": "10ms"}
        tried = {"id": "x", "type": "function", "config": {"handler": "fail_times", "params": {"times": 2}}}
        napped = {"id": "nap", "type": "function", "config": {"handler": "slow", "params": {"seconds": 0.7}}}
        said = say("y", output_schema={"type": schema})
        return [
            tried | {"retry": retry, "on_error": "continue"},
            napped | {"timeout": f"{seconds}s", "retry": "none", "on_error": "continue"},
            said | {"retry": "none", "on_error": "continue"},
        ]

    flow = """
    id: two-lists
    inputs: {lists: {type: array}}
    steps:
      - id: each
        type: for-each
        config:
          items: inputs.lists
          as: list
          steps:
            - {id: act, type: run-steps, config: {steps: "{{ list }}", allow: [function]}}
    output: "{{ steps.each.output }}"
    """
    strict, lenient = steps(2, 0.3, "integer"), steps(3, 5, "string")
    done = {"x": {"attempt": 3}, "nap": "each[1]/act/nap", "y": "y"}
    assert await workbench.run(flow, {"lists": [strict, lenient]}) == [{}, done]
    assert await workbench.run(flow, {"lists": [lenient, strict]}) == [done | {"nap": "each[0]/act/nap"}, {}]
