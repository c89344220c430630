"""Pause and resume: nothing new begins, what runs finishes, and what a deadline means meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.api.testservice.v1 import SleepRequest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import CancelledError
from temporalio.service import RPCError
from tests.engine.harness import Workbench, failure_of, untroubled, whole_history

from orchestrator.client.run import Run

Handle = WorkflowHandle[Any, Any]


async def state_of(handle: Handle) -> dict[str, Any]:
    state: dict[str, Any] = await handle.query("state")
    return state


async def until_called(bench: Workbench, call: str) -> None:
    """Until a function has written this down."""
    for _ in range(400):
        if call in bench.calls():
            return
        await asyncio.sleep(0.025)
    raise AssertionError(f"{call!r} is not among {bench.calls()}")


async def until(handle: Handle, holds: Callable[[dict[str, Any]], bool]) -> None:
    """Until the run's state is as wished."""
    for _ in range(200):
        # A query may meet the run while it continues as new.
        with contextlib.suppress(RPCError):
            state: dict[str, Any] = await handle.query("state", rpc_timeout=timedelta(seconds=1))
            if holds(state):
                return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the run is never as wished: {state}")


async def until_paused(handle: Handle) -> None:
    await until(handle, lambda state: bool(state["paused"]))


WORK = """
id: work
steps:
  - {id: a, type: function, config: {handler: slow, params: {seconds: 0.7}}}
  - {id: b, type: function, config: {handler: echo, args: [b]}}
  - {id: c, type: transform, config: {value: 3}}
"""


@pytest.mark.parametrize("continue_after", [5000, 1])
async def test_what_runs_finishes_and_nothing_new_begins_until_the_run_is_resumed(
    workbench: Workbench, continue_after: int
) -> None:
    handle = await workbench.start(WORK, continue_after=continue_after)
    run = Run(workbench.temporal, handle.id)
    await until_called(workbench, "start a")
    await run.pause()
    await until_called(workbench, "end a")
    await asyncio.sleep(1.5)
    state = await state_of(handle)
    assert (state["status"], state["paused"], state["steps"]["a"]["status"]) == ("paused", True, "completed")
    assert list(state["steps"]) == ["a"]
    assert bool(state["continued"]) == (continue_after == 1)
    metadata: WorkflowMetadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    assert "**paused**" in metadata.current_details
    await run.resume()
    assert await asyncio.wait_for(handle.result(), 30) == 3
    state = await state_of(handle)
    assert (state["status"], state["paused"]) == ("completed", False)
    assert workbench.calls() == ["start a", "end a", "echo b"]
    await untroubled(handle)


async def test_branches_loops_and_sub_steps_all_stand_still(workbench: Workbench) -> None:
    flow = """
    id: everything
    steps:
      - parallel:
          - id: each
            type: for-each
            config:
              items: 50
              concurrency: 5
              steps: [{id: i, type: function, config: {handler: slow, params: {seconds: 0.2}}}]
          - {id: w, type: while, config: {max_iterations: 50, while: "loop.count < 30", steps: [{id: p, type: function, config: {handler: slow, params: {seconds: 0.2}}}]}}
          - id: t
            type: try
            config:
              retry: {max_attempts: 40, initial_interval: 10ms, max_interval: 10ms}
              steps: [{id: f, type: function, retry: none, config: {handler: fail_times, params: {times: 99}}}]
              catch: [{steps: [{id: caught, type: transform, config: {value: 1}}]}]
    """
    handle = await workbench.start(flow)
    run = Run(workbench.temporal, handle.id)
    await until_called(workbench, "start each[6]/i".replace("each", "parallel-1/each"))
    await run.pause()
    await until_paused(handle)
    await asyncio.sleep(0.8)
    before = workbench.calls()
    await asyncio.sleep(0.8)
    assert workbench.calls() == before
    assert sum(call.startswith("start") for call in before) == sum(call.startswith("end") for call in before)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)


