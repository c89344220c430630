"""What the engine tells of runs, to flows that watch other flows."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import temporalio.client
from tests.integration.gateway.conftest import Door, open_door

from orchestrator.client import RunFailed

WATCHER = """
id: watcher
triggers:
  - {type: event, event: run.failed, if: "{{ event.data.flow }} != 'watcher'"}
steps: [{id: told, type: transform, config: {value: "{{ trigger.body.flow }}: {{ trigger.body.error.message }}"}}]
"""
DESK = """
id: desk
triggers: [{type: event, event: run.waiting}]
steps: [{id: told, type: transform, config: {value: "{{ trigger.body.wait.path }} {{ trigger.body.wait.assignee }}"}}]
"""
FAILING = "{id: failing, steps: [{id: a, type: fail, config: {type: broken, message: no paper}}]}"
ASKING = """
id: asking
steps:
  - {id: pause, type: wait, config: {duration: 0.2s}}
  - {id: may-i, type: human-task, config: {assignee: kim}}
"""


@pytest.fixture
async def door(temporal: temporalio.client.Client, tmp_path: Path) -> Any:
    async with open_door(temporal, tmp_path) as opened:
        yield opened


async def runs_of(door: Door, kind: str) -> list[str]:
    """The runs that events of a type started, once one is routed."""
    for _ in range(400):
        events = (await door.http.get("/v1/events", params={"type": kind})).json()["events"]
        if events and all(one["routed_at"] for one in events):
            return [told["run_id"] for one in events for told in one["outcome"]]
        await asyncio.sleep(0.025)
    raise AssertionError(f"no {kind} was routed")


async def test_one_flow_hears_of_every_run_that_fails_and_not_of_its_own(door: Door) -> None:
    await door.publish(WATCHER)
    await door.publish(FAILING)
    run = await door.client.start("failing")
    with pytest.raises(RunFailed):
        await run.result(20)
    [heard] = await runs_of(door, "run.failed")
    assert await door.client.run(heard).result(20) == "failing: no paper"
    again = await door.client.retry(run.id)
    with pytest.raises(RunFailed):
        await again.result(20)
    for _ in range(200):
        if len(await runs_of(door, "run.failed")) == 2:
            break
        await asyncio.sleep(0.05)
    assert len(await runs_of(door, "run.failed")) == 2


async def test_a_run_that_waits_for_a_person_is_told_once(door: Door) -> None:
    await door.publish(DESK)
    await door.publish(ASKING)
    run = await door.client.start("asking")
    [heard] = await runs_of(door, "run.waiting")
    assert await door.client.run(heard).result(20) == "may-i kim"
    task = await door.waiting_task(run.id)
    await door.client.decide(task["id"], "approve")
    await run.result(20)


async def test_a_run_that_nobody_watches_tells_nothing(door: Door) -> None:
    await door.publish(FAILING)
    with pytest.raises(RunFailed):
        await (await door.client.start("failing")).result(20)
    assert (await door.http.get("/v1/events")).json()["events"] == []
