"""Budgets of a run (ENGINE §3): however much is asked for at once, no workflow task nears Temporal's limits."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from tests.engine.harness import Workbench, events, open_workbench, untroubled, whole_history

Handle = WorkflowHandle[Any, Any]

ASKED_FOR = (
    EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
    EventType.EVENT_TYPE_TIMER_STARTED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED,
)


async def tasks_of(handle: Handle) -> list[tuple[int, int]]:
    """For every workflow task of the run, commands and bytes of what it asked for."""
    found: list[tuple[int, int]] = []
    for event in await whole_history(handle):
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            found.append((0, 0))
        elif event.event_type in ASKED_FOR:
            count, size = found[-1]
            found[-1] = (count + 1, size + event.ByteSize())
    return found


async def assert_bounded(handle: Handle) -> list[tuple[int, int]]:
    tasks = await tasks_of(handle)
    assert max(count for count, _ in tasks) <= 202, tasks
    assert max(size for _, size in tasks) < 1_300_000, tasks
    await untroubled(handle)
    return tasks


def wide(count: int, step: str) -> str:
    branches = "\n".join(f"      - {{id: s{n}, {step}}}" for n in range(count))
    return f"""
id: wide
inputs: {{text: {{default: ""}}}}
steps:
  - id: all
    type: parallel
    config:
      branches:
{branches}
output: "{{{{ steps.all.output | length }}}}"
"""


EACH = """
id: each
steps:
  - id: each
    type: for-each
    config:
      items: {items}
      concurrency: 200
      steps: [{{id: one, {step}}}]
output: "{{{{ steps.each.output | length }}}}"
"""


async def test_sixty_steps_of_90_kb_at_once_go_in_portions(temporal: Client, tmp_path: Path) -> None:
    """Tested: as one answer they exceed 4 MB, and the server terminates the run."""
    step = "type: function, config: {handler: slow, params: {seconds: 0, fill: '{{ inputs.text }}'}}"
    async with open_workbench(temporal, tmp_path, payloads="none") as bench:
        handle = await bench.start(wide(60, step), {"text": "x" * 90_000})
        assert await asyncio.wait_for(handle.result(), 60) == 60
        tasks = await assert_bounded(handle)
    assert sum(size for _, size in tasks) > 60 * 90_000


async def test_what_stands_in_headers_counts_too(workbench: Workbench) -> None:
    """The schema of an output travels with every step; nothing takes it out of the message."""
    schema = f"output_schema: {{description: {'x' * 40_000}}}"
    step = f"type: function, config: {{handler: slow, params: {{seconds: 0}}}}, {schema}"
    handle = await workbench.start(EACH.format(items=150, step=step))
    assert await asyncio.wait_for(handle.result(), 60) == 150
    await assert_bounded(handle)


async def test_six_hundred_steps_at_once_start_in_portions_of_two_hundred(workbench: Workbench) -> None:
    """And five hundred at most are under way: at 2,001 the run would be stuck."""
    handle = await workbench.start(wide(600, "type: function, config: {handler: slow, params: {seconds: 0}}"))
    assert await asyncio.wait_for(handle.result(), 60) == 600
    await assert_bounded(handle)
    pending = most = 0
    for event in await events(handle):
        pending += event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
        pending -= event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
        most = max(most, pending)
    assert 200 <= most <= 500


async def test_two_hundred_of_more_than_a_thousand_items_at_once(workbench: Workbench) -> None:
    step = "type: function, config: {handler: slow, params: {seconds: 0}}"
    handle = await workbench.start(EACH.format(items=1200, step=step))
    assert await asyncio.wait_for(handle.result(), 100) == 1200
    await assert_bounded(handle)
    assert len(workbench.calls()) == 2400
    slices = ("0-499", "500-999", "1000-1199")
    children = [workbench.temporal.get_workflow_handle(f"{handle.id}:each[{items}]") for items in slices]
    for child in children:
        await assert_bounded(child)


@pytest.mark.parametrize("concurrency", [1, 200])
@pytest.mark.parametrize("size", [90_000, 300_000])
async def test_results_of_express_steps_fit_into_the_answer_that_records_them(
    workbench: Workbench, concurrency: int, size: int
) -> None:
    flow = f"""
    id: express
    defaults: {{durability: express, timeout: 5s}}
    steps:
      - id: each
        type: for-each
        config:
          items: 100
          concurrency: {concurrency}
          collect: none
          steps: [{{id: one, type: function, config: {{handler: grow, params: {{bytes: {size}}}}}}}]
    output: "{{{{ steps.each.status }}}}"
    """
    handle = await workbench.start(flow)
    assert await asyncio.wait_for(handle.result(), 60) == "completed"
    await untroubled(handle)


# -- computing --------------------------------------------------------------------------------------------------

HEAVY = "{{ range(700) | sum }}"


async def timers_of(handle: Handle) -> list[int]:
    """Milliseconds of the run's timers."""
    return [
        event.timer_started_event_attributes.start_to_fire_timeout.ToMilliseconds()
        for event in await events(handle)
        if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED
    ]


@pytest.mark.parametrize(("items", "concurrency"), [(1000, 1), (2000, 200)])
async def test_thousands_of_expensive_expressions_give_the_worker_back_in_between(
    workbench: Workbench, items: int, concurrency: int
) -> None:
    """Tested: two seconds of computing in one workflow task, and the run never recovers."""
    # A loop with `until` is not split over child runs.
    flow = f"""
    id: heavy
    steps:
      - id: each
        type: for-each
        config:
          items: {items}
          concurrency: {concurrency}
          collect: none
          until: "loop.index < 0"
          steps: [{{id: one, type: transform, config: {{value: "{HEAVY}"}}}}]
    output: "{{{{ steps.each.status }}}}"
    """
    handle = await workbench.start(flow)
    assert await asyncio.wait_for(handle.result(), 100) == "completed"
    await untroubled(handle)
    timers = await timers_of(handle)
    assert set(timers) == {1}
    assert len(timers) >= items // 50


async def test_many_branches_that_compute_take_turns(workbench: Workbench) -> None:
    step = 'type: transform, config: {value: "{{ range(20000) | sum }}"}'
    handle = await workbench.start(wide(250, step))
    assert await asyncio.wait_for(handle.result(), 60) == 250
    await untroubled(handle)


async def test_a_switch_of_many_expensive_cases_gives_the_worker_back(workbench: Workbench) -> None:
    case = '          - {if: "(range(12000) | sum) == 1", steps: [{id: s%d, type: transform, config: {value: 1}}]}'
    cases = "\n".join(case % n for n in range(200))
    handle = await workbench.start(
        f"id: switch\nsteps:\n  - id: s\n    type: switch\n    config:\n        cases:\n{cases}"
    )
    assert await asyncio.wait_for(handle.result(), 60) is None
    await untroubled(handle)
