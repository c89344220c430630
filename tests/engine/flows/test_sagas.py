"""Compensations: what is undone, when, in which order, and what the run says about it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from tests.engine.harness import Workbench, failure_of, scheduled


def act(name: str, more: str = "", undo: str | None = None) -> str:
    """A step that says ``name``, with a compensation that says ``undo`` and its own output."""
    told = undo or f"undo {{{{ steps.{name}.output }}}}"
    compensate = f'{{type: function, config: {{handler: echo, args: ["{told}"]}}}}'
    return f"{{id: {name}, type: function, {more} config: {{handler: echo, args: [{name}]}}, compensate: {compensate}}}"


BOOM = "{id: boom, type: fail, config: {type: boom, message: m}}"
HANG = "{id: hang, type: function, config: {handler: slow, params: {seconds: 60}}}"


def flow(*steps: str, head: str = "", tail: str = "") -> str:
    return f"id: undo\n{head}\nsteps:\n" + "".join(f"  - {step}\n" for step in steps) + tail


def saga(*steps: str, name: str = "s", more: str = "", step: str = "") -> str:
    return f"{{id: {name}, type: saga, {step} config: {{steps: [{', '.join(steps)}]{', ' + more if more else ''}}}}}"


async def cancelled(handle: WorkflowHandle[Any, Any]) -> dict[str, Any]:
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 60)
    assert (await handle.describe()).status == WorkflowExecutionStatus.CANCELED
    state: dict[str, Any] = await handle.query("state")
    return state


async def until_calls(workbench: Workbench, count: int) -> None:
    async with asyncio.timeout(30):
        while len(workbench.calls()) < count:
            await asyncio.sleep(0.05)


ORDERS: list[tuple[str, list[str], list[str]]] = [
    ("nothing after success", [act("a"), act("b")], ["a", "b"]),
    ("newest first", [act("a"), act("b"), act("c"), BOOM], ["a", "b", "c", "undo c", "undo b", "undo a"]),
    ("only what completed", [act("a"), "{id: b, type: fail, config: {type: boom, message: m}, compensate: "
      "{type: function, config: {handler: echo, args: [undo b]}}}", act("c")], ["a", "undo a"]),
    ("what was skipped is not undone", [act("a", "if: 'false',"), act("b"), BOOM], ["b", "undo b"]),
    (
        "attempted too",
        [act("a"), "{id: b, type: fail, compensate_on: attempted, config: {type: boom, message: m}, compensate: "
         "{type: function, config: {handler: echo, args: ['undo b {{ steps.b.status }} {{ error.type }}']}}}"],
        ["a", "undo b failed boom", "undo a"],
    ),
    ("a saga at its end", [saga(act("a"), act("b"), BOOM)], ["a", "b", "undo b", "undo a"]),
    ("a completed saga hands over", [saga(act("a"), act("b")), act("c"), BOOM],
     ["a", "b", "c", "undo c", "undo b", "undo a"]),
    ("a committed saga is done with", [saga(act("a"), act("b"), more="commit: true"), act("c"), BOOM],
     ["a", "b", "c", "undo c"]),
    ("an inner saga hands over to the outer one", [act("z"), saga(saga(act("a"), name="i"), act("b"), BOOM)],
     ["z", "a", "b", "undo b", "undo a", "undo z"]),
    ("an outer commit covers what an inner saga handed over",
     [saga(saga(act("a"), name="i"), act("b"), more="commit: true"), act("c"), BOOM], ["a", "b", "c", "undo c"]),
    ("an inner commit stays", [saga(saga(act("a"), name="i", more="commit: true"), act("b"), BOOM)],
     ["a", "b", "undo b"]),
    ("in a branch", [f"{{id: w, type: condition, config: {{if: 'true', then: [{act('a')}, {BOOM}]}}}}"],
     ["a", "undo a"]),
    ("in a handler", [f"{{id: w, type: fail, config: {{type: x, message: m}}, on_error: [{act('a')}]}}", BOOM],
     ["a", "undo a"]),
    ("handled failure undoes nothing", [act("a"), BOOM.replace("type: fail,", "type: fail, on_error: continue,")],
     ["a"]),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "calls"), [row[1:] for row in ORDERS], ids=[row[0] for row in ORDERS])
async def test_what_is_undone_and_in_which_order(workbench: Workbench, steps: list[str], calls: list[str]) -> None:
    handle = await workbench.start(flow(*steps))
    if any(call.startswith("undo") for call in calls):
        assert (await failure_of(handle))["type"] == "boom"
    else:
        await handle.result()
    assert workbench.calls() == [f"echo {call}" for call in calls]


async def test_branches_are_undone_in_reverse_order_of_their_completion(workbench: Workbench) -> None:
    nap = "{id: nap, type: wait, config: {duration: 600ms}}"
    late = f"{{id: l, type: block, config: {{steps: [{nap}, {act('a')}]}}}}"
    steps = [f"{{id: p, type: parallel, config: {{branches: [{late}, {act('b')}]}}}}", act("c"), BOOM]
    await workbench.failure(flow(*steps))
    assert workbench.calls() == [f"echo {name}" for name in ("b", "a", "c", "undo c", "undo a", "undo b")]


async def test_a_run_tells_what_was_compensated_in_its_error_and_its_state(workbench: Workbench) -> None:
    steps = [act("a"), act("b"), BOOM]
    handle = await workbench.start(flow(*steps))
    error = await failure_of(handle)
    told = [{"path": "b", "status": "completed"}, {"path": "a", "status": "completed"}]
    assert error["compensations"] == told
    state = await handle.query("state")
    assert state["compensations"] == told
    assert [state["steps"][path]["status"] for path in ("a", "a#compensate/function-1")] == ["completed", "completed"]
    assert state["steps"]["a"]["undone"] is True


async def test_a_compensation_that_fails_stops_no_other_and_is_told(workbench: Workbench) -> None:
    broken = act("b").replace('handler: echo, args: ["undo', 'handler: fail_with, args: ["undo')
    handle = await workbench.start(flow(act("a"), broken, act("c"), BOOM))
    error = await failure_of(handle)
    assert error["type"] == "boom"
    assert workbench.calls() == ["echo a", "echo b", "echo c", "echo undo c", "fail_with undo b", "echo undo a"]
    assert [(one["path"], one["status"]) for one in error["compensations"]] == [
        ("c", "completed"),
        ("b", "failed"),
        ("a", "completed"),
    ]
    failed = error["compensations"][1]["error"]
    assert (failed["type"], failed["step"]["path"].split("/")[0]) == ("refused", "b#compensate")
    assert (await handle.query("state"))["compensations"] == error["compensations"]


async def test_a_compensation_has_its_own_retry_policy_and_a_key_of_its_own_for_all_its_attempts(
    workbench: Workbench,
) -> None:
    step = (
        "{id: a, type: function, retry: none, config: {handler: fail_times, params: {times: 0}}, compensate: "
        "{id: u, type: function, retry: {max_attempts: 3, initial_interval: 10ms}, "
        "config: {handler: fail_times, params: {times: 2}}}}"
    )
    error = await workbench.failure(flow(step, BOOM))
    assert error["compensations"] == [{"path": "a", "status": "completed"}]
    calls = [call.split() for call in workbench.calls()]
    assert [(call[1], call[2]) for call in calls] == [("a", "1")] + [("a#compensate/u", str(n)) for n in (1, 2, 3)]
    keys = {call[3] for call in calls[1:]}
    assert len(keys) == 1
    assert calls[0][3] not in keys


async def test_a_compensation_is_a_list_that_sees_the_outputs_the_error_and_its_own_steps(workbench: Workbench) -> None:
    step = (
        "{id: a, type: transform, config: {value: {order: 7}}, compensate: ["
        "{id: ask, type: transform, config: {value: 'order {{ steps.a.output.order }}'}}, "
        "{id: tell, type: function, config: {handler: echo, args: "
        "['{{ steps.ask.output }} {{ error.type }} {{ error.step.path }} {{ steps.boom.status }}']}}]}"
    )
    await workbench.failure(flow(step, BOOM))
    assert workbench.calls() == ["echo order 7 boom boom failed"]


# -- when ---------------------------------------------------------------------------------------------------------


async def test_a_cancelled_run_undoes_when_the_running_step_has_stopped(workbench: Workbench) -> None:
    handle = await workbench.start(flow(act("a"), act("b"), HANG))
    await until_calls(workbench, 3)
    await handle.cancel()
    state = await cancelled(handle)
    assert workbench.calls() == ["echo a", "echo b", "start hang", "cancelled hang", "echo undo b", "echo undo a"]
    assert [one["status"] for one in state["compensations"]] == ["completed", "completed"]


async def test_cancelling_again_during_a_compensation_does_not_stop_it(workbench: Workbench) -> None:
    slow = act("b").replace(
        'handler: echo, args: ["undo {{ steps.b.output }}"]', "handler: slow, params: {seconds: 1.5}"
    )
    handle = await workbench.start(flow(act("a"), slow, HANG))
    await until_calls(workbench, 3)
    await handle.cancel()
    await until_calls(workbench, 5)
    await handle.cancel()
    await cancelled(handle)
    assert [call.split("/")[0] for call in workbench.calls()[4:]] == [
        "start b#compensate",
        "end b#compensate",
        "echo undo a",
    ]


async def test_cancelling_during_the_compensations_of_a_failure_does_not_stop_them(workbench: Workbench) -> None:
    slow = act("b").replace(
        'handler: echo, args: ["undo {{ steps.b.output }}"]', "handler: slow, params: {seconds: 1.5}"
    )
    handle = await workbench.start(flow(act("a"), slow, BOOM))
    await until_calls(workbench, 3)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)
    assert workbench.calls()[-1] == "echo undo a"
    assert workbench.calls()[-2].startswith("end b#compensate")


async def test_cancelling_a_saga_while_it_undoes_lets_it_undo(workbench: Workbench) -> None:
    slow = act("b").replace(
        'handler: echo, args: ["undo {{ steps.b.output }}"]', "handler: slow, params: {seconds: 1.5}"
    )
    after = "{id: after, type: function, config: {handler: echo, args: [after]}}"
    handle = await workbench.start(flow(act("z"), saga(act("a"), slow, BOOM, step="on_error: continue,"), after))
    await until_calls(workbench, 4)
    await handle.cancel()
    await cancelled(handle)
    assert workbench.calls()[-2:] == ["echo undo a", "echo undo z"]
    assert "echo after" not in workbench.calls()


async def test_a_run_timeout_undoes_and_says_why(skipping: Workbench) -> None:
    nap = "{id: nap, type: wait, config: {duration: 2h}}"
    handle = await skipping.start(flow(act("a", undo="undo a {{ error.type }}"), nap, head="timeout: 1h"))
    error = await failure_of(handle)
    assert error["type"] == "run_timeout"
    assert error["compensations"] == [{"path": "a", "status": "completed"}]
    assert skipping.calls() == ["echo a", "echo undo a run_timeout"]


async def test_the_step_timeout_of_a_saga_undoes_it(workbench: Workbench) -> None:
    steps = [
        act("z"),
        saga(act("a", undo="undo a {{ error.type }}"), HANG, step="timeout: 800ms, on_error: continue,"),
        "{id: after, type: function, config: {handler: echo, args: [after]}}",
    ]
    assert await workbench.run(flow(*steps)) == "after"
    assert workbench.calls() == [
        "echo z",
        "echo a",
        "start s/hang",
        "cancelled s/hang",
        "echo undo a step_timeout",
        "echo after",
    ]


async def test_return_cancelled_undoes_and_return_does_not(workbench: Workbench) -> None:
    await workbench.run(flow(act("a"), "{id: r, type: return, config: {output: 1}}"))
    assert workbench.calls() == ["echo a"]
    handle = await workbench.start(flow(act("b"), "{id: r, type: return, config: {status: cancelled}}"))
    await cancelled(handle)
    assert workbench.calls()[1:] == ["echo b", "echo undo b"]


async def test_a_rejection_that_cancels_undoes_and_then_runs_finally_but_no_fallback(workbench: Workbench) -> None:
    handlers = """error_handling:
  fallback: [{id: fb, type: function, config: {handler: echo, args: [fallback]}}]
  finally: [{id: fin, type: function, config: {handler: echo, args: [finally]}}]