async def test_retries_of_a_step_that_runs_go_on_while_the_run_is_paused(workbench: Workbench) -> None:
    flow = """
    id: retries
    steps:
      - id: a
        type: function
        retry: {max_attempts: 3, initial_interval: 600ms, max_interval: 600ms}
        config: {handler: fail_times, params: {times: 2}}
      - {id: b, type: function, config: {handler: echo, args: [b]}}
    """
    handle = await workbench.start(flow)
    await until_called(workbench, f"fail_times a 1 {handle.id}/a#1")
    await Run(workbench.temporal, handle.id).pause()
    await until_called(workbench, f"fail_times a 3 {handle.id}/a#1")
    await asyncio.sleep(0.3)
    state = await state_of(handle)
    assert (state["steps"]["a"]["status"], state["steps"]["a"]["attempts"], state["status"]) == (
        "completed",
        3,
        "paused",
    )
    await Run(workbench.temporal, handle.id).resume()
    await asyncio.wait_for(handle.result(), 30)


async def test_messages_are_kept_and_tasks_decided_while_the_run_is_paused(workbench: Workbench) -> None:
    flow = """
    id: answers
    steps:
      - {id: ask, type: human-task, config: {assignee: x}}
      - {id: got, type: wait-for-event, config: {signal: part}}
    output: "{{ steps.got.output.event.data }}"
    """
    handle = await workbench.start(flow)
    run = Run(workbench.temporal, handle.id)
    state = await workbench.waiting(handle, "ask")
    await run.pause()
    await until_paused(handle)
    await handle.execute_update("ask", {"decision": "approve"})
    await run.signal("part", 5)
    await asyncio.sleep(0.3)
    row = await workbench.store.tasks.get(state["waits"][0]["task_id"])
    assert row.status == "decided"
    assert "got" not in (await state_of(handle))["steps"]
    await run.resume()
    assert await asyncio.wait_for(handle.result(), 30) == 5


async def test_pausing_twice_and_resuming_what_is_not_paused_change_nothing(workbench: Workbench) -> None:
    handle = await workbench.start("id: again\nsteps: [{id: ask, type: human-task, config: {assignee: x}}]")
    run = Run(workbench.temporal, handle.id)
    await workbench.waiting(handle, "ask")
    await run.resume()
    assert (await state_of(handle))["status"] == "waiting"
    await run.pause()
    await run.pause()
    assert (await state_of(handle))["status"] == "paused"
    await run.resume()
    await run.resume()
    state = await state_of(handle)
    assert (state["status"], state["warnings"]) == ("waiting", [])
    await handle.signal("ask", {"decision": "approve"})
    await asyncio.wait_for(handle.result(), 30)


async def test_a_run_paused_before_it_begins_begins_when_it_is_resumed(workbench: Workbench) -> None:
    handle = await workbench.start(WORK)
    await Run(workbench.temporal, handle.id).pause()
    await until_paused(handle)
    before = len(workbench.calls())
    await asyncio.sleep(1)
    assert len([call for call in workbench.calls() if call.startswith("start")]) == min(before, 1)
    await Run(workbench.temporal, handle.id).resume()
    assert await asyncio.wait_for(handle.result(), 30) == 3


async def test_cancelling_a_paused_run_cleans_up_and_ends_it(workbench: Workbench) -> None:
    flow = """
    id: cancelled
    steps:
      - {id: a, type: function, config: {handler: echo, args: [a]}, compensate: [{id: undo, type: function, config: {handler: echo, args: [undo]}}]}
      - {id: ask, type: human-task, config: {assignee: x}}
    error_handling: {finally: [{id: last, type: function, config: {handler: echo, args: [last]}}]}
    """
    handle = await workbench.start(flow)
    await workbench.waiting(handle, "ask")
    await Run(workbench.temporal, handle.id).pause(stop_clock=True)
    await until_paused(handle)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as caught:
        await asyncio.wait_for(handle.result(), 30)
    assert isinstance(caught.value.cause, CancelledError)
    assert workbench.calls() == ["echo a", "echo undo", "echo last"]
    await untroubled(handle)


