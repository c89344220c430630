"""The engine's local activities around runs, called by a real workflow, against a real store."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from tests.stores import open_store

from orchestrator import admission
from orchestrator.settings import Settings
from orchestrator.spec.call import CHILD_STATUS, RESOLVE_CHILD
from orchestrator.spec.definition import definition_from_json, envelope_from_json
from orchestrator.spec.project import Project
from orchestrator.steps.runs.resolve import child_status, resolve_child_activity
from orchestrator.store.database import Store

FLOW = """
id: greet
version: {version}
env: {{REGION: eu}}
inputs: {{who: string, times: {{type: integer, default: 2}}}}
steps: [{{type: transform, config: {{value: "{{{{ inputs.who }}}}"}}}}]
"""
PARENT = {"run": "p-1", "flow": "outer", "step": "call", "path": "each[3]/call", "root": "p-0", "depth": 2}
ABOVE = {"run": "p-1", "flow": "outer", "step": "call", "path": "each[3]/call"}


@workflow.defn
class Ask:
    """One local activity; its result."""

    @workflow.run
    async def run(self, name: str, args: list[Any]) -> Any:
        return await workflow.execute_local_activity(name, args=args, schedule_to_close_timeout=timedelta(seconds=20))


@workflow.defn
class Child:
    """Ends as it is told."""

    @workflow.run
    async def run(self, end: str) -> Any:
        if end == "fail":
            raise ApplicationError("told to", {"type": "refused", "message": "told to", "attempts": 1}, type="refused")
        if end == "fail bare":
            raise ApplicationError("told to", type="odd")
        if end == "again":
            workflow.continue_as_new("complete")
        if end == "complete":
            return {"answer": 42}
        await asyncio.sleep(3600)
        return None


@dataclass
class Desk:
    client: Client
    store: Store
    queue: str

    async def ask(self, name: str, *args: Any) -> Any:
        handle = await self.client.start_workflow(
            Ask.run, args=[name, list(args)], id=f"ask-{uuid.uuid4().hex}", task_queue=self.queue
        )
        return await asyncio.wait_for(handle.result(), 30)

    async def refusal(self, *args: Any) -> ApplicationError:
        with pytest.raises(WorkflowFailureError) as caught:
            await self.ask(RESOLVE_CHILD, *args)
        assert isinstance(caught.value.cause, ApplicationError)
        return caught.value.cause

    async def child(self, end: str) -> str:
        handle = await self.client.start_workflow(Child.run, end, id=f"child-{uuid.uuid4().hex}", task_queue=self.queue)
        return handle.id


@pytest.fixture
async def desk(temporal: Client, tmp_path: Path) -> AsyncIterator[Desk]:
    store = await open_store(f"sqlite:///{tmp_path / 'store.db'}")
    for version in ("1.0.0", "2.0.0"):
        await admission.publish_text(store, Project(), FLOW.format(version=version))
    queue = f"orchestrator-{uuid.uuid4().hex[:8]}"
    resolve = resolve_child_activity(
        store, Project, Settings(project_dir=tmp_path, env={"REGION": "kr"}), search_attributes=True
    )
    async with Worker(
        temporal,
        task_queue=queue,
        workflows=[Ask, Child],
        activities=[resolve, child_status],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield Desk(temporal, store, queue)
    await store.aclose()


async def test_a_sub_flow_gets_what_a_start_gets_and_knows_its_parent(desk: Desk) -> None:
    sent, definition = await desk.ask(RESOLVE_CHILD, "greet", None, {"who": "Ada", "more": 1}, PARENT)
    envelope = envelope_from_json(sent, definition_from_json(definition), {"who": "Ada", "more": 1})
    assert envelope.definition.version == "2.0.0"
    assert envelope.inputs == {"who": "Ada", "times": 2}
    assert envelope.env == {"REGION": "kr"}
    assert (envelope.parent, envelope.depth, envelope.root) == (ABOVE, 3, "")
    assert envelope.search_attributes
    trigger = dict(envelope.trigger)
    assert trigger.pop("time").endswith("Z")
    body = {"who": "Ada", "more": 1}
    assert trigger == {"type": "flow", "id": "each[3]/call", "body": body, "parent": ABOVE}


async def test_a_version_can_be_asked_for(desk: Desk) -> None:
    _, definition = await desk.ask(RESOLVE_CHILD, "greet", "1.0.0", {"who": "Ada"}, PARENT)
    assert definition["version"] == "1.0.0"


@pytest.mark.parametrize(
    ("flow", "version", "inputs", "kind", "says"),
    [
        ("gret", None, {"who": "a"}, "not_found", "greet"),
        ("greet", "9", {"who": "a"}, "not_found", "2.0.0"),
        ("greet", None, {}, "invalid_inputs", "who"),
        ("greet", None, {"who": 5}, "invalid_inputs", "who"),
        ("greet", None, ["who"], "invalid_inputs", "must be an object"),
        ("greet", None, "who", "invalid_inputs", "must be an object"),
    ],
)
async def test_what_cannot_start_is_refused_by_name_and_at_once(
    desk: Desk, flow: str, version: str | None, inputs: Any, kind: str, says: str
) -> None:
    refused = await desk.refusal(flow, version, inputs, PARENT)
    assert (refused.type, refused.non_retryable) == (kind, True)
    assert says in refused.message


async def test_a_disabled_flow_is_refused_as_it_is_for_an_api_start(desk: Desk) -> None:
    await admission.publish_text(desk.store, Project(), FLOW.format(version="3") + "enabled: false\n")
    refused = await desk.refusal("greet", None, {"who": "a"}, PARENT)
    assert refused.type == "refused"
    assert "disabled" in refused.message


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("complete", {"status": "completed", "output": {"answer": 42}}),
        ("again", {"status": "completed", "output": {"answer": 42}}),
        ("fail", {"status": "failed", "error": {"type": "refused", "message": "told to", "attempts": 1}}),
        ("fail bare", {"status": "failed", "error": {"type": "odd", "message": "told to"}}),
    ],
)
async def test_a_child_that_has_ended_is_told_with_its_end(desk: Desk, end: str, told: Any) -> None:
    child = await desk.child(end)
    while (found := await desk.ask(CHILD_STATUS, child)) == {"status": "running"}:
        await asyncio.sleep(0.02)
    assert found == told


async def test_a_child_that_was_stopped_says_how(desk: Desk) -> None:
    cancelled, terminated = await desk.child("wait"), await desk.child("wait")
    assert await desk.ask(CHILD_STATUS, cancelled) == {"status": "running"}
    await desk.client.get_workflow_handle(cancelled).cancel()
    await desk.client.get_workflow_handle(terminated).terminate()
    while (found := await desk.ask(CHILD_STATUS, cancelled)) == {"status": "running"}:
        await asyncio.sleep(0.02)
    assert found == {"status": "cancelled"}
    ended = await desk.ask(CHILD_STATUS, terminated)
    assert (ended["status"], ended["error"]["type"]) == ("terminated", "terminated")


async def test_a_child_nobody_knows_is_unknown(desk: Desk) -> None:
    found = await desk.ask(CHILD_STATUS, "never-started")
    assert (found["status"], found["error"]["type"]) == ("unknown", "not_found")