"""
    task = "{id: ok, type: human-task, config: {assignee: x, on_reject: cancel}}"
    handle = await workbench.start(flow(act("a"), task, tail=handlers))
    await workbench.waiting(handle, "ok")
    await handle.signal("ok", {"decision": "reject"})
    await cancelled(handle)
    assert workbench.calls() == ["echo a", "echo undo a", "echo finally"]


async def test_a_failed_run_undoes_then_falls_back_then_finishes(workbench: Workbench) -> None:
    handlers = """error_handling:
  fallback: [{id: fb, type: function, config: {handler: echo, args: ["fallback {{ steps.a.output }}"]}}]
  finally: [{id: fin, type: function, config: {handler: echo, args: ["finally {{ error.type }}"]}}]
"""
    await workbench.failure(flow(act("a"), BOOM, tail=handlers))
    assert workbench.calls() == ["echo a", "echo undo a", "echo fallback a", "echo finally boom"]


# -- scopes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "own", "undone"),
    [("", "", False), ("compensate_on: attempted", "", True), ("compensate_on: attempted", "completed", False),
     ("compensate_on: completed", "attempted", True)],
)  # fmt: skip
async def test_compensate_on_comes_from_the_saga_unless_the_step_says_otherwise(
    workbench: Workbench, wanted: str, own: str, undone: bool
) -> None:
    mine = f"compensate_on: {own}," if own else ""
    failing = (
        f"{{id: b, type: fail, {mine} config: {{type: boom, message: m}}, compensate: "
        "{type: function, config: {handler: echo, args: [undo b]}}}"
    )
    await workbench.failure(flow(saga(act("a"), failing, more=wanted)))
    assert workbench.calls() == ["echo a"] + ["echo undo b"] * undone + ["echo undo a"]


async def test_a_saga_in_a_try_is_undone_before_the_catch_sees_the_error(workbench: Workbench) -> None:
    caught = "{id: c, type: function, config: {handler: echo, args: ['caught {{ error.type }}']}}"
    inner = saga(act("a"), act("b"), BOOM)
    attempt = f"{{id: t, type: try, config: {{steps: [{inner}], catch: [{{on: [boom], steps: [{caught}]}}]}}}}"
    handle = await workbench.start(flow(act("z"), attempt))
    assert await handle.result() == "caught boom"
    assert workbench.calls() == ["echo z", "echo a", "echo b", "echo undo b", "echo undo a", "echo caught boom"]


async def test_what_a_try_caught_outside_a_saga_is_still_owed_by_the_run(workbench: Workbench) -> None:
    attempt = f"{{id: t, type: try, config: {{steps: [{act('a')}, {{id: x, type: fail, config: {{type: x, message: m}}}}], catch: [{{steps: [{act('c')}]}}]}}}}"
    await workbench.failure(flow(attempt, BOOM))
    assert workbench.calls() == ["echo a", "echo c", "echo undo c", "echo undo a"]


async def test_a_body_run_again_is_undone_once_per_time_it_completed(workbench: Workbench) -> None:
    text = """
