"""How runs end: return, fail, cancel, timeout, and what nobody foresaw."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import CancelledError
from tests.engine.harness import Workbench, failure_of


async def cancelled(handle: WorkflowHandle[Any, Any]) -> None:
    with pytest.raises(WorkflowFailureError) as caught:
        await asyncio.wait_for(handle.result(), 30)
    assert isinstance(caught.value.cause, CancelledError)
    assert (await handle.describe()).status == WorkflowExecutionStatus.CANCELED


async def test_return_ends_the_run_from_inside_and_stops_what_runs_beside_it(workbench: Workbench) -> None:
    flow = """
    id: early
    steps:
      - parallel:
          - {id: long, type: function, config: {handler: slow, params: {seconds: 60}}}
          - id: inner
            type: block
            config:
              steps:
                - {id: nap, type: wait, config: {duration: 300ms}}
                - {id: out, type: return, config: {output: {done: true}}}
      - {id: never, type: function, config: {handler: echo, args: [1]}}
    """
    assert await workbench.run(flow) == {"done": True}
    assert [call.split()[0] for call in workbench.calls()] == ["start", "cancelled"]


async def test_return_cancelled_ends_the_run_cancelled(workbench: Workbench) -> None:
    flow = "id: give-up\nsteps: [{id: r, type: return, config: {status: cancelled}}]"
    await cancelled(await workbench.start(flow))


async def test_fail_ends_the_run_with_its_type_message_and_data(workbench: Workbench) -> None:
    flow = "id: f\nsteps: [{id: stop, type: fail, config: {type: out_of_stock, message: none left, data: {sku: 7}}}]"
    error = await workbench.failure(flow)
    assert (error["type"], error["message"], error["data"]) == ("out_of_stock", "none left", {"sku": 7})


async def test_cancelling_ends_the_run_cancelled_after_the_step_has_stopped(workbench: Workbench) -> None:
    flow = "id: c\nsteps: [{id: hang, type: function, config: {handler: slow, params: {seconds: 60}}}]"
    handle = await workbench.start(flow)
    while not workbench.calls():
        await asyncio.sleep(0.05)
    await handle.cancel()
    await cancelled(handle)
    assert workbench.calls() == ["start hang", "cancelled hang"]
    state: dict[str, Any] = await handle.query("state")
    assert (state["status"], state["steps"]["hang"]["status"]) == ("cancelled", "cancelled")


async def test_cancelling_reaches_every_parallel_branch(workbench: Workbench) -> None:
    flow = """
    id: c2
    steps:
      - parallel:
          - {id: a, type: function, config: {handler: slow, params: {seconds: 60}}}
          - {id: b, type: wait, config: {duration: 1h}}
          - {id: c, type: human-task, config: {assignee: x}}
    """
    handle = await workbench.start(flow)
    await workbench.waiting(handle, "c")
    await handle.cancel()
    await cancelled(handle)


async def test_a_run_timeout_counts_waits_and_says_so(skipping: Workbench) -> None:
    flow = "id: t\ntimeout: 1h\nsteps: [{id: w, type: wait, config: {duration: 2h}}]"
    error = await skipping.failure(flow)
    assert error["type"] == "run_timeout"
    assert "3600s" in error["message"]


async def test_a_run_that_is_stopping_when_its_time_is_up_stays_cancelled(skipping: Workbench) -> None:
    flow = """
    id: t
    timeout: 2h
    steps:
      - id: t
        type: try
        config:
          steps: [{id: w, type: wait, config: {duration: 1h}}]
          finally: [{id: slowly, type: wait, config: {duration: 3h}}]
    """
    handle = await skipping.start(flow)
    await skipping.waiting(handle, "w")
    await handle.cancel()
    await cancelled(handle)


async def test_a_run_timeout_runs_fallback(skipping: Workbench) -> None:
    flow = """
    id: t2
    timeout: 1h
    steps: [{id: w, type: wait, config: {duration: 2h}}]
    error_handling: {fallback: [{id: tell, type: function, config: {handler: echo, args: ["{{ error.type }}"]}}]}
    """
    await skipping.failure(flow)
    assert skipping.calls() == ["echo run_timeout"]


@pytest.mark.parametrize(
    "wait",
    [
        "{duration: 24h}",
        "{duration: PT24H}",
        "{until: \"{{ date_add(now(), '24h') }}\"}",
        "{duration: 86400}",
    ],
)
async def test_a_wait_of_a_day_costs_one_timer(skipping: Workbench, wait: str) -> None:
    flow = f"id: w\nsteps:\n  - {{id: w, type: wait, config: {wait}}}\n  - {{id: t, type: transform, config: {{value: done}}}}"
    assert await skipping.run(flow) == "done"


async def test_a_wait_until_the_past_goes_on_at_once(workbench: Workbench) -> None:
    flow = 'id: p\nsteps: [{id: w, type: wait, config: {until: "2020-01-01T00:00:00Z"}}, {id: t, type: transform, config: {value: 1}}]'
    assert await workbench.run(flow) == 1


async def test_a_wait_without_a_zone_fails_with_the_remedy(workbench: Workbench) -> None:
    flow = "id: z\nvars: {at: '2020-01-01T00:00:00'}\nsteps: [{id: w, type: wait, config: {until: '{{ vars.at }}'}}]"
    error = await workbench.failure(flow)
    assert "time zone" in error["message"]


async def test_until_stops_after_the_named_step_with_its_output(workbench: Workbench) -> None:
    flow = """
    id: u
    steps:
      - {id: a, type: transform, config: {value: 1}}
      - {id: b, type: transform, config: {value: 2}}
    """
    assert await workbench.run(flow, until="a") == 1


async def test_a_definition_the_engine_cannot_read_fails_the_run_instead_of_sticking_it(
    workbench: Workbench,
) -> None:
    handle = await workbench.temporal.start_workflow(
        "odd",
        args=[{}, {"definition": "unseen"}, {"nonsense": True}],
        id="odd-1",
        task_queue=workbench.settings.task_queue,
    )
    error = await failure_of(handle)
    assert error["type"] == "internal_error"
