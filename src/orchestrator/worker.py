"""Assembles engine, steps and users' functions into a Temporal worker."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import TracebackType

from temporalio.client import Client
from temporalio.worker import Interceptor, UnsandboxedWorkflowRunner, Worker

from orchestrator.client import Client as StartingClient
from orchestrator.client.children import child_journal
from orchestrator.dispatch.batches import flush_activity
from orchestrator.dispatch.debounce import start_held_activity
from orchestrator.engine.collector import CollectorWorkflow
from orchestrator.engine.debounce import DebounceWorkflow
from orchestrator.engine.headers import HeaderInterceptor
from orchestrator.engine.permits import PermitsWorkflow
from orchestrator.engine.workflow import FlowWorkflow
from orchestrator.payloads.converter import carrying, release
from orchestrator.settings import Settings
from orchestrator.spec.project import Project
from orchestrator.steps.attempt import StepInterceptor
from orchestrator.steps.context import STORE, Resources
from orchestrator.steps.function.handlers import discover
from orchestrator.steps.function.loop_watch import LoopWatch
from orchestrator.steps.registry import Activity, function_activities, step_activities
from orchestrator.steps.runs.ledger import record_activity
from orchestrator.steps.runs.listen import listen_activity
from orchestrator.steps.runs.permits import acquire_permit
from orchestrator.steps.runs.prepare import prepare_activity
from orchestrator.steps.runs.resolve import cancel_run, child_status, resolve_activity, resolve_child_activity
from orchestrator.store.database import Store
from orchestrator.telemetry import ensure_search_attributes

THREADS = 32
"""Synchronous functions that run at once on one worker."""
CACHED_RUNS = 2_000
"""Runs kept in memory. Below the number in flight, throughput halves (measured: 0.47×)."""


class FlowWorker:
    """Serves every flow on one task queue while the context is open.

    ``project`` is asked anew for every step, so that an edited ``orchestrator.yaml`` counts from the next step on.
    ``around`` are interceptors outside ours: of runs, and of every activity.
    """

    def __init__(
        self,
        settings: Settings,
        client: Client,
        store: Store,
        project: Callable[[], Project],
        *,
        cached_runs: int = CACHED_RUNS,
        around: Sequence[Interceptor] = (),
    ) -> None:
        self._around = around
        self._cached_runs = cached_runs
        self._settings = settings
        self._client = carrying(client, settings)
        self._owns_storage = self._client is not client
        self._store = store
        self._project = project
        self._resources = Resources()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="function")
        self._worker: Worker | None = None
        self._running: asyncio.Task[None] | None = None
        self._watch: LoopWatch | None = None

    async def __aenter__(self) -> FlowWorker:
        """Register search attributes, discover functions, start polling. Raises OrchestratorError."""
        registered = await ensure_search_attributes(self._client)
        self._resources.lend(STORE, self._store)
        self._worker = self._assemble(search_attributes=registered)
        _quieten_collector()
        self._watch = LoopWatch(asyncio.get_running_loop())
        self._running = asyncio.create_task(self._worker.run(), name="worker")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop polling, let running steps end, close their connections."""
        if self._worker is not None and self._running is not None:
            await self._worker.shutdown()
            await self._running
        if self._watch is not None:
            self._watch.stop()
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._resources.aclose()
        if self._owns_storage:
            await release(self._client.data_converter)

    async def wait(self) -> None:
        """Until the worker ends, which it does by itself only when it fails."""
        if self._running is not None:
            await self._running

    def _doors(self, search_attributes: bool) -> StartingClient:
        """The client with which this worker starts runs itself."""
        return StartingClient(
            self._settings, self._store, self._client, self._project, search_attributes=search_attributes
        )

    def _assemble(self, *, search_attributes: bool) -> Worker:
        functions = discover(self._settings.project_dir / Path("activities"))
        resolving = (self._store, self._project, self._settings)
        around_runs: list[Activity] = [
            resolve_activity(*resolving, search_attributes=search_attributes),
            resolve_child_activity(*resolving, search_attributes=search_attributes),
            prepare_activity(),
            listen_activity(self._store),
            child_status,
            child_journal,
            cancel_run,
            acquire_permit,
            record_activity(self._store),
            flush_activity(self._doors(search_attributes)),
            start_held_activity(self._doors(search_attributes)),
        ]
        return Worker(
            self._client,
            task_queue=self._settings.task_queue,
            # Left out, the SDK reads and hashes the code of every imported module: a second of every start.
            build_id=f"orchestrator-{importlib.metadata.version('orchestrator')}",
            workflows=[FlowWorkflow, PermitsWorkflow, CollectorWorkflow, DebounceWorkflow],
            activities=[*step_activities(), *function_activities(functions), *around_runs],
            activity_executor=self._threads,
            # No user code runs in the workflow; tests hold its determinism (ENGINE §9). 10 ms of CPU per run less.
            workflow_runner=UnsandboxedWorkflowRunner(),
            interceptors=[
                *self._around,
                HeaderInterceptor(),
                StepInterceptor(self._settings, self._project, self._resources, self._client.data_converter),
            ],
            max_cached_workflows=self._cached_runs,
            sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
            graceful_shutdown_timeout=timedelta(seconds=5),
            max_heartbeat_throttle_interval=timedelta(seconds=2),
            default_heartbeat_throttle_interval=timedelta(seconds=2),
        )


def _quieten_collector() -> None:
    """A worker keeps some hundred thousand objects for good (modules, compiled flows, cached runs), and the garbage
    collector's defaults walk them again and again: a tenth of the worker's CPU, measured."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
