"""A laboratory for facts about Temporal: real servers, the plain SDK, nothing of ours."""

from __future__ import annotations

import asyncio
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from tests.conftest import start_temporal, stop

Handle = WorkflowHandle[Any, Any]


@contextmanager
def serve(*dynamic: str, tuned: bool = True) -> Iterator[str]:
    """A development server with these dynamic config values; gives its address, stops it in the end."""
    values = [part for value in dynamic for part in ("--dynamic-config-value", value)]
    with tempfile.TemporaryDirectory() as folder:
        process, address = start_temporal(Path(folder) / "server.log", "--log-level", "error", *values, fast=tuned)
        try:
            yield address
        finally:
            stop(process)


class Lab:
    """One server, one client, and the few things every fact needs."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.queue = f"lab-{uuid.uuid4().hex[:8]}"

    @asynccontextmanager
    async def worker(
        self, *workflows: type, activities: Sequence[Callable[..., Any]] = (), **options: Any
    ) -> AsyncIterator[Worker]:
        """A worker on this lab's own queue. Heartbeats are hardly throttled, so that short timeouts stay sturdy."""
        given: dict[str, Any] = {
            "workflow_runner": UnsandboxedWorkflowRunner(),
            "max_heartbeat_throttle_interval": seconds(0.1),
        } | options
        with ThreadPoolExecutor(8) as threads:
            async with Worker(
                self.client,
                task_queue=self.queue,
                workflows=workflows,
                activities=activities,
                activity_executor=threads,
                **given,
            ) as worker:
                yield worker

    async def start(self, workflow: Any, *args: Any, **options: Any) -> Handle:
        """Start a workflow on this lab's queue."""
        given = {"id": f"wf-{uuid.uuid4().hex}", "task_queue": self.queue} | options
        handle: Handle = await self.client.start_workflow(workflow, args=list(args), **given)
        return handle

    async def run(self, workflow: Any, *args: Any, **options: Any) -> Any:
        """Start a workflow and wait for its result, at most 60 seconds."""
        handle = await self.start(workflow, *args, **options)
        return await asyncio.wait_for(handle.result(), 60)


async def events(handle: Handle) -> list[HistoryEvent]:
    """The history so far."""
    return list((await handle.fetch_history()).events)


async def names(handle: Handle) -> list[str]:
    """The history's event types without their prefix, such as ``TIMER_STARTED``."""
    from temporalio.api.enums.v1 import EventType

    return [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in await events(handle)]


async def status(handle: Handle) -> str:
    """``RUNNING``, ``COMPLETED``, ``TERMINATED`` …"""
    described = await handle.describe()
    assert described.status is not None
    return described.status.name


async def task_failure(handle: Handle, limit: float = 30) -> str:
    """Cause and message of the run's latest failed workflow task; waits for the first one."""
    from temporalio.api.enums.v1 import WorkflowTaskFailedCause

    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        for event in reversed(await events(handle)):
            if event.HasField("workflow_task_failed_event_attributes"):
                failed = event.workflow_task_failed_event_attributes
                cause = WorkflowTaskFailedCause.Name(failed.cause).removeprefix("WORKFLOW_TASK_FAILED_CAUSE_")
                return f"{cause}: {failed.failure.message}"
        await asyncio.sleep(0.1)
    raise TimeoutError("no workflow task of this run has failed")


async def attempt(handle: Handle) -> int:
    """Attempt number of the workflow task that is pending; 0 when none is."""
    description = (await handle.describe()).raw_description
    return description.pending_workflow_task.attempt


async def until(condition: Callable[[], Any], limit: float = 30) -> Any:
    """Poll an async condition until it holds."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        found = await condition()
        if found:
            return found
        await asyncio.sleep(0.05)
    raise TimeoutError("the condition never held")


def seconds(value: float) -> timedelta:
    """Short for timedelta(seconds=…)."""
    return timedelta(seconds=value)