async def test_the_run_timeout_acts_while_the_run_is_paused(workbench: Workbench) -> None:
    flow = """
    id: timed-out
    timeout: 1500ms
    steps:
      - {id: a, type: function, config: {handler: echo, args: [a]}, compensate: [{id: undo, type: function, config: {handler: echo, args: [undo]}}]}
      - {id: ask, type: human-task, config: {assignee: x}}
    error_handling: {fallback: [{id: plan-b, type: function, config: {handler: echo, args: [plan-b]}}]}
    """
    handle = await workbench.start(flow)
    await workbench.waiting(handle, "ask")
    await Run(workbench.temporal, handle.id).pause()
    error = await failure_of(handle)
    assert error["type"] == "run_timeout"
    assert workbench.calls() == ["echo a", "echo undo", "echo plan-b"]


async def test_a_failure_while_the_run_is_paused_is_cleaned_up_after_it_is_resumed(workbench: Workbench) -> None:
    flow = """
    id: failed
    steps: [{id: a, type: function, retry: none, config: {handler: slow_failure}}]
    error_handling: {finally: [{id: last, type: function, config: {handler: echo, args: [last]}}]}
    """
    flow = flow.replace("handler: slow_failure", "handler: fail_times, params: {times: 9}").replace(
        "retry: none", "retry: {max_attempts: 2, initial_interval: 700ms}"
    )
    handle = await workbench.start(flow)
    await until_called(workbench, f"fail_times a 1 {handle.id}/a#1")
    await Run(workbench.temporal, handle.id).pause()
    await until_called(workbench, f"fail_times a 2 {handle.id}/a#1")
    await asyncio.sleep(0.5)
    assert "echo last" not in workbench.calls()
    await Run(workbench.temporal, handle.id).resume()
    assert (await failure_of(handle))["type"] == "network_error"
    assert workbench.calls()[-1] == "echo last"


async def test_a_pause_and_a_resume_that_meet_a_run_continuing_as_new_are_not_lost(workbench: Workbench) -> None:
    """Each signal makes the history long enough for the next continued run, so that some of them come in between."""
    flow = "id: between\nsteps: [{id: ask, type: human-task, config: {assignee: x}}]"
    handle = await workbench.start(flow, continue_after=1)
    run = Run(workbench.temporal, handle.id)
    await until(handle, lambda state: bool(state["waits"]))
    for _ in range(3):
        await run.pause()
        await until_paused(handle)
        await run.resume()
        await until(handle, lambda state: not state["paused"])
        await asyncio.gather(*(run.signal("other", {}) for _ in range(3)))
    await handle.signal("ask", {"decision": "approve"})
    await asyncio.wait_for(handle.result(), 30)
    await untroubled(handle)


# -- clocks -----------------------------------------------------------------------------------------------------

CLOCKS: dict[str, tuple[str, str]] = {
    "a person's deadline": (
        "steps: [{id: x, type: human-task, config: {assignee: a, deadline: 2h}}]",
        "deadline_exceeded",
    ),
    "a wait": ("steps: [{id: x, type: wait, config: {duration: 2h}}]", ""),
    "a wait for an event": (
        "steps: [{id: x, type: wait-for-event, config: {signal: never, timeout: 2h}}]",
        "deadline_exceeded",
    ),
    "a step's timeout": (
        "steps: [{id: b, type: block, timeout: 2h, config: {steps: [{id: x, type: wait-for-event, config: {signal: never}}]}}]",
        "step_timeout",
    ),
    "a loop's timeout": (
        "steps: [{id: b, type: while, config: {while: 'true', timeout: 2h, steps: [{id: x, type: wait-for-event, config: {signal: never}}]}}]",
        "loop_limit",
    ),
    "the run's timeout": (
        "timeout: 2h\nsteps: [{id: x, type: wait-for-event, config: {signal: never}}]",
        "run_timeout",
    ),
}