id: twice
vars: {n: 0}
steps:
  - id: t
    type: try
    config:
      retry: {max_attempts: 2, initial_interval: 10ms, on: ["*"]}
      steps:
        - {id: up, type: set, config: {n: "{{ vars.n + 1 }}"}}
        - id: a
          type: function
          config: {handler: echo, args: ["order {{ vars.n }}"]}
          compensate: {id: u, type: function, config: {handler: echo, args: ["undo {{ steps.a.output }}"]}}
        - {id: bad, type: fail, config: {type: boom, message: m}}
"""
    handle = await workbench.start(text)
    await failure_of(handle)
    assert workbench.calls() == ["echo order 1", "echo order 2", "echo undo order 2", "echo undo order 1"]
    assert await scheduled(handle) == ["t/a", "t/a", "t/a#compensate/u", "t/a#compensate/u"]


async def test_a_saga_whose_body_runs_again_is_undone_before_each_time(workbench: Workbench) -> None:
    inner = saga(act("a"), BOOM)
    attempt = f"{{id: t, type: try, config: {{steps: [{inner}], retry: {{max_attempts: 2, initial_interval: 10ms, on: ['*']}}}}}}"
    error = await workbench.failure(flow(attempt))
    assert workbench.calls() == ["echo a", "echo undo a"] * 2
    assert error["type"] == "boom"


LOOP = """
id: loop-undo
steps:
  - id: each
    type: for-each
    config:
      items: [x, y]
      CONCURRENCY
      steps:
        - id: book
          type: function
          config: {handler: echo, args: ["book {{ item }}"]}
          compensate:
            - {id: u, type: function, config: {handler: echo, args: ["undo {{ steps.book.output }} {{ item }} {{ loop.index }} {{ error.type }}"]}}
  - {id: boom, type: fail, config: {type: boom, message: m}}
