"""``durability: express``: the same promises but one, at the price of a marker instead of an activity."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError, WorkflowHandle
from tests.engine.harness import Workbench, events, failure_of

EXPRESS = """
id: express
defaults: {durability: express, timeout: 5s}
steps:
  - {id: a, type: function, config: {handler: fail_times, params: {times: 0}}}
  - {id: b, type: function, config: {handler: echo, args: ["{{ steps.a.attempts }}"]}}
  - id: each
    type: for-each
    config:
      items: 3
      steps: [{id: c, type: function, config: {handler: echo, args: ["{{ item }}"]}}]
output: ["{{ steps.b.output }}", "{{ steps.each.output }}"]
"""


async def kinds(handle: WorkflowHandle[Any, Any]) -> dict[str, int]:
    """How often each kind of event occurs, workflow tasks left out."""
    counted: dict[str, int] = {}
    for event in await events(handle):
        name = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
        if not name.startswith("WORKFLOW_TASK"):
            counted[name] = counted.get(name, 0) + 1
    return counted


async def test_an_express_step_is_one_marker_and_no_activity(workbench: Workbench) -> None:
    handle = await workbench.start(EXPRESS)
    assert await handle.result() == [1, [0, 1, 2]]
    counted = await kinds(handle)
    assert counted["MARKER_RECORDED"] == 5
    assert not any(name.startswith("ACTIVITY") for name in counted)
    # One workflow task does all of it: each further one costs as much as some steps.
    assert "TIMER_STARTED" not in counted


async def test_a_run_that_messages_come_to_records_its_express_steps_before_it_ends(workbench: Workbench) -> None:
    # A message that came while the last workflow task was open would fail it, and the steps would run again.
    flow = """
    id: told
    defaults: {durability: express, timeout: 5s}
    steps:
      - {id: hear, type: wait-for-event, config: {signal: go, timeout: 1m}}
      - {id: c, type: function, config: {handler: slow, params: {seconds: 0.5}}}
    """
    handle = await workbench.start(flow)
    await workbench.waiting(handle, "hear")
    await handle.signal("go", {})
    async with asyncio.timeout(20):
        while not workbench.calls():
            await asyncio.sleep(0.02)
    await handle.signal("late", {})
    assert await handle.result() == "c"
    assert workbench.calls() == ["start c", "end c"]


async def test_an_express_step_has_the_record_and_the_key_of_any_step(workbench: Workbench) -> None:
    handle = await workbench.start(EXPRESS)
    await handle.result()
    [call] = [call for call in workbench.calls() if call.startswith("fail_times")]
    assert call == f"fail_times a 1 {handle.id}/a#1"
    state = await handle.query("state")
    assert {"type": "function", "status": "completed", "attempts": 1}.items() <= state["steps"]["a"].items()


async def test_the_default_of_a_block_holds_inside_it_and_a_step_may_differ(workbench: Workbench) -> None:
    flow = """
    id: mixed
    steps:
      - {id: a, type: function, config: {handler: echo, args: [a]}}
      - id: quick
        type: block
        defaults: {durability: express, timeout: 5s}
        config:
          steps:
            - {id: b, type: function, config: {handler: echo, args: [b]}}
            - id: sure
              type: block
              defaults: {durability: step}
              config: {steps: [{id: c, type: function, config: {handler: echo, args: [c]}}]}
    """
    handle = await workbench.start(flow)
    await handle.result()
    counted = await kinds(handle)
    assert (counted["MARKER_RECORDED"], counted["ACTIVITY_TASK_SCHEDULED"]) == (1, 2)
    assert workbench.calls() == ["echo a", "echo b", "echo c"]


ONE = """
id: one
defaults: {durability: express, timeout: 1s}
steps:
  - id: a
    type: function
    retry: RETRY
    config: {handler: fail_times, params: {times: TIMES, type: TYPE, terminal: TERMINAL, retry_after: AFTER}}
