"""Large values in runs: kept outside the history, never cut, and a storage that fails never loses a run."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from tests.engine.harness import Workbench, open_workbench
from tests.engine.lab import attempt, task_failure

from orchestrator.engine.headers import HeaderInterceptor
from orchestrator.engine.workflow import FlowWorkflow
from orchestrator.store.database import Store
from orchestrator.worker import FlowWorker

GROW = """
id: grow
inputs: {bytes: integer}
steps:
  - {id: big, type: function, config: {handler: grow, params: {bytes: "{{ inputs.bytes }}"}}}
  - {id: pass, type: function, config: {handler: reveal, params: {text: "{{ steps.big.output }}"}}}
output: "{{ steps.pass.output.text | length }}"
"""
GROW_AND_WAIT = """
id: grow-and-wait
steps:
  - {id: big, type: function, config: {handler: grow, params: {bytes: 300000}}}
  - {id: ok, type: human-task, config: {assignee: kim}}
output: "{{ steps.big.output | length }}"
"""


MISMATCH = """
id: mismatch
steps:
  - {id: big, type: function, retry: none, output_schema: {type: integer}, config: {handler: grow, params: {bytes: 3000000}}}
"""


def objects(bench: Workbench) -> list[Path]:
    return [path for path in (bench.settings.state / "objects").rglob("*") if path.is_file()]


async def test_fifty_runs_with_a_megabyte_each_finish_at_once(workbench: Workbench) -> None:
    began = time.monotonic()
    handles = await asyncio.gather(*(workbench.start(GROW, {"bytes": 1_000_000 + n}) for n in range(50)))
    lengths = await asyncio.wait_for(asyncio.gather(*(handle.result() for handle in handles)), 90)
    assert lengths == [1_000_000 + n for n in range(50)]
    print(f"50 runs of 3 MB each: {time.monotonic() - began:.1f} s")  # noqa: T201
    for handle in handles[:5]:
        described = (await handle.describe()).raw_description.workflow_execution_info
        assert described.history_size_bytes < 20_000


async def test_the_same_value_is_stored_once_for_all_runs(workbench: Workbench) -> None:
    await asyncio.gather(*(workbench.run(GROW, {"bytes": 400_000}) for _ in range(5)))
    # What the first step gave, what the second was given, and what that gave.
    assert len(objects(workbench)) == 3


async def test_a_run_with_stored_values_replays(workbench: Workbench) -> None:
    handle = await workbench.start(GROW, {"bytes": 400_000})
    assert await handle.result() == 400_000
    replayer = Replayer(
        workflows=[FlowWorkflow],
        workflow_runner=UnsandboxedWorkflowRunner(),
        interceptors=[HeaderInterceptor()],
        data_converter=workbench.temporal.data_converter,
    )
    result = await replayer.replay_workflow(await handle.fetch_history())
    assert result.replay_failure is None


async def test_a_result_near_the_limit_goes_through_a_run(workbench: Workbench) -> None:
    flow = """
    id: near
    steps:
      - {id: first, type: function, config: {handler: grow, params: {bytes: 45000000}}}
      - {id: last, type: function, config: {handler: grow, params: {bytes: 45000001}}}
    """
    assert len(await workbench.run(flow)) == 45_000_001


async def test_a_result_above_the_limit_fails_its_step_and_names_it(workbench: Workbench) -> None:
    error = await workbench.failure(GROW, {"bytes": 60_000_000})
    assert error["type"] == "payload_too_large"
    assert error["attempts"] == 1
    for word in ("'big'", "60000026 bytes", "50000000", "ORCHESTRATOR_PAYLOAD_LIMIT"):
        assert word in error["message"]


async def test_without_storage_a_value_may_have_what_temporal_carries(temporal: Client, tmp_path: Path) -> None:
    async with open_workbench(temporal, tmp_path, payloads="none") as bench:
        error = await bench.failure(GROW, {"bytes": 3_000_000})
        assert (error["type"], "1900000" in error["message"]) == ("payload_too_large", True)
        assert await bench.run(GROW, {"bytes": 1_000_000}) == 1_000_000
        assert objects(bench) == []


async def test_five_megabytes_answer_a_task(workbench: Workbench) -> None:
    flow = """
    id: ask
    steps: [{id: ok, type: human-task, config: {assignee: kim}}]
    """
    handle = await workbench.start(flow, largest_payload=workbench.settings.largest_payload)
    await workbench.waiting(handle, "ok")
    await handle.execute_update("ok", {"decision": "approve", "data": "x" * 5_000_000})
    assert len((await handle.result())["data"]) == 5_000_000
    assert (await handle.describe()).raw_description.workflow_execution_info.history_size_bytes < 20_000


async def test_data_of_an_error_that_is_too_large_is_left_out_and_said_so(temporal: Client, tmp_path: Path) -> None:
    async with open_workbench(temporal, tmp_path, payloads="none") as bench:
        error = await bench.failure(MISMATCH)
    assert error["type"] == "invalid_output"
    assert "must be a whole number" in error["message"] and "3000002 bytes" in error["message"]
    assert "data" not in error


async def test_data_of_an_error_may_be_as_large_as_any_value(workbench: Workbench) -> None:
    error = await workbench.failure(MISMATCH, largest_payload=workbench.settings.largest_payload)
    assert len(error["data"]) == 3_000_000


# -- storage that fails -----------------------------------------------------------------------------------------


async def test_a_step_whose_result_cannot_be_stored_fails_by_name(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.steps.attempt._STORE_TRIES", (0.1,))
    (workbench.settings.state / "objects").write_text("in the way")
    flow = "id: g\nsteps: [{id: big, type: function, retry: none, config: {handler: grow, params: {bytes: 300000}}}]"
    error = await workbench.failure(flow)
    assert error["type"] == "storage_unavailable"
    assert "the step is done" in error["message"] and "make room" in error["message"]


async def test_a_short_failure_of_the_storage_repeats_no_step(workbench: Workbench) -> None:
    place = workbench.settings.state / "objects"
    place.write_text("in the way")
    flow = """
    id: short
    steps:
      - {id: big, type: function, retry: none, config: {handler: grow, params: {bytes: 300000}}}
      - {id: after, type: function, config: {handler: echo, args: [after]}}
    """
    handle = await workbench.start(flow)
    await asyncio.sleep(1)
    place.unlink()
    assert await asyncio.wait_for(handle.result(), 30) == "after"


async def test_a_run_that_cannot_store_waits_and_goes_on(workbench: Workbench) -> None:
    place = workbench.settings.state / "objects"
    # A large argument is written by the workflow task itself.
    flow = """
    id: argument
    inputs: {text: string}
    steps:
      - {id: pass, type: function, config: {handler: reveal, params: {text: "{{ inputs.text }}{{ inputs.text }}"}}}
    output: "{{ steps.pass.output.text | length }}"
    """
    place.write_text("in the way")
    handle = await workbench.start(flow, {"text": "x" * 90_000})
    assert "cannot be stored" in await task_failure(handle)
    place.unlink()
    assert await asyncio.wait_for(handle.result(), 60) == 180_000


async def test_a_lost_value_holds_its_run_until_it_is_back(temporal: Client, tmp_path: Path) -> None:
    async with open_workbench(temporal, tmp_path, cached_runs=0) as bench:
        handle = await bench.start(GROW_AND_WAIT)
        await bench.waiting(handle, "ok")
        [file] = [file for file in objects(bench) if b"xxx" in file.read_bytes()]
        lost = file.rename(tmp_path / "lost")
        await handle.signal("ok", {"decision": "approve"})
        message = await task_failure(handle)
        assert "is not in" in message and "backup" in message
        assert await attempt(handle) >= 1
        lost.rename(file)
        assert await asyncio.wait_for(handle.result(), 60) == 300_000


async def test_a_changed_value_holds_its_run_and_is_never_used(temporal: Client, tmp_path: Path) -> None:
    async with open_workbench(temporal, tmp_path, cached_runs=0) as bench:
        handle = await bench.start(GROW_AND_WAIT)
        await bench.waiting(handle, "ok")
        [file] = [file for file in objects(bench) if b"xxx" in file.read_bytes()]
        good = file.read_bytes()
        file.write_bytes(good.replace(b"x", b"y"))
        await handle.signal("ok", {"decision": "approve"})
        assert "changed or damaged" in await task_failure(handle)
        file.write_bytes(good)
        assert await asyncio.wait_for(handle.result(), 60) == 300_000


async def test_a_worker_that_looks_elsewhere_says_so_and_the_run_outlives_it(temporal: Client, tmp_path: Path) -> None:
    async with open_workbench(temporal, tmp_path, cached_runs=0) as bench:
        handle = await bench.start(GROW_AND_WAIT)
        await bench.waiting(handle, "ok")
    elsewhere = replace(bench.settings, payloads=f"file://{tmp_path / 'elsewhere'}")
    store = await Store.open(bench.settings.store)
    async with FlowWorker(elsewhere, temporal, store, lambda: bench.project, cached_runs=0):
        await handle.signal("ok", {"decision": "approve"})
        message = await task_failure(handle)
        assert "elsewhere" in message and "ORCHESTRATOR_PAYLOADS" in message
    async with FlowWorker(bench.settings, temporal, store, lambda: bench.project):
        assert await asyncio.wait_for(handle.result(), 60) == 300_000
    await store.aclose()
