"""Steps at the boundary every attempt crosses: a real server, a worker with our interceptors, and a workflow of one
step, scheduled as the engine schedules it, as an activity or, for express, as a local activity."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from orchestrator.engine.headers import CALL, HeaderInterceptor, header
from orchestrator.settings import Settings
from orchestrator.spec.project import load_project
from orchestrator.steps.attempt import StepInterceptor
from orchestrator.steps.context import STORE, Resources
from orchestrator.steps.function.handlers import discover
from orchestrator.steps.registry import function_activities, step_activities
from orchestrator.store.database import Store

PREAMBLE = """
import asyncio, os, time, pathlib
from temporalio import activity
from orchestrator.errors import StepError, TerminalError
from orchestrator.steps.attempt import current_step

def note(word):
    with (pathlib.Path(__file__).parent.parent / "calls.txt").open("a") as log:
        log.write(f"{word}\\n")
"""


@dataclass
class Step:
    """One step as the engine would schedule it. ``call`` are members of the header."""

    activity: str
    args: list[Any]
    call: dict[str, Any]
    local: bool = False
    attempts: int = 3
    total: float | None = None
    cancel_after: float | None = None


@workflow.defn
class OneStep:
    """Its result is the step's, or what it failed with: ``{"failed": type of exception, "error": record or text}``."""

    @workflow.run
    async def run(self, step: Step) -> Any:
        """Schedule the step, cancel it if so told, wait for its end."""
        handle = self._start(step)
        if step.cancel_after is not None:
            await workflow.sleep(step.cancel_after)
            handle.cancel()
        try:
            return await handle
        except ActivityError as error:
            cause = error.cause
            return {"failed": type(cause).__name__, "error": _record(cause)}

    def _start(self, step: Step) -> workflow.ActivityHandle[Any]:
        members = {"path": "the-step", "root": workflow.info().workflow_id} | step.call
        common: dict[str, Any] = {
            "args": step.args,
            "activity_id": "the-step",
            "start_to_close_timeout": timedelta(seconds=30),
            "schedule_to_close_timeout": None if step.total is None else timedelta(seconds=step.total),
            "retry_policy": RetryPolicy(initial_interval=timedelta(seconds=0.05), maximum_attempts=step.attempts),
            "cancellation_type": workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        }
        token = CALL.set(header(json.dumps(members).encode()))
        try:
            if step.local:
                return workflow.start_local_activity(
                    step.activity, local_retry_threshold=timedelta(seconds=1), **common
                )
            return workflow.start_activity(step.activity, heartbeat_timeout=timedelta(seconds=5), **common)
        finally:
            CALL.reset(token)


def _record(error: BaseException | None) -> Any:
    details = getattr(error, "details", ())
    return details[0] if details else str(error)


@dataclass
class Bench:
    """A worker of its own queue over a project folder of its own."""

    client: Client
    settings: Settings
    resources: Resources = field(default_factory=Resources)

    def calls(self) -> list[str]:
        """What functions wrote down with ``note``."""
        log = self.settings.project_dir / "calls.txt"
        return log.read_text().splitlines() if log.exists() else []

    async def start(self, activity: str, *args: Any, **options: Any) -> WorkflowHandle[Any, Any]:
        """Start a run of one step. ``options`` are members of Step, the rest goes into the call."""
        own = {name: options.pop(name) for name in ("local", "attempts", "total", "cancel_after") if name in options}
        call = {"step": "the-step", "type": "function", "source": "flow.yaml:3:5", "version": "1"} | options
        workflow_type = call.pop("flow", "OneStep")
        assert workflow_type == "OneStep"
        return await self.client.start_workflow(
            OneStep.run,
            Step(activity, list(args), call, **own),
            id=f"one-{uuid.uuid4().hex[:10]}",
            task_queue=self.settings.task_queue,
            task_timeout=timedelta(seconds=5),
        )

    async def run(self, activity: str, *args: Any, **options: Any) -> dict[str, Any]:
        """Run a step to its result: ``{"output", "attempts", …}``, or ``{"failed", "error"}``."""
        handle = await self.start(activity, *args, **options)
        try:
            result: dict[str, Any] = await asyncio.wait_for(handle.result(), 60)
        except WorkflowFailureError as error:
            # A local activity's own failure comes without the SDK's wrapper and passes through.
            return {"failed": type(error.cause).__name__, "error": _record(error.cause)}
        return result

    async def error(self, activity: str, *args: Any, **options: Any) -> dict[str, Any]:
        """Run a step that must fail with an error record of ours."""
        result = await self.run(activity, *args, **options)
        assert result.get("failed") == "ApplicationError", result
        record: dict[str, Any] = result["error"]
        return record


@asynccontextmanager
async def open_bench(
    client: Client, folder: Path, functions: str, *, store: Store | None = None, **settings: Any
) -> AsyncIterator[Bench]:
    """A bench with the functions of this Python text in its ``activities/``."""
    (folder / "activities").mkdir()
    (folder / "activities" / "bench.py").write_text(PREAMBLE + dedent(functions))
    made = Settings(project_dir=folder, task_queue=f"orchestrator-{uuid.uuid4().hex[:8]}", **settings)
    bench = Bench(client, made)
    if store is not None:
        bench.resources.lend(STORE, store)
    with ThreadPoolExecutor(8) as threads:
        async with Worker(
            client,
            task_queue=made.task_queue,
            workflows=[OneStep],
            activities=[*step_activities(), *function_activities(discover(folder / "activities"))],
            activity_executor=threads,
            workflow_runner=UnsandboxedWorkflowRunner(),
            interceptors=[HeaderInterceptor(), StepInterceptor(made, lambda: load_project(folder), bench.resources)],
            max_heartbeat_throttle_interval=timedelta(seconds=0.5),
        ):
            yield bench
        await bench.resources.aclose()
