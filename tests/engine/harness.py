"""A real worker for engine tests: flows as YAML text, functions as Python text, a recording of what they did."""

from __future__ import annotations

import asyncio
import itertools
import textwrap
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError
from tests.stores import open_store

from orchestrator.payloads.converter import carrying
from orchestrator.settings import Settings
from orchestrator.spec.definition import Envelope, definition_to_json, envelope_to_json
from orchestrator.spec.inputs import check_inputs
from orchestrator.spec.loading import load_flow
from orchestrator.spec.project import Project, load_project
from orchestrator.store.database import Store
from orchestrator.worker import FlowWorker

FUNCTIONS = '''
"""Functions the engine tests call. Each call is written to calls.txt, so that what really ran can be counted."""
import asyncio, pathlib, time
from temporalio import activity
from orchestrator.errors import StepError, TerminalError
from orchestrator.steps.attempt import current_step

LOG = pathlib.Path(__file__).parent.parent / "calls.txt"

def note(word):
    with LOG.open("a") as log:
        log.write(f"{word}\\n")

@activity.defn
async def echo(value):
    note(f"echo {value}")
    return value

@activity.defn
async def fail_times(params):
    """Fails the first ``times`` attempts with ``type``."""
    step = current_step()
    note(f"fail_times {step.path} {step.attempt} {step.idempotency_key}")
    if step.attempt <= params["times"]:
        kind = TerminalError if params.get("terminal") else StepError
        raise kind(params.get("type", "network_error"), "told to fail", retry_after=params.get("retry_after"), status=params.get("status"))
    return {"attempt": step.attempt}

@activity.defn
async def slow(params):
    step = current_step()
    note(f"start {step.path}")
    try:
        await asyncio.sleep(params["seconds"])
    except asyncio.CancelledError:
        note(f"cancelled {step.path}")
        raise
    note(f"end {step.path}")
    return step.path

@activity.defn
def in_thread(params):
    time.sleep(params.get("seconds", 0))
    note("in_thread")
    return {"thread": True}

@activity.defn
async def count_up():
    """Fails once, after telling how far it got and after more heartbeats than one."""
    if activity.info().attempt == 1:
        activity.heartbeat(5)
        await asyncio.sleep(3)
        raise StepError("half_way", "told to fail")
    return list(activity.info().heartbeat_details)

@activity.defn
async def reveal(params):
    return params

@activity.defn
async def fail_with(text):
    note(f"fail_with {text}")
    raise TerminalError("refused", f"the vendor said: {text} is not welcome", data={"given": text})

@activity.defn
async def grow(params):
    return "x" * params["bytes"]

@activity.defn
async def broken(params):
    raise ValueError("a bug in user code")
'''


class Workbench:
    """One worker on a queue of its own, with a project folder of its own."""

    def __init__(self, temporal: Client, store: Store, settings: Settings) -> None:
        self.temporal = temporal
        self.store = store
        self.settings = settings
        self.continue_after: int | None = None
        """History events after which the runs continue as new, where a start does not say it."""
        self._numbers = itertools.count(1)

    @property
    def project(self) -> Project:
        """The project folder's orchestrator.yaml."""
        return load_project(self.settings.project_dir)

    def calls(self) -> list[str]:
        """What functions wrote down, in order."""
        log = self.settings.project_dir / "calls.txt"
        return log.read_text().splitlines() if log.exists() else []

    async def start(self, text: str, inputs: dict[str, Any] | None = None, **envelope: Any) -> WorkflowHandle[Any, Any]:
        """Start a run of a flow given as YAML."""
        loaded = load_flow(textwrap.dedent(text), "flow.yaml", self.project)
        assert not loaded.unsupported, loaded.unsupported
        definition = loaded.definition
        given = inputs or {}
        filled = check_inputs(definition.flow, definition.inputs, given)
        envelope.setdefault("largest_payload", self.settings.largest_payload)
        if self.continue_after is not None:
            envelope.setdefault("continue_after", self.continue_after)
        started = Envelope(
            definition, filled, dict(definition.env), {"type": "api", "id": "t", "time": "now", "body": given}
        )
        return await self.temporal.start_workflow(
            definition.flow,
            args=[given, envelope_to_json(replace(started, **envelope), given), definition_to_json(definition)],
            id=f"{definition.flow}-{uuid.uuid4().hex[:8]}",
            task_queue=self.settings.task_queue,
            task_timeout=timedelta(seconds=5),
        )

    async def run(self, text: str, inputs: dict[str, Any] | None = None, **envelope: Any) -> Any:
        """Run a flow to its end and return its output."""
        handle = await self.start(text, inputs, **envelope)
        result = await asyncio.wait_for(handle.result(), 60)
        await untroubled(handle)
        return result

    async def failure(self, text: str, inputs: dict[str, Any] | None = None, **envelope: Any) -> dict[str, Any]:
        """Run a flow that must fail and return its error record."""
        return await failure_of(await self.start(text, inputs, **envelope))

    async def waiting(self, handle: WorkflowHandle[Any, Any], step: str) -> dict[str, Any]:
        """The state of a run once ``step`` is an open wait."""
        for _ in range(400):
            state: dict[str, Any] = await handle.query("state")
            if any(wait["step"] == step for wait in state["waits"]):
                return state
            await asyncio.sleep(0.025)
        raise AssertionError(f"'{step}' never waited: {state}")