async def hours_pass(bench: Workbench, hours: float) -> None:
    """Virtual time goes on by so much."""
    request = SleepRequest(duration=Duration(seconds=round(hours * 3600)))
    await bench.temporal.test_service.unlock_time_skipping_with_sleep(request)


async def ended(handle: Handle) -> tuple[str, float]:
    """Type of the error a run ends with, empty where it completes, and the hours it took."""
    try:
        await asyncio.wait_for(handle.result(), 30)
        kind = ""
    except WorkflowFailureError:
        kind = str((await failure_of(handle))["type"])
    times = [event.event_time.ToMilliseconds() for event in await whole_history(handle)]
    return kind, (max(times) - min(times)) / 3_600_000


@pytest.mark.parametrize("stop_clock", [False, True])
async def test_deadlines_count_on_through_a_pause_and_stand_still_with_stop_clock(
    skipping: Workbench, stop_clock: bool
) -> None:
    """Paused from the first hour to the eleventh, with two hours to the deadline."""
    handles = {name: await skipping.start(f"id: clock\n{text}") for name, (text, _) in CLOCKS.items()}
    for handle in handles.values():
        await skipping.waiting(handle, "x")
    await hours_pass(skipping, 1)
    for handle in handles.values():
        await Run(skipping.temporal, handle.id).pause(stop_clock=stop_clock)
        await until_paused(handle)
    await hours_pass(skipping, 10)
    if stop_clock:
        for handle in handles.values():
            await Run(skipping.temporal, handle.id).resume()
    for name, (_, kind) in CLOCKS.items():
        found, hours = await ended(handles[name])
        assert (name, found) == (name, kind)
        assert hours == pytest.approx(12 if stop_clock else 2, abs=0.1), name


async def test_a_stopped_clock_stands_still_in_the_runs_that_continue(workbench: Workbench) -> None:
    """The time-skipping server does not continue runs well, so this one takes its time."""
    texts = {name: text.replace("2h", "3s") for name, (text, _) in CLOCKS.items()}
    handles = {name: await workbench.start(f"id: clock\n{text}", continue_after=1) for name, text in texts.items()}
    for handle in handles.values():
        await Run(workbench.temporal, handle.id).pause(stop_clock=True)
    for handle in handles.values():
        await until(handle, lambda state: bool(state["paused"] and state["continued"]))
    await asyncio.sleep(2.5)
    for handle in handles.values():
        await Run(workbench.temporal, handle.id).resume()
    for name, (_, kind) in CLOCKS.items():
        found, hours = await ended(handles[name])
        assert (name, found) == (name, kind)
        assert hours * 3600 > 5, name


@pytest.mark.parametrize("continue_after", [5000, 1])
async def test_child_runs_that_carry_out_a_part_of_the_run_stand_still_with_it(
    workbench: Workbench, continue_after: int
) -> None:
    handle = await workbench.start(
        """
        id: parts
        steps:
          - id: each
            type: for-each
            config:
              items: "1001"
              concurrency: 4
              collect: none
              steps: [{id: work, type: function, config: {handler: slow, params: {seconds: 0.2}}}]
        """,
        continue_after=continue_after,
    )
    children = [workbench.temporal.get_workflow_handle(f"{handle.id}:each[{items}]") for items in ("0-499", "500-999")]
    await until_called(workbench, "end each[501]/work")
    await handle.signal("orchestrator.pause", {})
    for one in (handle, *children):
        await until_paused(one)
    await asyncio.sleep(0.3)
    before = len(workbench.calls())
    await asyncio.sleep(0.7)
    assert len(workbench.calls()) == before
    await handle.signal("orchestrator.resume", {})
    for _ in range(400):
        if len(workbench.calls()) > before + 4:
            break
        await asyncio.sleep(0.05)
    assert len(workbench.calls()) > before + 4
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 60)