"""


def one(retry: str, times: int = 99, kind: str = "network_error", terminal: str = "false", after: str = "null") -> str:
    words = {"RETRY": retry, "TIMES": str(times), "TYPE": kind, "TERMINAL": terminal, "AFTER": after}
    text = ONE
    for word, value in words.items():
        text = text.replace(word, value)
    return text


async def test_an_express_step_is_tried_again_with_its_key_and_its_attempts_are_counted(workbench: Workbench) -> None:
    handle = await workbench.start(one("{max_attempts: 3, initial_interval: 10ms}", times=2))
    assert await handle.result() == {"attempt": 3}
    assert (await handle.query("state"))["steps"]["a"]["attempts"] == 3
    assert len({call.split()[3] for call in workbench.calls()}) == 1


@pytest.mark.parametrize(
    ("flow", "kind", "attempts"),
    [
        (one("{max_attempts: 2, initial_interval: 10ms}"), "network_error", 2),
        (one("{max_attempts: 5, initial_interval: 10ms}", terminal="true"), "network_error", 1),
        (one("{max_attempts: 2, initial_interval: 10ms, on: [odd]}", kind="odd", terminal="true"), "odd", 2),
        (one("none"), "network_error", 1),
        (one("{max_attempts: 2, initial_interval: 10ms, max_interval: 20ms}", after="3600"), "network_error", 2),
        (one("{max_attempts: 2, initial_interval: 1500ms}"), "network_error", 2),
    ],
)
async def test_an_express_step_fails_as_its_policy_says(
    workbench: Workbench, flow: str, kind: str, attempts: int
) -> None:
    error = await workbench.failure(flow)
    assert (error["type"], error["attempts"], error["step"]["path"]) == (kind, attempts, "a")
    assert error["source"].startswith("flow.yaml:")
    assert len(workbench.calls()) == attempts


async def test_an_attempt_timeout_fires_and_is_counted(workbench: Workbench) -> None:
    flow = """
    id: hang
    defaults: {durability: express, timeout: 300ms}
    steps:
      - id: a
        type: function
        retry: {max_attempts: 2, initial_interval: 10ms}
        config: {handler: slow, params: {seconds: 60}}
    """
    error = await workbench.failure(flow)
    assert (error["type"], error["attempts"]) == ("timeout", 2)
    assert workbench.calls() == ["start a", "cancelled a"] * 2


async def test_failures_of_express_steps_are_handled_like_any(workbench: Workbench) -> None:
    flow = """
    id: handled
    defaults: {durability: express, timeout: 5s, retry: none}
    steps:
      - id: t
        type: try
        config:
          steps: [{id: a, type: function, config: {handler: fail_times, params: {times: 9, type: odd}}}]
          catch: [{on: [odd], steps: [{id: c, type: function, config: {handler: echo, args: [caught]}}]}]
          finally: [{id: f, type: function, config: {handler: echo, args: [finally]}}]
    """
    assert await workbench.run(flow) == "caught"
    assert [call.split()[1] for call in workbench.calls()] == ["t/a", "caught", "finally"]


async def test_express_branches_run_side_by_side(workbench: Workbench) -> None:
    flow = """
    id: wide
    defaults: {durability: express, timeout: 5s}
    steps:
      - parallel:
          - {id: a, type: function, config: {handler: slow, params: {seconds: 0.8}}}
          - {id: b, type: function, config: {handler: slow, params: {seconds: 0.8}}}
    """
    assert await workbench.run(flow) == {"a": "parallel-1/a", "b": "parallel-1/b"}
    assert sorted(workbench.calls()[:2]) == ["start parallel-1/a", "start parallel-1/b"]


async def test_work_of_some_seconds_is_recorded_on_the_way(workbench: Workbench) -> None:
    flow = """
    id: long
    defaults: {durability: express, timeout: 5s}
    steps:
      - id: each
        type: for-each
        config:
          items: 8
          steps: [{id: nap, type: function, config: {handler: slow, params: {seconds: 0.6}}}]
    """
    handle = await workbench.start(flow)
    assert len(await handle.result()) == 8
    recorded = [event for event in await events(handle) if event.HasField("marker_recorded_event_attributes")]
    first, last = recorded[0].event_time.ToDatetime(), recorded[-1].event_time.ToDatetime()
    assert (last - first).total_seconds() > 1, "everything was recorded at once, at the end"


async def test_a_cancel_stops_a_run_of_express_steps(workbench: Workbench) -> None:
    flow = """
    id: stop
    defaults: {durability: express, timeout: 5s}
    steps:
      - id: each
        type: for-each
        config:
          items: 200
          steps: [{id: nap, type: function, config: {handler: slow, params: {seconds: 0.3}}}]
      - {id: after, type: function, config: {handler: echo, args: [after]}}
    """
    handle = await workbench.start(flow)
    async with asyncio.timeout(30):
        while not workbench.calls():
            await asyncio.sleep(0.05)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(handle.result(), 30)
    assert "echo after" not in workbench.calls()
    assert len(workbench.calls()) < 200


async def test_a_run_that_fails_in_express_steps_still_falls_back(workbench: Workbench) -> None:
    flow = """
    id: back
    defaults: {durability: express, timeout: 5s, retry: none}
    steps: [{id: a, type: function, config: {handler: fail_times, params: {times: 9, type: odd}}}]
    error_handling: {fallback: [{id: tell, type: function, config: {handler: echo, args: ["{{ error.type }}"]}}]}
    """
    assert (await failure_of(await workbench.start(flow)))["type"] == "odd"
    assert workbench.calls()[-1] == "echo odd"
