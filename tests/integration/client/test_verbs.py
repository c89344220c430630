"""Define, execute, monitor, retry: the life of a run through the four calls that documentation of engines names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import temporalio.client

from orchestrator.client import Client, RunFailed
from orchestrator.errors import Conflict, FlowInvalid
from orchestrator.settings import Settings
from orchestrator.spec.project import Project
from orchestrator.worker import FlowWorker

COUNTED = """
id: counted
version: 1
inputs: {customer: string}
steps:
  - {id: note, type: file, config: {operation: append, path: data/notes.txt, content: "{{ inputs.customer }}."}}
  - {id: rate, type: file, retry: none, config: {operation: read, path: data/rate.txt}}
output: "{{ inputs.customer }} pays {{ steps.rate.output.content }}"
"""
LONG = 60
"""Seconds a result is waited for on a machine that has little time left."""


@pytest.fixture
async def client(temporal: temporalio.client.Client, tmp_path: Path) -> AsyncIterator[Client]:
    """A client that knows no flow, with a worker."""
    settings = Settings(
        project_dir=tmp_path,
        temporal_address=temporal.service_client.config.target_host,
        task_queue=f"orchestrator-{uuid4().hex[:8]}",
    )
    async with (
        await Client.connect(settings, eager=True) as opened,
        FlowWorker(settings, opened.temporal, opened.store, Project),
    ):
        yield opened


async def test_a_flow_is_defined_executed_monitored_and_retried(client: Client, tmp_path: Path) -> None:
    defined = await client.publish(COUNTED)
    assert (defined.flow, defined.version, defined.created) == ("counted", "1", True)

    run = await client.start("counted", {"customer": "Ada"})
    with pytest.raises(RunFailed, match="rate"):
        await run.result(LONG)

    monitored = client.run(run.id)
    assert (await monitored.info()).status == "failed"
    state = await monitored.state()
    assert {path: record["status"] for path, record in state["steps"].items()} == {
        "note": "completed",
        "rate": "failed",
    }
    assert state["error"]["step"]["id"] == "rate"

    (tmp_path / "data" / "rate.txt").write_text("12", encoding="utf-8")
    again = await client.retry(run.id)
    assert await again.result(LONG) == "Ada pays 12"
    assert (tmp_path / "data" / "notes.txt").read_text(encoding="utf-8") == "Ada.", (
        "what had completed did not run again"
    )


async def test_a_flow_is_defined_from_its_file_too_and_the_same_one_only_once(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "counted.yaml"
    path.write_text(COUNTED, encoding="utf-8")
    assert (await client.publish(path)).created
    assert not (await client.publish(COUNTED)).created


async def test_a_flow_that_cannot_be_defined_is_refused_with_its_places(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(COUNTED.replace("type: file", "type: flie", 1), encoding="utf-8")
    with pytest.raises(FlowInvalid) as refused:
        await client.publish(path)
    assert [(problem.file, problem.line) for problem in refused.value.problems] == [("broken.yaml", 6)]
    await client.publish(COUNTED)
    with pytest.raises(Conflict, match="counted"):
        await client.publish(COUNTED.replace("pays", "owes"))
