"""A test server, a worker and a store, on which one case after the other runs."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import temporalio.client
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError
from temporalio.exceptions import TimeoutError as TemporalTimeout
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from orchestrator import admission
from orchestrator.errors import Unavailable
from orchestrator.flowtests.judging.expectations import check
from orchestrator.flowtests.lanes.clock import Clock
from orchestrator.flowtests.lanes.server import start_test_server
from orchestrator.flowtests.playing.interceptor import TestInterceptor
from orchestrator.flowtests.playing.outcome import gather
from orchestrator.flowtests.playing.play import Play, Stage
from orchestrator.flowtests.playing.starting import Refusal, envelope_of
from orchestrator.flowtests.results import CaseResult, Mismatch
from orchestrator.settings import Settings
from orchestrator.spec.definition import Envelope, definition_to_json, envelope_to_json
from orchestrator.spec.flowtests.cases import FlowCase
from orchestrator.spec.loading import LoadedFlow
from orchestrator.spec.project import Project, load_project
from orchestrator.store.database import Store
from orchestrator.worker import FlowWorker

Json = Any

QUEUE = "orchestrator-flowtests"
LONGEST = timedelta(days=4 * 365)
"""How long a run may wait. One that waits for what never comes is over after it, at once: there is nothing before it
that the clock could stop at."""
_ENDING = 10.0
"""Seconds a run that was given up gets to be gone."""


class Lane:
    """``async with Lane(settings) as lane``: runs cases one after the other. Raises Unavailable when entered.

    Of the settings the project's folder counts, and what functions that run for real may need; nothing is written into
    the project's state folder.
    """

    def __init__(self, settings: Settings) -> None:
        self._given = settings
        self._folder = tempfile.TemporaryDirectory(prefix="orchestrator-test-")
        self._stage = Stage()
        self._numbers = itertools.count(1)
        self._environment: WorkflowEnvironment | None = None
        self._store: Store | None = None
        self._worker: FlowWorker | None = None
        self._published: Path | None = None
        self._spent = False
        """Whether the server may not let its clock jump any more."""

    async def __aenter__(self) -> Self:
        folder = Path(self._folder.name)
        self._settings = dataclasses.replace(
            self._given,
            store_url=f"sqlite:///{folder / 'store.db'}",
            task_queue=QUEUE,
            state_dir=folder,
            payloads="none",
        )
        try:
            self._store = await Store.open(self._settings.store)
            await self._open(self._store)
        except BaseException:
            await self._close()
            raise
        return self

    async def _open(self, store: Store) -> None:
        self._environment = await start_test_server()
        client = self._environment.client
        self._temporal = temporalio.client.Client(client.service_client, namespace=client.namespace)
        around = [TestInterceptor(self._stage)]
        worker = FlowWorker(self._settings, self._temporal, store, self._project, around=around)
        self._worker = await worker.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        await self._shut()
        if self._store is not None:
            await self._store.aclose()
        self._folder.cleanup()

    async def _shut(self) -> None:
        worker, self._worker = self._worker, None
        environment, self._environment = self._environment, None
        if worker is not None:
            await worker.__aexit__(None, None, None)
        if environment is not None:
            await environment.shutdown()

    def _project(self) -> Project:
        return load_project(self._given.project_dir)

    async def run(self, case: FlowCase, flow: LoadedFlow) -> CaseResult:
        """Run a case on a flow, which need not be the one it was checked against. What goes wrong is in the result."""
        begun = time.perf_counter()
        result = _blank(case, flow)
        envelope = envelope_of(case, flow, self._project())
        if isinstance(envelope, Refusal):
            result.warnings.append(envelope.reason)
        else:
            await self._prepare(case, flow)
            runs = await self._play(case, flow, envelope, result)
            if result.status == "running" and runs > 1:
                # Whether the case or the server does not go on, a new server tells.
                result = _blank(case, flow)
                await self._prepare(case, flow)
                await self._play(case, flow, envelope, result)
        result.took = time.perf_counter() - begun
        check(case, flow.definition, result, envelope.reason if isinstance(envelope, Refusal) else None)
        result.took = time.perf_counter() - begun
        return result

    async def _prepare(self, case: FlowCase, flow: LoadedFlow) -> None:
        """Let the case find nothing of those before it, and the flows that it starts."""
        assert self._store is not None
        if self._spent:
            self._spent = False
            await self._shut()
            await self._open(self._store)
        await self._store.state.clear()
        types = {node.type for node in flow.definition.walk() if {"*", node.id, node.type} & case.real}
        folder = self._given.project_dir / Path(flow.definition.file).parent
        if "flow" in types and self._published != folder:
            self._published = folder
            await admission.publish_folder(self._store, self._project(), folder, as_edit=True)

    async def _play(self, case: FlowCase, flow: LoadedFlow, envelope: Envelope, result: CaseResult) -> int:
        """Run the case once; how many runs that took, those of sub-flows included."""
        run_id = f"{flow.definition.flow}-{next(self._numbers)}"
        clock = Clock(self._temporal)
        play = Play(case, run_id, frozenset(node.id for node in flow.definition.walk()), clock.stop_now)
        self._stage.enter(run_id, play)
        try:
            try:
                async with asyncio.timeout(case.timeout), clock.jumping():
                    await self._ended(await self._start(run_id, envelope), result)
            except TimeoutError:
                result.status = "running"
                self._give_up(case, play, run_id, result, f"the run did not end within {case.timeout:g}s")
            if result.status == "waiting":
                self._give_up(case, play, run_id, result, "the run waits for ever")
            await self._clear_away(play)
            # The server counts what keeps its clock from jumping, and loses count where sub-flows run.
            self._spent = result.status == "running" or len(play.parts) > 1
            gather(case, play, run_id, result)
            return len(play.parts)
        finally:
            self._stage.leave(run_id)

    async def _start(self, run_id: str, envelope: Envelope) -> WorkflowHandle[Any, Any]:
        body: Json = envelope.trigger.get("body")
        converter = self._temporal.data_converter.payload_converter
        values = [body, envelope_to_json(envelope, body), definition_to_json(envelope.definition)]
        try:
            return await self._temporal.start_workflow(
                envelope.definition.flow,
                args=[RawValue(payload) for payload in converter.to_payloads(values)],
                id=run_id,
                task_queue=QUEUE,
                task_timeout=timedelta(seconds=60),
                execution_timeout=LONGEST,
            )
        except RPCError as error:
            raise Unavailable(f"the Temporal test server does not take the run: {error}") from error

    async def _ended(self, handle: WorkflowHandle[Any, Any], result: CaseResult) -> None:
        try:
            result.output = await handle.result()
            result.status = "completed"
        except WorkflowFailureError as error:
            cause = error.cause
            if isinstance(cause, TemporalTimeout):
                # The clock has jumped to the end of time: the server's own limit on runs.
                result.status = "waiting"
                return
            result.status = "cancelled" if isinstance(cause, CancelledError | TerminatedError) else "failed"
            if isinstance(cause, ApplicationError):
                told = [detail for detail in cause.details if isinstance(detail, dict) and "type" in detail]
                result.error = told[0] if told else {"type": cause.type or "error", "message": cause.message}
                # With a step it is that of a run inside this one, or what a step calls so.
                if result.error["type"] == "run_timeout" and "step" not in result.error:
                    result.status = "timed_out"

    def _give_up(self, case: FlowCase, play: Play, run_id: str, result: CaseResult, what: str) -> None:
        result.waiting = [one for part in play.all() for one in part.waiting() if part.state is None]
        waits = f"it waits for {', '.join(result.waiting)}" if result.waiting else "no step of it waits for anything"
        message = (
            f"{what}: {waits}; add what it waits for to `events`, mock the step, or give the case a longer `timeout`"
        )
        result.problems.append(Mismatch(message, case.where()))

    async def _clear_away(self, play: Play) -> None:
        """End what still goes on: a run that was given up, and sub-flows that nobody waits for."""
        for part in play.all():
            if part.state is None:
                # It may have ended meanwhile.
                with contextlib.suppress(RPCError, TimeoutError):
                    async with asyncio.timeout(_ENDING):
                        await self._temporal.get_workflow_handle(part.workflow_id).terminate("the test is over")


def _blank(case: FlowCase, flow: LoadedFlow) -> CaseResult:
    return CaseResult(case.file, case.name, case.line, flow.definition.flow)
