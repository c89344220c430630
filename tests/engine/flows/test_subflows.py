"""``flow``: another flow as a child run. What goes in, what comes out, and how failure and cancellation travel."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError
from tests.engine.harness import Workbench, events, failure_of

from orchestrator.spec.loading import load_flow

CHILD = """
id: child
inputs: {n: integer, word: {type: string, default: hello}}
steps:
  - {id: say, type: function, config: {handler: echo, args: ["{{ inputs.word }} {{ inputs.n }}"]}}
output:
  said: "{{ steps.say.output }}"
  parent: "{{ run.parent }}"
  trigger: "{{ trigger.type }}"
  version: "{{ run.version }}"
"""
PARENT = """
id: parent
inputs: {flow: {default: child}}
steps:
  - id: call
    type: flow
    OPTIONS
    config: {flow: child, inputs: {n: 1}}
output: "{{ steps.call.output }}"
"""


def parent(options: str = "name: child", config: str = "flow: child, inputs: {n: 1}") -> str:
    return PARENT.replace("OPTIONS", options).replace("flow: child, inputs: {n: 1}", config)


async def publish(workbench: Workbench, *texts: str) -> None:
    for text in texts:
        await workbench.store.flows.publish(load_flow(text, "child.yaml", workbench.project))


async def until_calls(workbench: Workbench, count: int) -> None:
    async with asyncio.timeout(30):
        while len(workbench.calls()) < count:
            await asyncio.sleep(0.05)


async def status_of(handle: WorkflowHandle[Any, Any]) -> WorkflowExecutionStatus | None:
    # A child tells its parent of its end just before it ends.
    for _ in range(200):
        status = (await handle.describe()).status
        if status != WorkflowExecutionStatus.RUNNING:
            break
        await asyncio.sleep(0.05)
    return status


async def cancelled(handle: WorkflowHandle[Any, Any]) -> None:
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 60)
    assert await status_of(handle) == WorkflowExecutionStatus.CANCELED


async def child_was_asked_to_cancel(child: WorkflowHandle[Any, Any]) -> None:
    async with asyncio.timeout(30):
        while not any(
            event.HasField("workflow_execution_cancel_requested_event_attributes") for event in await events(child)
        ):
            await asyncio.sleep(0.05)


def child_of(workbench: Workbench, handle: WorkflowHandle[Any, Any], path: str = "call") -> WorkflowHandle[Any, Any]:
    return workbench.temporal.get_workflow_handle(f"{handle.id}:{path}")


async def test_the_childs_output_is_the_steps_output_and_it_knows_its_parent(workbench: Workbench) -> None:
    await publish(workbench, CHILD)
    handle = await workbench.start(parent())
    got = await handle.result()
    assert (got["said"], got["trigger"], got["version"]) == ("hello 1", "flow", "1")
    told = {"run": handle.id, "flow": "parent", "step": "call", "path": "call"}
    assert told.items() <= got["parent"].items()
    state = await handle.query("state")
    assert state["steps"]["call"]["run_id"] == child_of(workbench, handle).id
    assert await status_of(child_of(workbench, handle)) == WorkflowExecutionStatus.COMPLETED


@pytest.mark.parametrize(
    ("version", "said"), [("", "2"), (", version: '1'", "1"), (", version: 1", "1"), (", version: '2'", "2")]
)
async def test_a_version_is_the_current_one_or_the_one_named(workbench: Workbench, version: str, said: str) -> None:
    await publish(workbench, CHILD, CHILD.replace("hello", "goodbye"))
    got = await workbench.run(parent(config=f"flow: child, inputs: {{n: 1}}{version}"))
    assert got["version"] == said
    assert got["said"] == {"1": "hello 1", "2": "goodbye 1"}[said]


@pytest.mark.parametrize(
    ("config", "kind", "told"),
    [
        ("flow: chidl, inputs: {n: 1}", "not_found", "'child'"),
        ("flow: child, inputs: {n: many}", "invalid_inputs", "n"),
        ("flow: child", "invalid_inputs", "n"),
        ("flow: child, version: '9', inputs: {n: 1}", "not_found", "9"),
    ],
)
async def test_what_cannot_start_fails_the_step_and_starts_nothing(
    workbench: Workbench, config: str, kind: str, told: str
) -> None:
    await publish(workbench, CHILD)
    handle = await workbench.start(parent("retry: {max_attempts: 3, initial_interval: 10ms}", config))
    error = await failure_of(handle)
    assert (error["type"], error["step"]["path"], error["attempts"]) == (kind, "call", 1)
    assert told in error["message"]
    assert workbench.calls() == []
    assert not any(
        event.HasField("child_workflow_execution_started_event_attributes") for event in await events(handle)
    )


async def test_inputs_reach_the_child_with_their_json_types(workbench: Workbench) -> None:
    child = """
    id: child
    inputs: {given: {}}
    steps: [{id: t, type: transform, config: {value: "{{ inputs.given }}"}}]
    """
    await publish(workbench, child)
    config = "flow: child, inputs: {given: \"{{ {'a': [1, none, 'x{{y']} }}\"}"
    flow = parent(config=config.replace("x{{y", "x"))
    assert await workbench.run(flow) == {"a": [1, None, "x"]}


# -- failure ------------------------------------------------------------------------------------------------------

FAILING = """
id: child
steps:
  - id: a
    type: function
    config: {handler: echo, args: [a]}
    compensate: {type: function, config: {handler: echo, args: [undo a]}}
  - {id: bad, type: fail, config: {type: out_of_stock, message: none left, data: {sku: 7}}}