async def failure_of(handle: WorkflowHandle[Any, Any]) -> dict[str, Any]:
    """The error record of a run that must fail."""
    try:
        result = await asyncio.wait_for(handle.result(), 60)
    except WorkflowFailureError as error:
        assert isinstance(error.cause, ApplicationError), error.cause
        record: dict[str, Any] = error.cause.details[0]
        assert record["type"] == error.cause.type
        await untroubled(handle)
        return record
    raise AssertionError(f"the run completed with {result!r}")


_MESSAGES_CAME = (
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND,
    WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
)
"""The server takes a task back for messages that came while it was open: before the run may end, and where a hundred
have queued up. The next task takes them in."""


async def untroubled(handle: WorkflowHandle[Any, Any]) -> None:
    """No workflow task of the run, continued runs before it included, has failed: whatever went wrong was an end or a
    failure of a step, never an exception that leaves the run trying again for ever."""
    for event in await whole_history(handle):
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            failed = event.workflow_task_failed_event_attributes
            assert failed.cause in _MESSAGES_CAME, failed


async def whole_history(handle: WorkflowHandle[Any, Any]) -> list[HistoryEvent]:
    """Every event of the run and of what it continued from, the newest part first."""
    found: list[HistoryEvent] = []
    while True:
        part = await events(handle)
        found += part
        before = part[0].workflow_execution_started_event_attributes.continued_execution_run_id
        if not before:
            return found
        handle = handle._client.get_workflow_handle(handle.id, run_id=before)


async def events(handle: WorkflowHandle[Any, Any]) -> list[HistoryEvent]:
    """The run's history."""
    return [event async for event in handle.fetch_history_events()]


async def scheduled(handle: WorkflowHandle[Any, Any]) -> list[str]:
    """Ids of the activities in the order they were scheduled."""
    wanted = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    return [
        event.activity_task_scheduled_event_attributes.activity_id
        for event in await events(handle)
        if event.event_type == wanted
    ]


@asynccontextmanager
async def open_workbench(
    temporal: Client, folder: Path, *, cached_runs: int = 100, functions: str = FUNCTIONS, **settings: Any
) -> AsyncIterator[Workbench]:
    """A worker with the functions above, its own SQLite store and task queue."""
    (folder / "activities").mkdir(exist_ok=True)
    (folder / "activities" / "engine_functions.py").write_text(functions)
    queue = f"orchestrator-{uuid.uuid4().hex[:8]}"
    made = Settings(project_dir=folder, task_queue=queue, **settings)
    made.state.mkdir(parents=True, exist_ok=True)
    temporal = carrying(temporal, made)
    store = await open_store(made.store)
    try:
        async with FlowWorker(made, temporal, store, lambda: load_project(folder), cached_runs=cached_runs):
            yield Workbench(temporal, store, made)
    finally:
        await store.aclose()
