"""The Python client against a real Temporal server and a real worker."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import temporalio.client
from temporalio.client import WorkflowExecutionStatus

from orchestrator import admission
from orchestrator.client import Client, RunCancelled, RunFailed
from orchestrator.errors import Conflict, NotFound, TooLarge, Unavailable
from orchestrator.settings import Settings
from orchestrator.spec.project import Project
from orchestrator.worker import FlowWorker

ECHO = """
id: echo
name: 메아리
version: 2.0
inputs: {word: {type: string, default: hi}}
steps: [{id: say, type: transform, config: {value: "{{ inputs.word }} {{ trigger.type }} {{ run.version }}"}}]
"""
STOP = "id: stop\nsteps: [{id: end, type: fail, config: {type: no_luck, message: not today, data: {n: 1}}}]\n"
NAP = "id: nap\nsteps: [{id: sleep, type: wait, config: {duration: 1h}}]\n"
ASK = "id: ask\nsteps: [{id: ok, type: human-task, config: {assignee: kim}}]\n"


@pytest.fixture
def settings(temporal: temporalio.client.Client, tmp_path: Path) -> Settings:
    return Settings(
        project_dir=tmp_path,
        temporal_address=temporal.service_client.config.target_host,
        task_queue=f"orchestrator-{uuid4().hex[:8]}",
    )


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    async with await Client.connect(settings, eager=True) as opened:
        for text in (ECHO, STOP, NAP, ASK):
            await admission.publish_text(opened.store, Project(), text)
        async with FlowWorker(settings, opened.temporal, opened.store, Project):
            yield opened


async def test_a_run_is_started_awaited_and_looked_at(client: Client) -> None:
    run = await client.start("echo", {"word": "hello"})
    assert (run.flow, run.version) == ("echo", "2.0")
    assert run.id.startswith("echo-")
    assert await run.result(20) == "hello api 2.0"
    info = await run.info()
    assert (info.flow, info.version, info.status) == ("echo", "2.0", "completed")
    assert info.finished_at is not None and info.finished_at >= info.started_at
    state = await run.state()
    assert state["status"] == "completed"
    assert state["steps"]["say"]["output"] == "hello api 2.0"
    description = await run.handle.describe()
    assert await description.static_summary() == "메아리"


async def test_ids_sort_by_the_moment_of_their_start(client: Client) -> None:
    ids = []
    for _ in range(5):
        ids.append((await client.start("echo")).id)
        await asyncio.sleep(0.002)
    assert ids == sorted(ids)


async def test_a_failed_run_raises_its_error_record(client: Client) -> None:
    run = await client.start("stop")
    with pytest.raises(RunFailed, match="failed at step 'end': no_luck: not today") as caught:
        await run.result(20)
    assert caught.value.error["data"] == {"n": 1}
    assert (await run.info()).status == "failed"


async def test_a_cancelled_run_raises_that(client: Client) -> None:
    run = await client.start("nap")
    await run.cancel("enough")
    with pytest.raises(RunCancelled):
        await run.result(20)
    with pytest.raises(Conflict):
        await run.cancel()
    with pytest.raises(Conflict):
        await run.signal("x")


async def test_a_terminated_run_raises_run_failed(client: Client) -> None:
    run = await client.start("nap")
    await run.terminate("for a test")
    with pytest.raises(RunFailed, match="terminated"):
        await run.result(20)


async def test_waiting_for_a_result_ends_at_the_timeout_and_the_run_goes_on(client: Client) -> None:
    run = await client.start("nap")
    with pytest.raises(TimeoutError):
        await run.result(0.2)
    assert (await run.info()).status == "running"
    await run.terminate("for a test")


async def test_an_unknown_run_is_not_found(client: Client) -> None:
    run = client.run("no-such-run")
    for question in (run.info, run.state, run.cancel, run.result):
        with pytest.raises(NotFound, match="no-such-run"):
            await question()


async def test_the_same_key_is_the_same_run_in_every_process(client: Client, settings: Settings, key: str) -> None:
    first = await client.start("echo", {"word": "a"}, idempotency_key=key)
    async with await Client.connect(settings) as other:
        again = await other.start("echo", {"word": "a"}, idempotency_key=key)
    assert (again.id, again.version) == (first.id, first.version)
    assert await again.result(20) == "a api 2.0"


async def test_a_key_outlives_temporals_memory_of_the_run(
    client: Client, settings: Settings, own_temporal_server: tuple[subprocess.Popen[bytes], str], key: str
) -> None:
    first = await client.start("echo", idempotency_key=key)
    # A server that never saw the run stands for one whose retention is over.
    forgetful = await temporalio.client.Client.connect(own_temporal_server[1])
    async with await Client.connect(settings, store=client.store, temporal=forgetful) as later:
        again = await later.start("echo", idempotency_key=key)
        assert (again.id, again.version) == (first.id, first.version)
        with pytest.raises(NotFound):
            await again.info()


async def test_a_start_interrupted_after_its_claim_is_finished_by_the_next(client: Client, key: str) -> None:
    from orchestrator.client.starting import body_hash, keyed_run_id

    run_id = keyed_run_id("echo", key)
    await client.store.deliveries.claim(key, "echo", body_hash({"word": "a"}), workflow_id=run_id)
    run = await client.start("echo", {"word": "a"}, idempotency_key=key)
    assert run.id == run_id
    assert await run.result(20) == "a api 2.0"


async def test_a_start_above_the_limit_is_refused_in_words(client: Client, settings: Settings) -> None:
    run = await client.start("echo", {"word": "x" * 900_000})
    assert await run.result(20) == "x" * 900_000 + " api 2.0"
    # More than Temporal itself would carry; that this flow's expression cannot join so much is another matter.
    with pytest.raises(RunFailed, match="work on it in a function step"):
        await (await client.start("echo", {"word": "x" * 2_500_000})).result(20)
    with pytest.raises(TooLarge, match="ORCHESTRATOR_PAYLOAD_LIMIT"):
        await client.start("echo", {"word": "x" * 60_000_000})
    none = replace(settings, payloads="none")
    async with await Client.connect(none, store=client.store) as small:
        with pytest.raises(TooLarge, match="ORCHESTRATOR_PAYLOADS is none"):
            await small.start("echo", {"word": "x" * 2_500_000})


async def test_a_task_is_decided_by_update_and_by_signal(client: Client) -> None:
    runs = [await client.start("ask") for _ in range(2)]
    for _ in range(200):
        tasks = {task.run_id: task for task in await client.tasks(status="open")}
        if len(tasks) == 2:
            break
        await asyncio.sleep(0.05)
    answer = await client.decide(tasks[runs[0].id].id, "approve", by="kim")
    assert answer["accepted"] is True
    await runs[1].signal("ok", {"decision": "approve", "by": "lee"})
    assert [(await run.result(20))["by"] for run in runs] == ["kim", "lee"]


async def test_a_bare_start_of_another_client_is_a_run_like_any_other(client: Client) -> None:
    handle: Any = await client.temporal.start_workflow(
        "echo", {"word": "bare"}, id=f"bare-{uuid4().hex}", task_queue=client.settings.task_queue
    )
    run = client.run(handle.id)
    assert await run.result(20) == "bare api 2.0"
    assert (await run.info()).version is None
    assert (await run.state())["version"] == "2.0"


async def test_a_missing_temporal_is_one_sentence(settings: Settings) -> None:
    with pytest.raises(Unavailable) as caught:
        await Client.connect(replace(settings, temporal_address="127.0.0.1:1"))
    message = str(caught.value)
    assert "\n" not in message
    assert "orchestrator up" in message and "127.0.0.1:1" in message


async def test_a_missing_namespace_is_named(settings: Settings) -> None:
    with pytest.raises(Unavailable, match="namespace 'nowhere'"):
        async with await Client.connect(replace(settings, temporal_namespace="nowhere")) as client:
            await admission.publish_text(client.store, Project(), ECHO)
            await client.start("echo")


async def test_an_edited_project_file_counts_from_the_next_start(client: Client, tmp_path: Path) -> None:
    text = "id: places\nenv: {PLACE: here}\nsteps: [{type: transform, config: {value: '{{ env.PLACE }}'}}]\n"
    await admission.publish_text(client.store, Project(), text)
    assert await (await client.start("places")).result(20) == "here"
    (tmp_path / "orchestrator.yaml").write_text("env: {PLACE: there}\n")
    assert await (await client.start("places")).result(20) == "there"


async def test_statuses_of_temporal_are_all_known() -> None:
    from orchestrator.client.run import STATUSES

    assert {status.value for status in WorkflowExecutionStatus} <= set(STATUSES)