"""


async def test_a_childs_failure_is_the_steps_failure_with_the_childs_as_its_cause(workbench: Workbench) -> None:
    await publish(workbench, FAILING)
    handle = await workbench.start(parent(config="flow: child"))
    error = await failure_of(handle)
    assert (error["type"], error["data"], error["step"]["path"]) == ("out_of_stock", {"sku": 7}, "call")
    assert "none left" in error["message"]
    assert child_of(workbench, handle).id in error["message"]
    assert error["cause"]["step"]["path"] == "bad"
    assert error["cause"]["compensations"] == [{"path": "a", "status": "completed"}]
    assert workbench.calls() == ["echo a", "echo undo a"]


async def test_a_childs_output_that_misses_the_steps_schema_fails_the_step(workbench: Workbench) -> None:
    await publish(workbench, CHILD)
    error = await workbench.failure(parent("output_schema: {type: object, required: [missing]}"))
    assert error["type"] == "invalid_output"
    assert "missing" in error["message"]


async def test_a_childs_failure_can_be_caught_by_its_type(workbench: Workbench) -> None:
    await publish(workbench, FAILING)
    flow = """
    id: parent
    steps:
      - id: t
        type: try
        config:
          steps: [{id: call, type: flow, config: {flow: child}}]
          catch: [{on: [out_of_stock], steps: [{id: c, type: transform, config: {value: "{{ error.data.sku }}"}}]}]
    """
    assert await workbench.run(flow) == 7


async def test_a_flow_step_starts_the_child_again_as_its_policy_says(workbench: Workbench) -> None:
    await publish(workbench, FAILING)
    retry = "retry: {max_attempts: 3, initial_interval: 10ms, on: [out_of_stock]}"
    handle = await workbench.start(parent(retry, "flow: child"))
    error = await failure_of(handle)
    assert (error["type"], error["attempts"]) == ("out_of_stock", 3)
    assert workbench.calls() == ["echo a", "echo undo a"] * 3
    for suffix in ("", "~2", "~3"):
        assert await status_of(child_of(workbench, handle, f"call{suffix}")) == WorkflowExecutionStatus.FAILED


async def test_a_childs_failure_is_not_tried_again_unless_the_policy_names_it(workbench: Workbench) -> None:
    await publish(workbench, FAILING)
    retry = "retry: {max_attempts: 3, initial_interval: 10ms}"
    assert (await workbench.failure(parent(retry, "flow: child")))["attempts"] == 1


# -- cancellation -------------------------------------------------------------------------------------------------

HANGING = """
id: child
steps:
  - id: a
    type: function
    config: {handler: echo, args: [a]}
    compensate: {type: function, config: {handler: echo, args: [undo a]}}
  - {id: hang, type: function, config: {handler: slow, params: {seconds: 60}}}
"""
OWING = """
id: parent
steps:
  - id: first
    type: function
    config: {handler: echo, args: [first]}
    compensate: {type: function, config: {handler: echo, args: [undo first]}}
  - id: call
    type: flow
    OPTIONS
    config: {flow: child}