"""


async def test_in_a_loop_a_compensation_sees_the_item_and_the_steps_of_its_pass(workbench: Workbench) -> None:
    handle = await workbench.start(LOOP.replace("CONCURRENCY", "concurrency: 1"))
    error = await failure_of(handle)
    assert workbench.calls()[2:] == ["echo undo book y y 1 boom", "echo undo book x x 0 boom"]
    assert [one["path"] for one in error["compensations"]] == ["each[1]/book", "each[0]/book"]
    assert (await scheduled(handle))[2:] == ["each[1]/book#compensate/u", "each[0]/book#compensate/u"]


async def test_in_nested_loops_a_compensation_sees_every_item_around_it(workbench: Workbench) -> None:
    text = """
id: nested-undo
vars: {n: 0}
steps:
  - id: outer
    type: while
    config:
      while: loop.count < 2
      max_iterations: 5
      steps:
        - {id: name, type: transform, config: {value: "row {{ loop.index }}"}}
        - id: inner
          type: for-each
          config:
            items: [x, y]
            as: letter
            steps:
              - id: book
                type: transform
                config: {value: 1}
                compensate: {id: u, type: function, config: {handler: echo, args: ["{{ steps.name.output }} {{ letter }} {{ loop.index }} {{ loop.parent.index }}"]}}
  - {id: boom, type: fail, config: {type: boom, message: m}}
