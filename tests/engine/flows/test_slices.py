"""A ``for-each`` over many items: child runs carry it out, and nothing else about it changes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import CancelledError
from tests.engine.harness import Workbench, events, failure_of

MANY = """
id: many
inputs: {n: {default: 1500}}
vars: {rate: 2}
steps:
  - {id: base, type: transform, config: {value: 10}}
  - id: each
    type: for-each
    config:
      items: "{{ inputs.n }}"
      OPTIONS
      steps:
        BODY
output: OUTPUT
"""
WORK = "- {id: x, type: transform, config: {value: '{{ item * vars.rate + steps.base.output + loop.index }}'}}"


def many(options: str = "concurrency: 3", body: str = WORK, output: str = "'{{ steps.each.output }}'") -> str:
    return MANY.replace("OPTIONS", options).replace("BODY", body).replace("OUTPUT", output)


async def children(handle: WorkflowHandle[Any, Any]) -> list[str]:
    return [
        event.child_workflow_execution_started_event_attributes.workflow_execution.workflow_id
        for event in await events(handle)
        if event.HasField("child_workflow_execution_started_event_attributes")
    ]


async def test_results_are_those_of_one_loop_in_order(workbench: Workbench) -> None:
    handle = await workbench.start(many())
    assert await asyncio.wait_for(handle.result(), 120) == [n * 3 + 10 for n in range(1500)]
    slices = [f"{handle.id}:each[{first}-{first + 499}]" for first in (0, 500, 1000)]
    assert sorted(await children(handle)) == sorted(slices)
    assert len(await events(handle)) < 100


async def test_a_hundred_thousand_items_leave_a_short_history(workbench: Workbench) -> None:
    handle = await workbench.start(many("concurrency: 50"), {"n": 100_000})
    assert await asyncio.wait_for(handle.result(), 100) == [n * 3 + 10 for n in range(100_000)]
    assert len(await children(handle)) == 200
    assert len(await events(handle)) < 3000


async def test_a_thousand_items_need_no_child(workbench: Workbench) -> None:
    handle = await workbench.start(many(), {"n": 1000})
    assert len(await asyncio.wait_for(handle.result(), 60)) == 1000
    assert await children(handle) == []


async def test_paths_and_idempotency_keys_are_those_of_one_loop(workbench: Workbench) -> None:
    body = "- {id: x, type: function, if: 'item % 400 == 7', config: {handler: fail_times, params: {times: 0}}}"
    handle = await workbench.start(many(body=body))
    await asyncio.wait_for(handle.result(), 120)
    told = sorted((call.split()[1], call.split()[3]) for call in workbench.calls())
    paths = sorted(f"each[{n}]/x" for n in (7, 407, 807, 1207))
    assert told == [(path, f"{handle.id}/{path}#1") for path in paths]


async def test_collect_none_keeps_no_outputs(workbench: Workbench) -> None:
    assert await workbench.run(many("collect: none")) is None


FAILING = (
    "- {id: bad, type: fail, if: 'item % 300 == 0', config: {type: three, message: 'no {{ item }}'}}\n"
    "        - {id: x, type: transform, config: {value: 1}}"
)


@pytest.mark.parametrize("tolerate", ["5", "1%", "all"])
async def test_failures_are_tolerated_over_all_slices_together(workbench: Workbench, tolerate: str) -> None:
    flow = many(f"tolerate: {tolerate}", FAILING, "['{{ steps.each.output }}', '{{ steps.each.errors }}']")
    output, errors = await workbench.run(flow)
    assert [n for n in range(1500) if output[n] is None] == [0, 300, 600, 900, 1200]
    assert [(one["index"], one["item"], one["error"]["message"]) for one in errors] == [
        (n, n, f"no {n}") for n in (0, 300, 600, 900, 1200)
    ]
    assert errors[1]["error"]["step"]["path"] == "each[300]/bad"


@pytest.mark.parametrize("tolerate", ["0", "4", "0.3%"])
async def test_too_many_failures_fail_the_loop_with_the_error_of_a_pass(workbench: Workbench, tolerate: str) -> None:
    error = await workbench.failure(many(f"tolerate: {tolerate}", FAILING))
    assert (error["type"], error["step"]["id"]) == ("three", "bad")
    assert error["step"]["path"] in {f"each[{n}]/bad" for n in range(0, 1500, 300)}
    told = [one["type"] for one in error.get("errors", [])]
    assert told == [] if tolerate == "0" else set(told) == {"three"}


async def test_the_failure_of_a_pass_can_be_caught_by_its_status(workbench: Workbench) -> None:
    flow = """
    id: caught
    steps:
      - id: t
        type: try
        config:
          steps:
            - id: each
              type: for-each
              config:
                items: 1200
                steps:
                  - id: x
                    type: function
                    if: item == 700
                    retry: none
                    config: {handler: fail_times, params: {times: 9, type: gone, status: 404, terminal: true}}
          catch:
            - on: [http_404]
              steps: [{id: c, type: transform, config: {value: "{{ error.type }} {{ error.step.path }}"}}]
    """
    assert await workbench.run(flow) == "gone t/each[700]/x"


async def test_cancelling_the_run_cancels_its_slices(workbench: Workbench) -> None:
    handle = await workbench.start(many("concurrency: 3", "- {id: nap, type: wait, config: {duration: 1h}}"))
    async with asyncio.timeout(60):
        while len(started := await children(handle)) < 3:
            await asyncio.sleep(0.1)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 60)
    for child in started:
        with pytest.raises(WorkflowFailureError) as ended:
            await asyncio.wait_for(workbench.temporal.get_workflow_handle(child).result(), 30)
        assert isinstance(ended.value.cause, CancelledError)


async def test_names_around_the_loop_are_seen_in_every_slice(workbench: Workbench) -> None:
    flow = """
    id: around
    steps:
      - id: outer
        type: for-each
        config:
          items: [a]
          as: letter
          steps:
            - id: each
              type: for-each
              config:
                items: 1200
                concurrency: 3
                steps: [{id: x, type: transform, config: {value: "{{ letter }}{{ loop.parent.index }}{{ item }}"}}]
    """
    [got] = await workbench.run(flow)
    assert got == [f"a0{n}" for n in range(1200)]


async def test_a_body_that_belongs_to_the_run_is_not_split(workbench: Workbench) -> None:
    body = "- {id: up, type: set, config: {rate: '{{ vars.rate + 1 }}'}}"
    flow = many("collect: none", body, "'{{ vars.rate }}'")
    handle = await workbench.start(flow, {"n": 1200})
    assert await asyncio.wait_for(handle.result(), 120) == 1202
    assert await children(handle) == []


async def test_a_slice_that_is_terminated_fails_the_loop_clearly(workbench: Workbench) -> None:
    handle = await workbench.start(many("concurrency: 3", "- {id: nap, type: wait, config: {duration: 1h}}"))
    async with asyncio.timeout(60):
        while len(started := await children(handle)) < 3:
            await asyncio.sleep(0.1)
    await workbench.temporal.get_workflow_handle(started[0]).terminate()
    error = await failure_of(handle)
    assert (error["type"], error["step"]["path"]) == ("terminated", "each")
    assert "items" in error["message"]