"""


async def test_cancelling_the_parent_cancels_the_child_which_undoes_first(workbench: Workbench) -> None:
    await publish(workbench, HANGING)
    handle = await workbench.start(OWING.replace("OPTIONS", "name: x"))
    await until_calls(workbench, 3)
    await handle.cancel()
    await cancelled(handle)
    assert await status_of(child_of(workbench, handle)) == WorkflowExecutionStatus.CANCELED
    assert workbench.calls() == [
        "echo first",
        "echo a",
        "start hang",
        "cancelled hang",
        "echo undo a",
        "echo undo first",
    ]


async def test_cancelling_the_child_fails_the_step_of_the_parent_as_cancelled(workbench: Workbench) -> None:
    await publish(workbench, HANGING)
    handle = await workbench.start(OWING.replace("OPTIONS", "name: x"))
    await until_calls(workbench, 3)
    await child_of(workbench, handle).cancel()
    await cancelled(handle)
    assert workbench.calls()[-3:] == ["cancelled hang", "echo undo a", "echo undo first"]


async def test_terminating_the_child_fails_the_step(workbench: Workbench) -> None:
    await publish(workbench, HANGING)
    handle = await workbench.start(OWING.replace("OPTIONS", "name: x"))
    await until_calls(workbench, 3)
    await child_of(workbench, handle).terminate()
    error = await failure_of(handle)
    assert (error["type"], error["step"]["path"]) == ("terminated", "call")
    assert workbench.calls()[-1] == "echo undo first"


async def test_a_timeout_of_the_step_cancels_the_child_and_says_whose_it_was(workbench: Workbench) -> None:
    await publish(workbench, HANGING)
    handle = await workbench.start(OWING.replace("OPTIONS", "timeout: 1s"))
    error = await failure_of(handle)
    assert (error["type"], error["step"]["path"]) == ("step_timeout", "call")
    assert await status_of(child_of(workbench, handle)) == WorkflowExecutionStatus.CANCELED
    assert workbench.calls()[-2:] == ["echo undo a", "echo undo first"]


async def test_the_run_timeout_of_the_child_is_its_own(workbench: Workbench) -> None:
    await publish(workbench, HANGING.replace("id: child", "id: child\ntimeout: 1s"))
    handle = await workbench.start(OWING.replace("OPTIONS", "name: x"))
    error = await failure_of(handle)
    assert (error["type"], error["step"]["path"]) == ("run_timeout", "call")
    assert (await handle.query("state"))["status"] == "failed"
    assert (await child_of(workbench, handle).query("state"))["status"] == "timed_out"
    assert workbench.calls()[-2:] == ["echo undo a", "echo undo first"]


async def test_each_attempt_of_a_flow_step_has_its_own_time(workbench: Workbench) -> None:
    await publish(workbench, HANGING)
    options = "timeout: {attempt: 1s, total: 1h}\n    retry: {max_attempts: 2, initial_interval: 10ms}"
    handle = await workbench.start(OWING.replace("OPTIONS", options))
    error = await failure_of(handle)
    assert (error["type"], error["attempts"], error["step"]["path"]) == ("timeout", 2, "call")
    for child in ("call", "call~2"):
        assert await status_of(child_of(workbench, handle, child)) == WorkflowExecutionStatus.CANCELED


async def test_no_child_begins_beyond_max_duration(skipping: Workbench) -> None:
    await publish(skipping, "id: child\nsteps: [{type: fail, config: {type: boom, message: m}}]")
    policy = "max_attempts: 9, initial_interval: 1h, backoff: fixed, max_interval: 9h, max_duration: 90m, on: ['*']"
    error = await skipping.failure(OWING.replace("OPTIONS", f"retry: {{{policy}}}"))
    assert (error["type"], error["attempts"]) == ("boom", 2)


@pytest.mark.parametrize("options", ["name: x", "timeout: {attempt: 1h, total: 2h}"])
async def test_a_child_that_completes_although_it_was_cancelled_is_undone(workbench: Workbench, options: str) -> None:
    child = """
    id: child
    steps: [{type: function, config: {handler: echo, args: [effect]}}]
    error_handling: {finally: [{id: go, type: wait-for-event, config: {signal: go}}]}
    """
    undo = "\n    compensate: {type: function, config: {handler: echo, args: ['undo {{ steps.call.output }}']}}"
    await publish(workbench, child)
    handle = await workbench.start(OWING.replace("OPTIONS", options + undo))
    await until_calls(workbench, 2)
    await workbench.waiting(child_of(workbench, handle), "go")
    await handle.cancel()
    await child_was_asked_to_cancel(child_of(workbench, handle))
    await child_of(workbench, handle).signal("go", {})
    await cancelled(handle)
    assert await status_of(child_of(workbench, handle)) == WorkflowExecutionStatus.COMPLETED
    assert workbench.calls() == ["echo first", "echo effect", "echo undo effect", "echo undo first"]


async def test_return_cancelled_in_the_child_cancels_the_parent_too(workbench: Workbench) -> None:
    await publish(workbench, "id: child\nsteps: [{id: r, type: return, config: {status: cancelled}}]")
    handle = await workbench.start(OWING.replace("OPTIONS", "name: x"))
    await cancelled(handle)
    assert workbench.calls() == ["echo first", "echo undo first"]


# -- detached, deep, many -----------------------------------------------------------------------------------------


async def test_a_detached_child_outlives_its_parent(workbench: Workbench) -> None:
    await publish(workbench, HANGING.replace("seconds: 60", "seconds: 1"))
    handle = await workbench.start(parent(config="flow: child, wait: false"))
    got = await handle.result()
    child = child_of(workbench, handle)
    assert got == {"run_id": child.id}
    assert await asyncio.wait_for(child.result(), 30) == "hang"
    assert workbench.calls() == ["echo a", "start hang", "end hang"]


async def test_a_failing_detached_child_is_no_failure_of_the_parent(workbench: Workbench) -> None:
    await publish(workbench, FAILING)
    handle = await workbench.start(parent(config="flow: child, wait: false"))
    assert "run_id" in await handle.result()
    assert (await failure_of(child_of(workbench, handle)))["type"] == "out_of_stock"


async def test_a_flow_that_starts_itself_for_ever_fails_clearly_at_the_limit(workbench: Workbench) -> None:
    flow = """
    id: deep
    vars: {deeper: true}
    steps: [{id: again, type: flow, if: vars.deeper, config: {flow: deep}}]
    """
    await publish(workbench, flow)
    error = await workbench.failure(flow)
    assert error["type"] == "too_deep"
    assert "would be the 11th run inside another" in error["message"]


async def test_recursion_that_ends_gives_its_result(workbench: Workbench) -> None:
    flow = """
    id: sum
    inputs: {n: integer}
    steps:
      - id: more
        type: condition
        config:
          if: inputs.n > 0
          then:
            - {id: rest, type: flow, config: {flow: sum, inputs: {n: "{{ inputs.n - 1 }}"}}}
            - {id: add, type: transform, config: {value: "{{ steps.rest.output + inputs.n }}"}}
          else: [{id: zero, type: transform, config: {value: 0}}]
    """
    await publish(workbench, flow)
    assert await workbench.run(flow, {"n": 5}) == 15


async def test_children_of_a_loop_run_side_by_side_each_under_its_own_path(workbench: Workbench) -> None:
    await publish(workbench, CHILD)
    flow = """
    id: many
    steps:
      - id: each
        type: for-each
        config:
          items: 5
          concurrency: 5
          steps:
            - {id: call, type: flow, config: {flow: child, inputs: {n: "{{ item }}"}}}
            - {id: said, type: transform, config: {value: "{{ steps.call.output.said }}"}}
    """
    handle = await workbench.start(flow)
    assert await handle.result() == [f"hello {n}" for n in range(5)]
    assert await status_of(child_of(workbench, handle, "each[3]/call")) == WorkflowExecutionStatus.COMPLETED


async def test_a_task_in_a_child_is_answered_at_the_child(workbench: Workbench) -> None:
    await publish(workbench, "id: child\nsteps: [{id: ok, type: human-task, config: {assignee: x}}]")
    handle = await workbench.start(parent(config="flow: child"))
    child = child_of(workbench, handle)
    async with asyncio.timeout(30):
        while await _missing(child):
            await asyncio.sleep(0.05)
    await workbench.waiting(child, "ok")
    await child.signal("ok", {"decision": "approve"})
    assert (await handle.result())["decision"] == "approve"


async def _missing(handle: WorkflowHandle[Any, Any]) -> bool:
    try:
        await handle.describe()
    except RPCError:
        return True
    return False
