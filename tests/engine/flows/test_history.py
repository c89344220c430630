"""What a run leaves in Temporal: no secret, paths as ids, few events, a state people can read."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client
from tests.engine.harness import Workbench, events, open_workbench

SECRET = "s3cret-värde-비밀"


async def test_a_secret_reaches_the_step_and_nothing_else(temporal: Client, tmp_path: Path) -> None:
    flow = """
    id: secretive
    steps:
      - {id: a, type: function, config: {handler: reveal, params: {token: "Bearer {{ secrets.API }}"}}}
      - {id: b, type: function, on_error: continue, retry: none, config: {handler: fail_with, args: ["{{ secrets.API }}"]}}
    output: "{{ steps.a.output }}"
    """
    async with open_workbench(temporal, tmp_path, secrets={"API": SECRET}) as bench:
        handle = await bench.start(flow)
        assert await handle.result() == {"token": "Bearer ***"}
        assert bench.calls() == [f"fail_with {SECRET}"]
        for event in await events(handle):
            assert SECRET.encode() not in event.SerializeToString()


async def test_data_that_looks_like_a_template_is_never_evaluated(temporal: Client, tmp_path: Path) -> None:
    flow = """
    id: injection
    inputs: {text: string}
    steps:
      - {id: a, type: function, config: {handler: echo, args: ["{{ inputs.text }}"]}}
      - {id: b, type: function, config: {handler: echo, args: ["said {{ steps.a.output }}"]}}
    """
    async with open_workbench(temporal, tmp_path, secrets={"API": SECRET}) as bench:
        assert await bench.run(flow, {"text": "{{ secrets.API }}"}) == "said {{ secrets.API }}"


async def test_a_missing_secret_fails_the_step_and_names_the_variable(workbench: Workbench) -> None:
    error = await workbench.failure(
        'id: m\nsteps: [{id: a, type: function, config: {handler: reveal, args: ["{{ secrets.NOPE }}"]}}]'
    )
    assert error["type"] == "missing_secret"
    assert "ORCHESTRATOR_SECRET_NOPE" in error["message"]


async def test_five_steps_leave_as_many_events_as_five_hand_written_activities(workbench: Workbench) -> None:
    steps = "\n".join(f"  - {{id: s{n}, type: function, config: {{handler: echo, args: [{n}]}}}}" for n in range(5))
    handle = await workbench.start(f"id: five\nsteps:\n{steps}")
    await handle.result()
    # Start and end, and for each step: scheduled, started, completed, and the workflow task's three.
    assert len(await events(handle)) == 5 + 5 * 6


async def test_expressions_and_branches_add_no_events(workbench: Workbench) -> None:
    flow = """
    id: pure
    steps:
      - {id: a, type: transform, config: {value: "{{ range(50) | length }}"}}
      - {id: c, type: condition, config: {if: "steps.a.output > 3", then: [{id: d, type: set, config: {}}]}}
    """
    handle = await workbench.start(
        flow.replace("{id: d, type: set, config: {}}", "{id: d, type: transform, config: {value: 1}}")
    )
    await handle.result()
    assert len(await events(handle)) == 5


async def test_summaries_name_the_steps_and_details_tell_the_progress(workbench: Workbench) -> None:
    flow = "id: shown\nsteps: [{id: a, name: 인사, type: function, config: {handler: echo, args: [1]}}, {id: w, type: human-task, config: {assignee: x}}]"
    handle = await workbench.start(flow)
    await workbench.waiting(handle, "w")
    summaries = [
        json.loads(event.user_metadata.summary.data)
        for event in await events(handle)
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
    assert summaries == ["인사", "w"]
    metadata: WorkflowMetadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    assert "1 completed" in metadata.current_details
    assert "`w`" in metadata.current_details
    await handle.signal("w", {"decision": "approve"})
    await handle.result()


async def test_the_state_query_shows_records_by_path(workbench: Workbench) -> None:
    flow = "id: st\nvars: {n: 1}\nsteps: [{id: b, type: block, config: {steps: [{id: a, type: transform, config: {value: 2}}]}}]"
    handle = await workbench.start(flow)
    await handle.result()
    state: dict[str, Any] = await handle.query("state")
    assert (state["status"], state["flow"], state["vars"]) == ("completed", "st", {"n": 1})
    assert {path: record["output"] for path, record in state["steps"].items()} == {"b": 2, "b/a": 2}


async def test_the_state_query_is_paged_and_names_large_outputs_by_size(workbench: Workbench) -> None:
    steps = "\n".join(f"  - {{id: s{n}, type: transform, config: {{value: {n}}}}}" for n in range(600))
    big = "  - {id: big, type: function, config: {handler: grow, params: {bytes: 50000}}}"
    handle = await workbench.start(f"id: paged\nsteps:\n{big}\n{steps}")
    await handle.result()
    first: dict[str, Any] = await handle.query("state")
    second: dict[str, Any] = await handle.query("state", {"after": first["next"]})
    assert (len(first["steps"]), len(second["steps"])) == (500, 101)
    assert first["steps"]["big"]["output_bytes"] > 50_000
    assert "output" not in first["steps"]["big"]
    assert "next" not in second


async def test_a_run_dropped_from_a_workers_memory_goes_on_without_noise(
    temporal: Client, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Every workflow task of a worker without a cache replays the run from its history."""
    flow = """
    id: evicted
    timeout: 1h
    steps:
      - parallel:
          - {id: a, type: human-task, config: {assignee: x}}
          - {id: b, type: wait, config: {duration: 500ms}}
          - {id: c, type: function, config: {handler: slow, params: {seconds: 0.2}}}
      - {id: d, type: transform, config: {value: "{{ steps.a.output.decision }}"}}
    """
    async with open_workbench(temporal, tmp_path, cached_runs=0) as bench:
        handle = await bench.start(flow)
        await bench.waiting(handle, "a")
        await handle.signal("a", {"decision": "approve"})
        assert await asyncio.wait_for(handle.result(), 30) == "approve"
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_history_names_the_release_that_carried_the_run_out(workbench: Workbench) -> None:
    handle = await workbench.start("id: built\nsteps: [{id: a, type: function, config: {handler: echo, args: [1]}}]")
    await handle.result()
    tasks = [event for event in await events(handle) if event.HasField("workflow_task_completed_event_attributes")]
    named = {event.workflow_task_completed_event_attributes.worker_version.build_id for event in tasks}
    # Left to itself, the SDK names a hash of every imported module, for which a worker reads them all when it starts.
    assert named == {f"orchestrator-{importlib.metadata.version('orchestrator')}"}