"""
    await workbench.failure(text)
    assert workbench.calls() == [
        "echo row 1 y 1 1",
        "echo row 1 x 0 1",
        "echo row 0 y 1 0",
        "echo row 0 x 0 0",
    ]


async def test_a_saga_per_pass_undoes_that_pass_alone(workbench: Workbench) -> None:
    text = """
id: pass-saga
steps:
  - id: each
    type: for-each
    config:
      items: [x, y, z]
      tolerate: all
      steps:
        - id: s
          type: saga
          config:
            commit: true
            steps:
              - id: book
                type: function
                config: {handler: echo, args: ["book {{ item }}"]}
                compensate: {id: u, type: function, config: {handler: echo, args: ["undo {{ item }}"]}}
              - {id: bad, type: fail, if: "item == 'y'", config: {type: boom, message: m}}
  - {id: end, type: fail, config: {type: end, message: m}}
"""
    assert (await workbench.failure(text))["type"] == "end"
    assert workbench.calls() == ["echo book x", "echo book y", "echo undo y", "echo book z"]


async def test_a_saga_that_lost_a_race_is_still_owed_by_the_run(workbench: Workbench) -> None:
    late = saga(act("a"), "{id: nap, type: wait, config: {duration: 1h}}")
    quick = "{id: q, type: wait, config: {duration: 800ms}}"
    raced = f"{{id: p, type: parallel, config: {{wait_for: any, branches: [{late}, {quick}]}}}}"
    await workbench.failure(flow(raced, BOOM))
    assert workbench.calls() == ["echo a", "echo undo a"]


async def test_a_compensation_of_a_block_undoes_the_block_as_one(workbench: Workbench) -> None:
    block = (
        "{id: b, type: block, config: {steps: [{id: x, type: transform, config: {value: 5}}]}, "
        "compensate: {type: function, config: {handler: echo, args: ['undo {{ steps.b.output }} {{ steps.x.output }}']}}}"
    )
    await workbench.failure(flow(block, BOOM))
    assert workbench.calls() == ["echo undo 5 5"]
