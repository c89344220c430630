"""Starting: any Temporal client can start a published flow; the definition is pinned."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import NoReturn

import pytest
from temporalio.client import WorkflowHandle
from tests.engine.harness import Workbench, failure_of

from orchestrator.client import Client
from orchestrator.engine import workflow as interpreting
from orchestrator.engine.activities import PATIENCE
from orchestrator.engine.constructs import subflow
from orchestrator.errors import Unavailable
from orchestrator.spec.loading import load_flow

FLOW = """
id: greet
inputs: {name: string, times: {type: integer, default: 1}}
env: {PLACE: here}
steps: [{id: hi, type: transform, config: {value: "{{ inputs.name }} {{ inputs.times }} {{ env.PLACE }}"}}]
output: {said: "{{ steps.hi.output }}", trigger: "{{ trigger.type }}", version: "{{ run.version }}"}
"""


async def publish(workbench: Workbench, text: str) -> None:
    await workbench.store.flows.publish(load_flow(text, "greet.yaml", workbench.project))


async def bare(workbench: Workbench, flow: str, *args: object) -> WorkflowHandle[object, object]:
    return await workbench.temporal.start_workflow(
        flow, args=list(args), id=f"bare-{uuid.uuid4().hex[:8]}", task_queue=workbench.settings.task_queue
    )


async def test_a_bare_start_resolves_the_published_flow(workbench: Workbench) -> None:
    await publish(workbench, FLOW)
    handle = await bare(workbench, "greet", {"name": "kim"})
    assert await handle.result() == {"said": "kim 1 here", "trigger": "api", "version": "1"}


async def test_an_unknown_flow_fails_at_once_and_names_the_nearest(workbench: Workbench) -> None:
    await publish(workbench, FLOW)
    error = await failure_of(await bare(workbench, "gret", {}))
    assert error["type"] == "not_found"
    assert "'greet'" in error["message"]


async def test_a_bare_start_with_wrong_inputs_fails_naming_the_field(workbench: Workbench) -> None:
    await publish(workbench, FLOW)
    error = await failure_of(await bare(workbench, "greet", {"times": "x"}))
    assert error["type"] == "invalid_inputs"
    assert "name" in error["message"]
    assert "times" in error["message"]


async def test_an_outage_of_the_store_is_waited_for_and_not_for_ever(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def current(flow_id: str) -> NoReturn:
        asked.append(flow_id)
        raise Unavailable("the store is down")

    monkeypatch.setattr(workbench.store.flows, "current", current)
    for module in (interpreting, subflow):
        monkeypatch.setattr(module, "PATIENCE", replace(PATIENCE, maximum_attempts=2))
    error = await failure_of(await bare(workbench, "greet", {"name": "kim"}))
    assert (error["type"], error["message"]) == ("unavailable", "the store is down")
    error = await workbench.failure("id: f\nsteps: [{id: call, type: flow, config: {flow: greet}}]")
    assert (error["type"], error["step"]["id"]) == ("unavailable", "call")
    assert asked == ["greet"] * 4


async def test_publishing_anew_does_not_change_a_run_in_flight(workbench: Workbench) -> None:
    waiting = FLOW.replace("steps: [", "steps: [{id: ok, type: human-task, config: {assignee: a}}, ")
    await publish(workbench, waiting)
    handle = await bare(workbench, "greet", {"name": "kim"})
    await workbench.waiting(handle, "ok")
    await publish(workbench, FLOW.replace("said:", "changed:"))
    await handle.signal("ok", {"decision": "approve"})
    assert await handle.result() == {"said": "kim 1 here", "trigger": "api", "version": "1"}


async def test_a_signal_sent_with_the_start_is_kept_until_the_definition_is_resolved(
    workbench: Workbench,
) -> None:
    await publish(workbench, FLOW.replace("steps: [", "steps: [{id: ok, type: human-task, config: {assignee: a}}, "))
    handle = await workbench.temporal.start_workflow(
        "greet",
        args=[{"name": "kim"}],
        id=f"bare-{uuid.uuid4().hex[:8]}",
        task_queue=workbench.settings.task_queue,
        start_signal="ok",
        start_signal_args=[{"decision": "approve"}],
    )
    assert (await handle.result())["said"] == "kim 1 here"


def test_constructs_of_a_later_release_are_named_not_ignored(workbench: Workbench) -> None:
    trigger = "{type: schedule, every: 1h, idempotency_key: a}"
    text = f"id: later\ntriggers: [{trigger}]\nsteps: [{{type: wait, config: {{duration: 1}}}}]"
    loaded = load_flow(text, "later.yaml", workbench.project)
    assert any("`idempotency_key` of a trigger" in problem.message for problem in loaded.unsupported)


async def test_lists_can_be_searched_by_status_assignee_and_where_wished_version_and_trigger(
    workbench: Workbench,
) -> None:
    await publish(workbench, FLOW.replace("steps: [", "steps: [{id: ok, type: human-task, config: {assignee: ann}}, "))
    settings = replace(workbench.settings, search_attributes="all")
    client = await Client.connect(settings, store=workbench.store, temporal=workbench.temporal)
    run = await client.start("greet", {"name": "kim"})
    await workbench.waiting(run.handle, "ok")
    wanted = {
        "WorkflowType": "greet",
        "OrchestratorVersion": "1",
        "OrchestratorTrigger": "api",
        "OrchestratorStatus": "waiting",
        "OrchestratorAssignee": "ann",
    }
    query = " AND ".join(f"{name} = '{value}'" for name, value in wanted.items())
    for _ in range(200):
        found = [item.id async for item in workbench.temporal.list_workflows(f"{query} AND WorkflowId = '{run.id}'")]
        if found:
            break
        await asyncio.sleep(0.05)
    assert found == [run.id]
    await run.signal("ok", {"decision": "approve"})
    await run.result()
