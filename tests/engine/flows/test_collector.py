"""Batches of events: by number, by time, each event in exactly one of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from tests.conftest import binary

from orchestrator.engine import collector
from orchestrator.engine.collector import CollectorWorkflow
from orchestrator.spec.call import COLLECT, COLLECTOR, FLUSH


class Flushed:
    """What was flushed; the first ``failing`` tries fail."""

    def __init__(self, failing: int = 0) -> None:
        self.batches: list[list[str]] = []
        self._failing = failing

    @activity.defn(name=FLUSH)
    async def flush(self, flow: str, trigger: str, events: list[dict[str, Any]]) -> None:
        if self._failing:
            self._failing -= 1
            raise RuntimeError("the door is closed for a moment")
        self.batches.append([event["id"] for event in events])


def event(number: int) -> dict[str, Any]:
    return {"id": str(number), "source": "s", "type": "t", "data": number}


async def collect(client: Client, queue: str, events: list[dict[str, Any]], **told: Any) -> Any:
    """The collector's handle, the events on their way to it."""
    given = {"flow": "f", "trigger": "t", "size": 3, "max_wait": None} | told
    for one in events:
        handle = await client.start_workflow(
            COLLECTOR, given, id=f"c-{queue}", task_queue=queue, start_signal=COLLECT, start_signal_args=[one],
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        )  # fmt: skip
    return handle


async def play(flushed: Flushed, events: list[dict[str, Any]], **told: Any) -> None:
    """Send the events to a collector and let time pass until it closes."""
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary("temporal-test-server")
    ) as environment:
        queue = f"q-{uuid4().hex[:8]}"
        async with Worker(
            environment.client, task_queue=queue, workflows=[CollectorWorkflow], activities=[flushed.flush],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ):  # fmt: skip
            handle = await collect(environment.client, queue, events, **told)
            await asyncio.wait_for(handle.result(), 60)


async def test_a_full_batch_goes_at_once_and_the_rest_after_its_time() -> None:
    flushed = Flushed()
    await play(flushed, [event(number) for number in range(8)], max_wait=3600)
    assert [len(batch) for batch in flushed.batches] == [3, 3, 2]
    assert [one for batch in flushed.batches for one in batch] == [str(number) for number in range(8)]


async def test_an_event_that_comes_again_counts_once() -> None:
    flushed = Flushed()
    await play(flushed, [event(number % 4) for number in range(20)], max_wait=60)
    assert Counter(one for batch in flushed.batches for one in batch) == Counter("0123")


async def test_a_batch_whose_run_cannot_be_started_yet_is_tried_until_it_is() -> None:
    flushed = Flushed(failing=3)
    await play(flushed, [event(number) for number in range(3)])
    assert flushed.batches == [["0", "1", "2"]]


async def test_batches_outlive_continue_as_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "LONGEST_HISTORY", 5)
    flushed = Flushed()
    await play(flushed, [event(number % 25) for number in range(40)], max_wait=600, size=4)
    assert Counter(one for batch in flushed.batches for one in batch) == Counter(str(number) for number in range(25))
